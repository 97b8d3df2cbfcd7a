//! Tests of verdicts.

use std::net::IpAddr;

use super::{Explanation, Subject, Verdict, decide, judge_origin};
use crate::hostname::Hostname;
use crate::policy::sample::{case, legal_case, patterns, rules, second};
use crate::policy::{Action, Case, Exemption, Mode};

const CLIENT: &str = "198.51.100.7";

fn shadow(case: Case) -> Case {
    Case { mode: Mode::Shadow, ..case }
}

fn refuse(case: Case) -> Case {
    Case { action: Action::Refuse, ..case }
}

fn exempt(case: Case, network: &str, expires: Option<i64>) -> Case {
    let clients = vec![network.parse().unwrap()];
    let exemption = Exemption { clients, reason: "evidence".to_owned(), expires: expires.map(second) };
    Case { exempt: vec![exemption], ..case }
}

/// The verdict on names separated by blanks, as `verdict case matched also,…`.
fn judged(cases: &[Case], names: &str) -> String {
    judged_for(cases, names, CLIENT, 0)
}

fn judged_for(cases: &[Case], names: &str, client: &str, at: i64) -> String {
    let rules = rules(cases.to_vec());
    let names: Vec<Hostname> = names.split(' ').map(|name| Hostname::parse(name).unwrap()).collect();
    let subject = Subject { names: &names, client: client.parse().unwrap() };
    line(&decide(&rules, &subject, second(at)))
}

fn line(verdict: &Verdict<'_>) -> String {
    let Some(found) = verdict.found() else { return verdict.as_str().to_owned() };
    let also: Vec<&str> = found.also.iter().map(|case| case.id.as_str()).collect();
    let line = format!("{} {} {} {}", verdict.as_str(), found.case.id, found.matched, also.join(","));
    line.trim_end().to_owned()
}

#[test]
fn precedence_is_specificity_then_mode_then_action_then_id() {
    let exact = || case("exact", &["x.a.example"]);
    let suffix = |id| case(id, &[".a.example"]);
    let table = [
        (vec![suffix("1"), exact()], "block exact x.a.example 1"),
        (vec![case("1", &[".example"]), suffix("2")], "block 2 .a.example 1"),
        (vec![case("1", &[".x.a.example"]), exact()], "block exact x.a.example 1"),
        (vec![case("2", &["*.a.example"]), suffix("3")], "block 2 *.a.example 3"),
        (vec![shadow(exact()), suffix("1")], "shadow exact x.a.example 1"),
        (vec![shadow(suffix("1")), suffix("2")], "block 2 .a.example 1"),
        (vec![shadow(refuse(suffix("1"))), suffix("2")], "block 2 .a.example 1"),
        (vec![suffix("1"), refuse(suffix("2"))], "block 2 .a.example 1"),
        (vec![suffix("2"), suffix("10"), suffix("1")], "block 1 .a.example 10,2"),
        (vec![case("1", &["example", "a.example", "*.x.a.example", "y.a.example"])], "allow"),
    ];
    for (cases, expected) in table {
        assert_eq!(judged(&cases, "x.a.example"), expected);
    }
}

#[test]
fn a_case_listed_by_several_patterns_counts_once_with_the_most_specific() {
    let many = case("many", &[".example", "*.a.example", "x.a.example", ".a.example"]);
    assert_eq!(
        judged(&[many.clone(), case("one", &[".example"])], "x.a.example"),
        "block many x.a.example one"
    );
    assert_eq!(judged(std::slice::from_ref(&many), "y.a.example"), "block many .a.example");
    assert_eq!(judged(&[many], "b.example"), "block many .example");
}

#[test]
fn a_request_is_blocked_if_any_of_its_names_is() {
    let cases = [case("a", &[".a.example"]), case("b", &["b.example"])];
    assert_eq!(judged(&cases, "free.example x.a.example"), "block a .a.example");
    assert_eq!(judged(&cases, "x.a.example b.example"), "block b b.example a");
    assert_eq!(judged(&cases, "free.example other.example"), "allow");
    let twice = [case("t", &["b.example", "a.example"])];
    assert_eq!(judged(&twice, "a.example b.example"), "block t a.example");
}

#[test]
fn except_takes_a_name_out_of_its_own_case_only() {
    let spared =
        Case { except: patterns(&["help.a.example", "*.open.a.example"]), ..case("1", &[".a.example"]) };
    let cases = [spared, case("2", &[".example"])];
    assert_eq!(judged(&cases, "help.a.example"), "block 2 .example");
    assert_eq!(judged(&cases, "x.open.a.example"), "block 2 .example");
    assert_eq!(judged(&cases, "open.a.example"), "block 1 .a.example 2");
    assert_eq!(judged(&cases[..1], "help.a.example"), "allow");
    assert_eq!(judged(&cases[..1], "help.a.example a.example"), "block 1 .a.example");
}

