//! What goes and what stays.

use super::*;

const DAY: u64 = 24 * 3600;

#[test]
fn without_a_limit_nothing_goes() {
    let mut log = three().with_keys(&["2026-09"]);
    let pruned = log.prune(PruneOptions::default());
    assert!(pruned.runs.is_empty() && pruned.keys.is_empty() && log.records.is_empty());
    assert_eq!(log.segments(), [1, 5, 9, 13]);
}

#[test]
fn segments_go_by_age_and_the_rest_still_verifies() {
    let mut log = three();
    let pruned = log.prune(PruneOptions { older_than_s: Some(60 * DAY), ..PruneOptions::default() });
    assert_eq!(log.segments(), [9, 13]);
    assert_eq!((pruned.runs[0].first_seq, pruned.runs[0].last_seq, pruned.runs[0].segments), (1, 8, 2));
    assert_eq!(log.names(PRUNED), [format!("{:020}.idx", 1), format!("{:020}.idx", 5)]);
    assert!(!log.file(1, "idx").exists());
    let (kind, detail) = &log.records[0];
    assert_eq!((*kind, &detail["records"], &detail["last_seq"]), (Kind::AuditPruned, &json!(8), &json!(8)));
    assert_eq!((log.records.len(), &detail["asked"]["older_than_s"]), (1, &json!(60 * DAY)));
    log.assert_verifies();
    // A second time there is nothing left to do.
    log.prune(PruneOptions { older_than_s: Some(60 * DAY), ..PruneOptions::default() });
    assert_eq!(log.records.len(), 1);
    log.assert_verifies();
}

#[test]
fn segments_go_by_size_oldest_first_and_later_ones_instead_of_those_on_hold() {
    let total = |log: &Log| -> u64 {
        let found = crate::audit::sealed::segments(log.directory()).unwrap();
        found.iter().map(|file| file.file_bytes).sum()
    };
    let mut log = three();
    let most = total(&log) - 1;
    let pruned = log.prune(PruneOptions { max_bytes: Some(most), ..PruneOptions::default() });
    assert_eq!(log.segments(), [5, 9, 13]);
    assert_eq!(pruned.bytes_left, total(&log));

    let mut log = three();
    log.hold(HoldRequest { name: "h".into(), case: Some("TS-1".into()), ..HoldRequest::default() }).unwrap();
    let pruned = log.prune(PruneOptions { max_bytes: Some(most), ..PruneOptions::default() });
    assert_eq!((log.segments(), pruned.held), (vec![1, 9, 13], vec![1]));
    log.assert_verifies();
    // The open segment stays whatever is asked.
    log.prune(PruneOptions { max_bytes: Some(0), ..PruneOptions::default() });
    assert_eq!(log.segments(), [1, 13]);
    log.assert_verifies();
}

#[test]
fn each_run_of_segments_has_a_record_of_its_own() {
    let mut log = three();
    log.hold(HoldRequest { name: "h".into(), case: Some("TS-2".into()), ..HoldRequest::default() }).unwrap();
    let pruned = log.prune(all());
    let runs: Vec<_> = pruned.runs.iter().map(|run| (run.first_seq, run.last_seq)).collect();
    assert_eq!(runs, [(1, 4), (9, 12)]);
    assert_eq!(log.records.iter().filter(|(kind, _)| *kind == Kind::AuditPruned).count(), 2);
}

#[test]
fn a_segment_whose_index_cannot_be_read_stays_and_keeps_its_keys() {
    for content in [&b""[..], b"{}", b"damaged"] {
        let mut log = three().with_keys(&["2026-09", "2026-10", "2026-11"]);
        fs::write(log.file(5, "idx"), content).unwrap();
        log.hold(HoldRequest { name: "h".into(), case: Some("TS-9".into()), ..HoldRequest::default() })
            .unwrap();
        let pruned = log.prune(PruneOptions { keys_older_than_s: Some(0), ..all() });
        assert_eq!(log.segments(), [5, 13]);
        assert_eq!(
            (pruned.keys, pruned.held_keys),
            (vec!["2026-09".into()], vec!["2026-10".into(), "2026-11".into()])
        );
    }
}

#[test]
fn an_index_of_another_segment_is_no_index() {
    let mut log = three();
    fs::copy(log.file(1, "idx"), log.file(5, "idx")).unwrap();
    log.prune(all());
    assert_eq!(log.segments(), [5, 13]);
}

#[test]
fn the_last_segment_stays_even_when_it_is_closed() {
    let mut log = three();
    fs::remove_file(log.file(13, "jsonl")).unwrap();
    log.prune(all());
    assert_eq!(log.segments(), [9]);
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let mut log = three().with_keys(&["2026-09", "2026-10", "2026-12"]);
    log.hold(HoldRequest { name: "h".into(), case: Some("TS-2".into()), ..HoldRequest::default() }).unwrap();
    let options = PruneOptions { keys_older_than_s: Some(DAY), ..all() };
    let before = (log.names("segments"), log.names("keys"), log.records.len());
    let dry = log.prune(PruneOptions { dry_run: true, ..options });
    assert_eq!((log.names("segments"), log.names("keys"), log.records.len()), before);
    assert!(log.names(PRUNED).is_empty());
    let wet = log.prune(options);
    assert_eq!(Pruned { dry_run: false, ..dry }, wet);
    assert_eq!(wet.keys, ["2026-09"]);
}

#[test]
fn a_destroyed_key_changes_no_record() {
    let mut log = three().with_keys(&["2026-09"]);
    let read = |log: &Log| fs::read(log.file(1, "jsonl.zst")).unwrap();
    let before = read(&log);
    log.prune(PruneOptions { keys_older_than_s: Some(DAY), ..PruneOptions::default() });
    assert_eq!(read(&log), before);
    log.assert_verifies();
    let mut revealer = crate::audit::Revealer::open(&log.path("keys")).unwrap();
    let error = revealer.reveal("2001:db8::1".parse().unwrap(), at("2026-09-10T00:00:00Z")).unwrap_err();
    assert!(error.to_string().contains("destroyed"), "{error}");
    assert_eq!(log.records[0].1["keys"], json!(["2026-09"]));
}

#[test]
fn any_age_and_any_clock_is_taken() {
    for (age, now) in [(u64::MAX, now()), (0, Timestamp::MIN), (u64::MAX, Timestamp::MIN)] {
        let log = three().with_keys(&["2026-09"]);
        let options =
            PruneOptions { older_than_s: Some(age), keys_older_than_s: Some(age), ..PruneOptions::default() };
        let pruned = log.retention().prune(&options, now, &mut |_, _| Ok(())).unwrap();
        assert!(pruned.runs.is_empty() && pruned.keys.is_empty(), "{age} {now}");
    }
}

#[test]
fn a_run_does_not_reach_over_a_segment_that_is_missing() {
    let mut log = three();
    fs::remove_file(log.file(5, "jsonl.zst")).unwrap();
    fs::remove_file(log.file(5, "idx")).unwrap();
    let pruned = log.prune(all());
    let runs: Vec<_> = pruned.runs.iter().map(|run| (run.first_seq, run.last_seq, run.records)).collect();
    assert_eq!(runs, [(1, 4, 4), (9, 12, 4)]);
}
