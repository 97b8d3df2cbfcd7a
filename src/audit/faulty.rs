//! A disk whose calls go wrong on demand: once, a few times, for ever; in whole, in part, or only seemingly.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rustix::io::Errno;

use super::{
    files::{Disk, DiskFile, FileState, Identity},
    mapping::Mapped,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing happens.
    Fails(Errno),
    /// Half of a write happens and is reported; other calls fail.
    Short,
    /// Half of a write happens, and an error is reported.
    FailsHalfway(Errno),
    /// It happens, and an error is reported.
    FailsButLanded(Errno),
}

/// What happens before a call, elsewhere.
type Meanwhile = (u64, Box<dyn FnOnce() + Send>);

/// Which calls go wrong, and how.
pub(super) struct Faults {
    calls: AtomicU64,
    from: AtomicU64,
    to: AtomicU64,
    mode: Mode,
    /// Whether every call after them fails without doing anything: the process is dead.
    deadly: bool,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Faults {
    pub(super) fn new(from: u64, to: u64, mode: Mode, deadly: bool) -> Arc<Self> {
        let [calls, from, to] = [0, from, to].map(AtomicU64::new);
        Arc::new(Self { calls, from, to, mode, deadly, meanwhile: Mutex::default() })
    }

    /// None go wrong until they are told to.
    pub(super) fn later(mode: Mode) -> Arc<Self> {
        Self::new(u64::MAX, u64::MAX, mode, false)
    }

    /// The next `count` calls go wrong.
    pub(super) fn strike(&self, count: u64) {
        self.strike_after(0, count);
    }

    /// So many calls go right, and the next `count` wrong.
    pub(super) fn strike_after(&self, right: u64, count: u64) {
        let from = self.calls() + right;
        self.from.store(from, Relaxed);
        self.to.store(from + count, Relaxed);
    }

    /// Something else happens before the call after the next `count`.
    pub(super) fn meanwhile(&self, count: u64, act: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some((self.calls() + count, Box::new(act)));
    }

    /// Whether there was no such call.
    pub(super) fn nothing_happened(&self) -> bool {
        self.meanwhile.lock().unwrap().take().is_some()
    }

    /// The process dies in the call after the next `count`.
    pub(super) fn die_in(&self, count: u64) {
        self.strike(0);
        self.to.store(self.calls() + count, Relaxed);
        self.from.store(u64::MAX, Relaxed);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.deadly && self.calls() > self.to.load(Relaxed)
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// How the next call goes wrong, if it does.
    fn next(&self) -> Option<Mode> {
        let call = self.calls.fetch_add(1, Relaxed);
        let meanwhile = self.meanwhile.lock().unwrap().take_if(|(at, _)| *at == call);
        if let Some((_, act)) = meanwhile {
            act();
        }
        let (from, to) = (self.from.load(Relaxed), self.to.load(Relaxed));
        if (from..to).contains(&call) {
            return Some(self.mode);
        }
        (self.deadly && call >= to).then_some(Mode::Fails(Errno::IO))
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

pub(super) struct FaultyDisk<D>(pub(super) D, pub(super) Arc<Faults>);

impl<D> FaultyDisk<D> {
    fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile(file, Arc::clone(&self.1)))
    }
}

impl<D: Disk> Disk for FaultyDisk<D> {
    fn claim(&self) -> io::Result<()> {
        self.1.call(|| self.0.claim())
    }
    fn release(&self) {
        self.0.release();
    }
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
        self.1.call(|| self.0.create(path)).map(|file| self.wrap(file))
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.1.call(|| self.0.open(path)).map(|file| self.wrap(file))
    }
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.1.call(|| self.0.read(path))
    }
    fn identity(&self, path: &str) -> io::Result<Option<Identity>> {
        self.1.call(|| self.0.identity(path))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.1.call(|| self.0.rename(from, to))
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.1.call(|| self.0.remove(path))
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.1.call(|| self.0.sync_folder(folder))
    }
}

struct FaultyFile(Box<dyn DiskFile>, Arc<Faults>);

impl DiskFile for FaultyFile {
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
    fn map(&self, length: usize) -> io::Result<Box<dyn Mapped>> {
        let memory = self.1.call(|| self.0.map(length))?;
        Ok(Box::new(FaultyMemory(memory, Arc::clone(&self.1))))
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.1.call(|| self.0.try_lock())
    }
}

/// A store into memory goes wrong as a write does: the kernel's answer to it is `SIGBUS`.
struct FaultyMemory(Box<dyn Mapped>, Arc<Faults>);

impl Mapped for FaultyMemory {
    fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let half = &bytes[..bytes.len() / 2];
        match self.1.next() {
            None => self.0.write(offset, bytes),
            Some(Mode::Fails(errno)) => Err(errno.into()),
            Some(Mode::Short) => self.0.write(offset, half).and(Err(Errno::NOSPC.into())),
            Some(Mode::FailsHalfway(errno)) => self.0.write(offset, half).and(Err(errno.into())),
            Some(Mode::FailsButLanded(errno)) => self.0.write(offset, bytes).and(Err(errno.into())),
        }
    }
}
