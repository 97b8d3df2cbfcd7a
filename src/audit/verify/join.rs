//! Joins the ranges of segments to the signed roots, and tells which of two accounts of a segment is the true one.
//!
//! A segment has two accounts: its lines, and the hashes in its index. Where they differ, both are followed until a
//! signed root says which one leads to it.

use std::collections::BTreeMap;

use super::leaves::Mark;
use crate::audit::merkle::{Hash, Range, subtrees};

/// Differing accounts that are followed at the same time.
const MAX_PATHS: usize = 16;

/// Leaves from the first to before the last.
pub(super) type Span = (u64, u64);

/// One way to account for all segments so far.
#[derive(Debug, Clone)]
struct Path {
    range: Range,
    /// Places in `Join::disputes` where the index was followed instead of the lines.
    indexes: Vec<usize>,
}

/// A segment whose lines and index differ.
#[derive(Debug, Clone)]
struct Dispute {
    segment: u64,
    lines: Range,
    index: Range,
}

/// What joining found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Leaves that are not what was signed.
    pub(super) bad_lines: Vec<Span>,
    /// First `seq` of the segments whose index is at fault.
    pub(super) bad_indexes: Vec<u64>,
    /// Leaves up to here lead to a signed root.
    pub(super) good: u64,
}

/// See the module.
pub(super) struct Join<'r> {
    roots: &'r BTreeMap<u64, Hash>,
    paths: Vec<Path>,
    disputes: Vec<Dispute>,
    verdict: Verdict,
    /// Every leaf so far has a hash, and they lead to the signed roots.
    joined: bool,
}

impl<'r> Join<'r> {
    pub(super) fn new(roots: &'r BTreeMap<u64, Hash>) -> Self {
        let start = Path { range: Range::new(0), indexes: Vec::new() };
        Self { roots, paths: vec![start], disputes: Vec::new(), verdict: Verdict::default(), joined: true }
    }

    /// Leaves are missing: what follows cannot be joined to any root.
    pub(super) fn hole(&mut self) {
        self.joined = false;
    }

    /// Takes the next segment in. `marks` are places within the lines.
    pub(super) fn segment(
        &mut self,
        segment: u64,
        lines: Option<&Range>,
        index: Option<&Range>,
        marks: &[Mark],
    ) {
        let dispute = match (lines, index) {
            (Some(lines), Some(index)) if lines != index => {
                self.disputes.push(Dispute { segment, lines: lines.clone(), index: index.clone() });
                Some(self.disputes.len() - 1)
            }
            _ => None,
        };
        if !self.joined {
            self.unjoined(dispute);
            return;
        }
        let index = index.filter(|_| dispute.is_some() || lines.is_none());
        let mut good = Vec::new();
        let mut failed: Option<(Path, Span)> = None;
        for path in &self.paths {
            let by_lines = lines.map(|lines| (path.with(lines, None), self.first_wrong(path, marks)));
            let by_index = index.map(|index| {
                let path = path.with(index, dispute);
                let wrong = self.wrong_end(&path, index.start());
                (path, wrong)
            });
            for (path, wrong) in by_lines.into_iter().chain(by_index) {
                match wrong {
                    None => good.push(path),
                    Some(span) => failed = failed.or(Some((path, span))),
                }
            }
        }
        self.settle(good, failed);
    }

    fn settle(&mut self, mut good: Vec<Path>, failed: Option<(Path, Span)>) {
        if good.is_empty() {
            self.joined = false;
            if let Some((path, (from, to))) = failed {
                self.verdict.bad_lines.push((from.max(self.verdict.good), to));
                self.paths = vec![path];
            }
            return;
        }
        good.truncate(MAX_PATHS);
        let end = good.first().map_or(0, |path| path.range.end());
        if let Some((size, _)) = self.roots.range(..=end).next_back() {
            self.verdict.good = self.verdict.good.max(*size);
        }
        self.paths = good;
    }

    /// Without a root the index is believed: an index that fits its file is harder to make than a changed line.
    fn unjoined(&mut self, dispute: Option<usize>) {
        for path in &mut self.paths {
            path.indexes.extend(dispute);
        }
    }

    /// The leaves between the last root that fits and the first that does not.
    fn first_wrong(&self, path: &Path, marks: &[Mark]) -> Option<Span> {
        let mut good = self.verdict.good;
        for mark in marks {
            let Some(root) = self.roots.get(&mark.size) else { continue };
            if path.with(&mark.range, None).range.root() != Some(*root) {
                return Some((good, mark.size));
            }
            good = mark.size;
        }
        None
    }

    fn wrong_end(&self, path: &Path, start: u64) -> Option<Span> {
        let root = self.roots.get(&path.range.end())?;
        (path.range.root() != Some(*root)).then(|| (start, path.range.end()))
    }

    /// What is at fault.
    pub(super) fn finish(mut self) -> Verdict {
        let followed = self.paths.first().map(|path| path.indexes.as_slice()).unwrap_or_default();
        for (place, dispute) in self.disputes.iter().enumerate() {
            if followed.contains(&place) {
                self.verdict.bad_lines.extend(differences(&dispute.lines, &dispute.index));
            } else {
                self.verdict.bad_indexes.push(dispute.segment);
            }
        }
        self.verdict.bad_lines = merged(self.verdict.bad_lines);
        self.verdict
    }
}

impl Path {
    fn with(&self, range: &Range, dispute: Option<usize>) -> Self {
        let mut path = self.clone();
        // A range that does not follow leaves the path too short, so that no root fits.
        path.range.append(range).ok();
        path.indexes.extend(dispute);
        path
    }
}

/// The perfect subtrees in which two ranges over the same leaves differ.
fn differences(one: &Range, other: &Range) -> Vec<Span> {
    let pairs = subtrees(one.start(), one.end()).zip(one.hashes().iter().zip(other.hashes()));
    let differ = pairs.filter(|(_, (one, other))| one != other);
    differ.map(|((level, index), _)| (index << level, (index + 1) << level)).collect()
}

/// The same leaves, in order and with neighbours joined.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans.into_iter().filter(|span| span.0 < span.1) {
        match merged.last_mut() {
            Some(last) if last.1 >= span.0 => last.1 = last.1.max(span.1),
            _ => merged.push(span),
        }
    }
    merged
}

/// Whether two spans share a leaf.
pub(super) fn meet(one: Span, other: Span) -> bool {
    one.0 < other.1 && other.0 < one.1
}
