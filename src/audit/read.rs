//! Reading a log, sealed or not, while it is written or after.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    files::names_in,
    id::{EventId, Nonce},
    problem::Problem,
    sealed::{Borders, SegmentError, SegmentFile, SegmentLines, segments},
    sealer::parse_extension,
    unsealed::Unsealed,
};

/// A `seq` further ahead than this is damage, not a hole.
const MAX_HOLE: u64 = 1 << 40;

/// Records of the journal that are read between two looks at the segments.
const LOOK_EVERY: u32 = 1024;

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
    /// A segment cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
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
    /// Its place in the log. For one that is still in the journal, the place it will most likely have: where other processes
    /// record as well, theirs may come in between.
    pub seq: u64,
    /// Its id.
    pub id: EventId,
    /// When it was written.
    pub time: Timestamp,
    /// Where its line starts in the text of a segment, the segment named by its first `seq`; none for a record that is
    /// still in the journal.
    pub place: Option<(u64, u64)>,
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

/// All records of `directory`: the sealed ones in order, then those that were in the journal when reading began, and what was
/// sealed meanwhile. Damage comes as an item of its own and reading goes on after it.
///
/// # Errors
/// When there is no log in `directory`, or it cannot be listed.
pub fn records(directory: &Path) -> Result<Records, ReadError> {
    Ok(Records { cursor: Cursor::open(directory, 0)? })
}

/// See [`records`].
pub struct Records {
    cursor: Cursor,
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

type Item = Result<Record, Problem>;

/// A place in a log that moves on as the log grows.
///
/// The files of the journal are opened before the sealed records are read to their end: whatever is sealed and removed
/// in between is still there to be read. A record is told by its process and ordinal, so that none is seen twice.
pub(super) struct Cursor {
    directory: PathBuf,
    current: Option<Current>,
    /// Segments after the current one, as far as they are known.
    ahead: VecDeque<SegmentFile>,
    /// The `seq` that should come next in the segments.
    expected: Option<u64>,
    /// The `seq` that the next record of the journal will have at least.
    next_unsealed: u64,
    pending: Option<Record>,
    /// The greatest ordinal seen of each process.
    seen: HashMap<Nonce, u64>,
    /// How far each process was sealed when reading began, where it did not begin with the first record.
    sealed: HashMap<Nonce, u64>,
    /// The journal, opened before the sealed records are read to their end.
    unsealed: Option<Unsealed>,
    /// Records of the journal that come before another look at the segments: one for each would list them each time.
    before_a_look: u32,
}

struct Current {
    first: u64,
    lines: SegmentLines,
    /// The end of the segment was seen after its successor was.
    drained: bool,
}

impl Cursor {
    /// Starts with the segment `from`, or the first one after it.
    pub(super) fn open(directory: &Path, from: u64) -> Result<Self, ReadError> {
        let mut cursor = Self {
            directory: directory.to_owned(),
            current: None,
            ahead: VecDeque::new(),
            // A log starts with 1, so that a missing beginning is noticed.
            expected: (from == 0).then_some(1),
            next_unsealed: 1,
            pending: None,
            seen: HashMap::new(),
            sealed: if from == 0 { HashMap::new() } else { sealed_ordinals(directory) },
            unsealed: None,
            before_a_look: 0,
        };
        if !directory.is_dir() {
            let error = io::Error::new(io::ErrorKind::NotFound, "there is no audit log");
            return Err(cursor.io(error));
        }
        cursor.look_ahead(from)?;
        Ok(cursor)
    }

    /// The next record or problem, or `None` when there is nothing more (yet).
    pub(super) fn next(&mut self) -> Result<Option<Item>, ReadError> {
        if let Some(record) = self.pending.take() {
            return Ok(Some(Ok(record)));
        }
        if self.unsealed.is_none() {
            let unsealed = Unsealed::open(&self.directory).map_err(|error| self.io(error))?;
            self.unsealed = Some(unsealed);
        }
        loop {
            let looks = self.before_a_look == 0;
            if looks {
                if let Some(item) = self.next_sealed()? {
                    return Ok(Some(item));
                }
                self.before_a_look = LOOK_EVERY;
            }
            if let Some(record) = self.next_unsealed()? {
                self.before_a_look -= 1;
                return Ok(Some(Ok(record)));
            }
            self.before_a_look = 0;
            // The journal ends: what was sealed since the last look comes behind it.
            if looks {
                self.unsealed = None;
                return Ok(None);
            }
        }
    }

