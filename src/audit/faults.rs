//! Every system call of the writer made to fail: once, a few times, for ever; in whole, in part, or only seemingly.

use std::{
    collections::HashSet,
    io::{self, Write},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use jiff::{SignedDuration, Timestamp};
use rustix::io::Errno;

use super::{
    disk::{Disk, FileState, Identity, Place, RealDisk, SegmentFile},
    tests::{blocked, options},
    *,
};
use crate::clock::Clock;

/// A clock that goes on by itself, a bit with each look.
#[derive(Debug)]
pub(super) struct Steps {
    now: Mutex<Timestamp>,
    step: SignedDuration,
}

impl Steps {
    pub(super) fn of_millis(step: i64) -> Arc<Self> {
        let now = Mutex::new("2026-11-20T22:30:00Z".parse().unwrap());
        Arc::new(Self { now, step: SignedDuration::from_millis(step) })
    }

    pub(super) fn go(&self, by: SignedDuration) {
        let mut now = self.now.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }
}

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        self.go(self.step);
        *self.now.lock().unwrap()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing happens.
    Fails(Errno),
    /// Half of a write happens and is reported; other calls fail.
    Short,
    /// Half of a write happens, and an error is reported.
    FailsHalfway(Errno),
    /// It happens, and an error is reported.
    FailsButLanded(Errno),
}

/// Which calls go wrong, and how.
#[derive(Debug)]
pub(super) struct Faults {
    calls: AtomicU64,
    from: u64,
    to: u64,
    mode: Mode,
    /// Whether every call after them fails without doing anything: the process is dead.
    deadly: bool,
}

impl Faults {
    fn new(from: u64, to: u64, mode: Mode, deadly: bool) -> Arc<Self> {
        Arc::new(Self { calls: AtomicU64::new(0), from, to, mode, deadly })
    }

    /// How the next call goes wrong, if it does.
    fn next(&self) -> Option<Mode> {
        let call = self.calls.fetch_add(1, Relaxed);
        if (self.from..self.to).contains(&call) {
            return Some(self.mode);
        }
        (self.deadly && call >= self.to).then_some(Mode::Fails(Errno::IO))
    }

    fn call<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.next() {
            None => act(),
            Some(Mode::Fails(errno) | Mode::FailsHalfway(errno)) => Err(errno.into()),
            Some(Mode::Short) => Err(Errno::NOSPC.into()),
            Some(Mode::FailsButLanded(errno)) => {
                act()?;
                Err(errno.into())
            }
        }
    }
}

struct FaultyDisk(RealDisk, Arc<Faults>);

impl FaultyDisk {
    fn wrap(&self, file: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        Box::new(FaultyFile(file, Arc::clone(&self.1)))
    }
}

impl Disk for FaultyDisk {
    fn claim(&self) -> io::Result<()> {
        self.1.call(|| self.0.claim())
    }
    fn segments(&self) -> io::Result<Vec<u64>> {
        self.1.call(|| self.0.segments())
    }
    fn create(&self, place: &Place) -> io::Result<Box<dyn SegmentFile>> {
        self.1.call(|| self.0.create(place)).map(|file| self.wrap(file))
    }
    fn open(&self, place: &Place) -> io::Result<Box<dyn SegmentFile>> {
        self.1.call(|| self.0.open(place)).map(|file| self.wrap(file))
    }
    fn identity(&self, place: &Place) -> io::Result<Option<Identity>> {
        self.1.call(|| self.0.identity(place))
    }
    fn rename(&self, from: &Place, to: &Place) -> io::Result<()> {
        self.1.call(|| self.0.rename(from, to))
    }
    fn remove(&self, place: &Place) -> io::Result<()> {
        self.1.call(|| self.0.remove(place))
    }
    fn sync(&self) -> io::Result<()> {
        self.1.call(|| self.0.sync())
    }
}

struct FaultyFile(Box<dyn SegmentFile>, Arc<Faults>);

