//! A log that is written to while it is verified.

use std::{path::PathBuf, sync::mpsc};

use super::{
    sample::Sample,
    store_tests::{append, archive, now, open},
    tests::told,
    *,
};
use crate::audit::{PruneOptions, Retention};

/// How often a log that moves is verified.
const TURNS: u64 = 8;
/// Commits in each turn: some six segments are closed.
const COMMITS: u64 = 24;

/// Takes turns at `look` while segments in `directory` are sealed, closed, compressed and pruned as fast as it goes.
fn meanwhile(directory: &Path, is_pruned: bool, mut look: impl FnMut(u64)) {
    let (begin, turns) = mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut sealed = open(directory);
            let retention = Retention::new(directory, None);
            let options = PruneOptions { max_bytes: Some(20_000), ..PruneOptions::default() };
            while turns.recv().is_ok() {
                for commit in 1..=COMMITS {
                    append(&mut sealed, 60);
                    sealed.commit(now(), &["lane aabbccddee 9".to_owned()]).unwrap();
                    archive(&mut sealed, directory);
                    if commit == COMMITS / 2 && is_pruned {
                        retention.prune(&options, now(), &mut |_, _| Ok(())).unwrap();
                    }
                }
            }
            sealed.close(now(), &[]).unwrap();
        });
        for turn in 0..TURNS {
            // Waits until the turn before is over, so that no log grows faster than it is verified.
            begin.send(()).unwrap();
            look(turn);
        }
        drop(begin);
    });
}

fn verify_it(directory: &Path) -> Result<Report, VerifyError> {
    verify(directory, &VerifyOptions::default(), &|_, _| {})
}

#[test]
fn a_sound_log_is_sound_while_segments_are_closed_compressed_and_pruned() {
    for is_pruned in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        // The first turn waits for nobody.
        drop(open(directory.path()));
        meanwhile(directory.path(), is_pruned, |turn| {
            let report = verify_it(directory.path()).unwrap();
            assert_eq!(told(&report), [""; 0], "turn {turn}, pruned {is_pruned}");
        });
        assert_eq!(told(&verify_it(directory.path()).unwrap()), [""; 0]);
    }
}

#[test]
fn damage_is_found_while_segments_are_closed_and_compressed() {
    for (file, at) in
        [("segments/00000000000000000001.jsonl.zst", 700), ("segments/00000000000000000001.idx", 60)]
    {
        let directory = tempfile::tempdir().unwrap();
        meanwhile(directory.path(), false, |turn| {
            let path = directory.path().join(file);
            if turn == 1 {
                let mut bytes = std::fs::read(&path).unwrap();
                bytes[at] ^= 4;
                std::fs::write(&path, bytes).unwrap();
            }
            if turn >= 1 {
                let report = verify_it(directory.path()).unwrap();
                let files: Vec<&PathBuf> = report.findings.iter().map(|finding| &finding.file).collect();
                assert!(!files.is_empty(), "turn {turn}");
                assert!(files.iter().all(|found| *found == Path::new(file)), "{:?}", told(&report));
            }
        });
    }
}

/// Verifies with these findings, one list a run, of a log that grows in every run if it `moves`.
fn found(moves: bool, runs: &[&[(&str, &str)]]) -> (Result<Report, VerifyError>, usize) {
    let mut sample = Sample::new();
    sample.segments(&[5, 3]);
    let directory = sample.path().to_owned();
    let (sample, turn) = (std::cell::RefCell::new(sample), Cell::new(0));
    let report = again(&directory, &|_| {
        if moves {
            sample.borrow_mut().append(6, 1);
            sample.borrow().checkpoint(false);
        }
        let findings = runs.get(turn.replace(turn.get() + 1)).copied().unwrap_or_default();
        let findings = findings.iter().map(|(file, what)| Finding::new(*file, *what)).collect();
        Ok(Report { findings, ..Report::default() })
    });
    (report, turn.get())
}

#[test]
fn what_looks_wrong_in_a_log_that_stands_still_is_wrong() {
    let (report, runs) = found(false, &[&[("a", "it is damaged")]]);
    assert_eq!((told(&report.unwrap()), runs), (vec!["a: it is damaged".to_owned()], 1));
}

#[test]
fn what_looks_wrong_in_a_log_that_moves_is_wrong_when_it_is_there_again() {
    let one = [("a.zst", "record 5 is gone"), ("b", "missing")];
    let (report, runs) = found(true, &[&one, &[("a", "record 6 is gone"), ("c", "missing")]]);
    let report = report.unwrap();
    assert_eq!((told(&report), runs), (vec!["a: record 6 is gone".to_owned()], 2));
    assert_eq!(report.notes.len(), 1);
    let (report, runs) = found(true, &[&one, &[]]);
    assert_eq!((told(&report.unwrap()), runs), (vec![], 2));
}

#[test]
fn a_log_that_moves_and_looks_wrong_elsewhere_each_time_cannot_be_verified() {
    let (report, runs) =
        found(true, &[&[("a", "x")], &[("b", "x")], &[("c", "x")], &[("d", "x")], &[("e", "x")]]);
    let error = report.unwrap_err();
    assert!(matches!(error, VerifyError::Moved { runs: 5, .. }), "{error}");
    assert!(error.to_string().contains("(last: e: x): verify it again"), "{error}");
    assert_eq!(runs, 5);
}

#[test]
fn findings_of_records_are_the_same_when_they_share_one() {
    let with = |records: (u64, u64)| Report {
        findings: vec![Finding::new("segments/1.jsonl", "x").records(records.0, records.1)],
        ..Report::default()
    };
    assert!(with((5, 9)).confirmed_by(&with((9, 20))).is_some());
    assert!(with((5, 9)).confirmed_by(&with((10, 20))).is_none());
}
