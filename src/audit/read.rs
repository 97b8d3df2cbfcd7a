//! Reading a log, also one that an edge is writing.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::disk::{file_name, segments, segments_of};
use super::lines::Lines;

/// Why a log cannot be read or handed on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory or a segment cannot be read.
    #[error("audit log `{}`: {error}", path.display())]
    Log {
        /// The directory or segment.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Whoever takes the records cannot.
    #[error("cannot write the records: {0}")]
    Output(#[from] io::Error),
}

impl ReadError {
    /// Whether the reader of the output has gone away, which is not a failure.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The segments of a directory, oldest first.
pub(super) fn list(directory: &Path) -> Result<Vec<u64>, ReadError> {
    segments(directory).map_err(|error| ReadError::Log { path: directory.to_owned(), error })
}

/// One segment, ready to be read from `offset`.
pub(super) fn open(directory: &Path, first: u64, offset: u64) -> Result<Lines<File>, ReadError> {
    let path = segments_of(directory).join(file_name(first));
    match File::open(&path) {
        Ok(file) => Ok(Lines::new(file, offset)),
        Err(error) => Err(ReadError::Log { path, error }),
    }
}

/// The next whole line of a segment.
pub(super) fn next_line<'l>(
    lines: &'l mut Lines<File>,
    directory: &Path,
) -> Result<Option<&'l [u8]>, ReadError> {
    match lines.next() {
        Ok(line) => Ok(line.map(|line| line.bytes)),
        Err(error) => Err(ReadError::Log { path: directory.to_owned(), error }),
    }
}

/// Calls `take` with every record's line, oldest first, without its newline.
pub(super) fn for_each<E: From<ReadError>>(
    directory: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut count = 0;
    for first in list(directory)? {
        let mut lines = open(directory, first, 0)?;
        while let Some(line) = next_line(&mut lines, directory)? {
            take(line)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Writes every record as one line of JSON, oldest first, and returns how many there were. A line that an edge is
/// still writing is left out.
///
/// # Errors
/// When the log cannot be read, or `out` cannot be written.
pub fn export(directory: &Path, out: &mut impl Write) -> Result<u64, ReadError> {
    for_each(directory, |line| {
        out.write_all(line)?;
        out.write_all(b"\n").map_err(ReadError::from)
    })
}
