//! Stories of a log: restarts, damage, deleted files, readers.

use std::{fs, io::Write, net::IpAddr, path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

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
        assert_eq!(fs::metadata(segment(directory.path(), 1)).unwrap().len(), second as u64);
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
fn what_a_failed_write_left_before_the_next_segment_does_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    record_some(&audit, 3);
    let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
    let landed = blocked("TS-1", b"/", |event| line_of(event, "ams-1", id, 4, Timestamp::UNIX_EPOCH));
    let path = segment(directory.path(), 1);
    fs::File::options()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(&[&landed[..], b"{\"id"].concat())
        .unwrap();
    // The writer sees that the file is not as it left it, and opens the next one.
    audit.retry();
    record_some(&audit, 2);
    drop(audit);
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.records, checked.unacknowledged_bytes), (5, landed.len() as u64 + 4));
    let (_audit, recovery, _) = opened(directory.path());
    assert_eq!((recovery.last_seq, recovery.problems), (5, vec![]));
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

#[test]
fn a_record_whose_number_was_lowered_has_no_number_given_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    record_some(&audit, 30);
    audit.close().unwrap();
    drop(audit);
    let path = segment(directory.path(), 1);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"seq\":30,", "\"seq\":10,")).unwrap();
    let (audit, recovery, _) = opened(directory.path());
    assert_eq!((recovery.last_seq, recovery.problems.len()), (30, 1), "{recovery:?}");
    record_some(&audit, 1);
    let mut out = Vec::new();
    assert!(!export(directory.path(), &mut out).unwrap().is_empty());
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 31, "all are still handed out");
}

#[test]
fn the_largest_revision_is_recovered_also_when_an_older_one_was_recorded_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, _) = opened(directory.path());
    for revision in [9_000, 8_999] {
        let event =
            Event { kind: Kind::PolicyApplied, revision, enforcement: None, request: None, detail: None };
        assert!(audit.record(&event).is_recorded());
    }
    drop(audit);
    assert_eq!(opened(directory.path()).1.last_revision, 9_000);
}
