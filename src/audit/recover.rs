//! What a starting edge makes of the log that is there.
//!
//! Only bytes after the last newline are cut, since a receipt follows a whole line: they were never acknowledged.
//! They are copied to `torn/` first. A whole line that is no record is damage: it stays where it is, is reported,
//! keeps its place in the sequence, and the log goes on in a new segment.

use std::io;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    disk::{Disk, Place, SegmentFile},
    lines::{Lines, ReadAt},
    read::{Head, Problem},
    record::MAX_LINE,
    segment::{copy_range, free_place},
};

/// Problems that are told one by one.
const MAX_PROBLEMS: usize = 64;
/// Bytes that every record takes at least: `id`, `seq`, `time`, `edge` and `kind` with their keys.
const LEAST_RECORD: u64 = 100;

/// What was found and done when the log was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The `seq` of the last record; 0 when the log is new.
    pub last_seq: u64,
    /// The time of the last record.
    pub last_time: Option<Timestamp>,
    /// The largest revision in the records that were read; 0 when there is none.
    pub last_revision: u64,
    /// Segments there were.
    pub segments: usize,
    /// Bytes of a torn tail that were cut and set aside.
    pub torn_bytes: u64,
    /// Damage, in the order it was found; none of it was repaired.
    pub problems: Vec<Problem>,
}

impl Recovery {
    /// The same as fields for the `edge.started` record.
    #[must_use]
    pub fn detail(&self) -> Map<String, Value> {
        let mut detail = Map::new();
        detail.insert("recovered_seq".to_owned(), self.last_seq.into());
        detail.insert("recovered_segments".to_owned(), self.segments.into());
        detail.insert("torn_bytes".to_owned(), self.torn_bytes.into());
        if !self.problems.is_empty() {
            let problems = self.problems.iter().map(|problem| problem.to_string().into()).collect();
            detail.insert("problems".to_owned(), Value::Array(problems));
        }
        detail
    }

    fn report(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// The segment that writing may go on in.
pub(super) struct Resume {
    pub(super) first: u64,
    pub(super) length: u64,
}

/// What one segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Whole lines that are records.
    pub records: u64,
    /// The `seq` that the next record has to have.
    pub next_seq: u64,
    /// The time of the last record.
    pub last_time: Option<Timestamp>,
    /// The revision in the last record that has one.
    pub last_revision: Option<u64>,
    /// Bytes up to the end of the last whole line.
    pub whole_bytes: u64,
    /// Lines that are no records, and holes in the sequence.
    pub problems: Vec<Problem>,
}

/// Reads the bytes of the segment whose name says that it starts with `first`.
#[must_use]
pub fn scan(bytes: &[u8], first: u64) -> Scan {
    // Reading from memory does not fail.
    scan_source(bytes, first).unwrap_or_else(|_| Scan::empty(first))
}

impl Scan {
    fn empty(first: u64) -> Self {
        Self {
            records: 0,
            next_seq: first,
            last_time: None,
            last_revision: None,
            whole_bytes: 0,
            problems: Vec::new(),
        }
    }
}

fn scan_source<R: ReadAt>(source: R, first: u64) -> io::Result<Scan> {
    let mut scan = Scan::empty(first);
    let mut lines = Lines::new(source, 0);
    while let Some(line) = lines.next()? {
        let problem = match Head::parse(line.bytes, scan.next_seq) {
            Some(head) => {
                scan.records += 1;
                scan.last_time = Some(head.time);
                // The largest: a request that began before a swap is recorded after it.
                scan.last_revision = head.revision.max(scan.last_revision);
                let expected = scan.next_seq;
                // Never back: a damaged number still takes the place it stands in.
                scan.next_seq = expected.max(head.seq) + 1;
                (head.seq != expected).then_some(Problem::Hole {
                    segment: first,
                    offset: line.offset,
                    expected,
                    found: head.seq,
                })
            }
            None => {
                scan.next_seq += 1;
                Some(Problem::Damaged { segment: first, offset: line.offset })
            }
        };
        scan.problems.extend(problem.filter(|_| scan.problems.len() < MAX_PROBLEMS));
    }
    scan.whole_bytes = lines.offset();
    Ok(scan)
}

impl ReadAt for &dyn SegmentFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }
}

