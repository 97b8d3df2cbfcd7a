//! A query holds for a line exactly when its fields say so.

use jiff::Timestamp;

use super::super::super::IndexBuilder;
use super::*;

fn line(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut line =
        br#"{"id":"01930000-0000-7000-8000-000000000000","seq":7,"time":"2026-11-20T22:30:00.000042Z""#
            .to_vec();
    for (name, text) in fields {
        line.extend_from_slice(format!(",\"{name}\":").as_bytes());
        write_ours(&mut line, text, 1000);
    }
    line.push(b'}');
    line
}

fn record() -> Vec<u8> {
    line(&[
        ("kind", "request.blocked"),
        ("case", "TS-1"),
        ("host", "a.example"),
        ("client", "2001:db8::1"),
        ("path", "/\"case\":\"TS-2\""),
    ])
}

fn judge(query: &Query, line: &[u8]) -> Verdict {
    query.matcher().judge(line)
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn each_condition_is_compared_whole() {
    let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    for (query, found) in [
        (Query::default(), true),
        (Query { case: text("TS-1"), ..Query::default() }, true),
        (Query { case: text("TS-"), ..Query::default() }, false),
        (Query { case: text("TS-2"), ..Query::default() }, false),
        (Query { host: text("a.example"), case: text("TS-1"), ..Query::default() }, true),
        (Query { host: text("example"), ..Query::default() }, false),
        (Query { host: text("a.example"), case: text("TS-3"), ..Query::default() }, false),
        (Query { client: text("2001:db8::1"), ..Query::default() }, true),
        (Query { client: text("2001:db8::"), ..Query::default() }, false),
        (Query { kinds: vec![Kind::RequestBlocked], ..Query::default() }, true),
        (Query { kinds: vec![Kind::AuditGap, Kind::RequestBlocked], ..Query::default() }, true),
        (Query { kinds: vec![Kind::AuditGap, Kind::EdgeStarted], ..Query::default() }, false),
        (Query { id: "01930000-0000-7000-8000-000000000000".parse().ok(), ..Query::default() }, true),
        (Query { id: "01930000-0000-7000-8000-000000000001".parse().ok(), ..Query::default() }, false),
        (Query { since: time("2026-11-20T22:30:00.000042Z"), ..Query::default() }, true),
        (Query { since: time("2026-11-20T22:30:00.000043Z"), ..Query::default() }, false),
        (Query { until: time("2026-11-20T22:30:00.000042Z"), ..Query::default() }, false),
        (Query { until: time("2026-11-20T23:30:00.000043+01:00"), ..Query::default() }, true),
    ] {
        assert_eq!(judge(&query, &record()) == Verdict::Found, found, "{query:?}");
        assert_eq!(query.filter(std::iter::once(record())).count(), usize::from(found));
    }
}

#[test]
fn a_field_of_the_detail_is_not_the_records_own() {
    let gap = br#"{"id":"01930000-0000-7000-8000-000000000000","seq":7,"time":"2026-11-20T22:30:00Z","kind":"audit.gap","counts":[{"case":"TS-1"}]}"#;
    assert_eq!(judge(&Query { case: text("TS-1"), ..Query::default() }, gap), Verdict::Other);
}

#[test]
fn texts_that_are_escaped_in_a_record_are_found() {
    for host in ["a\"b", "a\\b", "a\u{202e}b", "bücher", "a\nb", ""] {
        let line = line(&[("kind", "request.blocked"), ("host", host)]);
        assert_eq!(judge(&Query { host: text(host), ..Query::default() }, &line), Verdict::Found, "{host:?}");
    }
}

#[test]
fn a_line_that_may_be_it_and_is_no_record_is_told() {
    let query = Query { case: text("TS-1"), ..Query::default() };
    assert_eq!(judge(&query, b"\"case\":\"TS-1\""), Verdict::Damaged);
    assert_eq!(judge(&query, b"anything"), Verdict::Other);
}

#[test]
fn an_index_rules_a_segment_out_only_when_nothing_is_there() {
    let mut builder = IndexBuilder::new(1, 7);
    builder.line(&record());
    let index = builder.finish(&[]);
    let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    for (query, may) in [
        (Query::default(), true),
        (Query { case: text("TS-1"), host: text("a.example"), ..Query::default() }, true),
        (Query { case: text("TS-2"), ..Query::default() }, false),
        (Query { case: text("TS-1"), client: text("192.0.2.1"), ..Query::default() }, false),
        (Query { kinds: vec![Kind::AuditGap, Kind::RequestBlocked], ..Query::default() }, true),
        (Query { kinds: vec![Kind::AuditGap], ..Query::default() }, false),
        (Query { until: time("2026-11-20T22:30:00Z"), ..Query::default() }, false),
        (Query { since: time("2026-11-20T22:30:00Z"), ..Query::default() }, true),
    ] {
        assert_eq!(query.may_be_in(&index), may, "{query:?}");
    }
    let of = |id: &str| Query { id: Some(id.parse().unwrap()), ..Query::default() };
    assert!(!of("01930000-0000-7000-8000-000000000000").likely_in(&index));
    // The first 48 bits of an id are the millisecond it was given at.
    let millis = 1_795_213_800_000_u64;
    let id = format!("{:08x}-{:04x}-7000-8000-000000000000", millis >> 16, millis & 0xffff);
    assert!(of(&id).likely_in(&index));
}

const NAMED: &[u8] = br#"{"id":"01930000-0000-7000-8000-000000000000","seq":7,"time":"2026-11-20T22:30:00.000042Z","edge":"e","kind":"handshake.refused","case":"TS-1","host":"any.example","names":["Any.Example:443","FORUM.example."],"matched":"third.example","path":"/\"names\":[\"path.example\"]","user_agent":"\"host\":\"agent.example\""}"#;

#[test]
fn a_record_is_found_by_every_host_it_names() {
    let of = |host: &str| judge(&Query { host: text(host), ..Query::default() }, NAMED);
    for host in ["any.example", "forum.example", "third.example"] {
        assert_eq!(of(host), Verdict::Found, "{host}");
    }
    for host in
        ["example", "orum.example", "path.example", "agent.example", "any.example:443", "FORUM.example."]
    {
        assert_eq!(of(host), Verdict::Other, "{host}");
    }
    let pattern = String::from_utf8(NAMED.to_vec()).unwrap().replace("third.example", "*.third.example");
    for host in ["third.example", "*.third.example", "a.third.example"] {
        let query = Query { host: text(host), ..Query::default() };
        assert_eq!(judge(&query, pattern.as_bytes()), Verdict::Other, "a pattern names no host: {host}");
    }
}

#[test]
fn a_list_that_a_kind_adds_is_not_the_records_names() {
    let line = br#"{"id":"01930000-0000-7000-8000-000000000000","seq":7,"time":"2026-11-20T22:30:00Z","kind":"policy.rejected","replaces":{"names":["a.example"]}}"#;
    assert_eq!(judge(&Query { host: text("a.example"), ..Query::default() }, line), Verdict::Other);
}
