//! Stories of a log: restarts, files taken away, two processes, readers.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use jiff::SignedDuration;
use rustix::io::Errno;

use super::{
    faulty::{Faults, Mode},
    files::RealDisk,
    testing::{Steps, blocked, opened_on, options},
    *,
};

/// A log without threads: what they do happens when a test says so.
fn opened(directory: &Path) -> (Audit, Recovery, Arc<Steps>) {
    let clock = Steps::of_millis(1);
    let disk = Arc::new(RealDisk::open(directory, "ams-1").unwrap());
    let (audit, recovery) = Audit::open_on(disk, None, options(directory), Arc::clone(&clock) as _).unwrap();
    (audit, recovery, clock)
}

fn record_some(audit: &Audit, count: u64) -> Vec<String> {
    let one = |_| blocked("TS-1", &[b'/'; 2048], |event| audit.record(event)).wait();
    (0..count)
        .map(one)
        .inspect(|receipt| assert!(receipt.is_recorded()))
        .map(|r| r.id().to_string())
        .collect()
}

fn ids(directory: &Path) -> Vec<String> {
    let items = records(directory).unwrap().map(Result::unwrap);
    items.map(|item| item.unwrap().id.to_string()).collect()
}

fn journal(directory: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(directory.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = names.filter(|path| path.extension().is_some_and(|end| end == "wal")).collect();
    files.sort();
    files
}

#[test]
fn records_go_on_where_the_last_process_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, recovery, _) = opened(directory.path());
    assert_eq!((recovery.last_seq, recovery.epoch, recovery.new_epoch), (0, 1, None));
    let mut written = record_some(&audit, 3);
    audit.close().unwrap();
    assert_eq!(journal(directory.path()), Vec::<PathBuf>::new(), "all is sealed");
    drop(audit);
    let (audit, recovery, _) = opened(directory.path());
    assert_eq!((recovery.last_seq, recovery.journaled, recovery.problems), (3, 0, vec![]));
    written.extend(record_some(&audit, 2));
    // Killed.
    drop(audit);
    assert_eq!(ids(directory.path()), written, "before any restart");
    let (audit, recovery, _) = opened(directory.path());
    assert_eq!((recovery.last_seq, recovery.journaled, recovery.torn_bytes), (5, 2, 0));
    audit.close().unwrap();
    assert_eq!(ids(directory.path()), written);
    assert_eq!(check(directory.path()).unwrap().last_seq, 5);
}

#[test]
fn a_second_process_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let (_audit, ..) = opened(directory.path());
    let error = Audit::open(options(directory.path()), Steps::of_millis(1)).unwrap_err().to_string();
    assert!(error.contains("in use by") && error.contains("ams-1"), "{error}");
}

#[test]
fn a_successor_records_beside_its_predecessor_and_seals_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let (old, ..) = opened(directory.path());
    let succeeding = Options { succeed: true, ..options(directory.path()) };
    let disk = Arc::new(RealDisk::unlocked(directory.path(), "ams-1"));
    let (new, recovery) = Audit::open_on(disk, None, succeeding, Steps::of_millis(1)).unwrap();
    assert_eq!(recovery.epoch, 0, "it does not seal yet");
    let mut written = Vec::new();
    for _ in 0..3 {
        written.extend(record_some(&old, 2));
        written.extend(record_some(&new, 2));
        new.tend();
        old.tend();
    }
    assert_eq!(new.counters().seq, 0);
    assert_eq!(old.counters().seq, 12, "the old process seals for both");
    written.extend(record_some(&old, 1));
    old.close().unwrap();
    written.extend(record_some(&new, 1));
    new.tend();
    assert_eq!(new.counters().seq, 14);
    new.close().unwrap();
    let mut found = ids(directory.path());
    assert_eq!(check(directory.path()).unwrap().records, 14);
    found.sort();
    written.sort();
    assert_eq!(found, written);
}

