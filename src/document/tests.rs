//! Tests of reading documents.

use std::time::Duration;

use super::*;
use crate::diagnostic::Diagnostics;

fn findings(text: &str, take: impl FnOnce(&Table<'_>)) -> Diagnostics {
    let (_, found) = read("a.toml", text.as_bytes(), |top| {
        take(top);
        Some(())
    });
    found
}

fn places(found: &Diagnostics) -> Vec<(u32, u32, String)> {
    found.errors().map(|error| (error.line, error.column, error.text.clone())).collect()
}

#[test]
fn a_column_counts_characters_and_not_bytes() {
    let found = findings("# ünïcödé\nlist = [\"ü\", 1]\n", |top| {
        assert_eq!(top.optional("list").unwrap().strings(10).len(), 1);
    });
    assert_eq!(places(&found), [(2, 14, "1".to_owned())]);
}

#[test]
fn the_value_comes_out_only_when_nothing_was_wrong() {
    let (value, found) = read("a.toml", b"a = 1\nb = 2\n", |top| top.optional("a")?.integer(0..=9));
    assert_eq!(value, None, "`b` is unknown");
    assert_eq!(found.error_count(), 1);
    let (value, found) = read("a.toml", b"a = 1\n", |top| top.optional("a")?.integer(0..=9));
    assert_eq!(value, Some(1));
    assert!(found.is_empty());
}

#[test]
fn moments_keep_their_offset_and_need_one() {
    let text = "a = 2026-11-20T23:15:00+01:00\nb = 2026-11-20 22:15:00.5Z\nc = 2026-11-20T22:15:00\n";
    let found = findings(text, |top| {
        let moment = |key| top.optional(key).unwrap().timestamp();
        assert_eq!(moment("a"), "2026-11-20T22:15:00Z".parse().ok());
        assert_eq!(moment("b"), "2026-11-20T22:15:00.5Z".parse().ok());
        assert_eq!(moment("c"), None);
    });
    let error = found.errors().next().unwrap();
    assert_eq!(error.hint.as_deref(), Some("add `Z` for UTC, or an offset: `2026-11-20T22:15:00Z`"));
}

#[test]
fn durations_have_units_and_bounds() {
    let range = Duration::from_millis(10)..=Duration::from_secs(3600);
    let read_one = |text: &str| {
        let text = format!("a = \"{text}\"");
        read("a.toml", text.as_bytes(), |top| top.optional("a")?.duration(range.clone())).0
    };
    assert_eq!(read_one("10001us"), Some(Duration::from_micros(10_001)));
    assert_eq!(read_one("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(read_one("10s"), Some(Duration::from_secs(10)));
    assert_eq!(read_one("5m"), Some(Duration::from_secs(300)));
    assert_eq!(read_one("1h"), Some(Duration::from_secs(3600)));
    for wrong in [
        "9ms",
        "2h",
        "9999us",
        "10",
        "s",
        "",
        "1 s",
        "-1s",
        "1.5s",
        "99999999999999999999s",
        "9999999999999999999h",
    ] {
        assert_eq!(read_one(wrong), None, "{wrong}");
    }
}

#[test]
fn a_bare_address_is_a_network_of_one() {
    let found = findings("a = [\"192.0.2.1\", \"2001:db8::/32\", \"192.0.2.1/24\"]", |top| {
        let networks = top.optional("a").unwrap().networks(10);
        let written: Vec<_> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(written, ["192.0.2.1/32", "2001:db8::/32"]);
    });
    let hint = found.errors().next().unwrap().hint.clone().unwrap();
    assert_eq!(hint, "write `192.0.2.0/24`, or `192.0.2.1` for this address alone");
}

#[test]
fn a_list_has_a_bound() {
    let found = findings("a = [\"x\", \"x\", \"x\"]", |top| {
        assert!(top.optional("a").unwrap().strings(2).is_empty());
    });
    assert_eq!(found.error_count(), 1);
}

#[test]
fn integers_are_taken_in_every_notation_and_within_bounds() {
    let found = findings("a = 0x4000\nb = 1_000\nc = -1\nd = 99999999999999999999999\n", |top| {
        let number = |key| top.optional(key).unwrap().integer(0..=100_000);
        assert_eq!(number("a"), Some(0x4000));
        assert_eq!(number("b"), Some(1000));
        assert_eq!((number("c"), number("d")), (None, None));
    });
    assert_eq!(places(&found).len(), 2);
}
