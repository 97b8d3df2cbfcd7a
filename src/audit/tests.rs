use std::{fs, io::Write, net::IpAddr, path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{faults::Steps, *};

/// The smallest segments, so that a few records rotate.
pub(super) fn options(directory: &Path) -> Options {
    Options {
        segment_bytes: MIN_SEGMENT_BYTES,
        client: ClientPrivacy::Full,
        ..Options::new(directory, "ams-1")
    }
}

/// A blocked request for `path` under `case`.
pub(super) fn blocked<T>(case: &str, path: &[u8], then: impl FnOnce(&Event<'_>) -> T) -> T {
    then(&Event {
        kind: Kind::RequestBlocked,
        revision: 7,
        enforcement: Some(Enforcement {
            case,
            customer: "cust-20931",
            basis: "imminent-threat",
            action: "page",
            status: Some(403),
            matched: ".forum.example",
            also: &["TS-9"],
        }),
        request: Some(RequestFacts {
            host: "forum.example",
            names: &[b"FORUM.example."],
            method: "GET",
            path,
            client: IpAddr::from([192, 0, 2, 1]),
            listener: "127.0.0.1:8080",
            protocol: "HTTP/1.1",
            tls: None,
            user_agent: Some(b"curl/8.5.0"),
            upstream: None,
        }),
        detail: None,
    })
}

fn opened(directory: &Path) -> (Audit, Recovery, Arc<Steps>) {
    let clock = Steps::of_millis(1);
    let (audit, recovery) = Audit::open(options(directory), Arc::clone(&clock) as _).unwrap();
    (audit, recovery, clock)
}

fn segment(directory: &Path, first: u64) -> std::path::PathBuf {
    directory.join(format!("segments/{first:020}.jsonl"))
}

fn record_some(audit: &Audit, count: u64) {
    for _ in 0..count {
        assert!(blocked("TS-1", b"/", |event| audit.record(event)).is_recorded());
    }
}

#[test]
fn a_record_has_its_fields_in_the_documented_order() {
    let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
    let now: Timestamp = "2026-11-20T22:30:00.0000425Z".parse().unwrap();
    let line = blocked("TS-1", b"/a?token=secret#x", |event| line_of(event, "ams-1", id, 42, now));
    assert_eq!(
        String::from_utf8(line).unwrap(),
        concat!(
            r#"{"id":"01930000-0000-7000-8000-000000000000","seq":42,"time":"2026-11-20T22:30:00.000042Z","#,
            r#""edge":"ams-1","kind":"request.blocked","case":"TS-1","customer":"cust-20931","#,
            r#""basis":"imminent-threat","action":"page","status":403,"host":"forum.example","#,
            r#""names":["FORUM.example."],"matched":".forum.example","method":"GET","path":"/a","#,
            r#""client":"192.0.2.1","listener":"127.0.0.1:8080","protocol":"HTTP/1.1","#,
            r#""user_agent":"curl/8.5.0","revision":7,"also":["TS-9"]}"#,
            "\n"
        )
    );
}

#[test]
fn queries_and_credentials_never_get_in() {
    for (target, expected) in [
        (&b"/a?b"[..], Some("/a")),
        (b"/a#b", Some("/a")),
        (b"http://user:secret@forum.example/a/b?c", Some("/a/b")),
        (b"http://user:secret@forum.example", None),
        (b"/a://b", Some("/a://b")),
        (b"*", Some("*")),
        (b"?secret", None),
    ] {
        let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
        let line = blocked("TS-1", target, |event| line_of(event, "e", id, 1, Timestamp::UNIX_EPOCH));
        let fields: Map<String, Value> = serde_json::from_slice(&line).unwrap();
        assert_eq!(fields.get("path").and_then(Value::as_str), expected);
        assert!(!String::from_utf8(line).unwrap().contains("secret"));
    }
}

#[test]
fn a_detail_is_flat_bounded_and_takes_no_key_of_ours() {
    let errors: Vec<Value> =
        (0..5000).map(|number| json!(format!("cases/{number}.toml: \u{2028} bad"))).collect();
    let detail = json!({"digest": "ab", "cases": 3, "id": "mine", "a_nested": {"a": [1, null, true]}, "zeros": 0, "errors": errors});
    let event = Event {
        kind: Kind::PolicyRejected,
        revision: 0,
        enforcement: None,
        request: None,
        detail: detail.as_object(),
    };
    let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
    let line = line_of(&event, "ams-1", id, 1, Timestamp::UNIX_EPOCH);
    let fields: Map<String, Value> = serde_json::from_slice(&line).unwrap();
    assert_eq!(fields["digest"], "ab");
    assert_eq!(fields["_id"], "mine");
    assert_eq!(fields["zeros"], 0);
    assert_eq!(fields["a_nested"], json!({"a": [1, null, true]}));
    assert_eq!(fields["truncated"], true);
    assert_eq!(fields["errors"][0], "cases/0.toml: \u{2028} bad");
    assert!(line.len() < 26 * 1024 && fields["errors"].as_array().unwrap().len() > 100);
    assert!(!fields.contains_key("revision"));
}

#[test]
fn records_go_on_where_the_last_process_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, recovery, _) = opened(directory.path());
    assert_eq!(recovery, Recovery::default());
    record_some(&audit, 300);
    audit.close().unwrap();
    drop(audit);
    let (audit, recovery, _) = opened(directory.path());
    assert_eq!((recovery.last_seq, recovery.last_revision, recovery.torn_bytes), (300, 7, 0));
    assert!(recovery.segments > 1 && recovery.problems.is_empty() && recovery.last_time.is_some());
    record_some(&audit, 10);
    drop(audit); // As if killed.
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.records, checked.first_seq, checked.last_seq, checked.decided), (310, 1, 310, 310));
}

