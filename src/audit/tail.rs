//! The end of a log, followed as it grows.

use std::{collections::VecDeque, path::Path};

use super::{
    problem::Problem,
    read::{Cursor, ReadError, Record},
    sealed::segments,
};

/// The last records of a log and those that come after them.
///
/// Follows rotation. Nothing waits in here: a caller that wants to follow asks again after a while.
pub struct Tail {
    cursor: Cursor,
    /// The last records there were at the start.
    last: VecDeque<Result<Record, Problem>>,
}

impl Tail {
    /// Starts `last` records before the end.
    ///
    /// # Errors
    /// When there is no log in `directory`, or it cannot be read.
    pub fn open(directory: &Path, last: usize) -> Result<Self, ReadError> {
        let mut cursor = Cursor::open(directory, start(directory, last)?)?;
        let mut kept = VecDeque::new();
        while let Some(item) = cursor.next()? {
            kept.push_back(item);
            if kept.len() > last {
                kept.pop_front();
            }
        }
        Ok(Self { cursor, last: kept })
    }

    /// The next record or piece of damage, or `None` when there is nothing more yet.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn next_record(&mut self) -> Result<Option<Result<Record, Problem>>, ReadError> {
        match self.last.pop_front() {
            Some(item) => Ok(Some(item)),
            None => self.cursor.next(),
        }
    }
}

/// The segment in which the last `wanted` records surely are, or its successors: the names of segments tell how many
/// each holds.
fn start(directory: &Path, wanted: usize) -> Result<u64, ReadError> {
    let io = |error| ReadError::Io { path: directory.to_owned(), error };
    let firsts: Vec<u64> = segments(directory).map_err(io)?.iter().map(|segment| segment.first).collect();
    let Some(newest) = firsts.last() else { return Ok(0) };
    let enough = newest.saturating_sub(wanted as u64);
    Ok(firsts.iter().rev().copied().find(|first| *first <= enough.max(1)).unwrap_or(0))
}
