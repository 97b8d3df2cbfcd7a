//! A file of the directory as a stream, plain or compressed.

use std::io::{self, BufReader, Read};

use super::names::{Form, segment};
use crate::audit::files::{Disk, DiskFile};

/// Reads a file from its start on.
pub(super) struct At {
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl At {
    pub(super) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, offset: 0 }
    }

    /// The compressed file whose text this reads.
    pub(super) fn zstd(file: Box<dyn DiskFile>) -> io::Result<impl Read + use<>> {
        zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(128 * 1024, Self::new(file)))
    }
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// The text of a segment, however it lies on the disk.
pub(super) fn text(disk: &dyn Disk, first: u64) -> io::Result<Box<dyn Read>> {
    match disk.open(&segment(first, Form::Plain)) {
        Ok(file) => Ok(Box::new(At::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Box::new(At::zstd(disk.open(&segment(first, Form::Compressed))?)?))
        }
        Err(error) => Err(error),
    }
}
