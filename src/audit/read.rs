//! Reads a log in order, while an edge may be writing it.
//!
//! The name of a segment is the `seq` of its first record, and so also the end of the segment before it: a record
//! there with this `seq` or a later one, or half a line, was never acknowledged and does not count.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    disk::{file_name, segments, segments_of},
    id::EventId,
    lines::Lines,
};

/// A `seq` further ahead than this is damage, not a hole.
const MAX_HOLE: u64 = 1 << 40;

/// Damage in a log and where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A whole line is no record.
    #[error("segment {segment}, byte {offset}: the line is not a record")]
    Damaged {
        /// The segment's first `seq`.
        segment: u64,
        /// Where the line starts.
        offset: u64,
    },
    /// The sequence jumps within a segment.
    #[error("segment {segment}, byte {offset}: record {expected} should be here, found {found}")]
    Hole {
        /// The segment's first `seq`.
        segment: u64,
        /// Where the line starts.
        offset: u64,
        /// The `seq` that should follow.
        expected: u64,
        /// The `seq` that is there.
        found: u64,
    },
    /// Records are missing between two segments, or at the start.
    #[error("records {expected} to {} are missing: the next segment starts with {found}", found - 1)]
    Missing {
        /// The first missing `seq`.
        expected: u64,
        /// The first `seq` that is there.
        found: u64,
    },
    /// A segment's name lies before the end of the one it follows.
    #[error("segment {next} starts before the end of segment {segment}")]
    Overlap {
        /// The earlier segment.
        segment: u64,
        /// The later one.
        next: u64,
    },
    /// A segment cannot be read or put in order.
    #[error("segment {segment}: {error}")]
    Unreadable {
        /// The segment's first `seq`.
        segment: u64,
        /// What the system said.
        error: String,
    },
    /// A file beside the lines is missing or not as it should be.
    #[error("`{path}`: {what}")]
    File {
        /// Its path in the audit directory.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The lines do not lead to the root that the checkpoint signs.
    #[error(
        "epoch {epoch}: the {size} sealed records do not have the root of the checkpoint; segment {segment} or one before it was changed"
    )]
    Root {
        /// The epoch of the tree.
        epoch: u64,
        /// Leaves under the checkpoint.
        size: u64,
        /// The last segment, by its first `seq`.
        segment: u64,
    },
    /// Sealed lines are gone from the end.
    #[error("the checkpoint covers the records to {sealed}, the last one there is {found}")]
    Cut {
        /// The last `seq` under the checkpoint.
        sealed: u64,
        /// The last `seq` there is.
        found: u64,
    },
    /// The directory is an older copy: the witness outside knows more.
    #[error("the directory is an older copy: {0}")]
    OlderCopy(String),
    /// A record is not as it should be.
    #[error("record {seq}: {what}")]
    Record {
        /// Its `seq`.
        seq: u64,
        /// What is wrong.
        what: String,
    },
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory cannot be read.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The output takes no more.
    #[error("writing the records: {0}")]
    Output(#[source] io::Error),
}

/// What every record starts with.
pub(super) struct Head {
    pub(super) id: EventId,
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    pub(super) revision: Option<u64>,
}

#[derive(Deserialize)]
struct RawHead<'a> {
    id: &'a str,
    seq: u64,
    time: &'a str,
    revision: Option<u64>,
}

impl Head {
    /// Reads a line where a record with about the `seq` `expected` should be.
    pub(super) fn parse(line: &[u8], expected: u64) -> Option<Self> {
        let raw: RawHead<'_> = serde_json::from_slice(line).ok()?;
        let plausible =
            raw.seq >= 1 && raw.seq <= expected.saturating_add(MAX_HOLE) && raw.seq < u64::MAX / 2;
        let (id, time) = (raw.id.parse().ok()?, raw.time.parse().ok()?);
        plausible.then_some(Self { id, seq: raw.seq, time, revision: raw.revision })
    }
}

/// One record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log.
    pub seq: u64,
    /// Its id.
    pub id: EventId,
    /// When it was written.
    pub time: Timestamp,
    /// The first `seq` of the segment it is in.
    pub segment: u64,
    /// Where in the segment its line starts.
    pub offset: u64,
    /// The line, without its newline.
    pub line: Vec<u8>,
}

impl Record {
    /// All its fields.
    ///
    /// # Errors
    /// When the line is not a JSON object, which reading has ruled out unless `line` was changed since.
    pub fn fields(&self) -> Result<Map<String, Value>, serde_json::Error> {
        serde_json::from_slice(&self.line)
    }
}

/// All records of `directory` in order, up to what is there when the end is reached. Damage comes as an item of its
/// own and reading goes on after it.
///
/// # Errors
/// When there is no log in `directory`, or it cannot be listed.
pub fn records(directory: &Path) -> Result<Records, ReadError> {
    Ok(Records { cursor: Cursor::open(directory, None)? })
}

/// See [`records`].
pub struct Records {
    cursor: Cursor,
}

impl Records {
    /// Bytes seen so far that are no acknowledged record: half a line at the end, or what a failed write left.
    #[must_use]
    pub fn unacknowledged_bytes(&self) -> u64 {
        self.cursor.unacknowledged
    }
}

impl Iterator for Records {
    type Item = Result<Result<Record, Problem>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next().transpose()
    }
}