#[test]
fn a_second_process_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let (_audit, _, _) = opened(directory.path());
    let error = Audit::open(options(directory.path()), Steps::of_millis(1)).err().unwrap();
    assert!(error.to_string().contains("in use by process"), "{error}");
}

#[test]
fn a_tail_torn_at_any_byte_is_set_aside_and_the_log_goes_on() {
    let full = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(full.path());
    record_some(&audit, 3);
    audit.close().unwrap();
    let bytes = fs::read(segment(full.path(), 1)).unwrap();
    let second = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
    for end in second..bytes.len() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("segments")).unwrap();
        fs::write(segment(directory.path(), 1), &bytes[..end]).unwrap();
        let (audit, recovery, _) = opened(directory.path());
        assert_eq!((recovery.last_seq, recovery.torn_bytes), (2, (end - second) as u64));
        assert_eq!(recovery.problems, []);
        record_some(&audit, 1);
        audit.close().unwrap();
        assert_eq!(check(directory.path()).unwrap().last_seq, 3);
        let aside: Vec<_> =
            fs::read_dir(directory.path().join("torn")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(aside.len(), usize::from(end > second));
        aside.iter().for_each(|path| assert_eq!(fs::read(path).unwrap(), &bytes[second..end]));
    }
}

#[test]
fn damage_is_located_never_repaired_and_the_log_goes_on_after_it() {
    for last in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (audit, _, _) = opened(directory.path());
        record_some(&audit, 4);
        audit.close().unwrap();
        drop(audit);
        let path = segment(directory.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        let line = bytes.len() / 4;
        let offset = if last { 3 * line } else { line };
        bytes[offset + 2] = b'!';
        fs::write(&path, &bytes).unwrap();
        let (audit, recovery, _) = opened(directory.path());
        let problem = Problem::Damaged { segment: 1, offset: offset as u64 };
        assert_eq!((recovery.last_seq, &recovery.problems), (4, &vec![problem.clone()]));
        record_some(&audit, 1);
        audit.close().unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "damaged segments stay as they are");
        assert!(segment(directory.path(), 5).exists());
        match check(directory.path()) {
            Err(CheckError::Problems(problems)) => assert_eq!(problems, [problem]),
            other => panic!("{other:?}"),
        }
        let mut out = Vec::new();
        assert_eq!(export(directory.path(), &mut out).unwrap().len(), 1);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 4);
    }
}

#[test]
fn a_missing_segment_is_reported_by_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    record_some(&audit, 600);
    audit.close().unwrap();
    drop(audit);
    let firsts = super::disk::segments(directory.path()).unwrap();
    fs::remove_file(segment(directory.path(), firsts[1])).unwrap();
    let (audit, recovery, _) = opened(directory.path());
    assert_eq!(recovery.problems, [Problem::Missing { expected: firsts[1], found: firsts[2] }]);
    record_some(&audit, 1);
    audit.close().unwrap();
    let Err(CheckError::Problems(problems)) = check(directory.path()) else { panic!("a hole was not seen") };
    assert_eq!(
        problems,
        [Problem::Hole { segment: firsts[2], offset: 0, expected: firsts[1], found: firsts[2] }]
    );
}

