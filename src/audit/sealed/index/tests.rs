//! What an index says of lines, and what becomes of one that is damaged.

use super::*;
use crate::audit::{facts::Facts, line::Head};

fn line(case: &str, host: &str, time: &str) -> Vec<u8> {
    format!(
        r#"{{"id":"x","seq":1,"time":"{time}","kind":"request.blocked","case":"{case}","host":"{host}","client":"192.0.2.7","revision":3}}"#
    )
    .into_bytes()
}

fn sample() -> SegmentIndex {
    let mut builder = IndexBuilder::new(2, 100);
    builder.line(&line("TS-1", "a.example", "2026-11-20T22:30:01Z"));
    builder.line(&line(r"T\u0053-2", "b.example", "2026-11-20T22:30:00.5Z"));
    builder.line(
        br#"{"id":"x","seq":1,"time":"2026-11-20T22:30:02Z","kind":"edge.stopped","detail":{"case":"no"}}"#,
    );
    builder.line(b"damaged");
    builder.finish(&[[7; 32], [8; 32]])
}

#[test]
fn an_index_says_what_its_lines_hold() {
    let index = sample();
    assert_eq!((index.records, index.end_seq(), index.last_revision), (4, 104, 3));
    assert_eq!(
        index.first_time,
        Some("2026-11-20T22:30:00.5Z".parse().unwrap()),
        "the earliest, not the first"
    );
    assert_eq!(index.last_time, Some("2026-11-20T22:30:02Z".parse().unwrap()));
    assert_eq!(index.kinds, BTreeMap::from([("edge.stopped".into(), 1), ("request.blocked".into(), 2)]));
    for term in [Term::Case("TS-1"), Term::Case("TS-2"), Term::Host("b.example"), Term::Client("192.0.2.7")] {
        assert!(index.may_hold(term), "{term}");
    }
    for term in [Term::Case("no"), Term::Host("TS-1"), Term::Client("192.0.2.8")] {
        assert!(!index.may_hold(term), "{term}");
    }
}

