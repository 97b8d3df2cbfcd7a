//! Every system call of the store made to fail, and the process made to die at every one.

use std::{path::Path, sync::atomic::Ordering::Relaxed};

use rustix::io::Errno;

use super::super::archive::OTHER_LINES;
use super::{
    faulty::{Faults, FaultyDisk, Mode},
    *,
};

/// Events of one run: some segments, and archives of them.
const EVENTS: u64 = 21;

/// Opens the log, writes up to `EVENTS` and closes. Of each step the error is counted and the run goes on, unless the
/// process is dead. Returns the last event that was said to be sealed, and whether all went to the end.
fn run(directory: &Path, faults: &Arc<Faults>, deadly: bool, scene: Scene) -> (u64, bool) {
    let mut sealer = loop {
        match Sealer::open(FaultyDisk::over(directory, faults), options()) {
            Ok(sealer) => break sealer,
            Err(_) if deadly => return (0, false),
            Err(_) => {}
        }
    };
    assert!(deadly || sealer.found.new_epoch.is_none(), "{:?}", sealer.found);
    let mut last = 0;
    while sealer.last_sealed < EVENTS {
        last = (last + 3).min(EVENTS);
        sealer.offer(last);
        if let Some(open) =
            segments(directory).unwrap().last().filter(|_| scene == Scene::Deleted && last == 12)
        {
            std::fs::remove_file(&open.path).unwrap();
        }
        let step = sealer.append().and_then(|()| sealer.commit().map(drop)).and_then(|()| sealer.archive());
        // Whatever went wrong: what is sealed is what was sealed.
        assert!(!step.as_ref().is_err_and(|error| error.to_string().ends_with(OTHER_LINES)), "{step:?}");
        if step.is_err() && deadly {
            return (sealer.last_sealed, false);
        }
    }
    while sealer.close().is_err() {
        if deadly {
            return (sealer.last_sealed, false);
        }
    }
    (sealer.last_sealed, true)
}

/// A later process on a sound disk: nothing that was sealed is lost, nothing is there twice, and it can go on.
fn go_on(directory: &Path, last_sealed: u64, context: &str) {
    // A disk that waits for no platter, on which nothing fails.
    let quiet = Faults::new(u64::MAX, u64::MAX, Mode::Short, false);
    let open = || Sealer::open(FaultyDisk::over(directory, &quiet), options()).unwrap();
    let mut sealer = open();
    assert_eq!(sealer.found.problems, [], "{context}");
    assert_eq!(sealer.found.new_epoch, None, "{context}");
    assert!(sealer.last_sealed >= last_sealed, "{context}");
    sealer.archive().unwrap();
    sealer.offer(EVENTS + 2);
    sealer.append().unwrap();
    sealer.commit().unwrap();
    sealer.close().unwrap();
    sealer.archive().unwrap();
    check_whole(directory, EVENTS + 2);
    drop(sealer);
    let again = open();
    assert_eq!(
        (again.found.problems, again.found.tail_ids, again.found.last_seq),
        (vec![], vec![], EVENTS + 2)
    );
}

/// Lets the `n`th call go wrong, for every `n`.
fn every_call(mode: Mode, width: u64, deadly: bool) {
    every_call_of(mode, width, deadly, Scene::New);
}

/// Where a run starts, and what happens on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// A new log.
    New,
    /// Somebody deletes the open segment.
    Deleted,
    /// An earlier process left lines that are not sealed.
    Tail,
}

impl Scene {
    fn prepare(self) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        if self == Self::Tail {
            let quiet = Faults::new(u64::MAX, u64::MAX, Mode::Short, false);
            let mut sealer = Sealer::open(FaultyDisk::over(directory.path(), &quiet), options()).unwrap();
            sealer.write(4).unwrap();
            sealer.offer(6);
            sealer.append().unwrap();
        }
        directory
    }
}

fn every_call_of(mode: Mode, width: u64, deadly: bool, scene: Scene) {
    let quiet = Faults::new(u64::MAX, u64::MAX, mode, false);
    let directory = scene.prepare();
    assert!(run(directory.path(), &quiet, false, scene).1);
    go_on(directory.path(), EVENTS, "no fault");
    let calls = quiet.calls.load(Relaxed);
    assert!(calls > 20, "{calls}");
    // A last segment that cannot be read when the log is opened rightly begins a new epoch.
    let opening = Faults::new(u64::MAX, u64::MAX, mode, false);
    let first = if scene == Scene::Tail {
        let directory = scene.prepare();
        drop(Sealer::open(FaultyDisk::over(directory.path(), &opening), options()).unwrap());
        opening.calls.load(Relaxed)
    } else {
        0
    };
    for call in (first..calls).step_by(usize::try_from(width).unwrap()) {
        let context = format!("call {call} {mode:?} deadly {deadly}");
        let directory = scene.prepare();
        let faults = Faults::new(call, call + width, mode, deadly);
        let (last_sealed, finished) = run(directory.path(), &faults, deadly, scene);
        assert!(finished || deadly, "{context}");
        go_on(directory.path(), last_sealed, &context);
    }
}

