//! What is missing is told, and what was pruned or never was is not.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::audit::verify::sample::Sample;

/// Records 1 to 22 and, in a second epoch, 1000 to 1006.
fn log() -> Sample {
    let mut log = Sample::new();
    log.segments(&[10, 5, 7]);
    log.epoch(1_000, "an older copy");
    log.segments(&[3, 4]);
    log
}

fn path(log: &Sample, first: u64, ending: &str) -> std::path::PathBuf {
    log.path().join(format!("{SEGMENTS}/{first:020}.{ending}"))
}

fn remove(log: &Sample, first: u64, endings: &[&str]) {
    endings.iter().for_each(|ending| fs::remove_file(path(log, first, ending)).unwrap());
}

/// First and last record, segment, whether it is cut.
fn found(log: &Sample) -> Vec<(u64, u64, u64, bool)> {
    let missing = missing(log.path()).unwrap();
    missing.iter().map(|one| (one.first, one.last, one.segment, one.is_cut)).collect()
}

#[test]
fn a_whole_log_misses_nothing_and_neither_does_an_empty_directory() {
    assert_eq!(found(&log()), []);
    assert!(missing(TempDir::new().unwrap().path()).unwrap().is_empty());
}

#[test]
fn a_segment_that_is_gone_is_told_wherever_it_was() {
    for (first, endings, expected) in [
        (1, &["jsonl.zst", "idx"][..], (1, 10, 1, false)),
        (1, &["jsonl.zst"], (1, 10, 1, false)),
        (11, &["jsonl.zst", "idx"], (11, 15, 11, false)),
        (11, &["jsonl.zst"], (11, 15, 11, false)),
        // The last one of an epoch, and of the log: the checkpoint counts its records.
        (16, &["jsonl"], (16, 22, 16, false)),
        (1_000, &["jsonl.zst", "idx"], (1_000, 1_002, 1_000, false)),
        (1_003, &["jsonl"], (1_003, 1_006, 1_003, false)),
    ] {
        let log = log();
        remove(&log, first, endings);
        assert_eq!(found(&log), [expected], "{first} {endings:?}");
    }
}

#[test]
fn segments_that_are_gone_together_are_told_one_by_one_as_far_as_indexes_are_left() {
    let both = log();
    remove(&both, 1, &["jsonl.zst", "idx"]);
    remove(&both, 11, &["jsonl.zst"]);
    assert_eq!(found(&both), [(1, 10, 1, false), (11, 15, 11, false)]);
    remove(&both, 11, &["idx"]);
    assert_eq!(found(&both), [(1, 15, 1, false)]);
    fs::remove_dir_all(both.path().join(SEGMENTS)).unwrap();
    assert_eq!(found(&both), [(1, 22, 1, false), (1_000, 1_006, 1_000, false)]);
}

#[test]
fn pruned_segments_are_not_missing_and_one_between_them_is() {
    let mut log = Sample::new();
    log.segments(&[10, 5, 7, 4]);
    let prune = |first: u64| {
        let index = fs::read(path(&log, first, "idx")).unwrap();
        log.write(&format!("{PRUNED}/{first:020}.idx"), index);
        remove(&log, first, &["jsonl.zst", "idx"]);
    };
    prune(1);
    assert_eq!(found(&log), []);
    prune(16);
    assert_eq!(found(&log), []);
    remove(&log, 11, &["jsonl.zst", "idx"]);
    assert_eq!(found(&log), [(11, 15, 11, false)]);
    // The index of a pruned segment that says nothing accounts for nothing.
    log.write(&format!("{PRUNED}/{:020}.idx", 1), "{}");
    assert_eq!(found(&log), [(1, 15, 1, false)]);
}

#[test]
fn without_epochs_and_checkpoints_the_names_of_segments_tell() {
    let log = log();
    fs::remove_dir_all(log.path().join(TREES)).unwrap();
    assert_eq!(found(&log), []);
    remove(&log, 11, &["jsonl.zst", "idx"]);
    assert_eq!(found(&log), [(11, 15, 11, false)]);
    remove(&log, 1, &["jsonl.zst", "idx"]);
    assert_eq!(found(&log), [(1, 15, 1, false)]);
}

#[test]
fn records_that_a_segment_should_have_by_its_index_are_told_as_its_own() {
    let log = log();
    let account = Account::read(log.path()).unwrap();
    let there = [(1, 11), (11, 14), (16, 23), (1_000, 1_003), (1_003, 1_007)];
    let holes = account.holes(log.path(), &there).unwrap();
    let expected = Missing { first: 14, last: 15, segment: 11, is_cut: true };
    assert_eq!(holes.iter().map(|hole| hole.missing).collect::<Vec<_>>(), [expected]);
    let text = "records 14 to 15 are missing: the segment `segments/00000000000000000011` does not have all its records";
    assert_eq!(expected.to_string(), text);
    let one = Missing { first: 11, last: 11, segment: 11, is_cut: false };
    let text = "record 11 is missing: the segment `segments/00000000000000000011` is not there";
    assert_eq!(one.to_string(), text);
}

#[test]
fn the_start_of_an_index_tells_its_extent_and_that_of_anything_else_does_not() {
    let log = log();
    let bytes = fs::read(path(&log, 11, "idx")).unwrap();
    assert_eq!(SegmentIndex::extent(&bytes[..EXTENT as usize]), Some((11, 5)));
    let text = String::from_utf8(bytes).unwrap();
    let older = text.replacen("\"version\":2", "\"version\":1", 1);
    assert_eq!(SegmentIndex::extent(older.as_bytes()), Some((11, 5)));
    let newer = text.replacen("\"version\":2", "\"version\":3", 1);
    for none in ["", "{", "{}", "{\"version\":2,\"epoch\":1,\"first_seq\":11", &text[1..], &newer] {
        assert_eq!(SegmentIndex::extent(none.as_bytes()), None, "{none}");
    }
}
