//! Two processes on one directory: what the one does between any two steps of the other one, which seals for both.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use rustix::io::Errno;

use super::{
    faulty::{Faults, FaultyDisk, Mode},
    files::RealDisk,
    testing::{Steps, assert_sound, blocked, opened_on, options},
    *,
};

/// What the process beside the one that seals does.
struct Scene {
    name: &'static str,
    before: fn(&Beside),
    /// In between two calls of the other one.
    meanwhile: fn(&Beside),
    end: End,
    afterwards: fn(&Beside),
}

/// When it is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Then,
    Afterwards,
    /// It ends in order.
    Never,
}

struct Beside {
    audit: Audit,
    faults: Arc<Faults>,
}

impl Beside {
    fn open(directory: &Path) -> Self {
        let faults = Faults::later(Mode::Fails(Errno::IO));
        let disk = FaultyDisk(RealDisk::unlocked(directory, "ams-1"), Arc::clone(&faults));
        let options = Options { succeed: true, acknowledge: Acknowledge::Disk, ..options(directory) };
        let audit = Audit::open_on(Arc::new(disk), None, options, Steps::of_millis(1)).unwrap().0;
        Self { audit, faults }
    }

    fn record(&self, count: u32) {
        (0..count).for_each(|_| drop(blocked("TS-1", &[b'/'; 2048], |event| self.audit.record(event))));
    }

    /// The next sync fails, so that what was not synced is written once more.
    fn write_again(&self) {
        self.faults.strike(1);
        self.audit.sync();
    }

    /// Records, with a file made ahead of time behind it, and then an event that can only be counted.
    fn miss_one(&self) {
        self.record(3);
        self.audit.look_after();
        self.audit.fail_writing();
        self.record(1);
    }

    /// The next file is begun, and takes no record.
    fn begin_in_vain(&self) {
        self.faults.strike_after(1, 1);
        self.audit.look_after();
    }
}

const SCENES: [Scene; 7] = [
    Scene {
        name: "a file made ahead of time is begun",
        before: |beside| {
            beside.record(1);
            beside.audit.look_after();
        },
        meanwhile: |beside| beside.record(120),
        end: End::Then,
        afterwards: |_| {},
    },
    Scene {
        name: "records are written once more",
        before: |beside| beside.record(3),
        meanwhile: Beside::write_again,
        end: End::Then,
        afterwards: |_| {},
    },
    Scene {
        name: "records are written once more, and others follow",
        before: |beside| beside.record(3),
        meanwhile: |beside| {
            beside.write_again();
            beside.record(1);
            beside.audit.seal();
            beside.audit.look_after();
        },
        end: End::Never,
        afterwards: |beside| beside.record(1),
    },
    Scene {
        name: "a gap ends",
        before: Beside::miss_one,
        meanwhile: |beside| beside.audit.look_after(),
        end: End::Then,
        afterwards: |_| {},
    },
    Scene {
        name: "a gap that could not be written grows",
        before: Beside::miss_one,
        meanwhile: Beside::begin_in_vain,
        end: End::Never,
        afterwards: |beside| {
            beside.record(1);
            beside.audit.look_after();
            beside.record(1);
        },
    },
    Scene {
        name: "a gap could not be written and is kept in a full file",
        before: Beside::miss_one,
        meanwhile: Beside::begin_in_vain,
        end: End::Afterwards,
        afterwards: |_| {},
    },
    Scene {
        name: "a gap is kept by a process that ends",
        before: |beside| beside.record(3),
        meanwhile: |beside| {
            beside.audit.fail_writing();
            beside.record(2);
            beside.audit.keep_gap();
        },
        end: End::Then,
        afterwards: |_| {},
    },
];

/// Plays a scene in front of the call `call` of sealing. False when there is none.
fn play(scene: &Scene, call: u64) -> bool {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let faults = Faults::later(Mode::Fails(Errno::IO));
    let sealing = opened_on(directory.path(), &faults, None, options(directory.path()));
    let beside = Beside::open(directory.path());
    (scene.before)(&beside);
    let beside = Arc::new(Mutex::new(Some(beside)));
    let counted = Arc::new(Mutex::new(None));
    let (shared, counters, act, end) =
        (Arc::clone(&beside), Arc::clone(&counted), scene.meanwhile, scene.end);
    faults.meanwhile(call, move || {
        let mut beside = shared.lock().unwrap();
        act(beside.as_ref().unwrap());
        *counters.lock().unwrap() = beside.as_ref().map(|beside| beside.audit.counters());
        beside.take_if(|_| end == End::Then);
    });
    sealing.seal();
    if faults.nothing_happened() {
        return false;
    }
    if let Some(beside) = &*beside.lock().unwrap() {
        (scene.afterwards)(beside);
        *counted.lock().unwrap() = Some(beside.audit.counters());
    }
    sealing.seal();
    beside.lock().unwrap().take_if(|_| end == End::Afterwards);
    (0..3).for_each(|_| sealing.seal());
    let what = format!("{}, call {call}", scene.name);
    assert_eq!(sealing.counters().last_error, None, "{what}");
    sealing.close().unwrap();
    if let Some(beside) = beside.lock().unwrap().take() {
        beside.audit.close().unwrap();
    }
    let (counted, checked) = (counted.lock().unwrap().take().unwrap(), check(directory.path()).unwrap());
    assert_eq!((checked.durable, checked.missed), (counted.durable, counted.gap), "{what}");
    assert_eq!(fs::read_dir(directory.path().join("torn")).unwrap().count(), 0, "{what}");
    assert_sound(directory.path(), &what);
    true
}

#[test]
fn whatever_a_process_does_between_two_steps_of_the_one_that_seals_is_sealed_once() {
    for scene in &SCENES {
        let calls = (0..).take_while(|call| play(scene, *call)).count();
        assert!(calls > 20, "{}: {calls}", scene.name);
    }
}

#[test]
fn a_gap_that_cannot_be_written_outlives_its_process_in_a_full_file() {
    for is_killed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let faults = Faults::later(Mode::Fails(Errno::IO));
        let audit = opened_on(directory.path(), &faults, None, options(directory.path()));
        let beside = Beside { audit, faults };
        beside.miss_one();
        if is_killed {
            beside.begin_in_vain();
            beside.audit.seal();
        } else {
            beside.faults.strike_after(1, 1);
            beside.audit.close().unwrap_err();
        }
        drop(beside);
        let disk = Arc::new(RealDisk::open(directory.path(), "ams-1").unwrap());
        let next = Audit::open_on(disk, None, options(directory.path()), Steps::of_millis(1)).unwrap().0;
        next.close().unwrap();
        let checked = check(directory.path()).unwrap();
        assert_eq!((checked.durable, checked.missed), (3, 1), "{is_killed}");
        assert_sound(directory.path(), "a gap kept");
    }
}
