//! `acknowledge = "disk"` on a disk whose `fdatasync` fails, with the process killed or the power cut at every system
//! call from there on.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use rustix::io::Errno;

use super::{
    faulty::{Faults, FaultyDisk, Mode},
    files::RealDisk,
    platter::{Names, Platter, PlatterDisk},
    testing::{Steps, assert_sound, blocked, options},
    *,
};

/// What somebody does to the first file of the journal before its sync fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meddling {
    None,
    Deleted,
    Replaced,
}

#[derive(Debug, Clone, Copy)]
struct Scene {
    /// Records in the journal that are synced before, and those that are not.
    synced: usize,
    unsynced: usize,
    failing_syncs: u64,
    meddling: Meddling,
    /// Whether the log is closed at once, so that nothing is tried again.
    closes: bool,
}

/// All in one file.
const PLAIN: Scene =
    Scene { synced: 3, unsynced: 4, failing_syncs: 1, meddling: Meddling::None, closes: false };
/// They fill more than one file.
const MANY: usize = 120;
/// Most of the calls of a scene with so many are copies of one record each.
const STRIDE: usize = 7;

/// Events whose receipts are waited for.
#[derive(Default)]
struct Waiting {
    pending: Vec<Pin<Box<Pending>>>,
    /// Ids of all that were recorded, and of those that were acknowledged.
    recorded: Vec<String>,
    acknowledged: Vec<String>,
}

impl Waiting {
    fn record(&mut self, audit: &Audit) {
        let pending = blocked("TS-1", &[b'/'; 2048], |event| audit.record(event));
        if pending.is_recorded() {
            self.recorded.push(pending.id().to_string());
            self.pending.push(Box::pin(pending));
        }
    }

    /// Sees whose receipts are there.
    fn look(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for mut pending in std::mem::take(&mut self.pending) {
            match pending.as_mut().poll(&mut context) {
                Poll::Ready(receipt) => self.acknowledged.push(receipt.id().to_string()),
                Poll::Pending => self.pending.push(pending),
            }
        }
    }
}

struct Ran {
    directory: tempfile::TempDir,
    platter: Arc<Platter>,
    waiting: Waiting,
    counters: Counters,
    is_dead: bool,
}

/// Plays a scene; the process dies in the call `call` after the trouble begins.
fn play(scene: Scene, call: u64) -> Ran {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (faults, platter) = (Faults::new(u64::MAX, u64::MAX, Mode::Fails(Errno::IO), true), Arc::default());
    let real = PlatterDisk(RealDisk::open(directory.path(), "ams-1").unwrap(), Arc::clone(&platter));
    let disk = Arc::new(FaultyDisk(real, Arc::clone(&faults)));
    let options = Options { acknowledge: Acknowledge::Disk, ..options(directory.path()) };
    let audit = Arc::new(Audit::open_on(disk, None, options, Steps::of_millis(1)).unwrap().0);
    let waiting = Arc::new(Mutex::new(Waiting::default()));
    let record = |count| (0..count).for_each(|_| waiting.lock().unwrap().record(&audit));
    record(scene.synced);
    audit.sync();
    // The next file is made ahead of time, and begun by those of many records.
    audit.look_after();
    waiting.lock().unwrap().look();
    assert_eq!(waiting.lock().unwrap().acknowledged.len(), scene.synced);
    record(scene.unsynced);
    meddle(directory.path(), scene.meddling);
    // Others go on recording while a sync takes its time to fail.
    let (others, theirs) = (Arc::clone(&audit), Arc::clone(&waiting));
    platter.fail_syncs(scene.failing_syncs, move || theirs.lock().unwrap().record(&others));
    faults.die_in(call);
    let mut rounds = 0;
    let look = || {
        if !faults.is_dead() {
            waiting.lock().unwrap().look();
        }
    };
    while !scene.closes && rounds < 3 && !faults.is_dead() {
        audit.sync();
        look();
        record(usize::from(rounds < 2));
        rounds += 1;
    }
    if !faults.is_dead() {
        audit.close().ok();
        look();
    }
    platter.forget_meanwhile();
    let counters = audit.counters();
    assert_eq!(counters.decided, counters.durable + counters.gap);
    let waiting = std::mem::take(&mut *waiting.lock().unwrap());
    Ran { directory, platter, waiting, counters, is_dead: faults.is_dead() }
}

fn meddle(directory: &Path, meddling: Meddling) {
    let first = || {
        let mut files: Vec<_> =
            fs::read_dir(directory.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "wal"));
        files.sort();
        files.remove(0)
    };
    match meddling {
        Meddling::None => {}
        Meddling::Deleted => fs::remove_file(first()).unwrap(),
        Meddling::Replaced => {
            let file = first();
            fs::remove_file(&file).unwrap();
            fs::write(file, "an impostor").unwrap();
        }
    }
}

