//! Which records have to be in segments, and which of them are in none.
//!
//! An epoch's checkpoint says how many records it has, and a segment's name that all before it in its epoch were written.
//! What was pruned has its index in `pruned/`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{
    epoch::Epoch,
    index::SegmentIndex,
    names::{CHECKPOINT, EPOCHS, Form, parse_segment, segment_name},
    reader::segments,
};
use crate::audit::{
    files::{PRUNED, SEGMENTS, names_in},
    merkle::Checkpoint,
};

/// Folder of the trees of all epochs.
const TREES: &str = "tree";
/// Bytes at the start of an index in which it says how many records there are.
const EXTENT: u64 = 256;

/// Records that are in no segment although they were not pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The `seq` of the first one.
    pub first: u64,
    /// The `seq` of the last one.
    pub last: u64,
    /// The segment they belong to, by its first `seq`. They may belong to segments that followed it as well, when nothing
    /// is left that would tell.
    pub segment: u64,
    /// Whether the segment is there, without these records.
    pub is_cut: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, segment, is_cut } = self;
        match first == last {
            true => write!(f, "record {first} is missing: ")?,
            false => write!(f, "records {first} to {last} are missing: ")?,
        }
        match is_cut {
            true => write!(f, "the segment `{SEGMENTS}/{segment:020}` does not have all its records"),
            false => write!(f, "the segment `{SEGMENTS}/{segment:020}` is not there"),
        }
    }
}

/// What is missing, and the index of its segment where that was left behind.
#[derive(Debug)]
pub(in crate::audit) struct Hole {
    pub(in crate::audit) missing: Missing,
    pub(in crate::audit) index: Option<SegmentIndex>,
}

/// The records that were sealed. It has to be read before the segments are listed: a checkpoint is later than the lines
/// under it, so that whatever it counts is in a segment from then on.
#[derive(Debug)]
pub(in crate::audit) struct Account {
    /// The first `seq` of each epoch, and the one after the last that its checkpoint signs; 0 when nothing says it.
    epochs: BTreeMap<u64, u64>,
}

impl Account {
    /// Reads epochs and checkpoints. One that cannot be read asks for nothing: verifying tells of it.
    pub(in crate::audit) fn read(directory: &Path) -> io::Result<Self> {
        let mut epochs = BTreeMap::from([(1, 0)]);
        for name in names_in(&directory.join(EPOCHS))? {
            let bytes = std::fs::read(directory.join(EPOCHS).join(name)).unwrap_or_default();
            if let Ok(epoch) = serde_json::from_slice::<Epoch>(&bytes) {
                epochs.entry(epoch.first_seq).or_default();
            }
        }
        for name in names_in(&directory.join(TREES))? {
            let note = std::fs::read_to_string(directory.join(TREES).join(name).join(CHECKPOINT));
            if let Some((first, end)) = note.ok().and_then(|note| signed(&note)) {
                let known = epochs.entry(first).or_default();
                *known = end.max(*known);
            }
        }
        Ok(Self { epochs })
    }

    /// What is missing beside the segments that are there: for each the first `seq` and the one after its last, in
    /// order. Only where it seems that something is, the directory is looked at again.
    pub(in crate::audit) fn holes(&self, directory: &Path, there: &[(u64, u64)]) -> io::Result<Vec<Hole>> {
        let gaps = self.gaps(there);
        if gaps.is_empty() {
            return Ok(Vec::new());
        }
        let beside = Beside::read(directory)?;
        let mut holes = Vec::new();
        for (from, to) in gaps {
            let before = there.iter().rev().map(|(first, _)| *first).find(|first| *first < from);
            beside.explain(directory, (from, to), before, &mut holes);
        }
        Ok(holes)
    }

    /// Where nothing is, pruned or not: the first `seq` and the one after the last.
    fn gaps(&self, there: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let bounds = self.epochs.keys().skip(1).copied().chain([u64::MAX]);
        for ((start, signed), bound) in self.epochs.iter().zip(bounds) {
            let mut at = *start;
            for (first, end) in there.iter().filter(|(first, _)| (*start..bound).contains(first)) {
                gaps.extend((at < *first).then_some((at, *first)));
                at = at.max(*end);
            }
            let end = (*signed).min(bound);
            gaps.extend((at < end).then_some((at, end)));
        }
        gaps
    }
}

