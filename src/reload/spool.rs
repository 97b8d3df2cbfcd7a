//! Where names wait on the disk while a large set is compiled, so that they do not wait in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::background::breathe;
use crate::limits;
use crate::policy::{MemorySpool, Spool, Spooled};

/// Keeps short runs in memory and long ones in files without a name, which are gone when nobody reads them any more.
#[derive(Debug)]
pub(super) struct DiskSpool {
    directory: PathBuf,
    memory: MemorySpool,
}

impl DiskSpool {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), memory: MemorySpool }
    }

    fn store_on_disk(&self, bytes: &[u8]) -> io::Result<SpooledFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC);
        let mut file = options.open(&self.directory)?;
        for piece in bytes.chunks(limits::HASH_PIECE_BYTES) {
            file.write_all(piece)?;
            breathe();
        }
        Ok(SpooledFile(file))
    }
}

impl Spool for DiskSpool {
    fn store(&mut self, bytes: Vec<u8>) -> io::Result<Arc<dyn Spooled>> {
        if bytes.len() < limits::SPOOLED_FROM_BYTES {
            return self.memory.store(bytes);
        }
        match self.store_on_disk(&bytes) {
            Ok(file) => Ok(Arc::new(file)),
            // A full disk must not keep a block from coming into force: it costs memory then.
            Err(error) => {
                tracing::warn!(%error, "the names of a list wait in memory while the set is compiled");
                self.memory.store(bytes)
            }
        }
    }
}

#[derive(Debug)]
struct SpooledFile(File);

impl Spooled for SpooledFile {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        let from_start = FromStart { file: &self.0, at: 0 };
        Ok(Box::new(BufReader::with_capacity(limits::SPOOL_BUFFER_BYTES, from_start)))
    }
}

/// Two readers of one file do not share its position.
struct FromStart<'f> {
    file: &'f File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.at)?;
        self.at += u64::try_from(read).unwrap_or_default();
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_away_is_read_back_as_often_as_needed_and_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = DiskSpool::new(directory.path());
        for bytes in
            [vec![7; 10], (0..=255).cycle().take(limits::SPOOLED_FROM_BYTES + 3).collect::<Vec<u8>>()]
        {
            let spooled = spool.store(bytes.clone()).unwrap();
            let (mut first, mut second) = (spooled.open().unwrap(), spooled.open().unwrap());
            let mut piece = [0; 5];
            first.read_exact(&mut piece).unwrap();
            let mut all = Vec::new();
            second.read_to_end(&mut all).unwrap();
            assert!(all == bytes && bytes.starts_with(&piece));
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_memory_and_no_names() {
        let mut spool = DiskSpool::new(Path::new("/nowhere/at/all"));
        let bytes = vec![1; limits::SPOOLED_FROM_BYTES];
        let mut all = Vec::new();
        spool.store(bytes.clone()).unwrap().open().unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);
    }
}