impl SegmentFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let half = &bytes[..bytes.len() / 2];
        match self.1.next() {
            None => self.0.write_at(bytes, offset),
            Some(Mode::Fails(errno)) => Err(errno.into()),
            Some(Mode::Short) => self.0.write_at(half, offset),
            Some(Mode::FailsHalfway(errno)) => self.0.write_at(half, offset).and(Err(errno.into())),
            Some(Mode::FailsButLanded(errno)) => self.0.write_at(bytes, offset).and(Err(errno.into())),
        }
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.call(|| self.0.read_at(buffer, offset))
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.1.call(|| self.0.truncate(length))
    }
    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.1.call(|| self.0.preallocate(length))
    }
    fn sync(&self) -> io::Result<()> {
        self.1.call(|| self.0.sync())
    }
    fn state(&self) -> io::Result<FileState> {
        self.1.call(|| self.0.state())
    }
}

/// Whether a segment could not be read; a torn tail that could not be moved leaves no hole.
fn is_blind(recovery: &Recovery) -> bool {
    recovery.problems.iter().any(
        |problem| matches!(problem, Problem::Unreadable { error, .. } if !error.starts_with("torn tail")),
    )
}

struct Outcome {
    calls: u64,
    acknowledged: Vec<(u64, String)>,
    /// Absent when the log could not even be opened.
    counters: Option<Counters>,
    closed: bool,
    /// The start could not read what was there, and left a hole in the sequence on purpose.
    blind: bool,
}

/// Events in a run: enough for two rotations.
const EVENTS: u64 = 45;

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// In order, after all events.
    Closed,
    /// As if killed, three events after the first fault.
    Killed,
    /// As if killed in the first faulty call: no later one does anything, and its event gets no receipt.
    Dead,
}

/// Two rotations, a retry now and then.
fn run(directory: &Path, from: u64, to: u64, mode: Mode, end: End) -> Outcome {
    let faults = Faults::new(from, to, mode, end == End::Dead);
    let disk = Arc::new(FaultyDisk(RealDisk::open(directory, "ams-1").unwrap(), Arc::clone(&faults)));
    let mut outcome =
        Outcome { calls: 0, acknowledged: Vec::new(), counters: None, closed: false, blind: false };
    if let Ok((audit, recovery)) = Audit::open_on(disk, options(directory), Steps::of_millis(40)) {
        outcome.blind = is_blind(&recovery);
        let path = vec![b'/'; 2048];
        let mut left = 3;
        for number in 0..EVENTS {
            if end == End::Killed && faults.calls.load(Relaxed) > from {
                if left == 0 {
                    break;
                }
                left -= 1;
            }
            let case = format!("TS-{}", number % 3);
            let receipt = blocked(&case, &path, |event| audit.record(event));
            if end == End::Dead && faults.calls.load(Relaxed) > from {
                break;
            }
            outcome.acknowledged.extend(receipt.seq().map(|seq| (seq, receipt.id().to_string())));
            let counters = audit.counters();
            assert_eq!(counters.decided, counters.durable + counters.gap);
            if number % 16 == 15 {
                audit.retry();
            }
        }
        outcome.closed = end == End::Closed && audit.close().is_ok();
        let counters = audit.counters();
        assert_eq!(counters.decided, counters.durable + counters.gap);
        if end != End::Dead {
            assert_eq!(counters.durable, outcome.acknowledged.len() as u64);
            outcome.counters = Some(counters);
        }
    }
    outcome.calls = faults.calls.load(Relaxed);
    outcome
}

/// What must hold of the directory after the next start, whatever happened before.
fn verify(directory: &Path, outcome: &Outcome, what: &str) {
    let (audit, recovery) = Audit::open(options(directory), Steps::of_millis(1)).unwrap();
    assert!(outcome.blind || recovery.problems.is_empty(), "{what}: {:?}", recovery.problems);
    let after = blocked("TS-after", b"/", |event| audit.record(event));
    assert!(after.is_recorded(), "{what}");
    audit.close().unwrap();
    let items = records(directory).unwrap().map(Result::unwrap);
    let all: Vec<(u64, String)> = items.flatten().map(|record| (record.seq, record.id.to_string())).collect();
    assert!(all.is_sorted_by_key(|(seq, _)| *seq) && all.len() > PREPARED as usize, "{what}");
    let found: HashSet<(u64, String)> = all.iter().cloned().collect();
    assert_eq!(found.len(), all.len(), "{what}: an id twice");
    for receipt in &outcome.acknowledged {
        assert!(found.contains(receipt), "{what}: {receipt:?} was acknowledged and is not in the log");
    }
    let checked = match check(directory) {
        Ok(checked) => checked,
        Err(_) if outcome.blind => return,
        Err(error) => panic!("{what}: {error}"),
    };
    let Some(counters) = &outcome.counters else { return };
    let durable = checked.durable - PREPARED - 1;
    if counters.gap_pending == 0 {
        assert_eq!(checked.missed, counters.gap, "{what}");
        // A record of ours counts or is counted as missed, never both.
        assert_eq!(durable, counters.durable, "{what}");
    }
    // In flight when all went dark: at most the one event (or gap record) whose write seemed to fail.
    assert!(durable <= counters.durable + 1, "{what}: {checked:?} {counters:?}");
}

