//! The end of a log, followed as it grows.

use std::{collections::VecDeque, fs::File, path::Path};

use super::{
    disk::{file_name, segments, segments_of},
    lines::Lines,
    read::{Cursor, Problem, ReadError, Record, Start},
};

/// The last records of a log and those that come after them.
///
/// Follows rotation. Nothing waits in here: a caller that wants to follow asks again after a while.
pub struct Tail {
    cursor: Cursor,
}

impl Tail {
    /// Starts `last` records before the end.
    ///
    /// # Errors
    /// When there is no log in `directory`, or it cannot be read.
    pub fn open(directory: &Path, last: usize) -> Result<Self, ReadError> {
        Ok(Self { cursor: Cursor::open(directory, start(directory, last)?)? })
    }

    /// The next record or piece of damage, or `None` when there is nothing more yet.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn next_record(&mut self) -> Result<Option<Result<Record, Problem>>, ReadError> {
        self.cursor.next()
    }
}

/// Where the last `wanted` lines start; none when that is the start of the log.
fn start(directory: &Path, wanted: usize) -> Result<Option<Start>, ReadError> {
    let known = segments(directory).map_err(|error| ReadError::Io { path: segments_of(directory), error })?;
    let mut missing = wanted;
    for first in known.iter().copied().rev() {
        let path = segments_of(directory).join(file_name(first));
        let io = |error| ReadError::Io { path: path.clone(), error };
        let mut lines = Lines::new(File::open(&path).map_err(io)?, 0);
        let mut offsets = VecDeque::new();
        while let Some(line) = lines.next().map_err(io)? {
            offsets.push_back(line.offset);
            if offsets.len() > missing {
                offsets.pop_front();
            }
        }
        if missing == 0 {
            return Ok(Some(Start { segment: first, offset: lines.offset() }));
        }
        missing -= offsets.len();
        if missing == 0 {
            return Ok(offsets.front().map(|offset| Start { segment: first, offset: *offset }));
        }
    }
    Ok(None)
}