#[test]
fn an_empty_last_segment_is_used() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let (audit, recovery, _) = opened(directory.path());
        assert_eq!((recovery.last_seq, recovery.problems), (0, vec![]));
        drop(audit);
    }
    let (audit, _, _) = opened(directory.path());
    record_some(&audit, 1);
    assert_eq!(super::disk::segments(directory.path()).unwrap(), [1]);
    assert_eq!(check(directory.path()).unwrap().records, 1);
}

#[test]
fn a_segment_deleted_or_replaced_under_us_is_put_back() {
    for replace in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (audit, _, clock) = opened(directory.path());
        record_some(&audit, 3);
        fs::remove_file(segment(directory.path(), 1)).unwrap();
        if replace {
            fs::write(segment(directory.path(), 1), "not ours\n").unwrap();
        }
        record_some(&audit, 2);
        clock.go(SignedDuration::from_secs(2));
        record_some(&audit, 1);
        assert_eq!(audit.counters().disturbed, 1);
        audit.close().unwrap();
        assert_eq!(check(directory.path()).unwrap().records, 6);
        assert_eq!(fs::read_dir(directory.path().join("torn")).unwrap().count(), usize::from(replace));
    }
}

#[test]
fn a_directory_taken_away_is_made_anew_with_what_is_still_open() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("audit");
    let (audit, _, _) = opened(&inner);
    record_some(&audit, 3);
    fs::remove_dir_all(&inner).unwrap();
    audit.retry();
    record_some(&audit, 3);
    assert!(Audit::open(options(&inner), Steps::of_millis(1)).is_err(), "the lock is ours again");
    audit.close().unwrap();
    assert_eq!(check(&inner).unwrap().records, 6);
}

#[test]
fn a_segment_that_somebody_else_cut_is_left_and_the_loss_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    record_some(&audit, 3);
    fs::File::options().write(true).open(segment(directory.path(), 1)).unwrap().set_len(0).unwrap();
    audit.retry();
    record_some(&audit, 1);
    audit.close().unwrap();
    assert!(check(directory.path()).is_err());
    assert_eq!(super::disk::segments(directory.path()).unwrap(), [1, 4]);
}

#[test]
fn a_line_larger_than_a_segment_gets_one_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    let (path, list) = ([1; 4096], vec!["\u{1}".repeat(4000); 9]);
    let detail = json!({ "list": list });
    let names = [&path[..]; 8];
    let large = |event: &Event<'_>| {
        let request = event.request.map(|request| RequestFacts { names: &names, ..request });
        audit.record(&Event { detail: detail.as_object(), request, ..*event })
    };
    assert!(blocked("TS-1", &path, large).is_recorded());
    record_some(&audit, 1);
    assert!(blocked("TS-1", &path, large).is_recorded());
    audit.close().unwrap();
    assert_eq!(check(directory.path()).unwrap().records, 3);
    assert!(super::disk::segments(directory.path()).unwrap().len() > 1);
}

#[test]
fn a_closed_log_counts_what_still_comes() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    record_some(&audit, 1);
    audit.close().unwrap();
    audit.close().unwrap();
    assert!(!blocked("TS-1", b"/", |event| audit.record(event)).is_recorded());
    let counters = audit.counters();
    assert_eq!((counters.decided, counters.durable, counters.gap), (2, 1, 1));
}

#[test]
fn a_tail_shows_the_last_records_and_follows_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    record_some(&audit, 400);
    for last in [0, 1, 7, 150, 399, 400, 9999] {
        let mut tail = Tail::open(directory.path(), last).unwrap();
        let mut seen = Vec::new();
        while let Some(item) = tail.next_record().unwrap() {
            seen.push(item.unwrap().seq);
        }
        let from = 400u64.saturating_sub(last as u64) + 1;
        assert_eq!(seen, (from..=400).collect::<Vec<_>>());
    }
    let mut tail = Tail::open(directory.path(), 1).unwrap();
    let mut seen = Vec::new();
    for _ in 0..40 {
        while let Some(item) = tail.next_record().unwrap() {
            seen.push(item.unwrap().seq);
        }
        record_some(&audit, 17);
    }
    assert_eq!(seen, (400..=400 + 39 * 17).collect::<Vec<_>>());
}

