//! What an earlier process left, read back before anything is written.

use std::fmt;
use std::io;

use jiff::Timestamp;
use serde::Deserialize;

use super::disk::{Disk, Place, SegmentFile};
use super::lines::{Lines, ReadAt};
use super::segment::{Segment, copy_range, free_place};

/// What was found, and what was done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The `seq` of the last record; 0 when there is none.
    pub last_seq: u64,
    /// Its time.
    pub last_time: Option<Timestamp>,
    /// The last policy revision that a record of the last segment names.
    pub last_revision: Option<u64>,
    /// Bytes after the last whole record that were set aside in `torn/`. None of them was ever acknowledged.
    pub torn_bytes: u64,
    /// Segments there are.
    pub segments: usize,
    /// What is not as it was left. It is reported, and never repaired.
    pub problems: Vec<Problem>,
}

/// Something in the log that no crash explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The first `seq` of the segment, which is its name.
    pub segment: u64,
    /// Where in the segment, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A line that is no record, with records after it.
    Unreadable,
    /// A record whose number does not follow the one before.
    OutOfOrder {
        /// The number that was due.
        due: u64,
        /// The number found.
        found: u64,
    },
    /// The segment does not start where the one before it ended.
    Hole {
        /// The number that was due.
        due: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, fault } = self;
        write!(f, "segment {segment:020} at byte {offset}: ")?;
        match fault {
            Fault::Unreadable => f.write_str("a line is no record"),
            Fault::OutOfOrder { due, found } => write!(f, "record {found} stands where {due} belongs"),
            Fault::Hole { due } => write!(f, "the log ends before record {due} and goes on here"),
        }
    }
}

/// The fields of a record that recovery needs.
#[derive(Deserialize)]
struct Mark {
    seq: u64,
    time: Timestamp,
    revision: Option<u64>,
}

impl ReadAt for &dyn SegmentFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        SegmentFile::read_at(*self, buffer, offset)
    }
}

/// One segment, read through.
#[derive(Debug, Default)]
struct Scan {
    /// The last record and what it says.
    last: Option<(u64, Timestamp)>,
    revision: Option<u64>,
    /// Where the last record ends, in bytes.
    good_end: u64,
    problems: Vec<Problem>,
}

fn scan(file: &dyn SegmentFile, first: u64) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut due = first;
    let mut bad: Option<u64> = None;
    let mut lines = Lines::new(file, 0);
    while let Some(line) = lines.next()? {
        let offset = line.offset;
        let end = offset + line.bytes.len() as u64 + 1;
        let Ok(mark) = serde_json::from_slice::<Mark>(line.bytes) else {
            bad.get_or_insert(offset);
            continue;
        };
        // Only now is it certain that the bad line was no torn tail.
        if let Some(offset) = bad.take() {
            scan.problems.push(Problem { segment: first, offset, fault: Fault::Unreadable });
        }
        if mark.seq != due {
            let fault = Fault::OutOfOrder { due, found: mark.seq };
            scan.problems.push(Problem { segment: first, offset, fault });
        }
        due = mark.seq.max(due).saturating_add(1);
        scan.last = Some((due - 1, mark.time));
        scan.revision = mark.revision.or(scan.revision);
        scan.good_end = end;
    }
    Ok(scan)
}

/// Reads the last segments, sets a torn tail aside and says where to go on. A segment with a problem is not written
/// any further: the log goes on in a new one.
pub(super) fn recover(disk: &dyn Disk, segment_bytes: u64) -> io::Result<(Recovery, Option<Segment>)> {
    let segments = disk.segments()?;
    let mut recovery = Recovery { segments: segments.len(), ..Recovery::default() };
    let mut resumable = None;
    // From the newest back to the first one with a record; those before were closed in order.
    for (position, &first) in segments.iter().enumerate().rev() {
        let file = disk.open(&Place::Segment(first))?;
        let scan = scan(file.as_ref(), first)?;
        let newest = position + 1 == segments.len();
        if newest {
            recovery.torn_bytes = set_tail_aside(disk, file.as_ref(), first, scan.good_end)?;
            resumable = scan.problems.is_empty().then_some((first, scan.good_end));
        }
        recovery.problems.extend(scan.problems);
        if let Some((seq, time)) = scan.last {
            recovery.last_seq = recovery.last_seq.max(seq);
            recovery.last_time = Some(time);
            recovery.last_revision = scan.revision;
            break;
        }
        // An empty segment says by its name what came before it.
        recovery.last_seq = recovery.last_seq.max(first.saturating_sub(1));
    }
    recovery.problems.extend(holes(disk, &segments)?);
    let next = recovery.last_seq + 1;
    // An empty segment may be gone on with only under the number it is named for.
    let resumable = resumable.filter(|(first, end)| *end > 0 || *first == next);
    let segment = resumable.and_then(|(first, end)| Segment::resume(disk, first, end, segment_bytes).ok());
    Ok((recovery, segment))
}

/// Copies what follows the last whole record into `torn/`, syncs the copy, and only then cuts it off.
fn set_tail_aside(disk: &dyn Disk, file: &dyn SegmentFile, first: u64, good_end: u64) -> io::Result<u64> {
    let length = file.state()?.length;
    let torn = length.saturating_sub(good_end);
    if torn == 0 {
        return Ok(0);
    }
    let place = free_place(disk, &format!("{first:020}.torn"))?;
    let kept = disk.create(&place).and_then(|copy| {
        copy_range(file, copy.as_ref(), good_end, length)?;
        copy.sync()
    });
    if let Err(error) = kept {
        // On a full disk the tail cannot be kept. It was never acknowledged, and an edge that cannot start
        // protects nobody.
        tracing::error!(%error, torn, "a torn tail of the audit log could not be kept");
    }
    file.truncate(good_end)?;
    Ok(torn)
}

/// Segments that do not start where the one before ended. Only the end of each is read.
fn holes(disk: &dyn Disk, segments: &[u64]) -> io::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for pair in segments.windows(2) {
        let [before, first] = pair else { continue };
        let file = disk.open(&Place::Segment(*before))?;
        if let Some(last) = last_seq(file.as_ref())?
            && last.saturating_add(1) != *first
        {
            let fault = Fault::Hole { due: last.saturating_add(1) };
            problems.push(Problem { segment: *first, offset: 0, fault });
        }
    }
    Ok(problems)
}

/// The number of the last record of a closed segment.
fn last_seq(file: &dyn SegmentFile) -> io::Result<Option<u64>> {
    let length = file.state()?.length;
    let mut lines = Lines::new(file, length.saturating_sub(super::record::MAX_LINE as u64));
    let mut last = None;
    while let Some(line) = lines.next()? {
        // The first line is usually cut; a cut line is no record.
        last = serde_json::from_slice::<Mark>(line.bytes).ok().map(|mark| mark.seq).or(last);
    }
    Ok(last)
}
