//! Pruning that ends at any system call: what remains verifies, and the next pruning ends the work.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::audit::files::{DiskFile, Identity};

/// A directory whose `left`-th change, and every one after it, fails.
struct Killed {
    disk: RealDisk,
    left: AtomicU64,
    /// Whether the change that fails is made all the same.
    landed: bool,
}

impl Killed {
    fn change<T>(&self, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match left {
            0 => Err(io::Error::other("killed")),
            1 if self.landed => make().and(Err(io::Error::other("killed, but landed"))),
            1 => Err(io::Error::other("killed")),
            _ => make(),
        }
    }
}

impl Disk for Killed {
    fn claim(&self) -> io::Result<()> {
        self.disk.claim()
    }
    fn release(&self) {
        self.disk.release();
    }
    fn free(&self) -> io::Result<u64> {
        self.disk.free()
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.change(|| self.disk.make_folder(folder))
    }
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.change(|| self.disk.create(path))
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path)
    }
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(path)
    }
    fn identity(&self, path: &str) -> io::Result<Option<Identity>> {
        self.disk.identity(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|| self.disk.rename(from, to))
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.change(|| self.disk.remove(path))
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.change(|| self.disk.sync_folder(folder))
    }
}

fn killed_at(log: &Log, left: u64, landed: bool) -> Retention {
    let disk = Killed { disk: RealDisk::unlocked(log.directory(), ""), left: AtomicU64::new(left), landed };
    Retention::on(Arc::new(disk), log.directory().to_owned(), Some(log.path("keys")))
}

#[test]
fn pruning_may_end_at_any_system_call() {
    let mut whole = 0;
    for (left, landed) in (1..60).flat_map(|left| [(left, false), (left, true)]) {
        let mut log = three();
        log.hold(HoldRequest { name: "h".into(), case: Some("TS-2".into()), ..HoldRequest::default() })
            .unwrap();
        let retention = killed_at(&log, left, landed);
        let mut recorded = Vec::new();
        let outcome = retention.prune(&all(), now(), &mut |_, detail| {
            recorded.push((detail["first_seq"].as_u64().unwrap(), detail["last_seq"].as_u64().unwrap()));
            Ok(())
        });
        whole += u64::from(outcome.is_ok());
        log.assert_verifies();
        let there = log.segments();
        assert!(there.contains(&5) && there.contains(&13), "change {left}: {there:?}");
        for gone in [1, 9].into_iter().filter(|first| !there.contains(first)) {
            let told = recorded.iter().any(|(first, last)| (*first..=*last).contains(&gone));
            assert!(told, "change {left}: segment {gone} is gone without a record");
        }
        // The next pruning ends the work and leaves nothing behind.
        log.prune(all());
        assert_eq!(log.segments(), [5, 13], "change {left}");
        assert_eq!(log.names(PRUNED), [format!("{:020}.idx", 1), format!("{:020}.idx", 9)], "change {left}");
        assert_eq!(log.names("segments").len(), 3, "change {left}: {:?}", log.names("segments"));
        log.assert_verifies();
    }
    assert!((2..100).contains(&whole), "the changes of a whole pruning were all tried: {whole}");
}

#[test]
fn placing_a_hold_may_end_at_any_system_call() {
    for left in 1..8 {
        let mut log = three();
        let hold =
            Hold::new(HoldRequest { name: "h".into(), reason: "r".into(), ..HoldRequest::default() }, now());
        let placed = killed_at(&log, left, false).place(&hold.unwrap(), &mut |_, _| Ok(()));
        // Half a hold is none, and one that is reported to be in force is.
        let found = log.retention().holds().unwrap().len();
        assert!(placed.is_err() || found == 1, "change {left}");
        if found == 0 {
            log.hold(HoldRequest { name: "h".into(), ..HoldRequest::default() }).unwrap();
        }
        assert_eq!(log.prune(all()).held, [1, 5, 9], "change {left}");
    }
}