#[test]
fn a_journal_file_deleted_replaced_or_cut_under_us_costs_nothing_that_was_sealed() {
    for what in ["deleted", "replaced", "cut"] {
        let directory = tempfile::tempdir().unwrap();
        let (audit, ..) = opened(directory.path());
        let mut written = record_some(&audit, 3);
        if what == "cut" {
            audit.tend();
        }
        let file = journal(directory.path()).remove(0);
        match what {
            "deleted" => fs::remove_file(&file).unwrap(),
            "replaced" => {
                fs::remove_file(&file).unwrap();
                fs::write(&file, "an impostor").unwrap();
            }
            _ => fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap(),
        }
        if what == "cut" {
            // The next record meets the page that is gone: it is counted, and the one after it is written.
            let receipt = blocked("TS-1", b"/", |event| audit.record(event)).wait();
            assert!(!receipt.is_recorded());
        }
        audit.tend();
        written.extend(record_some(&audit, 2));
        audit.tend();
        assert!(audit.counters().disturbed <= 1, "{what}");
        audit.close().unwrap();
        let counters = audit.counters();
        let checked = check(directory.path()).unwrap();
        let gaps = u64::from(what == "cut");
        assert_eq!((checked.durable, checked.missed), (5, gaps), "{what}: {counters:?}");
        let found = ids(directory.path());
        assert!(written.iter().all(|id| found.contains(id)), "{what}");
        assert!(what == "cut" || counters.disturbed == 1, "{what}");
    }
}

#[test]
fn a_directory_taken_away_is_made_anew_with_what_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit");
    let (audit, ..) = opened(&log);
    let written = record_some(&audit, 3);
    fs::rename(&log, directory.path().join("elsewhere")).unwrap();
    audit.tend();
    audit.tend();
    let after = record_some(&audit, 2);
    audit.close().ok();
    let found = ids(&log);
    assert!(after.iter().all(|id| found.contains(id)), "what comes after it is in the new one");
    let elsewhere = ids(&directory.path().join("elsewhere"));
    assert!(written.iter().all(|id| found.contains(id) || elsewhere.contains(id)));
}

#[test]
fn a_closed_log_counts_what_still_comes() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, ..) = opened(directory.path());
    record_some(&audit, 1);
    audit.close().unwrap();
    audit.close().unwrap();
    assert!(!blocked("TS-1", b"/", |event| audit.record(event)).wait().is_recorded());
    let counters = audit.counters();
    assert_eq!((counters.decided, counters.durable, counters.gap), (2, 1, 1));
}

#[test]
fn a_tail_shows_the_last_records_and_follows_from_the_journal_into_segments() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, ..) = opened(directory.path());
    record_some(&audit, 50);
    audit.tend();
    record_some(&audit, 5);
    let mut tail = Tail::open(directory.path(), 7).unwrap();
    let mut shown = Vec::new();
    let mut drain = |tail: &mut Tail| {
        while let Some(item) = tail.next_record().unwrap() {
            shown.push(item.unwrap().seq);
        }
        shown.clone()
    };
    assert_eq!(drain(&mut tail), (49..=55).collect::<Vec<_>>());
    audit.tend();
    assert_eq!(drain(&mut tail).last(), Some(&55), "nothing is shown twice");
    record_some(&audit, 60);
    assert_eq!(drain(&mut tail).last(), Some(&115));
    audit.tend();
    record_some(&audit, 1);
    assert_eq!(drain(&mut tail), (49..=116).collect::<Vec<_>>());
    let mut from_nothing = Tail::open(directory.path(), 0).unwrap();
    assert!(from_nothing.next_record().unwrap().is_none());
}

#[test]
fn what_is_sealed_while_the_journal_is_read_is_shown_once() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, ..) = opened(directory.path());
    record_some(&audit, 30);
    let mut reading = records(directory.path()).unwrap();
    let first = reading.next().unwrap().unwrap().unwrap();
    // More than a file of the journal holds: what follows is in one that was not there.
    record_some(&audit, 300);
    (0..1000).take_while(|_| audit.counters().seq < 330).for_each(|_| audit.tend());
    record_some(&audit, 5);
    let rest = reading.map(|item| item.unwrap().unwrap().seq);
    let seqs: Vec<u64> = std::iter::once(first.seq).chain(rest).collect();
    assert!(seqs.len() >= 330, "{} records", seqs.len());
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "none twice, none left out");
}

#[test]
fn many_threads_get_one_sequence() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = Audit::open(options(directory.path()), Steps::of_millis(1)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| record_some(&audit, 250));
        }
    });
    audit.close().unwrap();
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.records, checked.last_seq), (1000, 1000));
    let mut ordinals: Vec<u64> =
        records(directory.path()).unwrap().map(|item| item.unwrap().unwrap().id.ordinal()).collect();
    ordinals.sort_unstable();
    assert!(ordinals.into_iter().eq(1..=1000), "every ordinal once");
}

