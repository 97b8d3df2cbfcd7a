//! The next file of a lane, made before it is needed: to begin it is a copy of its header into memory.

use std::{io, sync::Arc};

use crate::audit::{
    files::{Disk, DiskFile, JOURNAL, write_all_at},
    mapping::Mapped,
};

use super::{
    codec::MAX_RECORD,
    header::{DRAFT, HEADER, Header, number_of},
    lane::{Lane, LaneFile, SLOT, is_space},
};

/// What a file is made with on a disk that is nearly full: the largest record fits.
pub(super) const LEAST: usize = HEADER + 2 * SLOT + 2 * MAX_RECORD;
/// A file takes at most this part of the space that is free.
const FREE_SHARE: u64 = 8;
/// Zeros are written in pieces of this.
const PIECE: usize = 1024 * 1024;

/// A file without a header: readers make nothing of it, whatever its name is.
pub(in crate::audit) struct Prepared {
    file: LaneFile,
    memory: Box<dyn Mapped>,
    length: usize,
}

impl Prepared {
    /// Makes a file and reserves its space, or half of it as often as it takes. With `settled`, what is in it is
    /// synced as well, so that a later `fdatasync` has nothing to write but records. Its name is that of a draft.
    pub(in crate::audit) fn draft(
        disk: &Arc<dyn Disk>,
        name: &str,
        bytes: usize,
        settled: bool,
    ) -> io::Result<Self> {
        let path = format!("{JOURNAL}/{name}{DRAFT}");
        if disk.identity(&path)?.is_some() {
            disk.remove(&path)?;
        }
        let file: Arc<dyn DiskFile> = disk.create(&path)?.into();
        match Self::fill(disk, file, &path, bytes, settled) {
            Err(error) => {
                disk.remove(&path).ok();
                Err(error)
            }
            made => made,
        }
    }

    fn fill(
        disk: &Arc<dyn Disk>,
        file: Arc<dyn DiskFile>,
        path: &str,
        bytes: usize,
        settled: bool,
    ) -> io::Result<Self> {
        if !file.try_lock()? {
            return Err(io::Error::other("another process holds a new journal file"));
        }
        // Sealing needs space as well: on a disk that is nearly full the journal takes no more than a share of it.
        let share =
            disk.free().map_or(usize::MAX, |free| usize::try_from(free / FREE_SHARE).unwrap_or(usize::MAX));
        let (length, memory) = shape(&file, bytes.min(share).max(LEAST), settled)?;
        let identity = file.state()?.identity;
        let (disk, path) = (Arc::clone(disk), path.into());
        Ok(Self { file: LaneFile { disk, file, path, length: length as u64, identity }, memory, length })
    }

    /// Makes a draft a file of its lane: it has its full length, and nothing is in it yet. With `settled`, the name is
    /// synced. A draft that gets no name is removed.
    pub(in crate::audit) fn named(mut self, path: &str, settled: bool) -> io::Result<Self> {
        let named = self.file.take_name(path);
        let outcome = named.and_then(|()| if settled { self.file.disk.sync_folder(JOURNAL) } else { Ok(()) });
        if let Err(error) = outcome {
            self.file.remove().ok();
            // A name that was taken although the disk said no.
            self.file.path = path.into();
            self.discard();
            return Err(error);
        }
        Ok(self)
    }

    pub(in crate::audit) fn file(&self) -> &LaneFile {
        &self.file
    }

    /// The number in its name; none in that of a draft.
    pub(in crate::audit) fn number(&self) -> Option<u64> {
        number_of(&self.file.path)
    }

    /// Gives the space back.
    pub(in crate::audit) fn discard(self) {
        self.file.remove().ok();
    }

