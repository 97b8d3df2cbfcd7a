//! From one file of a lane to the next: what that asks of whoever records, and what becomes of a file that was made ahead
//! of time.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;

use super::{
    faulty::{Faults, FaultyDisk, Mode},
    files::RealDisk,
    journal::Header,
    testing::{Steps, assert_sound, blocked, opened_on, options},
    *,
};

pub(super) fn opened(directory: &Path) -> (Audit, Recovery) {
    let disk = Arc::new(RealDisk::open(directory, "ams-1").unwrap());
    Audit::open_on(disk, None, options(directory), Steps::of_millis(1)).unwrap()
}

pub(super) fn record(audit: &Audit) {
    assert!(blocked("TS-1", &[b'/'; 2048], |event| audit.record(event)).wait().is_recorded());
}

pub(super) fn record_many(audit: &Audit, count: u64) {
    (0..count).for_each(|_| record(audit));
}

/// The files of the journal, by their numbers.
pub(super) fn journal_of(directory: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(directory.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = names.collect();
    files.sort();
    files
}

/// How many of them have a header.
pub(super) fn begun(directory: &Path) -> usize {
    let begins = |file: &PathBuf| {
        let mut magic = [0; 7];
        fs::File::open(file).unwrap().read_exact(&mut magic).unwrap();
        magic == *b"IDLANE1"
    };
    journal_of(directory).iter().filter(|file| begins(file)).count()
}

/// How many files of the journal this process has in its memory, those that were removed included.
fn mapped(directory: &Path) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let journal = directory.canonicalize().unwrap().join("journal");
    maps.lines().filter(|line| line.contains(journal.to_str().unwrap())).count()
}

pub(super) fn torn(directory: &Path) -> usize {
    fs::read_dir(directory.join("torn")).unwrap().count()
}

#[test]
fn whoever_fills_a_file_asks_nothing_of_the_system() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::later(Mode::Fails(Errno::IO));
    let disk = FaultyDisk(RealDisk::open(directory.path(), "ams-1").unwrap(), Arc::clone(&faults));
    let audit =
        Audit::open_on(Arc::new(disk), None, options(directory.path()), Steps::of_millis(40)).unwrap().0;
    let mut recorded = 0;
    for files in 2..5 {
        audit.look_after();
        assert_eq!((journal_of(directory.path()).len(), mapped(directory.path())), (files, 2));
        let before = (faults.calls(), recorded);
        while begun(directory.path()) < files {
            record(&audit);
            recorded += 1;
        }
        let (stores, records) = (faults.calls() - before.0, recorded - before.1);
        assert_eq!(stores, records + 1, "a store for each record, and one for a header");
        assert_eq!(mapped(directory.path()), 2, "nothing is unmapped but by the thread that tends the log");
    }
    assert!(!audit.has_rung());
    while audit.counters().seq < recorded {
        audit.seal();
    }
    let counters = audit.counters();
    assert_eq!((counters.disturbed, counters.last_error), (0, None));
    audit.close().unwrap();
    assert_eq!((check(directory.path()).unwrap().records, mapped(directory.path())), (recorded, 0));
    assert_sound(directory.path(), "several files");
}

#[test]
fn only_a_file_that_is_soon_full_rings_the_bell() {
    for (step, rings) in [(1, true), (40, false)] {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::open(directory.path(), "ams-1").unwrap());
        let clock = Steps::of_millis(step);
        let audit = Audit::open_on(disk, None, options(directory.path()), clock).unwrap().0;
        audit.look_after();
        record_many(&audit, 300);
        assert!(begun(directory.path()) > 2);
        assert_eq!(audit.has_rung(), rings, "{step} ms between records");
    }
}

