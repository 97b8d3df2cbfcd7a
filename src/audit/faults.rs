//! Every system call of the writer, the sealer and recovery made to fail, and the process killed in each of them.

use std::{collections::HashSet, fs::File, io::Write, path::Path, sync::Arc};

use rustix::io::Errno;

use super::{
    faulty::{Faults, FaultyDisk, Mode},
    files::RealDisk,
    testing::{Steps, assert_sound, blocked, options},
    *,
};

struct Outcome {
    calls: u64,
    acknowledged: Vec<String>,
    /// Absent when the log could not even be opened.
    counters: Option<Counters>,
}

/// Events in a run: enough for a rotation of segments.
const EVENTS: u64 = 40;

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

/// Blocks and seals; `acknowledge` tells whether a group commit follows each event.
fn run(directory: &Path, faults: &Arc<Faults>, from: u64, end: End, acknowledge: Acknowledge) -> Outcome {
    let disk = Arc::new(FaultyDisk(RealDisk::open(directory, "ams-1").unwrap(), Arc::clone(faults)));
    let mut outcome = Outcome { calls: 0, acknowledged: Vec::new(), counters: None };
    let options = Options { acknowledge, ..options(directory) };
    if let Ok((audit, _)) = Audit::open_on(disk, None, options, Steps::of_millis(40)) {
        let path = vec![b'/'; 2048];
        let mut left = 3;
        for number in 0..EVENTS {
            if end == End::Killed && faults.calls() > from {
                if left == 0 {
                    break;
                }
                left -= 1;
            }
            let case = format!("TS-{}", number % 3);
            let pending = blocked(&case, &path, |event| audit.record(event));
            if acknowledge == Acknowledge::Disk {
                audit.sync();
            }
            if end == End::Dead && faults.calls() > from {
                break;
            }
            let receipt = pending.wait();
            outcome.acknowledged.extend(receipt.is_recorded().then(|| receipt.id().to_string()));
            let counters = audit.counters();
            assert_eq!(counters.decided, counters.durable + counters.gap);
            if number % 10 == 9 {
                audit.tend();
            }
        }
        if end == End::Closed {
            audit.close().ok();
        }
        let counters = audit.counters();
        assert_eq!(counters.decided, counters.durable + counters.gap);
        if end != End::Dead {
            assert_eq!(counters.durable, outcome.acknowledged.len() as u64);
            outcome.counters = Some(counters);
        }
    }
    outcome.calls = faults.calls();
    outcome
}

/// What must hold of the directory after the next start, whatever happened before.
fn verify(directory: &Path, outcome: &Outcome, what: &str) {
    let disk = Arc::new(RealDisk::open(directory, "ams-1").unwrap());
    let (audit, recovery) = Audit::open_on(disk, None, options(directory), Steps::of_millis(1)).unwrap();
    assert_eq!(recovery.new_epoch, None, "{what}: {:?}", recovery.problems);
    let after = blocked("TS-after", b"/", |event| audit.record(event)).wait();
    assert!(after.is_recorded(), "{what}");
    audit.tend();
    audit.close().unwrap();
    let checked = check(directory).unwrap_or_else(|error| panic!("{what}: {error}"));
    let items = records(directory).unwrap().map(Result::unwrap);
    let all: Vec<String> = items.map(|item| item.unwrap().id.to_string()).collect();
    let found: HashSet<&String> = all.iter().collect();
    assert_eq!(found.len(), all.len(), "{what}: an id twice");
    for receipt in &outcome.acknowledged {
        assert!(found.contains(receipt), "{what}: {receipt:?} was acknowledged and is not in the log");
    }
    assert_sound(directory, what);
    let Some(counters) = &outcome.counters else { return };
    let durable = checked.durable - PREPARED - 1;
    // In flight when all went dark: at most the one event whose write seemed to fail.
    assert!((counters.durable..=counters.durable + 1).contains(&durable), "{what}: {checked:?} {counters:?}");
    if counters.gap_pending == 0 {
        assert_eq!(checked.missed, counters.gap, "{what}");
    }
}

/// Records there are before a run.
const PREPARED: u64 = 30;

/// A log of some segments with a torn tail, so that the run starts with a recovery.
fn prepared() -> tempfile::TempDir {
    // Thousands of runs sync their files: in memory, where that is to be had, a busy disk does not slow them down.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let disk = Arc::new(RealDisk::open(directory.path(), "ams-1").unwrap());
    let (audit, _) = Audit::open_on(disk, None, options(directory.path()), Steps::of_millis(1)).unwrap();
    for _ in 0..PREPARED {
        assert!(blocked("TS-before", &[b'/'; 2048], |event| audit.record(event)).wait().is_recorded());
        audit.tend();
    }
    audit.close().unwrap();
    let last = segments(directory.path()).unwrap().pop().unwrap();
    assert!(last.first != 1 && !last.compressed);
    File::options().append(true).open(last.path).unwrap().write_all(b"{\"id\":\"torn").unwrap();
    directory
}

const MODES: &[Mode] = &[
    Mode::Fails(Errno::IO),
    Mode::Fails(Errno::NOSPC),
    Mode::Short,
    Mode::FailsHalfway(Errno::IO),
    Mode::FailsButLanded(Errno::IO),
    Mode::FailsButLanded(Errno::NOSPC),
];

/// A run for every call there is, and one more without a fault.
fn try_every_call(mode: Mode, width: u64, end: End, acknowledge: Acknowledge) {
    for call in 0.. {
        let directory = prepared();
        let faults = Faults::new(call, call + width, mode, end == End::Dead);
        let outcome = run(directory.path(), &faults, call, end, acknowledge);
        let what = format!("{mode:?} at calls {call} to {}, {end:?}, {acknowledge:?}", call + width);
        verify(directory.path(), &outcome, &what);
        if outcome.calls <= call {
            assert!(outcome.counters.is_none_or(|counters| counters.gap == 0));
            break;
        }
    }
}

#[test]
fn each_system_call_may_fail_once_and_nothing_is_lost_or_miscounted() {
    MODES.iter().for_each(|mode| try_every_call(*mode, 1, End::Closed, Acknowledge::Process));
}

#[test]
fn each_system_call_may_fail_with_those_after_it() {
    for width in [2, 5] {
        try_every_call(Mode::Fails(Errno::IO), width, End::Closed, Acknowledge::Process);
        try_every_call(Mode::Fails(Errno::NOSPC), width, End::Closed, Acknowledge::Process);
    }
}

#[test]
fn a_process_killed_soon_after_a_fault_loses_nothing_it_acknowledged() {
    MODES.iter().for_each(|mode| try_every_call(*mode, 2, End::Killed, Acknowledge::Process));
}

#[test]
fn a_process_that_dies_in_any_system_call_loses_nothing_it_acknowledged() {
    MODES.iter().for_each(|mode| try_every_call(*mode, 1, End::Dead, Acknowledge::Process));
}

#[test]
fn with_the_disk_acknowledging_a_fault_in_any_call_loses_nothing() {
    try_every_call(Mode::Fails(Errno::IO), 1, End::Closed, Acknowledge::Disk);
    try_every_call(Mode::FailsButLanded(Errno::IO), 1, End::Dead, Acknowledge::Disk);
}
