//! A graceful upgrade, as the log sees it: the next process records beside the last one and seals when it has gone.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use interdict::audit::{self, Kind};

use crate::harness::audit::assert_verifies;
use crate::harness::recorder::{Recorder, Said};
use crate::harness::wait_until;

/// Who has the lock says so in it.
fn holds_the_lock(directory: &Path, recorder: &Recorder) -> bool {
    let said = fs::read_to_string(directory.join("lock")).unwrap();
    said.starts_with(&format!("process {},", recorder.id()))
}

/// The records under the newest checkpoint.
fn sealed(directory: &Path) -> usize {
    let checkpoint = fs::read_to_string(directory.join("tree/1/checkpoint")).unwrap();
    checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

/// All ids of blocks, in the order of the log; fails when one is there twice.
fn recorded(directory: &Path) -> Vec<String> {
    let records = audit::records(directory).unwrap().map(|item| item.unwrap().unwrap());
    let is_block = |record: &audit::Record| {
        record.fields().unwrap().get("kind").unwrap() == Kind::RequestBlocked.as_str()
    };
    let ids: Vec<String> = records.filter(is_block).map(|record| record.id.to_string()).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "an id is in the log twice");
    ids
}

/// The last process ends while the next one records; returns what both said, the last one first.
fn hand_over(directory: &Path, end: impl FnOnce(Recorder) -> Said) -> (Said, Said) {
    let last = Recorder::start(directory, false);
    let next = Recorder::start(directory, true);
    // Both record, and the one that was first seals for both.
    let goal = last.receipts() + next.receipts() + 200;
    wait_until("the last process has sealed what both recorded", || sealed(directory) >= goal);
    assert!(holds_the_lock(directory, &last));
    last.wait_for_receipts(20);
    let last = end(last);
    wait_until("the next process has the directory", || holds_the_lock(directory, &next));
    let goal = last.receipts.len() + next.receipts();
    wait_until("the next process seals", || sealed(directory) >= goal);
    next.wait_for_receipts(20);
    (last, next.stop())
}

#[test]
fn at_a_graceful_upgrade_the_records_of_both_processes_are_in_the_log_once() {
    let directory = tempfile::tempdir().unwrap();
    let (last, next) = hand_over(directory.path(), Recorder::stop);
    assert_eq!(last.closed, Some((true, last.receipts.len() as u64, 0)));
    assert_eq!(next.closed, Some((true, next.receipts.len() as u64, 0)));
    let held: HashSet<String> = last.receipts.into_iter().chain(next.receipts).collect();
    assert_eq!(recorded(directory.path()).into_iter().collect::<HashSet<_>>(), held);
    assert_verifies(directory.path());
}

#[test]
fn an_upgrade_whose_last_process_is_killed_loses_nothing_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let before = recorded_if_any(directory.path());
        let (last, next) = hand_over(directory.path(), Recorder::kill);
        assert_eq!(next.closed, Some((true, next.receipts.len() as u64, 0)));
        let found: HashSet<String> = recorded(directory.path()).into_iter().collect();
        let held: HashSet<String> = last.receipts.into_iter().chain(next.receipts).collect();
        assert!(held.is_subset(&found), "{:?}", held.difference(&found));
        // In flight when it was killed: one event of each of its two threads.
        assert!(found.len() <= before + held.len() + 2, "{} found, {} held", found.len(), held.len());
        assert_verifies(directory.path());
    }
}

fn recorded_if_any(directory: &Path) -> usize {
    if directory.join("segments").exists() { recorded(directory).len() } else { 0 }
}