#[test]
fn a_reader_waits_for_the_end_of_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    record_some(&audit, 1);
    let path = segment(directory.path(), 1);
    let mut tail = Tail::open(directory.path(), 10).unwrap();
    assert!(tail.next_record().unwrap().is_some());
    fs::File::options().append(true).open(&path).unwrap().write_all(b"{\"half").unwrap();
    assert!(tail.next_record().unwrap().is_none());
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.records, checked.unacknowledged_bytes), (1, 6));
    // The writer overwrites what is not acknowledged.
    record_some(&audit, 1);
    assert_eq!(tail.next_record().unwrap().unwrap().unwrap().seq, 2);
}

#[test]
fn many_threads_get_one_sequence() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    let audit = Arc::new(audit);
    let receipts: Vec<Vec<Receipt>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let audit = &audit;
                scope.spawn(move || {
                    let case = format!("TS-{number}");
                    (0..500).map(|_| blocked(&case, b"/", |event| audit.record(event))).collect()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    audit.close().unwrap();
    assert_eq!(check(directory.path()).unwrap().records, 4000);
    let mut all: Vec<_> =
        receipts.concat().iter().map(|receipt| (receipt.seq().unwrap(), receipt.id())).collect();
    all.sort_unstable();
    let logged = records(directory.path()).unwrap().map(|item| item.unwrap().unwrap());
    assert!(logged.map(|record| (record.seq, record.id)).eq(all.iter().copied()));
    assert!(all.is_sorted_by_key(|(_, id)| *id), "ids grow with `seq`");
    assert!(receipts.iter().all(|own| own.is_sorted_by_key(Receipt::seq)));
}

proptest! {
    #[test]
    fn one_event_is_one_bounded_line_whatever_is_in_it(
        texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 12),
        repeat in 1..40usize,
        words in proptest::collection::vec(any::<String>(), 6),
        upper: bool,
    ) {
        let long: Vec<Vec<u8>> = texts.iter().map(|text| if upper { vec![0x01; 64 * 1024] } else { text.repeat(repeat) }).collect();
        let names: Vec<&[u8]> = long.iter().map(Vec::as_slice).collect();
        let words: Vec<String> = words.iter().map(|word| if upper { "\u{1}".repeat(70_000) } else { word.repeat(repeat) }).collect();
        let also: Vec<&str> = words.iter().map(String::as_str).cycle().take(100).collect();
        let detail = json!({&words[0]: &words[1], "list": &words, "deep": [[[[[[[[[[1]]]]]]]]]]});
        let event = Event {
            kind: Kind::UpstreamRefused,
            revision: u64::MAX,
            enforcement: Some(Enforcement {
                case: &words[0], customer: &words[1], basis: &words[2], action: &words[3],
                status: Some(u16::MAX), matched: &words[4], also: &also,
            }),
            request: Some(RequestFacts {
                host: &words[5], names: &names, method: &words[0], path: &long[0],
                client: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(), listener: &words[1],
                protocol: &words[2], tls: Some(&words[3]), user_agent: Some(&long[1]),
                upstream: Some("[2001:db8::1]:65535".parse().unwrap()),
            }),
            detail: detail.as_object(),
        };
        let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
        let line = line_of(&event, &words[5], id, u64::MAX / 2 - 1, Timestamp::MAX);
        prop_assert!(line.len() <= super::record::MAX_LINE);
        let (end, rest) = line.split_last().unwrap();
        prop_assert_eq!(*end, b'\n');
        let text = std::str::from_utf8(rest).unwrap();
        let raw = text.chars().find(|char| char.is_control() || "\u{2028}\u{2029}\u{202e}\u{feff}".contains(*char));
        prop_assert_eq!(raw, None);
        let fields: Map<String, Value> = serde_json::from_str(text).unwrap();
        prop_assert_eq!(&fields["kind"], "upstream.refused");
    }

    #[test]
    fn any_bytes_can_be_scanned_as_a_segment(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), first in 1..1000u64) {
        let found = scan(&bytes, first);
        prop_assert!(found.whole_bytes as usize <= bytes.len());
        prop_assert!(found.next_seq >= first);
        // A record after it is found as one, whatever came before.
        bytes.push(b'\n');
        let next = scan(&bytes, first).next_seq;
        let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
        bytes.extend(blocked("TS-1", b"/", |event| line_of(event, "e", id, next, Timestamp::UNIX_EPOCH)));
        let found = scan(&bytes, first);
        prop_assert_eq!((found.records, found.next_seq, found.whole_bytes), (1, next + 1, bytes.len() as u64));
    }
}
