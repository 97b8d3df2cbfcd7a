//! The system calls of everything that writes a log, behind two small traits, so that tests can make each of them
//! fail. Paths are relative to the audit directory.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};

use super::{
    lock::{Lock, LockError},
    mapping::{Mapped, Mapping},
};
use crate::background::asleep;

/// Lanes: journals of processes, not sealed yet.
pub(super) const JOURNAL: &str = "journal";
/// Sealed lines.
pub(super) const SEGMENTS: &str = "segments";
/// What recovery cut or moved out of the way.
pub(super) const TORN: &str = "torn";
/// Indexes of segments whose lines are gone.
pub(super) const PRUNED: &str = "pruned";
/// The folders there always are.
const FOLDERS: [&str; 7] = [JOURNAL, SEGMENTS, TORN, "epochs", "tree", "holds", PRUNED];

/// A whole small file (key, checkpoint, epoch, index) may be this long.
const MAX_SMALL_FILE: u64 = 64 * 1024 * 1024;

/// What tells one file from another.
pub(super) type Identity = (u64, u64);

/// What the system says of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) identity: Identity,
    /// Names it has; none once it was deleted.
    pub(super) links: u64,
    pub(super) length: u64,
    /// Permission bits.
    pub(super) mode: u32,
}

/// The audit directory.
pub(super) trait Disk: Send + Sync {
    /// Makes sure that the folders are there and that the lock is ours.
    fn claim(&self) -> io::Result<()>;
    /// Lets go of the lock.
    fn release(&self);
    /// Bytes that may still be written.
    fn free(&self) -> io::Result<u64>;
    /// The names in a folder, sorted; none when there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes a folder and those above it.
    fn make_folder(&self, folder: &str) -> io::Result<()>;
    /// Makes a new file, for its owner only; one that is there already is an error.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// A whole small file; none when it is not there.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
    /// Which file is at a path, if any.
    fn identity(&self, path: &str) -> io::Result<Option<Identity>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes the names in a folder last; `""` is the audit directory itself.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// One open file.
pub(super) trait DiskFile: Send + Sync {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Reserves space up to `length` without changing the length that readers see.
    fn preallocate(&self, length: u64) -> io::Result<()>;
    /// `fdatasync`.
    fn sync(&self) -> io::Result<()>;
    fn state(&self) -> io::Result<FileState>;
    /// Maps the first `length` bytes for writing. They are zeros, and written.
    fn map(&self, length: usize) -> io::Result<Box<dyn Mapped>>;
    /// Takes the file for this process; false when another has it.
    fn try_lock(&self) -> io::Result<bool>;
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn preallocate(&self, length: u64) -> io::Result<()> {
        Ok(fallocate(self, FallocateFlags::KEEP_SIZE, 0, length)?)
    }

    fn sync(&self) -> io::Result<()> {
        asleep(|| self.sync_data())
    }

    fn state(&self) -> io::Result<FileState> {
        let metadata = self.metadata()?;
        Ok(FileState {
            identity: (metadata.dev(), metadata.ino()),
            links: metadata.nlink(),
            length: metadata.len(),
            mode: metadata.mode() & 0o7777,
        })
    }

    fn map(&self, length: usize) -> io::Result<Box<dyn Mapped>> {
        Ok(Box::new(Mapping::new(self, length)?))
    }

