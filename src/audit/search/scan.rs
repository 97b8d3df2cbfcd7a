//! Reads the segments that may hold what is looked for, side by side, and hands out what is found in order.

use std::io;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::super::{
    Missing, Problem, SegmentError, SegmentFile, SegmentIndex, SegmentLines, sealed::Account, segments,
};
use super::query::{Matcher, Query, Verdict};
use super::reached::Reached;

/// Bytes of lines that travel together from a reader to the caller.
const BATCH: usize = 64 * 1024;
/// Batches that a reader may be ahead of the caller.
const AHEAD: usize = 16;

/// What a search went through.
#[derive(Debug, Default)]
pub struct Searched {
    /// Records that were handed out.
    pub found: u64,
    /// Segments that were read.
    pub read: usize,
    /// Segments of which the index said that nothing is in them.
    pub skipped: usize,
    /// What could not be searched: records may be missing from what was found.
    pub problems: Vec<SearchProblem>,
    /// The caller has seen enough.
    pub stopped: bool,
    /// The `seq` of the last sealed record, found or not; 0 when there is none. What is newer stands in the journal.
    pub last_seq: u64,
    /// The first `seq` of the last segment; 0 when there is none.
    pub last_segment: u64,
}

/// A part of the log that could not be searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchProblem {
    /// A segment could not be read to its end.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Records are in no segment, and were not pruned.
    #[error("`{}`: {missing}", directory.display())]
    Missing {
        /// The audit directory.
        directory: PathBuf,
        /// Which ones.
        missing: Missing,
    },
    /// Damage among the newest records.
    #[error(transparent)]
    Unsealed(Problem),
    /// A line is no record.
    #[error("`{}`, byte {offset} of its text: the line is not a record", path.display())]
    Damaged {
        /// The segment's file.
        path: PathBuf,
        /// Where the line starts in the uncompressed text, in bytes.
        offset: u64,
    },
}

/// The log could not be searched at all.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {error}", directory.display())]
pub struct SearchError {
    directory: PathBuf,
    #[source]
    error: io::Error,
}

/// Hands every sealed record of the log in `directory` that `query` finds to `each`, in order and without its newline,
/// until that breaks.
///
/// # Errors
/// When the segments cannot be listed. What cannot be read of one is in [`Searched::problems`].
pub fn search(
    directory: &Path,
    query: &Query,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Searched, SearchError> {
    let failed = |error| SearchError { directory: directory.to_owned(), error };
    // A directory that is not there has no records either, but that is no answer.
    let account = std::fs::metadata(directory).and_then(|_| Account::read(directory)).map_err(failed)?;
    let listed = segments(directory).map_err(failed)?;
    let last_segment = listed.last().map_or(0, |segment| segment.first);
    let mut searched = Searched { last_segment, ..Searched::default() };
    let mut reached = Reached::default();
    let (mut likely, mut others) = (Vec::new(), Vec::new());
    for part in parts(listed) {
        match part.promise(query) {
            Promise::None { last } => {
                searched.skipped += 1;
                searched.last_seq = searched.last_seq.max(last);
                reached.there.insert(part.segment.first, last.saturating_add(1));
            }
            Promise::Likely => likely.push(part),
            Promise::Possible => others.push(part),
        }
    }
    for parts in [likely, others] {
        // An id is given once: where it was found ends the search.
        if searched.stopped || (query.id.is_some() && searched.found > 0) {
            break;
        }
        reached.open.extend(parts.iter().map(|part| part.segment.first));
        read(&parts, query, each, &mut searched, &mut reached);
    }
    // Where an id was found, nothing is missing from the answer.
    if query.id.is_none() || searched.found == 0 {
        reached.missing(directory, &account, query, &mut searched).map_err(failed)?;
    }
    Ok(searched)
}

/// A segment and where the next one starts: lines from there on were never sealed in this one.
struct Part {
    segment: SegmentFile,
    end: u64,
}

fn parts(segments: Vec<SegmentFile>) -> Vec<Part> {
    let ends: Vec<u64> = segments.iter().skip(1).map(|next| next.first).chain([u64::MAX]).collect();
    segments.into_iter().zip(ends).map(|(segment, end)| Part { segment, end }).collect()
}

/// What an index makes one expect of a segment.
enum Promise {
    /// Nothing is there; the `seq` of its last record.
    None {
        last: u64,
    },
    Likely,
    Possible,
}

impl Part {
    /// A segment without an index, or with one that cannot be read, may hold anything.
    fn promise(&self, query: &Query) -> Promise {
        if query.is_everything() {
            return Promise::Likely;
        }
        let index = self.segment.index.as_ref().and_then(|path| std::fs::read(path).ok());
        match index.and_then(|bytes| SegmentIndex::parse(&bytes).ok()) {
            // An index under another segment's name says nothing of this one.
            Some(index) if index.first_seq != self.segment.first => Promise::Likely,
            Some(index) if !query.may_be_in(&index) => {
                Promise::None { last: index.end_seq().saturating_sub(1) }
            }
            Some(index) if !query.likely_in(&index) => Promise::Possible,
            _ => Promise::Likely,
        }
    }
}

impl Part {
    /// Opens the segment; one that was compressed since it was listed is there under another name.
    fn lines(&self) -> Result<SegmentLines, SegmentError> {
        match self.segment.lines() {
            Err(SegmentError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                let directory = self.segment.path.ancestors().nth(2).unwrap_or(Path::new("."));
                let listed = segments(directory).unwrap_or_default();
                let now = listed.into_iter().find(|segment| segment.first == self.segment.first);
                now.as_ref().unwrap_or(&self.segment).lines()
            }
            lines => lines,
        }
    }
}

/// What a reader sends.
enum Found {
    /// Whole lines with their newlines.
    Lines(Vec<u8>),
    Problem(SearchProblem),
    /// Nothing follows.
    End(End),
}

/// The end of a segment.
struct End {
    /// The `seq` of its last record; 0 when there is none.
    last: u64,
    /// The `seq` that the next segment has to start with; none when the segment is not there any more.
    next: Option<u64>,
}

/// Each reader takes the next segment that nobody reads; the channels keep the order.
fn read(
    parts: &[Part],
    query: &Query,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    searched: &mut Searched,
    reached: &mut Reached,
) {
    let readers = thread::available_parallelism().map_or(1, NonZero::get).min(parts.len());
    let (senders, receivers): (Vec<_>, Vec<_>) = parts.iter().map(|_| sync_channel(AHEAD)).unzip();
    let work = Mutex::new(parts.iter().zip(senders));
    thread::scope(|scope| {
        for _ in 0..readers {
            scope.spawn(|| {
                let matcher = query.matcher();
                while let Some((part, sender)) = take(&work) {
                    Reader { part, matcher: &matcher, sender, batch: Vec::new() }.run();
                }
            });
        }
        for (receiver, part) in receivers.into_iter().zip(parts) {
            searched.read += 1;
            if receive(&receiver, part.segment.first, each, searched, reached).is_break() {
                searched.stopped = true;
                break;
            }
        }
        // Readers that wait for room find their channel closed, and those that would start find no work.
        while take(&work).is_some() {}
    });
}

fn take<T>(work: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    work.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next()
}

/// Hands on what one reader sends.
fn receive(
    receiver: &Receiver<Found>,
    first: u64,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    searched: &mut Searched,
    reached: &mut Reached,
) -> ControlFlow<()> {
    for found in receiver {
        match found {
            Found::Lines(lines) => {
                let mut start = 0;
                for end in memchr::memchr_iter(b'\n', &lines) {
                    searched.found += 1;
                    each(lines.get(start..end).unwrap_or_default())?;
                    start = end + 1;
                }
            }
            Found::Problem(problem) => searched.problems.push(problem),
            Found::End(End { last, next }) => {
                searched.last_seq = searched.last_seq.max(last);
                reached.open.remove(&first);
                reached.there.extend(next.map(|next| (first, next)));
            }
        }
    }
    ControlFlow::Continue(())
}

/// Reads one segment.
struct Reader<'s> {
    part: &'s Part,
    matcher: &'s Matcher<'s>,
    sender: SyncSender<Found>,
    batch: Vec<u8>,
}