/// Records there are before a run.
const PREPARED: u64 = 30;

/// A log of two segments with a torn tail, so that the run starts with a recovery.
fn prepared() -> tempfile::TempDir {
    // Thousands of runs sync their files: in memory, where that is to be had, a busy disk does not slow them down.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (audit, _) = Audit::open(options(directory.path()), Steps::of_millis(1)).unwrap();
    for _ in 0..PREPARED {
        assert!(blocked("TS-before", &[b'/'; 2048], |event| audit.record(event)).is_recorded());
    }
    audit.close().unwrap();
    let last = super::disk::segments(directory.path()).unwrap().pop().unwrap();
    assert_ne!(last, 1);
    let path = super::disk::segments_of(directory.path()).join(super::disk::file_name(last));
    std::fs::File::options().append(true).open(path).unwrap().write_all(b"{\"id\":\"torn").unwrap();
    directory
}

const MODES: &[Mode] = &[
    Mode::Fails(Errno::IO),
    Mode::Fails(Errno::NOSPC),
    Mode::Fails(Errno::ROFS),
    Mode::Short,
    Mode::FailsHalfway(Errno::IO),
    Mode::FailsHalfway(Errno::NOSPC),
    Mode::FailsButLanded(Errno::IO),
    Mode::FailsButLanded(Errno::NOSPC),
];

/// A run for every call there is, and one more without a fault.
fn try_every_call(mode: Mode, width: u64, end: End) {
    for call in 0.. {
        let directory = prepared();
        let outcome = run(directory.path(), call, call + width, mode, end);
        verify(directory.path(), &outcome, &format!("{mode:?} at calls {call} to {}, {end:?}", call + width));
        if outcome.calls <= call {
            assert!(outcome.counters.is_none_or(|counters| counters.gap == 0));
            break;
        }
    }
}

#[test]
fn each_system_call_may_fail_once_or_a_few_times_and_nothing_is_lost_or_miscounted() {
    for mode in MODES.iter().copied() {
        for width in [1, 2, 5] {
            try_every_call(mode, width, End::Closed);
        }
    }
}

#[test]
fn a_process_killed_soon_after_a_fault_loses_nothing_it_acknowledged() {
    MODES.iter().for_each(|mode| try_every_call(*mode, 2, End::Killed));
}

#[test]
fn a_process_that_dies_in_any_system_call_loses_nothing_it_acknowledged() {
    MODES.iter().for_each(|mode| try_every_call(*mode, 1, End::Dead));
}

#[test]
fn a_file_with_an_io_error_is_never_written_again_and_a_full_one_is() {
    for mode in MODES.iter().copied() {
        let directory = tempfile::tempdir().unwrap();
        let write = |calls: u64| {
            let disk = RealDisk::open(directory.path(), "ams-1").unwrap();
            let real = disk.create(&Place::Aside(calls.to_string())).unwrap();
            let file = FaultyFile(real, Faults::new(0, calls, mode, false));
            super::segment::Segment::over(Box::new(file)).append(b"line\n").err().unwrap().intact
        };
        let errors =
            [Mode::Fails(Errno::NOSPC), Mode::FailsHalfway(Errno::NOSPC), Mode::FailsButLanded(Errno::NOSPC)];
        assert_eq!(write(1), mode == Mode::Short || errors.contains(&mode), "{mode:?}");
        assert!(!write(2), "{mode:?}: what cannot be cut back is left");
    }
}
