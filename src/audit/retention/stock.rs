//! What there is to prune: the segments, with what is known of them.

use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use super::{RetentionError, hold::Hold};
use crate::audit::sealed::{SegmentFile, SegmentIndex, segments};

/// One segment.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) first: u64,
    /// Its length on the disk, in bytes.
    pub(super) bytes: u64,
    pub(super) content: Content,
}

/// What is known of a segment's lines.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// It is closed, and its index says so much.
    Closed(Closed),
    /// It is open, or closed a moment ago, or its index cannot be read: it may hold anything from this time on.
    Unknown { since: Timestamp },
}

/// What pruning needs of an index; the filter alone may take hundreds of kilobytes.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    /// The `seq` of its first record.
    pub(super) first: u64,
    /// The `seq` after its last one.
    pub(super) end: u64,
    pub(super) records: u64,
    pub(super) first_time: Option<Timestamp>,
    pub(super) last_time: Option<Timestamp>,
    /// Whether it may hold a record that is on hold.
    pub(super) held: bool,
}

impl Closed {
    fn of(index: &SegmentIndex, holds: &[Hold]) -> Self {
        Self {
            first: index.first_seq,
            end: index.end_seq(),
            records: index.records,
            first_time: index.first_time,
            last_time: index.last_time,
            held: holds.iter().any(|hold| hold.may_match(index)),
        }
    }
}

#[derive(Deserialize)]
struct First {
    time: Timestamp,
}

/// All segments of a directory, oldest first.
pub(super) fn parts(directory: &Path, holds: &[Hold]) -> Result<Vec<Part>, RetentionError> {
    let files = segments(directory).map_err(RetentionError::io("listing the segments"))?;
    let newest = files.last().map(|file| file.first);
    Ok(files.iter().map(|file| part(file, holds, Some(file.first) == newest)).collect())
}

fn part(file: &SegmentFile, holds: &[Hold], newest: bool) -> Part {
    // The newest one tells where the log goes on: it stays, whatever it is.
    let index = if newest { None } else { index_of(file) };
    let content = match index {
        Some(index) => Content::Closed(Closed::of(&index, holds)),
        None => Content::Unknown { since: first_time(file).unwrap_or(Timestamp::MIN) },
    };
    Part { first: file.first, bytes: file.file_bytes, content }
}

/// The index, when there is one, it can be read, and it is this segment's.
fn index_of(file: &SegmentFile) -> Option<SegmentIndex> {
    let bytes = std::fs::read(file.index.as_ref()?).ok()?;
    SegmentIndex::parse(&bytes).ok().filter(|index| index.first_seq == file.first)
}

fn first_time(file: &SegmentFile) -> Option<Timestamp> {
    let mut lines = file.lines().ok()?;
    let line = lines.next().ok()??;
    serde_json::from_slice(line.bytes).ok().map(|First { time }| time)
}