/// What the next start finds must be what was acknowledged, and beyond it at most what was on its way; `lost` of the
/// acknowledged may be missing.
fn assert_recovered(directory: &Path, ran: &Ran, lost: u64, what: &str) {
    let disk = Arc::new(RealDisk::open(directory, "ams-1").unwrap());
    let (audit, recovery) = Audit::open_on(disk, None, options(directory), Steps::of_millis(1)).unwrap();
    assert_eq!(recovery.new_epoch, None, "{what}: {:?}", recovery.problems);
    audit.close().unwrap();
    let mut found = Vec::new();
    for item in records(directory).unwrap() {
        let item = item.unwrap().unwrap();
        if memchr::memmem::find(&item.line, b"\"kind\":\"audit.gap\"").is_none() {
            found.push((item.id.ordinal(), item.id.to_string()));
        }
    }
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{what}: {found:?}");
    let ids: HashSet<&String> = found.iter().map(|(_, id)| id).collect();
    let missing = ran.waiting.acknowledged.iter().filter(|id| !ids.contains(id)).count() as u64;
    assert!(missing <= lost, "{what}: {missing} acknowledged records are lost, {:?}", ran.counters);
    for id in ids {
        assert!(ran.waiting.recorded.contains(id), "{what}: {id} was never recorded");
    }
    if lost == 0 {
        assert_sound(directory, what);
    }
}

/// Plays a scene to each of its system calls.
fn at_every_call(scene: Scene) {
    let stride = if scene.unsynced == MANY { STRIDE } else { 1 };
    for call in (0..).step_by(stride) {
        let ran = play(scene, call);
        let what = format!("{scene:?}, call {call}");
        let unsynced = ran.counters.unsynced;
        if scene.failing_syncs == 1 && !ran.is_dead && !scene.closes {
            assert_eq!(unsynced, 0, "{what}: the second file took them");
        }
        for names in [Names::Synced, Names::All] {
            let after = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
            ran.platter.cut_power(ran.directory.path(), after.path(), names);
            assert_recovered(after.path(), &ran, unsynced, &format!("{what}, power cut, {names:?}"));
        }
        // What a deleted file held is not to be had again after a kill, unless it was written once more.
        let is_gone = scene.meddling != Meddling::None && ran.is_dead;
        let lost = if is_gone { u64::MAX } else { 0 };
        assert_recovered(ran.directory.path(), &ran, lost, &format!("{what}, killed"));
        if !ran.is_dead {
            assert_eq!(ran.waiting.acknowledged.len() as u64, ran.counters.durable, "{what}");
            break;
        }
    }
}

#[test]
fn after_one_failed_sync_nothing_that_was_acknowledged_is_lost() {
    at_every_call(PLAIN);
    // No record was synced before: nothing in the file counts any more, and it goes.
    at_every_call(Scene { synced: 0, ..PLAIN });
}

#[test]
fn after_failed_syncs_of_the_copy_too_no_more_is_lost_than_is_counted() {
    for failing_syncs in 2..5 {
        at_every_call(Scene { failing_syncs, ..PLAIN });
        at_every_call(Scene { failing_syncs, synced: 0, ..PLAIN });
    }
}

#[test]
fn a_lane_of_several_files_is_written_again_in_order() {
    for failing_syncs in 1..4 {
        at_every_call(Scene { failing_syncs, unsynced: MANY, ..PLAIN });
        at_every_call(Scene { failing_syncs, synced: 0, unsynced: MANY, ..PLAIN });
    }
}

#[test]
fn a_file_deleted_or_replaced_under_us_is_written_again_as_well() {
    for meddling in [Meddling::Deleted, Meddling::Replaced] {
        at_every_call(Scene { meddling, synced: 0, ..PLAIN });
        at_every_call(Scene { meddling, synced: 0, failing_syncs: 2, ..PLAIN });
    }
}

#[test]
fn a_log_that_is_closed_right_after_a_failed_sync_keeps_what_it_acknowledged() {
    for failing_syncs in 1..4 {
        at_every_call(Scene { failing_syncs, closes: true, ..PLAIN });
    }
    at_every_call(Scene { failing_syncs: 1, closes: true, unsynced: MANY, ..PLAIN });
}

#[test]
fn a_gap_that_is_kept_on_stop_outlives_a_failed_last_sync() {
    let directory = tempfile::tempdir().unwrap();
    let (faults, platter) = (Faults::later(Mode::Fails(Errno::IO)), Arc::new(Platter::default()));
    let real = PlatterDisk(RealDisk::open(directory.path(), "ams-1").unwrap(), Arc::clone(&platter));
    let disk = Arc::new(FaultyDisk(real, Arc::clone(&faults)));
    let options = Options { acknowledge: Acknowledge::Disk, ..options(directory.path()) };
    let audit = Audit::open_on(disk, None, options.clone(), Steps::of_millis(1)).unwrap().0;
    let mut waiting = Waiting::default();
    (0..2).for_each(|_| waiting.record(&audit));
    audit.fail_writing();
    for _ in 0..3 {
        assert!(!blocked("TS-2", b"/", |event| audit.record(event)).wait().is_recorded());
    }
    // No new file for the gap record, then no sync.
    faults.strike(1);
    platter.fail_syncs(1, || {});
    audit.close().unwrap_err();
    assert_eq!(audit.counters().unsynced, 2);
    drop(audit);
    let disk = Arc::new(RealDisk::open(directory.path(), "ams-1").unwrap());
    let audit = Audit::open_on(disk, None, options, Steps::of_millis(1)).unwrap().0;
    audit.close().unwrap();
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.durable, checked.missed), (2, 3));
    assert_sound(directory.path(), "after the next start");
}