#[test]
fn a_process_that_dies_at_any_call_leaves_all_that_was_sealed() {
    every_call(Mode::Fails(Errno::IO), 1, true);
}

#[test]
fn a_process_that_dies_after_any_call_leaves_all_that_was_sealed() {
    every_call(Mode::FailsButLanded(Errno::IO), 1, true);
}

#[test]
fn a_process_that_dies_in_the_middle_of_a_write_leaves_whole_lines() {
    every_call(Mode::FailsHalfway(Errno::IO), 1, true);
}

#[test]
fn a_call_that_fails_loses_and_repeats_nothing() {
    every_call(Mode::Fails(Errno::IO), 1, false);
    every_call(Mode::Fails(Errno::NOSPC), 1, false);
}

#[test]
fn a_call_that_fails_but_landed_loses_and_repeats_nothing() {
    every_call(Mode::FailsButLanded(Errno::IO), 1, false);
    every_call(Mode::FailsButLanded(Errno::NOSPC), 1, false);
}

#[test]
fn half_a_write_loses_and_repeats_nothing() {
    every_call(Mode::Short, 1, false);
    every_call(Mode::FailsHalfway(Errno::NOSPC), 1, false);
    every_call(Mode::FailsHalfway(Errno::IO), 1, false);
}

#[test]
fn several_calls_in_a_row_that_fail_lose_and_repeat_nothing() {
    every_call(Mode::Fails(Errno::IO), 4, false);
    every_call(Mode::FailsButLanded(Errno::IO), 3, false);
    every_call(Mode::Fails(Errno::NOSPC), 9, false);
}

#[test]
fn a_deleted_segment_is_put_back_whatever_fails_meanwhile() {
    every_call_of(Mode::Fails(Errno::IO), 1, false, Scene::Deleted);
    every_call_of(Mode::FailsButLanded(Errno::IO), 1, false, Scene::Deleted);
    every_call_of(Mode::Fails(Errno::NOSPC), 3, false, Scene::Deleted);
}

#[test]
fn lines_that_an_earlier_process_left_outlast_whatever_fails() {
    every_call_of(Mode::Fails(Errno::IO), 1, false, Scene::Tail);
    every_call_of(Mode::FailsButLanded(Errno::NOSPC), 1, false, Scene::Tail);
    every_call_of(Mode::Fails(Errno::IO), 1, true, Scene::Tail);
    every_call_of(Mode::Short, 1, false, Scene::Tail);
}

/// The calls of one commit of two lines, and of the rotation and archive that follow, in order.
#[test]
fn the_system_calls_come_in_the_order_that_makes_a_crash_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::new(u64::MAX, u64::MAX, Mode::Fails(Errno::IO), false);
    let mut sealer = Sealer::open(FaultyDisk::over(directory.path(), &faults), options()).unwrap();
    sealer.write(1).unwrap();
    let trace = || std::mem::take(&mut *faults.trace.lock().unwrap());
    trace();
    sealer.write(3).unwrap();
    let segment = "segments/00000000000000000001.jsonl";
    let checkpoint = "tree/1/checkpoint";
    let expected = [
        format!("write {segment}"),
        format!("sync {segment}"),
        format!("read {segment}"),
        format!("create {checkpoint}.new"),
        format!("write {checkpoint}.new"),
        format!("sync {checkpoint}.new"),
        format!("rename {checkpoint}"),
        "sync folder tree/1".to_owned(),
    ];
    assert_eq!(trace(), expected);
    while segments(directory.path()).unwrap().len() < 2 {
        sealer.write(sealer.last_sealed + 1).unwrap();
    }
    let next = format!("create segments/{:020}.jsonl", segments(directory.path()).unwrap()[1].first);
    let calls = trace();
    let at = |call: &str| {
        calls.iter().position(|found| found == call).unwrap_or_else(|| panic!("{call}: {calls:?}"))
    };
    let partial = calls.iter().position(|call| call.starts_with("rename tree/1/tile/0/000.p/")).unwrap();
    assert!(partial < at(&next) && at(&next) < at("sync folder segments"), "{calls:?}");
    sealer.archive().unwrap();
    let calls = trace();
    let at = |call: String| {
        calls.iter().position(|found| *found == call).unwrap_or_else(|| panic!("{call}: {calls:?}"))
    };
    let steps = [
        at(format!("sync {segment}.zst.new")),
        at(format!("read {segment}.zst.new")),
        at("rename segments/00000000000000000001.idx".to_owned()),
        at(format!("rename {segment}.zst")),
        at(format!("remove {segment}")),
    ];
    assert!(steps.is_sorted(), "{steps:?} {calls:?}");
    let renamed = steps[3];
    assert_eq!(calls[renamed + 1], "sync folder segments", "before the plain one goes");
}
