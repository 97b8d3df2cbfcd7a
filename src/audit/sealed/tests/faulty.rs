//! A directory of which chosen system calls fail, in whole, in part, or only seemingly.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rustix::io::Errno;

use crate::audit::{
    files::{Disk, DiskFile, FileState, Identity, RealDisk},
    mapping::Mapped,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing happens.
    Fails(Errno),
    /// Half of a write happens and is reported.
    Short,
    /// Half of a write happens, and an error is reported.
    FailsHalfway(Errno),
    /// It happens, and an error is reported.
    FailsButLanded(Errno),
}

/// Which calls go wrong, and how.
#[derive(Debug)]
pub(super) struct Faults {
    pub(super) calls: AtomicU64,
    from: u64,
    to: u64,
    mode: Mode,
    /// Whether every call after them fails without doing anything: the process is dead.
    deadly: bool,
    /// The calls that change something or make it last, with their paths.
    pub(super) trace: Mutex<Vec<String>>,
}

impl Faults {
    /// The calls `from..to` go wrong; where only half a write does, only writes are counted.
    pub(super) fn new(from: u64, to: u64, mode: Mode, deadly: bool) -> Arc<Self> {
        Arc::new(Self { calls: AtomicU64::new(0), from, to, mode, deadly, trace: Mutex::default() })
    }

    fn note(&self, what: &str, path: &str) {
        self.trace.lock().unwrap().push(format!("{what} {path}"));
    }

    fn next(&self) -> Option<Mode> {
        let call = self.calls.fetch_add(1, Relaxed);
        if (self.from..self.to).contains(&call) {
            return Some(self.mode);
        }
        (self.deadly && call >= self.to).then_some(Mode::Fails(Errno::IO))
    }

    fn call<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if matches!(self.mode, Mode::Short | Mode::FailsHalfway(_)) {
            let dead = self.deadly && self.calls.load(Relaxed) >= self.to;
            return if dead { Err(Errno::IO.into()) } else { act() };
        }
        match self.next() {
            None => act(),
            Some(Mode::FailsButLanded(errno)) => {
                act()?;
                Err(errno.into())
            }
            Some(Mode::Fails(errno) | Mode::FailsHalfway(errno)) => Err(errno.into()),
            Some(Mode::Short) => Err(Errno::NOSPC.into()),
        }
    }
}

pub(super) struct FaultyDisk(RealDisk, Arc<Faults>);

impl FaultyDisk {
    pub(super) fn over(directory: &Path, faults: &Arc<Faults>) -> Arc<dyn Disk> {
        Arc::new(Self(RealDisk::unlocked(directory, "ams-1"), Arc::clone(faults)))
    }

    fn wrap(&self, file: Box<dyn DiskFile>, path: &str) -> Box<dyn DiskFile> {
        Box::new(FaultyFile(file, Arc::clone(&self.1), path.to_owned()))
    }
}

impl Disk for FaultyDisk {
    fn claim(&self) -> io::Result<()> {
        self.1.call(|| self.0.make_folder("segments").and_then(|()| self.0.make_folder("torn")))
    }
    fn release(&self) {}
    fn free(&self) -> io::Result<u64> {
        self.1.call(|| self.0.free())
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.1.call(|| self.0.list(folder))
    }
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.1.call(|| self.0.make_folder(folder))
    }
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.1.note("create", path);
        self.1.call(|| self.0.create(path)).map(|file| self.wrap(file, path))
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.1.call(|| self.0.open(path)).map(|file| self.wrap(file, path))
    }
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.1.call(|| self.0.read(path))
    }
    fn identity(&self, path: &str) -> io::Result<Option<Identity>> {
        self.1.call(|| self.0.identity(path))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.1.note("rename", to);
        self.1.call(|| self.0.rename(from, to))
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.1.note("remove", path);
        self.1.call(|| self.0.remove(path))
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.1.note("sync folder", folder);
        self.1.call(|| self.0.list(folder).map(drop))
    }
}

struct FaultyFile(Box<dyn DiskFile>, Arc<Faults>, String);

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.1.note("write", &self.2);
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
        self.1.note("read", &self.2);
        self.1.call(|| self.0.read_at(buffer, offset))
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.1.note("truncate", &self.2);
        self.1.call(|| self.0.truncate(length))
    }
    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.1.call(|| self.0.preallocate(length))
    }
    /// A power failure is not played here, so that the platter need not be waited for.
    fn sync(&self) -> io::Result<()> {
        self.1.note("sync", &self.2);
        self.1.call(|| Ok(()))
    }
    fn state(&self) -> io::Result<FileState> {
        self.1.call(|| self.0.state())
    }
    fn map(&self, length: usize) -> io::Result<Box<dyn Mapped>> {
        self.1.call(|| self.0.map(length))
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.1.call(|| self.0.try_lock())
    }
}
