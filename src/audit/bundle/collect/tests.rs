//! A bundle made of a log is what a search finds there, proved.

use std::fs;

use super::super::super::verify::sample::Sample;
use super::super::{BundleReport, verify_bundle};
use super::*;

fn log() -> Sample {
    let mut log = Sample::new();
    log.segments(&[300, 5, 200]);
    log.epoch(1_000, "an older copy");
    log.segments(&[70, 10]);
    log
}

fn case(case: &str) -> Query {
    Query { case: Some(case.to_owned()), ..Query::default() }
}

fn check(log: &Sample, file: &Path) -> BundleReport {
    verify_bundle(fs::File::open(file).unwrap(), Some(&log.signer.verifier()))
}

fn set(text: &str) -> PolicyFiles {
    let mut files = PolicyFiles::new();
    files.insert("cases/a.toml", text.as_bytes());
    files
}

#[test]
fn a_bundle_has_every_record_of_a_case_over_all_epochs() {
    let log = log();
    let target = log.path().join("out.tar.zst");
    let about = bundle(log.path(), &case("TS-1"), &target, &mut |_| None).unwrap();
    let expected = (1..=505).chain(1_000..1_080).filter(|seq| seq % 3 == 1).count();
    assert_eq!((about.records, about.unsealed), (expected as u64, 0));
    assert!(about.revisions.is_empty() && !about.missing_revisions.is_empty());
    let report = check(&log, &target);
    assert_eq!((report.findings, report.records), (Vec::new(), expected as u64));
    assert_eq!(report.checkpoints.len(), 2);
}

#[test]
fn policies_are_tied_to_the_record_with_which_they_came_into_force() {
    let mut log = Sample::new();
    log.segments(&[4]);
    // The sample's records name revision 1 and none applies it.
    let target = log.path().join("out.tar.zst");
    let about = bundle(log.path(), &case("TS-1"), &target, &mut |_| Some(set("a"))).unwrap();
    assert_eq!(about.revisions.into_iter().collect::<Vec<_>>(), [1]);
    let report = check(&log, &target);
    assert!(report.findings.is_empty());
    assert_eq!(report.unbound_revisions.into_iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn records_that_are_not_sealed_are_counted_and_left_out() {
    let mut log = log();
    let last = log.path().join("segments/00000000000000001070.jsonl");
    let mut text = fs::read_to_string(&last).unwrap();
    for _ in 0..3 {
        text += &log.line();
        text.push('\n');
    }
    fs::write(&last, text).unwrap();
    let target = log.path().join("out.tar.zst");
    let about = bundle(log.path(), &case("TS-1"), &target, &mut |_| None).unwrap();
    assert_eq!(about.unsealed, 1);
    assert!(check(&log, &target).findings.is_empty());
}

#[test]
fn there_is_no_bundle_of_nothing_nor_of_a_log_that_cannot_be_read_or_proved() {
    let log = log();
    let target = log.path().join("out.tar.zst");
    let make = |query: &Query| bundle(log.path(), query, &target, &mut |_| None);
    assert!(matches!(make(&case("none")), Err(BundleError::Nothing)));
    let path = log.path().join("segments/00000000000000001070.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("192.0.2.", "192.0.3.", 1)).unwrap();
    assert!(matches!(make(&Query::default()), Err(BundleError::Prove(_))));
    fs::write(&path, text).unwrap();
    fs::write(log.path().join("segments/00000000000000000001.jsonl.zst"), "no frame").unwrap();
    assert!(matches!(make(&case("TS-1")), Err(BundleError::Incomplete(_))));
    assert!(!target.exists());
    let left = fs::read_dir(log.path()).unwrap().flatten();
    assert!(left.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().contains("out.tar")));
}