/// The first `seq` under a checkpoint and the one after the last. Signatures are for those who verify.
fn signed(note: &str) -> Option<(u64, u64)> {
    let (body, _) = note.split_once("\n\n")?;
    let checkpoint = Checkpoint::parse(&format!("{body}\n")).ok()?;
    let first: u64 = checkpoint.extension("first-seq")?.parse().ok()?;
    Some((first, first.saturating_add(checkpoint.size)))
}

/// The indexes of the directory, by the first `seq` in their names.
struct Beside {
    pruned: BTreeSet<u64>,
    indexes: BTreeSet<u64>,
}

impl Beside {
    fn read(directory: &Path) -> io::Result<Self> {
        let indexes = |folder: &str| -> io::Result<BTreeSet<u64>> {
            let names = names_in(&directory.join(folder))?;
            let found = names.iter().filter_map(|name| parse_segment(name));
            Ok(found.filter(|(_, form)| *form == Form::Index).map(|(first, _)| first).collect())
        };
        Ok(Self { pruned: indexes(PRUNED)?, indexes: indexes(SEGMENTS)? })
    }

    /// Tells what in a gap was not pruned; `before` is the segment in front of it.
    fn explain(&self, directory: &Path, gap: (u64, u64), before: Option<u64>, holes: &mut Vec<Hole>) {
        let (mut at, to) = gap;
        while at < to {
            let pruned = self.pruned.contains(&at).then(|| extent(directory, PRUNED, at)).flatten();
            if let Some(end) = pruned {
                at = end;
                continue;
            }
            let next = self.pruned.range(at + 1..to).next().copied().unwrap_or(to);
            let next = self.indexes.range(at + 1..next).next().copied().unwrap_or(next);
            let cut = before.filter(|_| at == gap.0).and_then(|segment| {
                extent(directory, SEGMENTS, segment).filter(|end| *end > at).map(|end| (segment, end))
            });
            let index = index_of(directory, at).filter(|_| cut.is_none());
            let end = cut.map(|(_, end)| end).or(index.as_ref().map(SegmentIndex::end_seq));
            let end = end.unwrap_or(next).clamp(at + 1, next);
            let segment = cut.map_or(at, |(segment, _)| segment);
            let missing = Missing { first: at, last: end - 1, segment, is_cut: cut.is_some() };
            holes.push(Hole { missing, index });
            at = end;
        }
    }
}

/// The `seq` after the last one of a segment, as the start of its index has it.
fn extent(directory: &Path, folder: &str, first: u64) -> Option<u64> {
    let file = File::open(directory.join(folder).join(segment_name(first, Form::Index))).ok()?;
    let mut start = Vec::new();
    file.take(EXTENT).read_to_end(&mut start).ok()?;
    let (known, records) = SegmentIndex::extent(&start)?;
    known.checked_add(records).filter(|end| known == first && *end > first)
}

/// The whole index of a segment.
fn index_of(directory: &Path, first: u64) -> Option<SegmentIndex> {
    let bytes = std::fs::read(directory.join(SEGMENTS).join(segment_name(first, Form::Index))).ok()?;
    SegmentIndex::parse(&bytes).ok().filter(|index| index.first_seq == first)
}

/// The records of the log in `directory` that are in no segment although they were not pruned, as far as names, indexes
/// and checkpoints tell: no line is read.
///
/// # Errors
/// When the directory cannot be listed.
pub fn missing(directory: &Path) -> io::Result<Vec<Missing>> {
    let account = Account::read(directory)?;
    let files = segments(directory)?;
    let nexts = files.iter().skip(1).map(|next| next.first).chain([u64::MAX]);
    let there: Vec<(u64, u64)> = files
        .iter()
        .zip(nexts)
        .map(|(file, next)| {
            let indexed = file.index.as_ref().and_then(|_| extent(directory, SEGMENTS, file.first));
            (file.first, indexed.unwrap_or(next).min(next))
        })
        .collect();
    let holes = account.holes(directory, &there)?;
    Ok(holes.into_iter().map(|hole| hole.missing).collect())
}

#[cfg(test)]
mod tests;