    /// Gives the file its header: from now on it is read. No system call, unless the file could not be mapped.
    pub(in crate::audit) fn begin(mut self, header: &Header) -> io::Result<Lane> {
        match self.memory.write(0, &header.to_bytes()) {
            Ok(()) => Ok(Lane::new(self.file, self.memory, self.length)),
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }
}

fn shape(file: &Arc<dyn DiskFile>, wanted: usize, settled: bool) -> io::Result<(usize, Box<dyn Mapped>)> {
    let mut length = wanted;
    loop {
        match shape_at(file, length, settled) {
            Err(error) if is_space(&error) && length > LEAST => length = (length / 2).max(LEAST),
            shaped => return shaped.map(|memory| (length, memory)),
        }
    }
}

fn shape_at(file: &Arc<dyn DiskFile>, length: usize, settled: bool) -> io::Result<Box<dyn Mapped>> {
    file.truncate(length as u64)?;
    let reserved = match file.preallocate(length as u64) {
        Err(error) if is_space(&error) => return Err(error),
        other => other,
    };
    let memory = match file.map(length) {
        Err(error) if is_space(&error) => return Err(error),
        // A file system that cannot share memory gets its records by `pwrite`. Where space cannot be reserved, zeros
        // reserve it.
        Err(_) => {
            if settled || reserved.is_err() {
                write_zeros(file.as_ref(), length)?;
            }
            Box::new(Written(Arc::clone(file)))
        }
        Ok(memory) => memory,
    };
    // Only now, since to map a file writes it. The first store into each page is a small fault again.
    if settled {
        file.sync()?;
    }
    Ok(memory)
}

fn write_zeros(file: &dyn DiskFile, length: usize) -> io::Result<()> {
    let zeros = vec![0; PIECE.min(length)];
    for at in (0..length).step_by(PIECE) {
        let piece = zeros.get(..PIECE.min(length - at)).unwrap_or_default();
        write_all_at(file, piece, at as u64)?;
    }
    Ok(())
}

/// Stands in for a mapping where there can be none.
struct Written(Arc<dyn DiskFile>);

impl Mapped for Written {
    fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        write_all_at(self.0.as_ref(), bytes, offset as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, sync::Mutex};

    use super::*;
    use crate::audit::files::FileState;

    /// A file that can be mapped, and with it written, up to so many bytes.
    struct Tight {
        file: File,
        most: usize,
        done: Mutex<Vec<&'static str>>,
    }

    impl DiskFile for Tight {
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            self.done.lock().unwrap().push("write");
            DiskFile::write_at(&self.file, bytes, offset)
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            DiskFile::read_at(&self.file, buffer, offset)
        }
        fn truncate(&self, length: u64) -> io::Result<()> {
            self.file.truncate(length)
        }
        fn preallocate(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn sync(&self) -> io::Result<()> {
            self.done.lock().unwrap().push("sync");
            Ok(())
        }
        fn state(&self) -> io::Result<FileState> {
            self.file.state()
        }
        fn map(&self, length: usize) -> io::Result<Box<dyn Mapped>> {
            if length > self.most {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.done.lock().unwrap().push("map");
            self.file.map(length)
        }
        fn try_lock(&self) -> io::Result<bool> {
            DiskFile::try_lock(&self.file)
        }
    }

    #[test]
    fn a_disk_that_fills_while_a_file_is_mapped_makes_it_shorter_and_what_is_mapped_is_synced() {
        let shaped = |most, settled| {
            let tight = Tight { file: tempfile::tempfile().unwrap(), most, done: Mutex::default() };
            let tight = Arc::new(tight);
            let file: Arc<dyn DiskFile> = Arc::clone(&tight) as _;
            let length =
                shape(&file, 4 * LEAST, settled).map(|(length, _)| length).map_err(|error| error.kind());
            let done = tight.done.lock().unwrap().clone();
            (length, done)
        };
        assert_eq!(shaped(4 * LEAST, false), (Ok(4 * LEAST), vec!["map"]));
        assert_eq!(shaped(2 * LEAST, true), (Ok(2 * LEAST), vec!["map", "sync"]));
        assert_eq!(shaped(LEAST - 1, true), (Err(io::ErrorKind::StorageFull), vec![]));
    }
}
