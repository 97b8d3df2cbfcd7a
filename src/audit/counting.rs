//! A disk that counts what is read of each lane, and lets something happen before a read.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use super::{
    files::{Disk, DiskFile, FileState, Identity, JOURNAL},
    id::Nonce,
    mapping::Mapped,
};

type Meanwhile = Box<dyn FnOnce() + Send>;

/// Reads of files and their bytes, by what their paths begin with up to a dash: all files of a lane together.
#[derive(Default)]
pub(super) struct Reads {
    counts: Mutex<BTreeMap<String, (u64, u64)>>,
    /// What happens before the first read of more than a few bytes of a file.
    meanwhile: Mutex<BTreeMap<String, Meanwhile>>,
}

impl Reads {
    /// Those of the lane of this process.
    pub(super) fn of(&self, nonce: Nonce) -> (u64, u64) {
        self.counts.lock().unwrap().get(&format!("{JOURNAL}/{nonce}")).copied().unwrap_or_default()
    }

    /// Before the first read of records of `path`, `meanwhile` happens.
    pub(super) fn before(&self, path: &str, meanwhile: impl FnOnce() + Send + 'static) {
        self.meanwhile.lock().unwrap().insert(path.to_owned(), Box::new(meanwhile));
    }

    fn read(&self, path: &str, length: usize) {
        if length > FEW {
            let meanwhile = self.meanwhile.lock().unwrap().remove(path);
            meanwhile.into_iter().for_each(|act| act());
        }
        let mut counts = self.counts.lock().unwrap();
        let lane = path.split('-').next().unwrap_or(path);
        let (reads, bytes) = counts.entry(lane.to_owned()).or_default();
        *reads += 1;
        *bytes += length as u64;
    }
}

/// A header and a frame are smaller reads than one of records.
const FEW: usize = 1024;

pub(super) struct CountingDisk<D>(pub(super) D, pub(super) Arc<Reads>);

impl<D> CountingDisk<D> {
    fn wrap(&self, file: Box<dyn DiskFile>, path: &str) -> Box<dyn DiskFile> {
        Box::new(CountingFile { file, path: path.to_owned(), reads: Arc::clone(&self.1) })
    }
}

impl<D: Disk> Disk for CountingDisk<D> {
    fn claim(&self) -> io::Result<()> {
        self.0.claim()
    }
    fn release(&self) {
        self.0.release();
    }
    fn free(&self) -> io::Result<u64> {
        self.0.free()
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.0.make_folder(folder)
    }
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(self.0.create(path)?, path))
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(self.0.open(path)?, path))
    }
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.0.read(path)
    }
    fn identity(&self, path: &str) -> io::Result<Option<Identity>> {
        self.0.identity(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
}

struct CountingFile {
    file: Box<dyn DiskFile>,
    path: String,
    reads: Arc<Reads>,
}

impl DiskFile for CountingFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.read(&self.path, buffer.len());
        self.file.read_at(buffer, offset)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.file.preallocate(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn state(&self) -> io::Result<FileState> {
        self.file.state()
    }
    fn map(&self, length: usize) -> io::Result<Box<dyn Mapped>> {
        self.file.map(length)
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