/// Reads the last segment whole and the last line of each segment before it.
pub(super) fn recover(disk: &dyn Disk) -> io::Result<(Recovery, Option<Resume>)> {
    let segments = disk.segments()?;
    let mut recovery = Recovery { segments: segments.len(), ..Recovery::default() };
    let mut next_seq = 1;
    let mut resume = None;
    let mut previous: Option<u64> = None;
    for (index, first) in segments.iter().copied().enumerate() {
        if first > next_seq {
            recovery.report(Problem::Missing { expected: next_seq, found: first });
        }
        if let Some(before) = previous.filter(|_| first < next_seq) {
            recovery.report(Problem::Overlap { segment: before, next: first });
        }
        next_seq = next_seq.max(first);
        let is_last = index + 1 == segments.len();
        let outcome = if is_last {
            last_segment(disk, first, &mut recovery).map(|(next, last)| {
                resume = last;
                next
            })
        } else {
            end_of(disk, first, segments.get(index + 1).copied(), &mut recovery)
        };
        match outcome {
            Ok(next) => next_seq = next_seq.max(next),
            Err(error) => {
                recovery.report(Problem::Unreadable { segment: first, error: error.to_string() });
                // Whatever it holds, its records cannot have got further than this: a hole in the sequence is better
                // than a number given twice.
                let length = disk
                    .open(&Place::Segment(first))
                    .and_then(|file| file.state())
                    .map_or(1 << 36, |state| state.length);
                next_seq = next_seq.max(first.saturating_add(length / LEAST_RECORD));
            }
        }
        previous = Some(first);
    }
    recovery.last_seq = next_seq - 1;
    Ok((recovery, resume))
}

/// Reads the last segment, cuts its torn tail and says whether writing may go on in it.
fn last_segment(disk: &dyn Disk, first: u64, recovery: &mut Recovery) -> io::Result<(u64, Option<Resume>)> {
    let file = disk.open(&Place::Segment(first))?;
    let length = file.state()?.length;
    let scan = scan_source(file.as_ref(), first)?;
    recovery.last_time = scan.last_time.or(recovery.last_time);
    recovery.last_revision = recovery.last_revision.max(scan.last_revision.unwrap_or(0));
    let sound = scan.problems.is_empty();
    scan.problems.into_iter().for_each(|problem| recovery.report(problem));
    let torn = length.saturating_sub(scan.whole_bytes);
    if torn > 0 {
        match set_tail_aside(disk, file.as_ref(), first, scan.whole_bytes, length) {
            Ok(()) => recovery.torn_bytes = torn,
            Err(error) => {
                // The tail stays; the name of the next segment tells readers that nothing follows here.
                recovery.report(Problem::Unreadable { segment: first, error: format!("torn tail: {error}") });
                return Ok((scan.next_seq, None));
            }
        }
    }
    Ok((scan.next_seq, sound.then_some(Resume { first, length: scan.whole_bytes })))
}

/// Calls: `open(O_EXCL)` in `torn/`, `pwrite`, `fdatasync`, then `ftruncate` and `fdatasync` of the segment.
fn set_tail_aside(disk: &dyn Disk, file: &dyn SegmentFile, first: u64, from: u64, to: u64) -> io::Result<()> {
    let place = free_place(disk, &format!("{first:020}-{from}.torn"))?;
    let copy = disk.create(&place)?;
    if let Err(error) = copy_range(file, copy.as_ref(), from, to).and_then(|()| copy.sync()) {
        disk.remove(&place)?;
        return Err(error);
    }
    file.truncate(from)?;
    file.sync()
}

/// The `seq` after the last record of a segment that others follow, from its last lines.
fn end_of(disk: &dyn Disk, first: u64, next: Option<u64>, recovery: &mut Recovery) -> io::Result<u64> {
    let file = disk.open(&Place::Segment(first))?;
    let length = file.state()?.length;
    // Two lines of the greatest length: a torn tail that was left behind, and the record before it.
    let start = length.saturating_sub(2 * MAX_LINE as u64 + 2);
    let mut lines = Lines::new(file.as_ref(), start);
    let mut last = None;
    let mut partial = start > 0;
    while let Some(line) = lines.next()? {
        if !std::mem::take(&mut partial) {
            // Near the end the name of the next segment is the best guess of what to expect.
            last = Some((
                line.offset,
                Head::parse(line.bytes, next.unwrap_or(first).saturating_sub(1).max(first)),
            ));
        }
    }
    match last {
        None => Ok(first),
        Some((_, Some(head))) => {
            recovery.last_time = Some(head.time);
            recovery.last_revision = recovery.last_revision.max(head.revision.unwrap_or(0));
            // Records at or after the next segment's first were never acknowledged.
            Ok((head.seq + 1).min(next.unwrap_or(u64::MAX)))
        }
        Some((offset, None)) => {
            recovery.report(Problem::Damaged { segment: first, offset });
            Ok(next.unwrap_or(first))
        }
    }
}
