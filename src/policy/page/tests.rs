//! Tests of pages.

use std::sync::Arc;

use crate::diagnostic::Diagnostics;
use crate::policy::sample::{case, legal_case, rules, second};
use crate::policy::{Action, Case, CompileOptions, PolicyFile, PolicyFiles, RenderedPages, Ruleset};

fn compiled(files: &[(&str, &[u8])], case: Case) -> Result<Option<RenderedPages>, Diagnostics> {
    let files = files
        .iter()
        .map(|(path, content)| ((*path).to_owned(), PolicyFile::new(Arc::from(*content))))
        .collect();
    let set = PolicyFiles { files };
    let rules = Ruleset::compile(vec![case], &set)?;
    Ok(rules.cases()[0].pages.clone())
}

fn pages(case: Case) -> RenderedPages {
    compiled(&[], case).unwrap().unwrap()
}

fn text(body: &super::Body) -> &str {
    std::str::from_utf8(&body.bytes).unwrap()
}

/// The one error of a set with these pages: `file:line: message`.
fn error(files: &[(&str, &[u8])], case: Case) -> String {
    let errors = compiled(files, case).unwrap_err();
    let all: Vec<String> =
        errors.iter().map(|one| format!("{}:{}: {}", one.file, one.line, one.message)).collect();
    let [one] = &all[..] else { panic!("one error expected: {all:?}") };
    one.clone()
}

#[test]
fn nothing_a_case_says_becomes_markup() {
    let evil = "<script>alert('1')</script> \"quoted\" & </p>\u{2028}\u{2029}";
    let mut case = legal_case("TS-1", &["a.example"]);
    case.statement = evil.to_owned();
    let legal = case.legal.as_mut().unwrap();
    legal.authority = "</dd><img src=x onerror=alert(1)>".to_owned();
    legal.reference = "\"><b>".to_owned();
    legal.url = Some("https://example.org/\"onmouseover=\"alert(1)'<b>".to_owned());
    let pages = pages(case);
    let html = text(&pages.html[0].body);
    for raw in ["<script", "<img", "<b>", "\"onmouseover", "\"quoted\"", "'1'"] {
        assert!(!html.contains(raw), "{raw} in {html}");
    }
    assert!(html.contains("&lt;script&gt;alert(&#x27;1&#x27;)&lt;&#x2f;script&gt;"), "{html}");
    assert!(html.contains("&quot;quoted&quot; &amp; "));

    let problem: serde_json::Value = serde_json::from_slice(&pages.problem.bytes).unwrap();
    assert_eq!(problem["detail"], evil);
}

#[test]
fn a_script_url_is_no_link() {
    for url in
        ["javascript:alert(1)", "data:text/html,x", "JavaScript://%0aalert(1)", "//example.org", "https://"]
    {
        let mut case = legal_case("TS-1", &["a.example"]);
        case.legal.as_mut().unwrap().url = Some(url.to_owned());
        let pages = pages(case);
        assert!(!text(&pages.html[0].body).contains("href"), "{url}");
        assert!(!text(&pages.text).contains("Order:"), "{url}");
        assert_eq!(pages.link, None, "{url}");
    }
}

#[test]
fn no_answer_names_the_customer_the_summary_or_who_decided() {
    for case in [case("TS-1", &["a.example"]), legal_case("TS-1", &["a.example"])] {
        let internal = [case.customer.clone(), case.summary.clone(), case.decided_by[0].clone()];
        let pages = pages(case);
        for body in [&pages.html[0].body, &pages.problem, &pages.text] {
            for word in &internal {
                assert!(!text(body).contains(word), "{word}");
            }
        }
    }
}

#[test]
fn an_order_behind_an_own_decision_is_shown_and_the_page_speaks_of_no_legal_reasons() {
    let legal = legal_case("TS-2", &["a.example"]).legal;
    let pages = pages(Case { legal, ..case("TS-1", &["a.example"]) });
    for body in [&pages.html[0].body, &pages.problem, &pages.text] {
        assert!(
            text(body).contains("Regional Court of Example") && text(body).contains("403"),
            "{}",
            text(body)
        );
        assert!(!text(body).contains("legal reasons") && !text(body).contains("451"), "{}", text(body));
    }
}

