//! What there is to verify, as of one moment: a log that goes on while it is read is judged as it was then.
//!
//! ```text
//! checkpoints   how far each epoch is signed: nothing beyond is judged
//! segments      twice: a name that changes while a folder is listed may be left out of one listing
//! tiles         the partial ones, which go when the next segment has begun
//! segments      again: whether one has
//! kept          checkpoints: each is there before the segment that follows it
//! checkpoints   again: what lies between the first and these came since; what lies beyond was there before them
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    layout::{self, Content, SegmentFiles},
    report::VerifyError,
    signed::MAX_NOTE,
};
use crate::audit::merkle::{Checkpoint, TileName};

/// See the module.
#[derive(Debug)]
pub(super) struct Moment {
    /// The trees, oldest first.
    pub(super) trees: Vec<TreeThen>,
    /// The segments, first to last, without those that came since.
    pub(super) segments: Vec<SegmentFiles>,
    /// Whether a segment has begun behind the last one of these: what only the open segment needs may be gone.
    pub(super) went_on: bool,
    /// Whether something changed while the moment was taken.
    moved: bool,
    /// All names that were listed last.
    names: Vec<(u64, [bool; 4])>,
}

/// One epoch's tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TreeThen {
    pub(super) epoch: u64,
    /// The newest checkpoint.
    pub(super) note: Content,
    /// Sizes of the kept checkpoints, without those that came since.
    pub(super) kept: Vec<u64>,
    pub(super) partials: BTreeSet<TileName>,
    /// Sizes of the tree that were signed since: partial tiles may be of them.
    pub(super) since: BTreeSet<u64>,
}

/// What an epoch's newest checkpoint says of itself; whether it is true is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    first_seq: u64,
    size: u64,
}

impl Moment {
    /// Takes what is in `directory` now.
    pub(super) fn take(directory: &Path) -> Result<Self, VerifyError> {
        let epochs: Vec<u64> = layout::epochs(directory)?.into_iter().collect();
        let notes = read_notes(directory, &epochs);
        let first = layout::segments(directory)?;
        let second = layout::segments(directory)?;
        let mut trees = Vec::new();
        for (epoch, note) in epochs.iter().zip(notes) {
            let partials = layout::partial_tiles(directory, *epoch)?;
            let (kept, since) = (Vec::new(), BTreeSet::new());
            trees.push(TreeThen { epoch: *epoch, note, kept, partials, since });
        }
        let third = layout::segments(directory)?;
        for tree in &mut trees {
            tree.kept = layout::kept(directory, tree.epoch)?;
        }
        let later = read_notes(directory, &epochs);
        let names = names(&third);
        let moved = names != self::names(&first) || trees.iter().map(|tree| &tree.note).ne(&later);
        let listed: BTreeMap<u64, SegmentFiles> =
            first.into_iter().chain(second).map(|files| (files.first, files)).collect();
        let told = trees.last().and_then(|tree| told(&tree.note)).zip(later.last().and_then(self::told));
        let came_since = |seq: u64| {
            told.is_some_and(|(then, now)| {
                let end = |told: Told| told.first_seq.saturating_add(told.size);
                seq > end(then) && seq <= end(now)
            })
        };
        let (newer, segments): (Vec<_>, Vec<_>) =
            listed.into_values().partition(|files| came_since(files.first));
        if let (Some((then, now)), Some(tree)) = (told, trees.last_mut()) {
            tree.leave_out(then, now, newer.iter().map(|files| files.first));
        }
        let last = segments.last().map(|files| files.first);
        let went_on = newer.iter().chain(&third).any(|files| Some(files.first) > last);
        Ok(Self { trees, segments, went_on, moved, names })
    }

    /// Whether nothing has changed from this moment to that one: what was found in between is there, and stays.
    pub(super) fn is_same(&self, later: &Self) -> bool {
        !self.moved && !later.moved && self.trees == later.trees && self.names == later.names
    }
}

impl TreeThen {
    /// Leaves out what was signed after `then` and up to `now`; `starts` are segments that began since.
    fn leave_out(&mut self, then: Told, now: Told, starts: impl Iterator<Item = u64>) {
        if now.size <= then.size || now.first_seq != then.first_seq {
            return;
        }
        let since = (then.size + 1)..=now.size;
        self.since.extend(self.kept.extract_if(.., |size| since.contains(size)));
        self.since.extend(starts.map(|first| first.saturating_sub(then.first_seq)));
        self.since.insert(now.size);
    }
}

fn read_notes(directory: &Path, epochs: &[u64]) -> Vec<Content> {
    let note = |epoch: &u64| layout::content(directory, format!("tree/{epoch}/checkpoint"), MAX_NOTE);
    epochs.iter().map(note).collect()
}

fn told(note: &Content) -> Option<Told> {
    let Content::Bytes(bytes) = note else { return None };
    let body = std::str::from_utf8(bytes).ok()?.split_once("\n\n")?.0;
    let checkpoint = Checkpoint::parse(&format!("{body}\n")).ok()?;
    Some(Told { first_seq: checkpoint.extension("first-seq")?.parse().ok()?, size: checkpoint.size })
}

fn names(segments: &[SegmentFiles]) -> Vec<(u64, [bool; 4])> {
    let of = |files: &SegmentFiles| {
        (files.first, [files.plain.is_some(), files.packed.is_some(), files.index, files.pruned])
    };
    segments.iter().map(of).collect()
}
