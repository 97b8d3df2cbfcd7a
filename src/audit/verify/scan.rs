//! Reads one segment: hashes its lines, checks that they follow each other, and gathers what its index must say.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{ids::Ids, layout::SegmentFiles, leaves::Leaves, report::Finding};
use crate::audit::{
    facts::Facts,
    line::Head,
    merkle::{Hash, leaf_hash},
    sealed::{IndexBuilder, SegmentError, SegmentLine, SegmentLines},
};

/// Findings of one segment that are told one by one.
const MAX_FINDINGS: usize = 100;
/// Damaged lines beside each other, and missing records, that are given a place among the leaves, so that what
/// follows is still compared.
const MAX_PLACED: u64 = 65_536;

/// What is to be read.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) files: SegmentFiles,
    pub(super) epoch: u64,
    /// The `seq` of leaf 0.
    pub(super) epoch_first: u64,
    /// The `seq` that ends the sealed part: the name of the next segment, or the end of the checkpoint.
    pub(super) end: u64,
    /// Sizes of the tree at which the range is wanted, in rising order.
    pub(super) marks: Vec<u64>,
    /// Whether its index is of the moment that is verified.
    pub(super) has_index: bool,
}

/// A segment as it was found when it was its turn.
pub(super) struct Found {
    /// Its files then: one that was listed plain may be compressed by now, or pruned.
    pub(super) files: SegmentFiles,
    /// What it holds; none when its lines are gone.
    pub(super) scan: Option<Scan>,
}

/// What a segment holds.
pub(super) struct Scan {
    pub(super) leaves: Leaves,
    pub(super) index: IndexBuilder,
    pub(super) ids: Ids,
    pub(super) findings: Vec<Finding>,
    /// The first `seq` that is not there; [`Task::end`] when all are.
    pub(super) reached: u64,
    /// Bytes of the sealed lines, newlines included.
    pub(super) bytes: u64,
    /// Bytes of the whole text, as far as it could be read.
    pub(super) text: u64,
    /// Records that stand beyond the end.
    pub(super) beyond: u64,
    /// Bytes at the end that are no record and were never sealed.
    pub(super) torn: u64,
    /// Reading stopped before the end.
    pub(super) broken: bool,
}

impl Scan {
    /// Whether every leaf has a place.
    pub(super) fn is_complete(&self, task: &Task) -> bool {
        self.leaves.range().end() == task.end - task.epoch_first
    }

    /// Gives records that are missing at the end a place, so that the others are still compared.
    pub(super) fn pad(&mut self, task: &Task) {
        let missing = task.end.saturating_sub(self.reached);
        if missing <= MAX_PLACED && !self.broken {
            (0..missing).for_each(|_| self.leaves.push([0; 32]));
        }
    }
}

/// A line that is no record, until it is known where it belongs.
struct Damaged {
    start: u64,
    end: u64,
    hash: Hash,
    /// It is a record, of a `seq` beyond the end.
    is_beyond: bool,
}

struct Scanner<'t> {
    task: &'t Task,
    file: PathBuf,
    expected: u64,
    damaged: Vec<Damaged>,
    /// Places are lost: nothing more is hashed.
    lost: bool,
    scan: Scan,
}

/// Reads the segment; `progress` is told how many bytes of the file are done.
pub(super) fn scan(directory: &Path, task: &Task, progress: &mut dyn FnMut(u64)) -> Found {
    let (files, opened) = open(directory, task.files);
    let scan = opened.zip(files.lines()).map(|(opened, file)| {
        let scan = read(Scanner::new(task, file), opened, progress);
        progress(task.files.length());
        scan
    });
    Found { files, scan }
}

/// Opens the lines of a segment, whatever became of them since they were listed.
fn open(
    directory: &Path,
    listed: SegmentFiles,
) -> (SegmentFiles, Option<Result<SegmentLines, SegmentError>>) {
    let mut files = listed;
    // Compressed once and pruned once is all that can happen to a segment.
    for _ in 0..3 {
        let opened = files.open(directory);
        let is_gone = match &opened {
            None => !files.is_pruned(),
            Some(Err(SegmentError::Io { error, .. })) => error.kind() == io::ErrorKind::NotFound,
            Some(_) => false,
        };
        if !is_gone {
            return (files, opened);
        }
        files = SegmentFiles::now(directory, files.first);
    }
    (files, files.open(directory))
}

fn read(
    mut scanner: Scanner<'_>,
    opened: Result<SegmentLines, SegmentError>,
    progress: &mut dyn FnMut(u64),
) -> Scan {
    let mut lines = match opened {
        Ok(lines) => lines,
        Err(error) => {
            scanner.unreadable(&error);
            return scanner.finish(0, 0);
        }
    };
    let mut count = 0u32;
    let (end, rest) = loop {
        match lines.next() {
            Ok(Some(line)) => scanner.line(&line),
            Ok(None) => break (lines.offset(), lines.half_line()),
            Err(error) => {
                scanner.unreadable(&error);
                break (lines.offset(), 0);
            }
        }
        count = count.wrapping_add(1);
        if count.is_multiple_of(4096) {
            progress(lines.file_bytes_read());
        }
    };
    scanner.finish(end, rest)
}