#[test]
fn the_built_in_page_differs_by_kind_and_stands_alone() {
    let ended = pages(case("TS-1", &["a.example"]));
    let ordered = pages(legal_case("TS-2", &["a.example"]));
    let (ended, ordered) = (text(&ended.html[0].body), text(&ordered.html[0].body));
    assert!(ended.contains("This service has been ended") && ended.contains("Status 403 (Forbidden)"));
    assert!(
        ordered.contains("Unavailable for legal reasons") && ordered.contains("Regional Court of Example")
    );
    assert!(ordered.contains("<time datetime=\"2026-11-20\">20 November 2026</time>"), "{ordered}");
    assert!(ordered.contains("href=\"https:&#x2f;&#x2f;example.org&#x2f;orders&#x2f;345\""), "{ordered}");
    for page in [ended, ordered] {
        assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">"));
        assert!(page.contains("name=\"viewport\"") && page.contains("prefers-color-scheme"));
        for outside in ["<script", "src=", "@import", "url(", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}

#[test]
fn the_problem_has_the_members_of_its_standard() {
    let problem = pages(legal_case("TS-2", &["a.example"])).problem;
    assert_eq!(problem.content_type, "application/problem+json");
    let expected = r#"{"type":"about:blank","title":"Unavailable For Legal Reasons","status":451,"detail":"The service for this site was ended.","case":"TS-2","legal":{"authority":"Regional Court of Example","reference":"12 O 345/26","url":"https://example.org/orders/345"}}"#;
    assert_eq!(text(&problem), expected);
    assert!(!text(&pages(case("TS-1", &["a.example"])).problem).contains("legal"));
}

#[test]
fn plain_text_cannot_command_a_terminal() {
    let mut case = case("TS-1", &["a.example"]);
    case.statement = "red: \u{1b}[31m\u{9b}31m\r\nover".to_owned();
    assert_eq!(text(&pages(case).text), "403 Forbidden\n\nred: [31m31m\nover\n\nCase: TS-1\n");
}

#[test]
fn the_link_names_the_operator_before_the_order_and_only_with_451() {
    let link = |case: Case, blocked_by: Option<&str>| {
        let options =
            CompileOptions { blocked_by: blocked_by.map(str::to_owned), ..CompileOptions::default() };
        let rules = Ruleset::compile_with(vec![case], &PolicyFiles::default(), &options).unwrap();
        let pages = rules.cases()[0].pages.clone().unwrap();
        pages.link.map(|link| link.to_str().unwrap().to_owned())
    };
    let ordered = || legal_case("TS-1", &["a.example"]);
    let operator = Some("https://cdn.example/blocks");
    assert_eq!(link(ordered(), operator).unwrap(), "<https://cdn.example/blocks>; rel=\"blocked-by\"");
    assert_eq!(link(ordered(), None).unwrap(), "<https://example.org/orders/345>; rel=\"blocked-by\"");
    assert_eq!(link(Case { status: 403, ..ordered() }, operator), None);
    let mut silent = ordered();
    silent.legal.as_mut().unwrap().url = None;
    assert_eq!(link(silent, None), None);
}

#[test]
fn no_text_of_a_case_ends_a_header() {
    let evil = "https://example.org/a>; rel=\"x\"\r\nset-cookie: a=b\0 \u{e4}\u{2028}%41";
    let mut case = legal_case("TS-1", &["a.example"]);
    case.legal.as_mut().unwrap().url = Some(evil.to_owned());
    case.statement = format!("100 %: {evil}");
    let pages = pages(case);
    assert_eq!(
        pages.link.unwrap().to_str().unwrap(),
        "<https://example.org/a%3E;%20rel=%22x%22%0D%0Aset-cookie:%20a=b%00%20%C3%A4%E2%80%A8%41>; rel=\"blocked-by\""
    );
    assert_eq!(
        pages.grpc_message.to_str().unwrap(),
        "blocked, case TS-1: 100 %25: https://example.org/a>; rel=\"x\"%0D%0Aset-cookie: a=b%00 %C3%A4%E2%80%A8%2541"
    );
}

#[test]
fn a_long_statement_is_cut_between_characters() {
    let mut case = case("TS-1", &["a.example"]);
    case.statement = "\u{e4}".repeat(4000);
    assert!(pages(case).grpc_message.to_str().unwrap().ends_with("%C3%A4"));
}