/// Writes every record of `directory` as a line of JSON and returns the damage it met; damaged lines are left out.
///
/// # Errors
/// When the log cannot be read or `out` takes no more.
pub fn export(directory: &Path, out: &mut impl Write) -> Result<Vec<Problem>, ReadError> {
    let mut problems = Vec::new();
    for item in records(directory)? {
        match item? {
            Ok(record) => {
                out.write_all(&record.line).and_then(|()| out.write_all(b"\n")).map_err(ReadError::Output)?;
            }
            Err(problem) => problems.push(problem),
        }
    }
    out.flush().map_err(ReadError::Output)?;
    Ok(problems)
}

/// Where in a log to start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A place in a log that moves on as the log grows.
pub(super) struct Cursor {
    directory: PathBuf,
    current: Option<Current>,
    /// The first `seq` of the segments after the current one, as far as they are known.
    ahead: VecDeque<u64>,
    expected: Option<u64>,
    pending: Option<Record>,
    unacknowledged: u64,
}

struct Current {
    first: u64,
    lines: Lines<File>,
    /// The end of the segment was seen after its successor was.
    drained: bool,
}

type Item = Result<Record, Problem>;

impl Cursor {
    pub(super) fn open(directory: &Path, start: Option<Start>) -> Result<Self, ReadError> {
        let mut cursor = Self {
            directory: directory.to_owned(),
            current: None,
            ahead: VecDeque::new(),
            // A log starts with 1, so that a missing beginning is noticed.
            expected: start.is_none().then_some(1),
            pending: None,
            unacknowledged: 0,
        };
        cursor.look_ahead(start.map_or(0, |start| start.segment))?;
        if let Some(start) = start
            && cursor.ahead.front() == Some(&start.segment)
        {
            cursor.ahead.pop_front();
            cursor.enter(start.segment, start.offset)?;
        }
        Ok(cursor)
    }

    /// The next record or problem, or `None` when there is nothing more (yet).
    pub(super) fn next(&mut self) -> Result<Option<Item>, ReadError> {
        if let Some(record) = self.pending.take() {
            return Ok(Some(Ok(record)));
        }
        loop {
            if let Some(item) = self.next_here()? {
                return Ok(Some(item));
            }
            if !self.advance()? {
                return Ok(None);
            }
        }
    }

    fn next_here(&mut self) -> Result<Option<Item>, ReadError> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let segment = current.first;
        let end = self.ahead.front().copied().unwrap_or(u64::MAX);
        let path = segments_of(&self.directory).join(file_name(segment));
        while let Some(line) =
            current.lines.next().map_err(|error| ReadError::Io { path: path.clone(), error })?
        {
            let offset = line.offset;
            let expected = self.expected.unwrap_or(segment);
            let Some(head) = Head::parse(line.bytes, expected) else {
                // A line that a failed write left at the very end of an abandoned segment may be any bytes.
                self.expected = Some(expected.saturating_add(1));
                return Ok(Some(Err(Problem::Damaged { segment, offset })));
            };
            if head.seq >= end {
                self.unacknowledged += line.bytes.len() as u64 + 1;
                continue;
            }
            let known = self.expected.replace(head.seq + 1);
            let line = line.bytes.to_vec();
            let record = Record { seq: head.seq, id: head.id, time: head.time, segment, offset, line };
            return Ok(Some(match known {
                Some(expected) if expected != head.seq => {
                    self.pending = Some(record);
                    Err(Problem::Hole { segment, offset, expected, found: head.seq })
                }
                _ => Ok(record),
            }));
        }
        Ok(None)
    }

    /// Goes on to the next segment if there is one and this one is read to its end.
    fn advance(&mut self) -> Result<bool, ReadError> {
        if self.ahead.is_empty() {
            self.look_ahead(self.current.as_ref().map_or(0, |current| current.first + 1))?;
        }
        if let Some(current) = &mut self.current {
            if self.ahead.is_empty() {
                return Ok(false);
            }
            // Records may have come in between the end of this segment and the look at the directory.
            if !std::mem::replace(&mut current.drained, true) {
                return Ok(true);
            }
            let length = current.lines.source().metadata().map_or(0, |metadata| metadata.len());
            self.unacknowledged += length.saturating_sub(current.lines.offset());
        }
        let Some(first) = self.ahead.pop_front() else { return Ok(false) };
        self.enter(first, 0)?;
        Ok(true)
    }

    fn look_ahead(&mut self, from: u64) -> Result<(), ReadError> {
        let known = segments(&self.directory)
            .map_err(|error| ReadError::Io { path: segments_of(&self.directory), error })?;
        self.ahead.extend(known.into_iter().filter(|first| *first >= from));
        Ok(())
    }

    fn enter(&mut self, first: u64, offset: u64) -> Result<(), ReadError> {
        let path = segments_of(&self.directory).join(file_name(first));
        let file = File::open(&path).map_err(|error| ReadError::Io { path, error })?;
        self.current = Some(Current { first, lines: Lines::new(file, offset), drained: false });
        Ok(())
    }

    /// Half a line at the end of what is there now, in bytes.
    pub(super) fn half_line(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| {
            let length = current.lines.source().metadata().map_or(0, |metadata| metadata.len());
            length.saturating_sub(current.lines.offset())
        })
    }

    pub(super) fn unacknowledged(&self) -> u64 {
        self.unacknowledged + self.half_line()
    }
}