impl<'t> Scanner<'t> {
    fn new(task: &'t Task, file: PathBuf) -> Self {
        let start = task.files.first;
        let scan = Scan {
            leaves: Leaves::new(start.saturating_sub(task.epoch_first), task.marks.clone()),
            index: IndexBuilder::new(task.epoch, start),
            ids: Ids::default(),
            findings: Vec::new(),
            reached: start,
            bytes: 0,
            text: 0,
            beyond: 0,
            torn: 0,
            broken: false,
        };
        Self { task, file, expected: start, damaged: Vec::new(), lost: false, scan }
    }

    fn find(&mut self, what: impl Into<String>, bytes: (u64, u64), records: Option<(u64, u64)>) {
        if self.scan.findings.len() < MAX_FINDINGS {
            let finding = Finding::new(&self.file, what).bytes(bytes.0, bytes.1);
            self.scan.findings.push(Finding { records, ..finding });
        }
    }

    fn line(&mut self, line: &SegmentLine<'_>) {
        let (start, end) = (line.offset, line.offset + line.length + 1);
        let whole = line.bytes.len() as u64 == line.length;
        let head = Head::parse(line.bytes).filter(|_| whole);
        match head {
            None => self.damaged(line, false),
            Some(head) if head.seq >= self.task.end => self.damaged(line, true),
            Some(head) if head.seq < self.expected => {
                let what = format!("record {} should be here, found {} again", self.expected, head.seq);
                self.find(what, (start, end), Some((head.seq, head.seq)));
            }
            Some(head) => {
                self.close_hole(head.seq, (start, end));
                self.leaf(leaf_hash(line.bytes));
                self.expected = head.seq + 1;
                self.scan.bytes += end - start;
                self.record(&head, line.length, (start, end));
            }
        }
    }

    fn damaged(&mut self, line: &SegmentLine<'_>, is_beyond: bool) {
        let (start, end) = (line.offset, line.offset + line.length + 1);
        if (self.damaged.len() as u64) < MAX_PLACED {
            self.damaged.push(Damaged { start, end, hash: leaf_hash(line.bytes), is_beyond });
        } else if is_beyond {
            self.scan.beyond += 1;
        } else {
            self.scan.torn += end - start;
        }
    }

    fn record(&mut self, head: &Head<'_>, length: u64, place: (u64, u64)) {
        let facts = Facts::of(head);
        self.scan.index.record(head, &facts, length);
        if self.scan.ids.insert(head.nonce(), head.ordinal()) {
            self.find("its id was given to another record before", place, Some((head.seq, head.seq)));
        }
        if facts.missed > 0 {
            self.scan.ids.gap(head.nonce(), facts.missed, facts.through);
        }
    }

    fn leaf(&mut self, hash: Hash) {
        if !self.lost {
            self.scan.leaves.push(hash);
        }
    }

    /// Gives damaged lines and missing records before `seq` their places.
    fn close_hole(&mut self, seq: u64, next: (u64, u64)) {
        if self.expected == seq && self.damaged.is_empty() {
            return;
        }
        for damaged in std::mem::take(&mut self.damaged) {
            let place = (damaged.start, damaged.end);
            if self.expected < seq {
                self.find("the line is no record", place, Some((self.expected, self.expected)));
                self.leaf(damaged.hash);
                self.expected += 1;
            } else {
                self.find("a line that does not belong here", place, None);
            }
        }
        let hole = seq - self.expected;
        if hole > 0 {
            self.find("records are missing here", next, Some((self.expected, seq - 1)));
            self.lost |= hole > MAX_PLACED;
            (0..hole.min(MAX_PLACED)).for_each(|_| self.leaf([0; 32]));
            self.expected = seq;
        }
    }

    /// Damaged lines at the end stand for sealed records as far as some are missing; the rest was never sealed.
    fn drop_damaged(&mut self) {
        for damaged in std::mem::take(&mut self.damaged) {
            if damaged.is_beyond {
                self.scan.beyond += 1;
            } else if self.expected < self.task.end {
                let place = (damaged.start, damaged.end);
                self.find("the line is no record", place, Some((self.expected, self.expected)));
                self.leaf(damaged.hash);
                self.expected += 1;
            } else {
                self.scan.torn += damaged.end - damaged.start;
            }
        }
    }

    fn unreadable(&mut self, error: &SegmentError) {
        let (at, why) = match error {
            SegmentError::Io { at, error, .. } | SegmentError::Compressed { at, error, .. } => (*at, error),
        };
        let what = format!("it cannot be read from record {} on: {why}", self.expected);
        self.find(what, (at.saturating_sub(128 * 1024), at.max(1)), None);
        self.scan.broken = true;
    }

    fn finish(mut self, end: u64, half_line: u64) -> Scan {
        self.drop_damaged();
        let sealed_to_end = self.expected >= self.task.end;
        if half_line > 0 && !sealed_to_end {
            let record = Some((self.expected, self.expected));
            self.find("half a line: its end is missing", (end, end + half_line), record);
        } else {
            self.scan.torn += half_line;
        }
        self.scan.reached = self.expected;
        self.scan.text = end + half_line;
        self.scan
    }
}
