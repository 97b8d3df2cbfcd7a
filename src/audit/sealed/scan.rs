//! Reads the last segment whole: what its lines are, and where they stop being records.

use std::io;

use super::{at::At, text::Split};
use crate::audit::{
    files::{Disk, DiskFile},
    merkle::{Hash, leaf_hash},
    problem::Problem,
    read::Head,
};

use super::names::{Form, segment};

/// One whole line.
pub(super) struct Line {
    /// Where the next one starts, in bytes.
    pub(super) end: u64,
    pub(super) leaf: Hash,
    /// What it says of itself; none when it is no record.
    pub(super) head: Option<Head>,
}

/// The lines of a plain segment.
pub(super) struct Scan {
    pub(super) first: u64,
    pub(super) file: Box<dyn DiskFile>,
    /// The length of the file, in bytes.
    pub(super) length: u64,
    pub(super) lines: Vec<Line>,
}

impl Scan {
    pub(super) fn read(disk: &dyn Disk, first: u64) -> io::Result<Self> {
        let path = segment(first, Form::Plain);
        let file = disk.open(&path)?;
        let length = file.state()?.length;
        let mut split = Split::new(At::new(disk.open(&path)?));
        let mut lines: Vec<Line> = Vec::new();
        while let Some(line) = split.next()? {
            let is_whole = line.length == line.bytes.len() as u64;
            let expected = first.saturating_add(lines.len() as u64);
            let head = Head::parse(line.bytes, expected).filter(|_| is_whole);
            let end = line.offset + line.length + 1;
            lines.push(Line { end, leaf: leaf_hash(line.bytes), head });
        }
        Ok(Self { first, file, length, lines })
    }

    /// Bytes of the first `lines` lines.
    pub(super) fn end_of(&self, lines: usize) -> u64 {
        lines.checked_sub(1).and_then(|last| self.lines.get(last)).map_or(0, |line| line.end)
    }

    /// How many lines from `from` on are records in sequence: those that go on with the log.
    pub(super) fn sound_from(&self, from: usize) -> usize {
        let seqs = (self.first.saturating_add(from as u64)..).zip(self.lines.iter().skip(from));
        seqs.take_while(|(seq, line)| line.head.as_ref().is_some_and(|head| head.seq == *seq)).count()
    }

    /// The `seq` after all that is there, by place or by number, whichever is greater.
    pub(super) fn next_seq(&self) -> u64 {
        self.lines.iter().fold(self.first, |expected, line| {
            expected.max(line.head.as_ref().map_or(0, |head| head.seq)).saturating_add(1)
        })
    }

    /// What is wrong with the first `lines` lines.
    pub(super) fn problems(&self, lines: usize) -> Vec<Problem> {
        let mut problems = Vec::new();
        let (mut expected, mut offset) = (self.first, 0);
        for line in self.lines.iter().take(lines) {
            let segment = self.first;
            match &line.head {
                None => problems.push(Problem::Damaged { segment, offset }),
                Some(head) if head.seq != expected => {
                    problems.push(Problem::Hole { segment, offset, expected, found: head.seq });
                    expected = expected.max(head.seq);
                }
                Some(_) => {}
            }
            expected = expected.saturating_add(1);
            offset = line.end;
        }
        problems
    }
}