/// A term is not looked up again when it is that of the record before: only when it is exactly that.
#[test]
fn terms_that_look_like_those_of_the_record_before_are_found_as_well() {
    let record = |case: &str, host: &str, client: &str| {
        let times = r#""seq":1,"time":"2026-11-20T22:30:01Z","kind":"request.blocked""#;
        format!(r#"{{"id":"x",{times},"case":"{case}","host":"{host}","client":"{client}"}}"#).into_bytes()
    };
    let records = [
        ("a", "b", "10.0.0.1"),
        ("a", "b", "10.0.0.1"),
        // As one of another kind was, or is.
        ("b", "a", "a"),
        ("ab", "ba", "10.0.0.1a"),
        ("c", "c", "c"),
        // Longer, and shorter.
        ("cc", "c.example", "10.0.0.10"),
        ("c", "example", "10.0.0.1"),
        ("d", "c.example", "10.0.0"),
    ];
    let mut builder = IndexBuilder::new(1, 1);
    records.iter().for_each(|(case, host, client)| builder.line(&record(case, host, client)));
    let index = builder.finish(&[]);
    for (case, host, client) in records {
        for term in [Term::Case(case), Term::Host(host), Term::Client(client)] {
            assert!(index.may_hold(term), "{term}");
        }
    }
    for term in [Term::Case("10.0.0.1"), Term::Host("10.0.0.1"), Term::Host("d"), Term::Client("d")] {
        assert!(!index.may_hold(term), "{term}");
    }
}

/// What is about the same as the record before is read in half. That must not show in the index.
#[test]
fn an_index_is_the_same_whether_its_lines_are_like_the_line_before_or_not() {
    let subjects = [
        r#""kind":"edge.stopped""#,
        r#""kind":"request.blocked","case":"a","host":"a.example","names":["A.example"],"matched":".a.example""#,
        r#""kind":"request.blocked","case":"a","host":"a.example","names":["A.example","b.example"],"matched":"a.example""#,
        r#""kind":"request.blocked","case":"a","host":"a.example""#,
        r#""kind":"request.blocked","case":"a\"","host":"a.example""#,
        r#""kind":"request.shadowed","case":"b","host":"a.example","matched":"a.example""#,
        r#""kind":"request.blocked","matched":5"#,
        r#""kind":"request.blocked","matched":57"#,
        // Client and revision where they never are, and once more behind.
        r#""client":"192.0.2.8","kind":"edge.stopped""#,
        r#""revision":9,"kind":"edge.stopped""#,
    ];
    let rests = [
        "",
        r#","path":"/","client":"192.0.2.1","revision":7"#,
        r#","path":"/","client":"192.0.2.2","revision":5"#,
        r#","client":"192.0.2.1","matched":"c.example","revision":9"#,
        r#","names":["c.example"],"client":"192.0.2.3""#,
        r#","case":"late","host":"late.example","kind":"late""#,
        r#","o":{"case":"no"},"client":"192.0.2.4","x"#,
        r#"x,"client":"192.0.2.5""#,
    ];
    let texts: Vec<String> =
        subjects.iter().flat_map(|subject| rests.map(|rest| format!("{subject}{rest}"))).collect();
    let line = |seq: u64, text: &str| {
        let id = format!("019a9f5c-2f6b-7002-8000-{seq:012x}");
        format!(r#"{{"id":"{id}","seq":{seq},"time":"2026-11-20T22:30:0{seq}.000000Z","edge":"e",{text}}}"#)
            .into_bytes()
    };
    let like = |builder: &mut IndexBuilder, line: &[u8]| builder.line(line);
    let whole = |builder: &mut IndexBuilder, line: &[u8]| {
        let head = Head::parse(line).unwrap();
        builder.record(&head, &Facts::of(&head), line.len() as u64);
    };
    for first in &texts {
        for second in &texts {
            let lines = [line(1, first), line(2, second), line(3, first)];
            let of = |take: &dyn Fn(&mut IndexBuilder, &[u8])| {
                let mut builder = IndexBuilder::new(1, 1);
                lines.iter().for_each(|line| take(&mut builder, line));
                builder.finish(&[])
            };
            assert_eq!(of(&like), of(&whole), "{first} / {second}");
        }
    }
    // And it is taken, or this tells nothing.
    let (mut builder, text) = (IndexBuilder::new(1, 1), format!("{}{}", subjects[1], rests[1]));
    let other = format!("{}{}", subjects[1], rests[2]);
    builder.line(&line(1, &text));
    assert!(builder.take_alike(&Head::parse(&line(2, &other)).unwrap(), 1));
    assert!(!builder.take_alike(&Head::parse(&line(3, &text.replace("a.example", "b.example"))).unwrap(), 1));
}

#[test]
fn times_of_our_own_records_are_the_earliest_and_the_latest_in_whatever_order() {
    let mut builder = IndexBuilder::new(1, 1);
    for (seq, second) in [(1, 5), (2, 7), (3, 3), (4, 6)] {
        let line = format!(
            r#"{{"id":"019a9f5c-2f6b-7002-8000-000000000001","seq":{seq},"time":"2026-11-20T22:30:0{second}.000000Z","edge":"ams-1","kind":"edge.stopped"}}"#
        );
        assert!(Head::parse(line.as_bytes()).is_some());
        builder.line(line.as_bytes());
    }
    let index = builder.finish(&[]);
    let at = |second| Some(format!("2026-11-20T22:30:0{second}Z").parse().unwrap());
    assert_eq!((index.first_time, index.last_time), (at(3), at(7)));
}

#[test]
fn times_outside_are_certain() {
    let index = sample();
    let at = |text: &str| Some(format!("2026-11-20T22:30:{text}Z").parse().unwrap());
    for (since, until, expected) in [
        (None, None, true),
        (at("02"), None, true),
        (at("02.000001"), None, false),
        (None, at("00.5"), false),
        (None, at("00.500001"), true),
        (at("01"), at("01"), true),
    ] {
        assert_eq!(index.may_hold_time(since, until), expected, "{since:?} {until:?}");
    }
    assert!(!IndexBuilder::new(1, 1).finish(&[]).may_hold_time(None, None), "an empty segment holds nothing");
}

#[test]
fn an_index_is_read_back_and_damage_is_an_error() {
    let index = sample();
    let bytes = index.to_bytes();
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(SegmentIndex::parse(&bytes).unwrap(), index);
    for cut in 0..bytes.len() - 1 {
        assert!(SegmentIndex::parse(&bytes[..cut]).is_err(), "{cut}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let newer = text.replacen("\"version\":2", "\"version\":3,\"more\":0", 1);
    assert!(matches!(SegmentIndex::parse(newer.as_bytes()), Err(IndexError::Version(3))));
    let short = text.replacen(&STANDARD.encode([7; 32]), &STANDARD.encode([7; 31]), 1);
    assert!(SegmentIndex::parse(short.as_bytes()).unwrap_err().to_string().contains("32 bytes"));
}

const NAMED: &[u8] = br#"{"id":"019a9f5c-2f6b-7002-8000-000000000001","seq":1,"time":"2026-11-20T22:30:01.000000Z","edge":"ams-1","kind":"request.blocked","case":"TS-1","host":"any.example","names":["ANY.example:8443","Forum.Example."],"matched":"third.example","client":"192.0.2.7"}"#;

fn named(line: &[u8]) -> IndexBuilder {
    let mut builder = IndexBuilder::new(1, 1);
    builder.line(line);
    builder.line(line);
    builder
}

#[test]
fn every_host_that_a_record_names_is_in_the_index_and_no_pattern() {
    // The same in another form than ours, whose JSON says the same.
    let foreign = String::from_utf8(NAMED.to_vec()).unwrap().replacen("{\"id\"", "{ \"id\"", 1);
    assert!(Head::parse(NAMED).is_some() && Head::parse(foreign.as_bytes()).is_none());
    for line in [NAMED, foreign.as_bytes()] {
        let index = named(line).finish(&[]);
        for host in ["any.example", "forum.example", "third.example"] {
            assert!(index.may_hold(Term::Host(host)), "{host}");
        }
        for host in ["ANY.example:8443", "Forum.Example.", "other.example"] {
            assert!(!index.may_hold(Term::Host(host)), "{host}");
        }
    }
    let pattern = String::from_utf8(NAMED.to_vec()).unwrap().replacen("third.", ".third.", 1);
    let index = named(pattern.as_bytes()).finish(&[]);
    assert!(!index.may_hold(Term::Host("third.example")) && !index.may_hold(Term::Host(".third.example")));
}

#[test]
fn names_that_change_while_the_host_does_not_are_all_in_and_none_hides_the_next() {
    let mut builder = IndexBuilder::new(1, 1);
    let hosts = [
        ("a.example", "b.example"),
        ("a.example", "c.example"),
        ("c.example", "c.example"),
        ("d.example", "a.example"),
    ];
    for (host, sni) in hosts {
        let text = String::from_utf8(NAMED.to_vec()).unwrap();
        let text =
            text.replace("any.example", host).replace("Forum.Example.", sni).replace("third.example", host);
        builder.line(text.as_bytes());
    }
    let index = builder.finish(&[]);
    for host in ["a.example", "b.example", "c.example", "d.example"] {
        assert!(index.may_hold(Term::Host(host)), "{host}");
    }
}

#[test]
fn an_index_of_the_first_version_rules_no_host_out_and_is_told_from_a_changed_one() {
    let old = named(NAMED).finish_as(1, &[]);
    let bytes = old.to_bytes();
    assert!(bytes.starts_with(b"{\"version\":1,"));
    let old = SegmentIndex::parse(&bytes).unwrap();
    assert_eq!(old.to_bytes(), bytes);
    for host in ["any.example", "forum.example", "other.example"] {
        assert!(old.may_hold(Term::Host(host)), "it does not have all hosts: {host}");
    }
    assert!(old.may_hold(Term::Case("TS-1")) && !old.may_hold(Term::Case("TS-2")));
    assert_eq!(named(NAMED).finish_like(&old), old);
    let new = named(NAMED).finish(&[]);
    assert_eq!(named(NAMED).finish_like(&new), new);
    assert_ne!(new.filter, old.filter);
}