#[test]
fn a_receipt_of_the_disk_comes_after_its_sync_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(directory.path(), "ams-1").unwrap());
    let options = Options { acknowledge: Acknowledge::Disk, ..options(directory.path()) };
    let (audit, _) = Audit::open_on(disk, None, options, Steps::of_millis(1)).unwrap();
    let mut pending = pin!(blocked("TS-1", b"/", |event| audit.record(event)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(pending.as_mut().poll(&mut context).is_pending());
    audit.tend();
    assert!(pending.as_mut().poll(&mut context).is_pending(), "being sealed is no sync");
    audit.sync();
    assert!(matches!(pending.as_mut().poll(&mut context), Poll::Ready(receipt) if receipt.is_recorded()));
    assert_eq!(audit.counters().unsynced, 0);
    audit.close().unwrap();
}

#[test]
fn after_a_failed_sync_the_file_is_not_trusted_and_its_records_are_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::later(Mode::Fails(Errno::IO));
    let options = Options { acknowledge: Acknowledge::Disk, ..options(directory.path()) };
    let audit = opened_on(directory.path(), &faults, None, options);
    let record = || blocked("TS-1", b"/", |event| audit.record(event));
    let first = record();
    audit.sync();
    assert!(first.wait().is_recorded());
    let pending = [record(), record()];
    faults.strike(1);
    audit.sync();
    assert!(pending.into_iter().all(|pending| pending.wait().is_recorded()));
    assert_eq!(audit.counters().unsynced, 0, "the second file took them");
    assert!(audit.counters().last_error.is_some());
    assert_eq!(journal(directory.path()).len(), 2, "a new file was begun");
    let copied = fs::read(&journal(directory.path())[1]).unwrap();
    assert_eq!(memchr::memmem::find_iter(&copied, "cust-20931").count(), 2, "only what was not synced");
    audit.close().unwrap();
    assert_eq!(check(directory.path()).unwrap().records, 3, "none is there twice");
}

#[test]
fn a_disk_that_syncs_nothing_lets_nobody_wait_for_ever_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::later(Mode::Fails(Errno::IO));
    let options = Options { acknowledge: Acknowledge::Disk, ..options(directory.path()) };
    let audit = opened_on(directory.path(), &faults, None, options);
    let pending = blocked("TS-1", b"/", |event| audit.record(event));
    faults.strike(50);
    audit.sync();
    assert!(pending.wait().is_recorded(), "it is in the journal");
    assert_eq!(audit.counters().unsynced, 1);
    while faults.calls() < 200 {
        audit.tend();
    }
    audit.close().unwrap();
    assert_eq!(check(directory.path()).unwrap().durable, 1);
}

#[test]
fn when_the_disk_takes_nothing_the_spare_one_does() {
    let (directory, spare) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let faults = Faults::later(Mode::Fails(Errno::IO));
    let audit = opened_on(directory.path(), &faults, Some(spare.path()), options(directory.path()));
    faults.strike(60);
    let first = blocked("TS-1", b"/", |event| audit.record(event)).wait();
    assert!(!first.is_recorded(), "the first record meets the fault");
    audit.tend();
    let written = record_some(&audit, 3);
    assert_eq!(journal(spare.path()).len(), 1);
    while faults.calls() < 200 {
        audit.tend();
    }
    audit.close().unwrap();
    assert_eq!(journal(spare.path()).len(), 0, "sealed into the first");
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.durable, checked.missed), (3, 1));
    let found = ids(directory.path());
    assert!(written.iter().all(|id| found.contains(id)));
}

#[test]
fn a_spare_folder_that_goes_away_holds_up_nothing() {
    let (directory, spare) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let faults = Faults::later(Mode::Fails(Errno::IO));
    let audit = opened_on(directory.path(), &faults, Some(spare.path()), options(directory.path()));
    spare.close().unwrap();
    record_some(&audit, 300);
    (0..20).for_each(|_| audit.tend());
    let counters = audit.counters();
    assert_eq!((counters.sealing_ok, counters.seq, counters.last_error), (true, 300, None));
    audit.close().unwrap();
}

#[test]
fn a_gap_that_a_killed_process_had_not_written_is_in_the_log_of_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _, clock) = opened(directory.path());
    record_some(&audit, 2);
    audit.fail_writing();
    for _ in 0..5 {
        assert!(!blocked("TS-2", b"/", |event| audit.record(event)).wait().is_recorded());
    }
    audit.keep_gap();
    clock.go(SignedDuration::from_secs(1));
    drop(audit);
    assert_eq!(check(directory.path()).unwrap().missed, 5, "before any restart");
    let (audit, recovery, _) = opened(directory.path());
    assert_eq!((recovery.journaled, recovery.last_seq), (3, 3));
    audit.close().unwrap();
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.durable, checked.missed, checked.gaps), (2, 5, 1));
}
