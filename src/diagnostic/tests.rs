//! Tests of diagnostics.

use super::*;

fn sample() -> Diagnostic {
    Diagnostic::error("cases/a.toml", "unknown key `hots`").at(12, 9).with_text("hots")
}

#[test]
fn a_diagnostic_is_one_line_and_its_hint_a_second() {
    assert_eq!(sample().to_string(), "cases/a.toml:12:9: error: unknown key `hots`");
    assert_eq!(
        sample().with_hint("did you mean `hosts`?").to_string(),
        "cases/a.toml:12:9: error: unknown key `hots`\n  hint: did you mean `hosts`?"
    );
}

#[test]
fn an_excerpt_never_acts_on_a_terminal() {
    assert_eq!(excerpt("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    assert_eq!(excerpt("a\u{202e}b"), "a\\u{202e}b");
    assert_eq!(excerpt("it's \"so\""), "it's \"so\"");
    assert_eq!(excerpt("bücher.example"), "bücher.example");
}

#[test]
fn a_long_text_is_cut() {
    let cut = excerpt(&"x".repeat(1000));
    assert_eq!(cut.chars().count(), limits::EXCERPT_CHARS + 1);
    assert!(cut.ends_with('…'));
}

#[test]
fn the_nearest_word_is_found_and_a_far_one_is_not() {
    let known = ["hosts", "host_lists", "statement"];
    assert_eq!(nearest("hots", known), Some("hosts"));
    assert_eq!(nearest("Host-Lists", known), Some("host_lists"));
    assert_eq!(nearest("banana", known), None);
    assert_eq!(nearest(&"h".repeat(1_000_000), known), None);
}

#[test]
fn too_many_findings_are_counted_and_not_kept() {
    let mut all = Diagnostics::new();
    for _ in 0..390_000 {
        all.push_with(Severity::Error, sample);
    }
    all.push(Diagnostic::warning("cases/b.toml", "odd"));
    assert_eq!(all.error_count(), 390_000);
    assert_eq!(all.errors().len(), limits::DIAGNOSTICS_KEPT);
    assert_eq!(all.warnings().len(), 1, "errors do not crowd out warnings");
    assert!(all.to_string().ends_with("and 389000 more errors"));

    let mut joined = Diagnostics::from(sample());
    joined.extend(all);
    assert_eq!(joined.error_count(), 390_001);
    assert_eq!(joined.errors().len(), limits::DIAGNOSTICS_KEPT);
}

#[test]
fn sorted_means_file_then_line_then_column() {
    let mut all = Diagnostics::new();
    all.push(Diagnostic::error("b", "3").at(1, 1));
    all.push(Diagnostic::error("a", "2").at(10, 1));
    all.push(Diagnostic::error("a", "1").at(2, 5));
    let order: Vec<_> = all.sorted().errors().map(|d| d.message.clone()).collect();
    assert_eq!(order, ["1", "2", "3"]);
}

#[test]
fn findings_serialize_with_exact_counts() {
    let json = serde_json::to_value(Diagnostics::from(sample())).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"errors": 1, "warnings": 0, "items": [{
            "severity": "error", "file": "cases/a.toml", "line": 12, "column": 9,
            "text": "hots", "message": "unknown key `hots`"
        }]})
    );
}