/// The caller has seen enough.
struct Enough;

impl Reader<'_> {
    fn run(mut self) {
        // Nobody is left to hear that nobody hears.
        self.lines().ok();
    }

    fn lines(&mut self) -> Result<(), Enough> {
        let mut lines = match self.part.lines() {
            Ok(lines) => lines,
            // Pruned since it was listed, or it is missing: what else is there tells.
            Err(SegmentError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return self.send(Found::End(End { last: 0, next: None }));
            }
            Err(error) => {
                self.send(Found::Problem(error.into()))?;
                return self.send(Found::End(End { last: 0, next: Some(self.part.end) }));
            }
        };
        let (mut last, mut next) = (0, self.part.segment.first);
        loop {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.flush()?;
                    self.send(Found::Problem(error.into()))?;
                    // What follows is not there for that reason.
                    next = self.part.end;
                    break;
                }
            };
            match seq_of(line.bytes) {
                Some(seq) if seq >= self.part.end => continue,
                Some(seq) => {
                    if seq > next {
                        self.missing(next, seq - 1)?;
                    }
                    (last, next) = (seq, next.max(seq.saturating_add(1)));
                }
                None => {
                    self.damaged(line.offset)?;
                    // It stands for one record.
                    next = next.saturating_add(1);
                    continue;
                }
            }
            match self.matcher.judge(line.bytes) {
                Verdict::Found => self.found(line.bytes)?,
                Verdict::Other => {}
                Verdict::Damaged => self.damaged(line.offset)?,
            }
        }
        self.flush()?;
        self.send(Found::End(End { last, next: Some(next) }))
    }

    /// Records are missing between two that are there.
    fn missing(&mut self, first: u64, last: u64) -> Result<(), Enough> {
        self.flush()?;
        let segment = &self.part.segment;
        let directory = segment.path.ancestors().nth(2).unwrap_or(Path::new(".")).to_owned();
        let missing = Missing { first, last, segment: segment.first, is_cut: true };
        self.send(Found::Problem(SearchProblem::Missing { directory, missing }))
    }

    fn found(&mut self, line: &[u8]) -> Result<(), Enough> {
        self.batch.extend_from_slice(line);
        self.batch.push(b'\n');
        if self.batch.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn damaged(&mut self, offset: u64) -> Result<(), Enough> {
        self.flush()?;
        let path = self.part.segment.path.clone();
        self.send(Found::Problem(SearchProblem::Damaged { path, offset }))
    }

    fn flush(&mut self) -> Result<(), Enough> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let lines = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.send(Found::Lines(lines))
    }

    fn send(&self, found: Found) -> Result<(), Enough> {
        self.sender.send(found).map_err(|_| Enough)
    }
}

/// The `seq` in the fixed head of a line, `{"id":"<36 characters>","seq":<digits>,"time":"`.
fn seq_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"id\":\"")?.get(36..)?.strip_prefix(b"\",\"seq\":")?;
    let digits = rest.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    rest.get(digits..)?.strip_prefix(b",\"time\":\"")?;
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