#[test]
fn a_page_comes_in_every_language_there_is_a_file_for() {
    let files: [(&str, &[u8]); 4] = [
        ("pages/notice.de.html", b"de {{ lang }} {{ effective|date(\"%d.%m.%Y\") }}"),
        ("pages/notice.html", b"en {{ lang }}"),
        ("pages/notice.zh-Hant.html", b"zh {{ lang }}"),
        ("pages/other.html", b"<html lang=\"fr\">{{ lang }}"),
    ];
    let with_page = |page: &str| Case { page: page.to_owned(), ..case("TS-1", &["a.example"]) };
    let notice = compiled(&files, with_page("notice")).unwrap().unwrap();
    let found: Vec<(&str, &str)> =
        notice.html.iter().map(|page| (page.language.as_str(), text(&page.body))).collect();
    assert_eq!(found, [("en", "en en"), ("de", "de de 20.11.2026"), ("zh-Hant", "zh zh-Hant")]);
    assert_eq!(notice.html[1].body.content_language, "de");
    assert_eq!(notice.html[1].body.content_length, "16");

    let other = compiled(&files, with_page("other")).unwrap().unwrap();
    assert_eq!((other.html[0].language.as_str(), text(&other.html[0].body)), ("fr", "<html lang=\"fr\">fr"));
}

#[test]
fn the_built_in_page_can_be_replaced_or_joined_by_languages() {
    let own: [(&str, &[u8]); 1] = [("pages/default.html", b"ours")];
    let pages = compiled(&own, case("TS-1", &["a.example"])).unwrap().unwrap();
    assert_eq!(text(&pages.html[0].body), "ours");

    let german: [(&str, &[u8]); 1] = [("pages/default.de.html", b"deutsch")];
    let pages = compiled(&german, case("TS-1", &["a.example"])).unwrap().unwrap();
    let languages: Vec<&str> = pages.html.iter().map(|page| page.language.as_str()).collect();
    assert_eq!(languages, ["en", "de"]);
}

#[test]
fn a_faulty_page_is_an_error_with_file_and_line_even_if_no_case_uses_it() {
    let any = || case("TS-1", &["a.example"]);
    let table: [(&[u8], &str); 6] = [
        (b"a\n{{ statment }}", "pages/x.html:2: undefined value"),
        (b"a\n\n{% if legal %}{{ legal.ulr }}{% endif %}", "pages/x.html:3: undefined value"),
        (b"{% if %}", "pages/x.html:1: syntax error"),
        (b"a\n{{ statement|nosuch }}", "pages/x.html:2: unknown filter"),
        (b"a\nb \xff", "pages/x.html:2: not valid UTF-8"),
        (
            b"{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}",
            "pages/x.html:1: engine ran out of fuel",
        ),
    ];
    for (content, expected) in table {
        let found = error(&[("pages/x.html", content)], any());
        assert!(found.starts_with(expected), "{found} for {expected}");
    }
    let faulty: [(&str, &[u8]); 1] = [("pages/x.html", b"{% if %}")];
    let using = Case { page: "x".to_owned(), ..any() };
    assert!(error(&faulty, using).contains("syntax error"), "reported once, not as missing as well");
}

#[test]
fn a_page_that_does_not_exist_and_one_that_is_too_long_are_errors() {
    let missing = Case { page: "notcie".to_owned(), ..case("TS-1", &["a.example"]) };
    let message = error(&[], missing);
    assert!(message.starts_with("pages/notcie.html:1: case `TS-1` asks for the page `notcie`"), "{message}");

    let long = Case { statement: "x".repeat(300_000), ..case("TS-1", &["a.example"]) };
    assert!(error(&[], long).contains("longer than 262144 bytes (for case `TS-1`)"));
}

#[test]
fn a_case_that_refuses_has_no_pages() {
    let case = Case { action: Action::Refuse, ..case("TS-1", &["a.example"]) };
    assert!(compiled(&[], case).unwrap().is_none());
}

#[test]
fn a_case_without_a_start_is_in_effect_since_its_decision() {
    let later = Case { effective: Some(second(86_400)), ..case("TS-1", &["a.example"]) };
    assert!(text(&pages(later).html[0].body).contains("21 November 2026"));
    assert!(text(&pages(case("TS-1", &["a.example"])).html[0].body).contains("20 November 2026"));
}

#[test]
fn the_example_pages_can_be_rendered() {
    let files: [(&str, &[u8]); 2] = [
        ("pages/notice.html", include_bytes!("../../../policies/pages/notice.html")),
        ("pages/notice.de.html", include_bytes!("../../../policies/pages/notice.de.html")),
    ];
    for base in [case("TS-1", &["a.example"]), legal_case("TS-1", &["a.example"])] {
        let pages = compiled(&files, Case { page: "notice".to_owned(), ..base }).unwrap().unwrap();
        assert_eq!(pages.html.len(), 2);
    }
    assert_eq!(rules(Vec::new()).cases().len(), 0);
}
