//! Leaf hashes of one segment, as they come, become groups of 256 (a hash of a tile of level 1 each) and a range.

use crate::audit::merkle::{Hash, Range, TILE_WIDTH, Tile};

/// Leaves up to a size of the tree that is of interest.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// Leaves of the tree.
    pub(super) size: u64,
    /// From the start of the segment to this size.
    pub(super) range: Range,
    /// The leaves of this segment in the group that is not full.
    pub(super) partial: Vec<Hash>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Leaves {
    /// All whole groups and what is before them.
    range: Range,
    /// Leaves of the group that is not full yet.
    current: Vec<Hash>,
    /// Leaves up to the first border between groups, when the segment starts within one and reaches it.
    pub(super) head: Vec<Hash>,
    /// Whole groups.
    pub(super) groups: Vec<Hash>,
    /// What was to be marked, as far as it was reached.
    pub(super) marks: Vec<Mark>,
    wanted: std::vec::IntoIter<u64>,
    next_mark: Option<u64>,
}

impl Leaves {
    /// No leaf yet; the first will be leaf `start`. `wanted` are sizes in rising order.
    pub(super) fn new(start: u64, wanted: Vec<u64>) -> Self {
        let wanted: Vec<u64> = wanted.into_iter().filter(|size| *size > start).collect();
        let mut wanted = wanted.into_iter();
        let next_mark = wanted.next();
        Self {
            range: Range::new(start),
            current: Vec::with_capacity(TILE_WIDTH),
            head: Vec::new(),
            groups: Vec::new(),
            marks: Vec::new(),
            wanted,
            next_mark,
        }
    }

    pub(super) fn push(&mut self, leaf: Hash) {
        self.current.push(leaf);
        let size = self.range.end() + self.current.len() as u64;
        if size.is_multiple_of(TILE_WIDTH as u64) {
            self.close_group(size);
        }
        if self.next_mark == Some(size) {
            self.next_mark = self.wanted.next();
            self.marks.push(Mark { size, range: self.range(), partial: self.current.clone() });
        }
    }

    fn close_group(&mut self, size: u64) {
        let hashes = std::mem::replace(&mut self.current, Vec::with_capacity(TILE_WIDTH));
        let tile = Tile { level: 0, index: 0, hashes };
        let whole = tile.root().map(|root| (root, Range::from_parts(self.range.end(), size, vec![root])));
        if let Some((root, Ok(group))) = whole {
            // A group starts where the range ends.
            self.range.append(&group).ok();
            self.groups.push(root);
        } else {
            tile.hashes.iter().for_each(|leaf| self.range.push(*leaf));
            self.head = tile.hashes;
        }
    }

    /// All leaves so far.
    pub(super) fn range(&self) -> Range {
        let mut range = self.range.clone();
        self.current.iter().for_each(|leaf| range.push(*leaf));
        range
    }

    /// Leaves after the last border between groups.
    pub(super) fn tail(&self) -> &[Hash] {
        &self.current
    }
}
