//! What becomes of files of the journal that somebody else has removed, cut or overwritten.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    rotation_tests::{begun, journal_of, old_and_new, opened, record, record_many, torn},
    testing::assert_sound,
    *,
};

/// Where what was written into a file ends.
fn written(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    // Behind the records there is room for gaps, which no test here has.
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

#[test]
fn a_file_that_was_cut_is_damage_whatever_is_left_of_it() {
    for left in [0, 100, 512, 4096] {
        let directory = tempfile::tempdir().unwrap();
        let (audit, _) = opened(directory.path());
        audit.look_after();
        drop(audit);
        let next = journal_of(directory.path()).remove(1);
        fs::File::options().write(true).open(&next).unwrap().set_len(left).unwrap();
        let (_audit, recovery) = opened(directory.path());
        assert_eq!((recovery.problems.len(), torn(directory.path())), (1, 1), "{left} bytes");
    }
}

#[test]
fn a_file_that_was_wiped_under_us_is_told_and_followed_by_another() {
    for is_whole_again in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (audit, _) = opened(directory.path());
        // None of it is sealed.
        record_many(&audit, 90);
        let file = journal_of(directory.path()).remove(0);
        let length = fs::metadata(&file).unwrap().len();
        let wiped = fs::File::options().write(true).open(&file).unwrap();
        wiped.set_len(0).unwrap();
        if is_whole_again {
            wiped.set_len(length).unwrap();
        }
        (0..3).for_each(|_| audit.seal());
        let counters = audit.counters();
        assert!(counters.sealing_ok && counters.disturbed > 0, "{counters:?}");
        assert!(counters.last_error.unwrap().1.contains("journal"));
        assert_eq!(torn(directory.path()), 1);
        record_many(&audit, 20);
        audit.close().unwrap();
        // The ids show what is gone.
        assert!(check(directory.path()).unwrap().records >= 20);
    }
}

fn wipe(file: &fs::File, from: u64, to: u64) {
    file.write_all_at(&vec![0; usize::try_from(to - from).unwrap()], from).unwrap();
}

#[test]
fn what_somebody_overwrote_is_told_and_holds_up_nothing_behind_it() {
    let spoil: [fn(&fs::File, u64, u64); 3] = [
        |file, from, _| file.write_all_at(b"spoilt", from + 100).unwrap(),
        wipe,
        // Behind zeros, in the full file more than are read at a time, records that were whole.
        |file, from, to| wipe(file, from, to - 5000),
    ];
    // In the file that is being written, and in one that is full.
    for is_full in [false, true] {
        for (spoil, (told, set_aside)) in
            spoil.into_iter().zip([("it was set aside", 1), ("is gone", 0), ("it was set aside", 1)])
        {
            let directory = tempfile::tempdir().unwrap();
            let (audit, _) = opened(directory.path());
            record_many(&audit, 10);
            audit.seal();
            let file = journal_of(directory.path()).remove(0);
            let from = written(&file);
            record_many(&audit, 5);
            while is_full && begun(directory.path()) < 2 {
                record(&audit);
            }
            spoil(&fs::File::options().write(true).open(&file).unwrap(), from, written(&file));
            audit.seal();
            record_many(&audit, 20);
            audit.seal();
            let counters = audit.counters();
            assert!(counters.last_error.as_ref().unwrap().1.contains(told), "{counters:?}");
            assert_eq!((counters.sealing_ok, counters.disturbed), (true, u64::from(!is_full)));
            assert_eq!(torn(directory.path()), set_aside);
            assert_eq!(counters.seq, if is_full { 10 + 21 } else { 10 + 20 });
            audit.close().unwrap();
        }
    }
}

#[test]
fn a_process_that_another_seals_for_notices_that_its_file_was_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = old_and_new(directory.path());
    record_many(&old, 1);
    record_many(&new, 10);
    old.seal();
    new.seal();
    assert_eq!(new.counters().disturbed, 0);
    let is_of_new = |file: &PathBuf| written(file) > 4096;
    let file = journal_of(directory.path()).into_iter().find(is_of_new).unwrap();
    fs::remove_file(&file).unwrap();
    new.seal();
    assert_eq!(new.counters().disturbed, 1);
    // In a file that the other one finds.
    record_many(&new, 10);
    old.seal();
    assert_eq!(old.counters().seq, 21);
    old.close().unwrap();
    new.close().unwrap();
    assert_eq!(check(directory.path()).unwrap().records, 21);
    assert_sound(directory.path(), "a file taken away");
}

