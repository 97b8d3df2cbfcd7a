//! Lanes of two processes sealed by one: what a lane without records costs, and in which order lines come.

use std::{io, path::Path, sync::Arc};

use jiff::SignedDuration;

use super::{
    counting::{CountingDisk, Reads},
    files::RealDisk,
    journal::Header,
    testing::{Steps, assert_sound, blocked, options},
    *,
};
use crate::{background::offers, limits};

/// Records of 2 KiB that take two files of a lane.
const TWO_FILES: u64 = 150;

/// Two processes, one directory, one clock.
struct Pair {
    directory: tempfile::TempDir,
    /// Seals for both.
    old: Arc<Audit>,
    new: Arc<Audit>,
    /// What the old one reads.
    reads: Arc<Reads>,
}

impl Pair {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (path, reads, clock) = (directory.path(), Arc::new(Reads::default()), Steps::of_millis(1));
        // One pass seals all there is: it ends where a segment does.
        let options = Options { segment_bytes: SEGMENT_BYTES, ..options(path) };
        let disk = CountingDisk(RealDisk::open(path, "ams-1").unwrap(), Arc::clone(&reads));
        let old = Audit::open_on(Arc::new(disk), None, options.clone(), Arc::clone(&clock) as _).unwrap().0;
        let succeeding = Options { succeed: true, ..options };
        let disk = Arc::new(RealDisk::unlocked(path, "ams-1"));
        let new = Audit::open_on(disk, None, succeeding, clock).unwrap().0;
        Self { old: Arc::new(old), new: Arc::new(new), reads, directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The last file of the new process's lane, as a path in the directory.
    fn last_file(&self) -> String {
        let nonce = record(&self.new).nonce().to_string();
        let names = std::fs::read_dir(self.path().join("journal")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let last = names.filter(|name| name.starts_with(&nonce) && name.ends_with(".wal")).max();
        format!("journal/{}", last.unwrap())
    }

    /// How many files of lanes there are.
    fn files(&self) -> usize {
        let names = std::fs::read_dir(self.path().join("journal")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| Header::parse_name(name).is_some()).count()
    }

    /// Octets of the one segment there is.
    fn sealed_bytes(&self) -> u64 {
        std::fs::metadata(&segments(self.path()).unwrap()[0].path).unwrap().len()
    }

    /// Closes both, and holds the log against its promises.
    fn close(self, records: u64) {
        self.old.close().unwrap();
        self.new.close().unwrap();
        let checked = check(self.path()).unwrap();
        assert_eq!((checked.records, checked.last_seq, checked.missed), (records, records, 0));
        assert_eq!(checked.steps_back, 0, "lines are in the order of their times");
        assert_sound(self.path(), "two lanes");
    }
}

fn record(audit: &Audit) -> EventId {
    record_of(audit, &[b'/'; 2048])
}

fn record_of(audit: &Audit, path: &[u8]) -> EventId {
    let receipt = blocked("TS-1", path, |event| audit.record(event)).wait();
    assert!(receipt.is_recorded());
    receipt.id()
}

fn record_many(audit: &Audit, count: u64) {
    for _ in 0..count {
        record(audit);
    }
}

#[test]
fn a_lane_without_records_is_not_read_again_for_each_record_of_another() {
    for old_is_dry in [true, false] {
        let pair = Pair::open();
        let (writes, rests) = if old_is_dry { (&pair.new, &pair.old) } else { (&pair.old, &pair.new) };
        let dry = record(rests).nonce();
        pair.old.tend();
        let before = pair.reads.of(dry);
        record_many(writes, TWO_FILES - 1);
        let busy = record(writes).nonce();
        pair.old.tend();
        assert_eq!(pair.old.counters().seq, TWO_FILES + 1);
        let after = pair.reads.of(dry);
        let (reads, bytes) = (after.0 - before.0, after.1 - before.1);
        assert!(reads <= 4 && bytes <= 1024, "{reads} reads of {bytes} bytes of a lane at its end");
        let (reads, bytes) = pair.reads.of(busy);
        assert!(reads <= 24 && bytes <= 600 * 1024, "{reads} reads of {bytes} bytes for two files");
        pair.close(TWO_FILES + 1);
    }
}

#[test]
fn a_record_in_a_dry_lane_precedes_later_ones_of_the_same_pass() {
    let pair = Pair::open();
    record_many(&pair.new, TWO_FILES - 1);
    let (old, new) = (Arc::clone(&pair.old), Arc::clone(&pair.new));
    // The old one's lane was found dry when the last file of the new one's is read.
    pair.reads.before(&pair.last_file(), move || {
        record(&old);
        record(&new);
    });
    pair.old.tend();
    assert_eq!(pair.old.counters().seq, TWO_FILES + 2, "both are sealed in the pass they came into");
    pair.close(TWO_FILES + 2);
}

#[test]
fn what_comes_behind_the_last_look_at_a_lane_is_the_first_in_the_next_pass() {
    let pair = Pair::open();
    record_many(&pair.new, TWO_FILES - 1);
    let old = Arc::clone(&pair.old);
    pair.reads.before(&pair.last_file(), move || record_many(&old, 3));
    pair.old.tend();
    assert_eq!(pair.old.counters().seq, TWO_FILES);
    record(&pair.new);
    pair.old.tend();
    assert_eq!(pair.old.counters().seq, TWO_FILES + 4);
    pair.close(TWO_FILES + 4);
}

/// What is said in the log of the process while `act` runs.
fn said(act: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Said(Arc<std::sync::Mutex<Vec<u8>>>);
    impl io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let said = Said::default();
    let out = said.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || out.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, act);
    String::from_utf8(said.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_log_that_is_closed_says_nothing_of_a_journal_that_cannot_be_written() {
    let pair = Pair::open();
    record(&pair.old);
    // A thread of the log may still tend it while it is closed.
    let text = said(|| {
        pair.old.tend();
        pair.old.close().unwrap();
        pair.old.tend();
    });
    assert_eq!(text, "");
    let text = said(|| {
        pair.new.fail_writing();
        pair.new.announce();
    });
    assert!(text.contains("the audit journal cannot be written") && text.contains("error="), "{text}");
}

#[test]
fn sealing_offers_the_processor_unless_many_files_wait() {
    let pair = Pair::open();
    record(&pair.new);
    pair.old.seal();
    let (few, many) = (limits::HUGE_UNSEALED, limits::HUGE_UNSEALED + 1);
    for (files, offers_it) in [(few, true), (many, false), (many + 1, false), (2, true), (few, true)] {
        record_of(&pair.old, b"/");
        while pair.files() < files {
            record_of(&pair.old, b"/");
        }
        let before = (pair.old.counters().seq, pair.sealed_bytes());
        let offered = offers(|| pair.old.seal());
        let records = pair.old.counters().seq - before.0;
        let pieces = (pair.sealed_bytes() - before.1).div_ceil(64 * 1024);
        assert!(pieces > 0 && (files < few || records > 64), "{records} records, {pieces} pieces");
        // Of so many records while they become lines, and of each piece that is read back.
        let expected = if offers_it { records / 64 + pieces } else { 0 };
        assert_eq!(offered as u64, expected, "{files} files");
    }
    let records = pair.old.counters().seq;
    pair.close(records);
}

#[test]
fn compressing_offers_the_processor_unless_many_segments_wait() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(directory.path(), "ams-1").unwrap());
    let clock = Steps::of_millis(1);
    let log = Audit::open_on(disk, None, options(directory.path()), Arc::clone(&clock) as _).unwrap().0;
    let plain = || segments(directory.path()).unwrap().into_iter().filter(|one| !one.compressed);
    // One more is open.
    let fill = |full: usize| {
        while plain().count() <= full {
            (0..10)
                .for_each(|_| assert!(blocked("TS-1", b"/", |event| log.record(event)).wait().is_recorded()));
            log.seal();
        }
    };
    let archived = |full| {
        fill(full);
        let offered = offers(|| log.archive());
        assert_eq!(plain().count(), 1);
        offered
    };
    let one = archived(1);
    // Of every 64 lines, and of each piece that is compressed or compared.
    assert_eq!(one, 2 + 2 + 3);
    let few = limits::HUGE_UNCOMPRESSED;
    assert_eq!(
        [few, few + 1, few + 4].map(archived),
        [few * one; 3],
        "the last ones, however many there were"
    );
    // One that somebody has changed is none of those that wait, and it is left alone for ten minutes.
    fill(few + 1);
    let first = plain().next().unwrap().path;
    let text = std::fs::read(&first).unwrap();
    std::fs::write(&first, &text[1..]).unwrap();
    assert_eq!(offers(|| log.archive()), few * one);
    let told = log.counters().last_error.unwrap().1;
    assert!(told.starts_with("segment ") && told.contains(" is left as it is"), "{told}");
    std::fs::write(&first, &text).unwrap();
    assert_eq!(offers(|| log.archive()), 0);
    fill(1 + few);
    assert_eq!((offers(|| log.archive()), first.exists()), (few * one, true));
    clock.go(SignedDuration::try_from(limits::CHANGED_SEGMENT_AGAIN).unwrap());
    assert_eq!((offers(|| log.archive()), first.exists()), (one, false));
    log.close().unwrap();
    assert_sound(directory.path(), "compressed");
}
