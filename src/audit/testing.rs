//! What the tests of the log have in common.

use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    faulty::{Faults, FaultyDisk},
    files::{Disk, RealDisk},
    *,
};
use crate::clock::Clock;

/// The smallest segments, so that a few records rotate.
pub(super) fn options(directory: &Path) -> Options {
    Options {
        segment_bytes: MIN_SEGMENT_BYTES,
        client: ClientPrivacy::Full,
        ..Options::new(directory, "ams-1")
    }
}

/// A blocked request for `path` under `case`.
pub(super) fn blocked<T>(case: &str, path: &[u8], then: impl FnOnce(&Event<'_>) -> T) -> T {
    then(&Event {
        kind: Kind::RequestBlocked,
        revision: 7,
        enforcement: Some(Enforcement {
            case,
            customer: "cust-20931",
            basis: "imminent-threat",
            action: "page",
            status: Some(403),
            matched: ".forum.example",
            also: &["TS-9"],
        }),
        request: Some(RequestFacts {
            host: "forum.example",
            names: &[b"FORUM.example."],
            method: "GET",
            path,
            client: IpAddr::from([192, 0, 2, 1]),
            listener: "127.0.0.1:8080",
            protocol: "HTTP/1.1",
            tls: None,
            user_agent: Some(b"curl/8.5.0"),
            upstream: None,
        }),
        detail: None,
    })
}

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

/// Holds a closed log against its promises.
pub(super) fn assert_sound(directory: &Path, what: &str) {
    check(directory).unwrap_or_else(|error| panic!("{what}: {error}"));
    let report = verify(directory, &VerifyOptions::default(), &|_, _| {}).unwrap();
    assert!(report.is_sound(), "{what}: {:?}", report.findings);
}

/// A log on a disk whose calls fail when told to.
pub(super) fn opened_on(
    directory: &Path,
    faults: &Arc<Faults>,
    spare: Option<&Path>,
    options: Options,
) -> Audit {
    let disk = Arc::new(FaultyDisk(RealDisk::open(directory, "ams-1").unwrap(), Arc::clone(faults)));
    let spare = spare.map(|directory| -> Arc<dyn Disk> { Arc::new(RealDisk::unlocked(directory, "ams-1")) });
    Audit::open_on(disk, spare, options, Steps::of_millis(1)).unwrap().0
}