#[test]
fn a_case_counts_from_its_start_until_just_before_its_end() {
    let timed =
        [Case { effective: Some(second(10)), expires: Some(second(20)), ..case("1", &["a.example"]) }];
    for (at, expected) in [(9, "allow"), (10, "block 1 a.example"), (19, "block 1 a.example"), (20, "allow")]
    {
        assert_eq!(judged_for(&timed, "a.example", CLIENT, at), expected, "second {at}");
    }
}

#[test]
fn a_territory_limits_a_case_to_the_clients_in_it() {
    let mut case = legal_case("1", &["a.example"]);
    case.legal.as_mut().unwrap().territory = vec!["198.51.100.0/24".parse().unwrap()];
    for (client, expected) in [
        ("198.51.100.1", "block 1 a.example"),
        ("::ffff:198.51.100.1", "block 1 a.example"),
        ("192.0.2.1", "allow"),
        ("2001:db8::1", "allow"),
    ] {
        assert_eq!(judged_for(std::slice::from_ref(&case), "a.example", client, 0), expected, "{client}");
    }
}

#[test]
fn an_exemption_from_one_case_does_not_open_another() {
    let first = exempt(case("1", &["a.example"]), "198.51.100.0/24", Some(10));
    let second = case("2", &[".example"]);
    let both = [first.clone(), second.clone()];
    assert_eq!(judged(&both, "a.example"), "block 2 .example 1");
    assert_eq!(judged(&[first.clone(), shadow(second.clone())], "a.example"), "exempt 1 a.example 2");
    assert_eq!(
        judged(&[first.clone(), exempt(second, "198.51.100.7/32", None)], "a.example"),
        "exempt 1 a.example 2"
    );
    assert_eq!(judged(std::slice::from_ref(&first), "a.example"), "exempt 1 a.example");
    assert_eq!(judged_for(&both, "a.example", CLIENT, 10), "block 1 a.example 2", "exemptions end too");
    assert_eq!(judged_for(&[first], "a.example", "192.0.2.1", 0), "block 1 a.example");
}

#[test]
fn an_origin_is_judged_by_the_longest_network() {
    let closing = |case: Case, networks: &[&str]| Case {
        origins: networks.iter().map(|text| text.parse().unwrap()).collect(),
        ..case
    };
    let wide = closing(case("1", &[]), &["203.0.113.0/24", "2001:db8::/32"]);
    let narrow = closing(refuse(case("2", &[])), &["203.0.113.128/25", "203.0.0.0/16"]);
    let rules = rules(vec![wide, narrow, case("3", &["a.example"])]);
    let judged = |origin: &str, client: &str| {
        let origin: IpAddr = origin.parse().unwrap();
        line(&judge_origin(&rules, origin, client.parse().unwrap(), second(0)))
    };
    assert_eq!(judged("203.0.113.200", CLIENT), "block 2 203.0.113.128/25 1");
    assert_eq!(judged("203.0.113.1", CLIENT), "block 1 203.0.113.0/24 2");
    assert_eq!(judged("::ffff:203.0.113.1", CLIENT), "block 1 203.0.113.0/24 2");
    assert_eq!(judged("203.0.1.1", CLIENT), "block 2 203.0.0.0/16");
    assert_eq!(judged("2001:db8::5", CLIENT), "block 1 2001:db8::/32");
    assert_eq!(judged("192.0.2.1", CLIENT), "allow");
    assert!(rules.has_origins());
}

#[test]
fn the_explanation_is_the_verdict_as_json_and_in_words() {
    let cases = [refuse(case("TS-1", &["a.example"])), shadow(case("TS-2", &[".example"]))];
    let rules = rules(cases.to_vec());
    let explained = |name: &str| {
        let names = [Hostname::parse(name).unwrap()];
        let subject = Subject { names: &names, client: CLIENT.parse().unwrap() };
        let explanation = Explanation::of(&decide(&rules, &subject, second(0)));
        (serde_json::to_string(&explanation).unwrap(), explanation.to_string())
    };
    let (json, text) = explained("a.example");
    assert_eq!(
        json,
        r#"{"verdict":"block","case":"TS-1","matched":"a.example","action":"refuse","status":null,"also":["TS-2"],"candidates":[]}"#
    );
    let expected =
        "block: case TS-1 (terms-of-service, enforce) matched `a.example`; refused without an answer";
    assert_eq!(text, format!("{expected}; also TS-2"));

    let (json, text) = explained("b.example");
    assert_eq!(
        json,
        r#"{"verdict":"shadow","case":"TS-2","matched":".example","action":"page","status":403,"also":[],"candidates":[]}"#
    );
    assert!(
        text.ends_with("recorded and let through; enforced it would be answered with a page, status 403")
    );

    let (json, text) = explained("a.test");
    assert_eq!(
        json,
        r#"{"verdict":"allow","case":null,"matched":null,"action":null,"status":null,"also":[],"candidates":[]}"#
    );
    assert_eq!(text, "allow: no case in force concerns this request");
}