    fn try_lock(&self) -> io::Result<bool> {
        match flock(self, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The directory on a real file system.
pub(super) struct RealDisk {
    directory: PathBuf,
    edge: String,
    /// Taken anew when somebody deleted the lock file. Only [`Disk::claim`] touches it.
    lock: Mutex<Option<Lock>>,
}

impl RealDisk {
    /// Makes the folders, for their owner only, and takes the lock.
    pub(super) fn open(directory: &Path, edge: &str) -> Result<Self, LockError> {
        let disk = Self::unlocked(directory, edge);
        make_folders(directory).map_err(|error| LockError::Io { path: directory.to_owned(), error })?;
        let lock = Lock::acquire(directory, edge)?;
        *disk.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        Ok(disk)
    }

    /// The directory without its lock: for lanes beside another process, and for a spare directory.
    pub(super) fn unlocked(directory: &Path, edge: &str) -> Self {
        Self { directory: directory.to_owned(), edge: edge.to_owned(), lock: Mutex::new(None) }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }
}

impl Disk for RealDisk {
    fn claim(&self) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        make_folders(&self.directory)?;
        let is_ours = lock.as_ref().is_some_and(|lock| lock.is_ours().unwrap_or(false));
        if !is_ours {
            *lock = Some(Lock::acquire(&self.directory, &self.edge).map_err(io::Error::other)?);
        }
        Ok(())
    }

    fn release(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn free(&self) -> io::Result<u64> {
        let found = statvfs(&self.directory)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        names_in(&self.path(folder))
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        make_folder(&self.path(folder))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        Ok(Box::new(options.read(true).write(true).create_new(true).mode(0o600).open(self.path(path))?))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.path(path))?))
    }

    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = if_there(File::open(self.path(path)))? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(MAX_SMALL_FILE).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn identity(&self, path: &str) -> io::Result<Option<Identity>> {
        let metadata = if_there(std::fs::symlink_metadata(self.path(path)))?;
        Ok(metadata.map(|metadata| (metadata.dev(), metadata.ino())))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(path))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let folder = File::open(self.path(folder))?;
        asleep(|| folder.sync_all())
    }
}

fn make_folders(directory: &Path) -> io::Result<()> {
    FOLDERS.iter().try_for_each(|folder| make_folder(&directory.join(folder)))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Nothing where there is no such file, which somebody may have removed in the meantime.
pub(super) fn if_there<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The names in a folder, sorted; none when it is not there.
pub(super) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = if_there(std::fs::read_dir(folder))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is none of ours.
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes all of `bytes`; what a full disk does not take is an error.
pub(super) fn write_all_at(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::StorageFull.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends.
pub(super) fn read_full_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Makes a file with this content, or puts it in the place of the one there is: readers see the old or the new, and
/// the new one is on the disk when this returns. `path` is `folder/name`.
pub(super) fn replace(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = join(folder, name);
    let draft = format!("{path}.new");
    if disk.identity(&draft)?.is_some() {
        disk.remove(&draft)?;
    }
    let file = disk.create(&draft)?;
    let made = write_all_at(file.as_ref(), bytes, 0)
        .and_then(|()| file.sync())
        .and_then(|()| disk.rename(&draft, &path))
        .and_then(|()| disk.sync_folder(folder));
    if made.is_err() {
        // A draft that stays is written over the next time.
        disk.remove(&draft).ok();
    }
    made
}

/// `folder/name`, where `""` is the audit directory itself.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Moves a file out of the way, into `torn/` under a name of its own; nothing is ever deleted or written over.
pub(super) fn set_aside(disk: &dyn Disk, path: &str, why: &str) -> io::Result<String> {
    let aside = free_name(disk, path, why)?;
    disk.rename(path, &aside)?;
    Ok(aside)
}

/// A path in `torn/` that is not taken yet.
pub(super) fn free_name(disk: &dyn Disk, path: &str, why: &str) -> io::Result<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    for number in 0..10_000u32 {
        let aside = format!("{TORN}/{name}.{why}.{number}");
        if disk.identity(&aside)?.is_none() {
            return Ok(aside);
        }
    }
    Err(io::Error::other("too many files in `torn`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::sleeps;

    #[test]
    fn whoever_waits_for_the_disk_says_so_and_nobody_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path(), "ams-1").unwrap();
        let file = disk.create("journal/one").unwrap();
        assert_eq!(sleeps(|| file.sync().unwrap()), 1);
        assert_eq!(sleeps(|| disk.sync_folder(JOURNAL).unwrap()), 1);
        let other = sleeps(|| {
            write_all_at(file.as_ref(), b"text", 0).unwrap();
            file.state().unwrap();
            disk.rename("journal/one", "journal/two").unwrap();
        });
        assert_eq!(other, 0);
    }
}