    /// The next record of the journal as it was opened.
    fn next_unsealed(&mut self) -> Result<Option<Record>, ReadError> {
        let Some(unsealed) = &mut self.unsealed else { return Ok(None) };
        for (nonce, ordinal) in self.sealed.drain() {
            let seen = self.seen.entry(nonce).or_default();
            *seen = ordinal.max(*seen);
        }
        let seq = self.expected.unwrap_or(1).max(self.next_unsealed);
        let next = unsealed.next(seq, &mut self.seen).map_err(|error| self.io(error))?;
        if next.is_some() {
            self.next_unsealed = seq.saturating_add(1);
        }
        Ok(next)
    }

    fn next_sealed(&mut self) -> Result<Option<Item>, ReadError> {
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
        let end = self.ahead.front().map_or(u64::MAX, |next| next.first);
        while let Some(line) = current.lines.next()? {
            let offset = line.offset;
            let expected = self.expected.unwrap_or(segment);
            let Some(head) = Head::parse(line.bytes, expected) else {
                self.expected = Some(expected.saturating_add(1));
                return Ok(Some(Err(Problem::Damaged { segment, offset })));
            };
            // What lies beyond the name of the next segment was never sealed here.
            if head.seq >= end {
                continue;
            }
            let known = self.expected.replace(head.seq + 1);
            let ordinal = head.id.ordinal();
            let seen = self.seen.entry(head.id.nonce()).or_default();
            if *seen >= ordinal {
                // Shown already, when it was in the journal.
                continue;
            }
            *seen = ordinal;
            let line = line.bytes.to_vec();
            let (seq, place) = (head.seq, Some((segment, offset)));
            let record = Record { seq, id: head.id, time: head.time, place, line };
            let Some(expected) = known.filter(|expected| *expected != seq) else {
                return Ok(Some(Ok(record)));
            };
            if Borders::read(&self.directory).map_err(|error| self.io(error))?.explain(expected, seq) {
                return Ok(Some(Ok(record)));
            }
            self.pending = Some(record);
            return Ok(Some(Err(Problem::Hole { segment, offset, expected, found: seq })));
        }
        Ok(None)
    }

    /// Goes on to the next segment if there is one and this one is read to its end.
    fn advance(&mut self) -> Result<bool, ReadError> {
        if self.ahead.is_empty() {
            self.look_ahead(self.current.as_ref().map_or(0, |current| current.first.saturating_add(1)))?;
        }
        if let Some(current) = &mut self.current {
            if self.ahead.is_empty() {
                return Ok(false);
            }
            // Records may have come in between the end of this segment and the look at the directory.
            if !std::mem::replace(&mut current.drained, true) {
                return Ok(true);
            }
        }
        let Some(segment) = self.ahead.pop_front() else { return Ok(false) };
        // Its name says what comes next, also as long as no line is in it.
        self.next_unsealed = self.next_unsealed.max(segment.first);
        let lines = match segment.lines() {
            // Compressed since the folder was listed.
            Err(SegmentError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                self.ahead.clear();
                self.look_ahead(segment.first)?;
                let again = self.ahead.pop_front().filter(|again| again.first == segment.first);
                again.unwrap_or_else(|| segment.clone()).lines()?
            }
            other => other?,
        };
        self.current = Some(Current { first: segment.first, lines, drained: false });
        Ok(true)
    }

    fn look_ahead(&mut self, from: u64) -> Result<(), ReadError> {
        let known = segments(&self.directory).map_err(|error| self.io(error))?;
        self.ahead.extend(known.into_iter().filter(|segment| segment.first >= from));
        Ok(())
    }

    fn io(&self, error: io::Error) -> ReadError {
        ReadError::Io { path: self.directory.clone(), error }
    }
}

/// What the newest checkpoint says of how far each process is sealed: its journal may still hold records of segments
/// that are not read here. Nothing is trusted that could hide a record, save from somebody who can change the log.
fn sealed_ordinals(directory: &Path) -> HashMap<Nonce, u64> {
    let trees = names_in(&directory.join("tree")).unwrap_or_default();
    let newest = trees.iter().filter_map(|name| name.parse::<u64>().ok()).max();
    let checkpoint = newest.map(|epoch| directory.join(format!("tree/{epoch}/checkpoint")));
    let note = checkpoint.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    note.lines().filter_map(parse_extension).collect()
}