#[test]
fn a_file_made_ahead_of_time_is_read_by_nobody_and_goes_with_its_process() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = opened(directory.path());
    record(&audit);
    audit.look_after();
    let files = journal_of(directory.path());
    assert_eq!(files.len(), 2);
    for (file, number) in files.iter().zip(1..) {
        assert_eq!(Header::parse_name(file.file_name().unwrap().to_str().unwrap()).unwrap().1, number);
    }
    assert!(fs::read(&files[1]).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(records(directory.path()).unwrap().count(), 1);
    drop(audit);
    let (audit, recovery) = opened(directory.path());
    assert_eq!((recovery.journaled, recovery.problems), (1, vec![]));
    assert!(files.iter().all(|file| !file.exists()) && torn(directory.path()) == 0);
    audit.look_after();
    audit.close().unwrap();
    assert_eq!(journal_of(directory.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_process_killed_while_it_begins_a_file_leaves_no_damage() {
    for (at, is_damage) in [(0, false), (511, false), (512, true), (200_000, true)] {
        let directory = tempfile::tempdir().unwrap();
        let (audit, _) = opened(directory.path());
        audit.look_after();
        drop(audit);
        let next = journal_of(directory.path()).remove(1);
        let mut bytes = fs::read(&next).unwrap();
        bytes[at] = b'I';
        fs::write(&next, bytes).unwrap();
        let (_audit, recovery) = opened(directory.path());
        assert_eq!(
            (recovery.problems.len(), torn(directory.path())),
            (is_damage.into(), is_damage.into()),
            "{at}"
        );
        assert!(!next.exists());
    }
}

/// Two processes on one directory, of which the first seals.
pub(super) fn old_and_new(directory: &Path) -> (Audit, Audit) {
    let options = Options { segment_bytes: SEGMENT_BYTES, ..options(directory) };
    let disk = Arc::new(RealDisk::open(directory, "ams-1").unwrap());
    let old = Audit::open_on(disk, None, options.clone(), Steps::of_millis(1)).unwrap().0;
    let succeeding = Options { succeed: true, ..options };
    let disk = Arc::new(RealDisk::unlocked(directory, "ams-1"));
    (old, Audit::open_on(disk, None, succeeding, Steps::of_millis(1)).unwrap().0)
}

#[test]
fn a_process_that_another_seals_for_records_on_for_as_long_as_that_takes() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = old_and_new(directory.path());
    // Far more than the journal of one process may hold.
    for _ in 0..160 {
        record_many(&new, 100);
        old.seal();
        new.look_after();
        new.seal();
    }
    old.close().unwrap();
    new.close().unwrap();
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.records, checked.missed), (16_000, 0));
    assert_sound(directory.path(), "one after the other");
}

#[test]
fn a_file_that_comes_too_late_is_not_begun() {
    // Whether the first record of the file that was made in its place fails.
    for fails in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let faults = Faults::later(Mode::Fails(Errno::IO));
        let audit = opened_on(directory.path(), &faults, None, options(directory.path()));
        let before = faults.calls();
        record(&audit);
        assert_eq!(faults.calls() - before, 1);
        // The thread that looks after the lane has made it, and waits for the lock.
        let late = audit.prepare_late();
        let mut recorded = 1;
        while begun(directory.path()) < 2 {
            let before = faults.calls();
            record(&audit);
            recorded += 1;
            if fails && faults.calls() - before > 1 {
                // What was just begun takes nothing more.
                faults.strike(1);
                assert!(!blocked("TS-1", b"/", |event| audit.record(event)).wait().is_recorded());
            }
        }
        audit.put_late(late);
        audit.look_after();
        record_many(&audit, 20);
        drop(audit);
        let (audit, recovery) = opened(directory.path());
        assert_eq!(recovery.problems, vec![]);
        audit.close().unwrap();
        let checked = check(directory.path()).unwrap();
        assert_eq!((checked.durable, checked.missed), (recorded + 20, fails.into()), "{fails}");
        assert_sound(directory.path(), "a late file");
    }
}

#[test]
fn the_next_file_of_a_living_process_is_left_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = old_and_new(directory.path());
    new.look_after();
    let files = journal_of(directory.path());
    old.seal();
    assert_eq!(journal_of(directory.path()), files);
    record_many(&new, 200);
    old.seal();
    assert_eq!((old.counters().seq, torn(directory.path())), (200, 0));
    new.close().unwrap();
    old.close().unwrap();
    assert_sound(directory.path(), "two processes");
}

#[test]
fn memory_is_given_back_also_where_nobody_tends_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = opened(directory.path());
    record_many(&audit, 2_000);
    let files = journal_of(directory.path()).len();
    assert!(files > 12 && mapped(directory.path()) < 10, "{files}");
    audit.close().unwrap();
    assert_eq!(mapped(directory.path()), 0);
}
