//! The system calls that the journal makes, behind two small traits, so that tests can make each of them fail.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::fs::{FallocateFlags, fallocate};

use super::lock::{Lock, LockError};

/// A file's place in an audit directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The segment whose first record has this `seq`.
    Segment(u64),
    /// Something set aside, by its file name.
    Aside(String),
}

/// What tells one file from another.
pub(super) type Identity = (u64, u64);

/// What the system says of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) identity: Identity,
    /// Names it has; none once it was deleted.
    pub(super) links: u64,
    pub(super) length: u64,
}

/// The audit directory.
pub(super) trait Disk: Send + Sync {
    /// Makes sure that the directories are there and that the lock is ours.
    fn claim(&self) -> io::Result<()>;
    /// The first `seq` of every segment, in order.
    fn segments(&self) -> io::Result<Vec<u64>>;
    /// Makes a new file; one that is there already is an error.
    fn create(&self, place: &Place) -> io::Result<Box<dyn SegmentFile>>;
    /// Opens a segment for reading and writing.
    fn open(&self, place: &Place) -> io::Result<Box<dyn SegmentFile>>;
    /// Which file is at a place, if any.
    fn identity(&self, place: &Place) -> io::Result<Option<Identity>>;
    fn rename(&self, from: &Place, to: &Place) -> io::Result<()>;
    fn remove(&self, place: &Place) -> io::Result<()>;
    /// Makes names last.
    fn sync(&self) -> io::Result<()>;
}

/// One open file.
pub(super) trait SegmentFile: Send + Sync {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Reserves space up to `length` without changing the length that readers see.
    fn preallocate(&self, length: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn state(&self) -> io::Result<FileState>;
}

impl SegmentFile for File {
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
        self.sync_data()
    }

    fn state(&self) -> io::Result<FileState> {
        let metadata = self.metadata()?;
        Ok(FileState {
            identity: (metadata.dev(), metadata.ino()),
            links: metadata.nlink(),
            length: metadata.len(),
        })
    }
}

/// The directory on a real file system.
pub(super) struct RealDisk {
    directory: PathBuf,
    edge: String,
    /// Taken anew when somebody deleted the lock file. Only [`Disk::claim`] touches it.
    lock: Mutex<Lock>,
}

impl RealDisk {
    /// Makes the directories, for their owner only, and takes the lock.
    pub(super) fn open(directory: &Path, edge: &str) -> Result<Self, LockError> {
        let io = |error| LockError::Io { path: directory.to_owned(), error };
        make_directories(directory).map_err(io)?;
        let lock = Mutex::new(Lock::acquire(directory, edge)?);
        Ok(Self { directory: directory.to_owned(), edge: edge.to_owned(), lock })
    }

    fn path(&self, place: &Place) -> PathBuf {
        match place {
            Place::Segment(first) => segments_of(&self.directory).join(file_name(*first)),
            Place::Aside(name) => self.directory.join("torn").join(name),
        }
    }
}

impl Disk for RealDisk {
    fn claim(&self) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        make_directories(&self.directory)?;
        if !lock.is_ours()? {
            *lock = Lock::acquire(&self.directory, &self.edge).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<u64>> {
        segments(&self.directory)
    }

    fn create(&self, place: &Place) -> io::Result<Box<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        Ok(Box::new(options.read(true).write(true).create_new(true).mode(0o600).open(self.path(place))?))
    }

    fn open(&self, place: &Place) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.path(place))?))
    }

    fn identity(&self, place: &Place) -> io::Result<Option<Identity>> {
        match std::fs::symlink_metadata(self.path(place)) {
            Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Place, to: &Place) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, place: &Place) -> io::Result<()> {
        std::fs::remove_file(self.path(place))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(segments_of(&self.directory))?.sync_all()?;
        File::open(&self.directory)?.sync_all()
    }
}

fn make_directories(directory: &Path) -> io::Result<()> {
    for wanted in [segments_of(directory), directory.join("torn")] {
        if !wanted.is_dir() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(wanted)?;
        }
    }
    Ok(())
}

/// Where the segments of an audit directory are.
pub(super) fn segments_of(directory: &Path) -> PathBuf {
    directory.join("segments")
}

/// The file name of the segment whose first record has this `seq`.
pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

/// The first `seq` of every segment of an audit directory, in order; other files there are not ours.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(segments_of(directory))? {
        let name = entry?.file_name();
        let Some(digits) = name.to_str().and_then(|name| name.strip_suffix(".jsonl")) else { continue };
        if digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit()) {
            found.extend(digits.parse::<u64>());
        }
    }
    found.sort_unstable();
    Ok(found)
}