#[test]
fn a_next_file_that_somebody_took_away_or_changed_is_made_anew() {
    let meddle: [fn(&Path); 3] = [
        |file| fs::remove_file(file).unwrap(),
        |file| fs::rename(file, file.with_extension("mine")).unwrap(),
        |file| fs::File::options().write(true).open(file).unwrap().set_len(4096).unwrap(),
    ];
    for meddle in meddle {
        let directory = tempfile::tempdir().unwrap();
        let (audit, _) = opened(directory.path());
        audit.look_after();
        let next = journal_of(directory.path()).remove(1);
        meddle(&next);
        audit.look_after();
        let anew = next.to_str().unwrap().replace("2.wal", "3.wal");
        assert!(
            fs::metadata(&anew).unwrap().len() > 4096 && !next.exists(),
            "{:?}",
            journal_of(directory.path())
        );
        record_many(&audit, 200);
        audit.close().unwrap();
        assert_eq!(check(directory.path()).unwrap().records, 200);
    }
}

#[test]
fn a_file_that_somebody_removed_before_it_was_sealed_is_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = old_and_new(directory.path());
    record_many(&new, 100);
    old.seal();
    record_many(&new, 200);
    let full = journal_of(directory.path()).into_iter().filter(|file| {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        name.contains("-00000000000000000002.wal")
    });
    full.for_each(|file| fs::remove_file(file).unwrap());
    new.seal();
    // It never comes to seal them.
    drop(old);
    new.close().unwrap();
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.records, checked.missed), (300, 0));
    assert_sound(directory.path(), "from what is still open");
}

#[test]
fn a_file_whose_beginning_somebody_spoilt_gets_no_more_records() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = opened(directory.path());
    record_many(&audit, 10);
    audit.seal();
    record_many(&audit, 3);
    let file = fs::File::options().write(true).open(journal_of(directory.path()).remove(0)).unwrap();
    file.write_all_at(b"spoilt", 0).unwrap();
    audit.seal();
    assert_eq!((audit.counters().disturbed, audit.counters().seq), (1, 13));
    record_many(&audit, 5);
    drop(audit);
    let (audit, recovery) = opened(directory.path());
    assert_eq!(recovery.journaled, 5);
    audit.close().unwrap();
    assert_eq!(check(directory.path()).unwrap().records, 18);
}

#[test]
fn a_file_that_cannot_be_left_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (sealing, torn_off) = old_and_new(directory.path());
    record_many(&torn_off, 3);
    let file = journal_of(directory.path()).into_iter().find(|file| written(file) > 4096).unwrap();
    // A record may end with a few zeros.
    let behind = written(&file) + 16;
    fs::File::options().write(true).open(&file).unwrap().write_all_at(b"half a record", behind).unwrap();
    drop(torn_off);
    // There is no place for what was torn off.
    fs::remove_dir(directory.path().join("torn")).unwrap();
    std::os::unix::fs::symlink("/sys", directory.path().join("torn")).unwrap();
    record_many(&sealing, 110);
    assert!(begun(directory.path()) > 2);
    (0..3).for_each(|_| sealing.seal());
    let counters = sealing.counters();
    assert!(!counters.sealing_ok && counters.last_error.is_some());
    // Those who look see all of it, and the file that is full is gone.
    assert_eq!((counters.seq, begun(directory.path())), (113, 2));
    fs::remove_file(directory.path().join("torn")).unwrap();
    fs::create_dir(directory.path().join("torn")).unwrap();
    sealing.seal();
    assert!(sealing.counters().sealing_ok && !file.exists());
    assert_eq!(torn(directory.path()), 1);
    sealing.close().unwrap();
    assert_eq!(check(directory.path()).unwrap().records, 113);
}
