//! Leaves beside each other, as the few hashes that stand for them in every tree that holds them.

use super::hash::{Hash, empty_root, fold, node_hash};

/// No tree has more leaves: far beyond what any log reaches, and arithmetic on places cannot overflow.
pub const MAX_SIZE: u64 = 1 << 62;

/// The hashes do not make a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The ends are in the wrong order, or beyond [`MAX_SIZE`].
    #[error("leaves {start} to {end} are no range")]
    Ends {
        /// The first leaf.
        start: u64,
        /// The leaf after the last.
        end: u64,
    },
    /// There are more or fewer hashes than perfect subtrees.
    #[error("{expected} hashes stand for these leaves, found {found}")]
    Count {
        /// Perfect subtrees that cover the leaves.
        expected: usize,
        /// Hashes given.
        found: usize,
    },
    /// One range does not start where the other ends.
    #[error("a range that starts at leaf {found} does not follow one that ends at {expected}")]
    Apart {
        /// Where the first range ends.
        expected: u64,
        /// Where the second one starts.
        found: u64,
    },
}

/// The canonical perfect subtrees that cover the leaves from `start` to before `end`, left to right: at most 2·62.
///
/// The subtrees are the largest that fit, so that two ranges over the same leaves have the same hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    start: u64,
    end: u64,
    hashes: Vec<Hash>,
}

impl Range {
    /// An empty range at leaf `start` ([`MAX_SIZE`] at most).
    #[must_use]
    pub fn new(start: u64) -> Self {
        let start = start.min(MAX_SIZE);
        Self { start, end: start, hashes: Vec::new() }
    }

    /// A range whose hashes were kept.
    ///
    /// # Errors
    /// When the ends are no range, or another number of hashes stands for it.
    pub fn from_parts(start: u64, end: u64, hashes: Vec<Hash>) -> Result<Self, RangeError> {
        if start > end || end > MAX_SIZE {
            return Err(RangeError::Ends { start, end });
        }
        let expected = subtrees(start, end).count();
        if hashes.len() != expected {
            return Err(RangeError::Count { expected, found: hashes.len() });
        }
        Ok(Self { start, end, hashes })
    }

    /// Puts one leaf at the end. Beyond [`MAX_SIZE`] leaves are let go of.
    pub fn push(&mut self, leaf: Hash) {
        self.push_subtree(0, leaf);
    }

    /// Puts the root of the next 2^`level` leaves at the end, which has to be a multiple of as many.
    pub(super) fn push_perfect(&mut self, level: u8, root: Hash) {
        debug_assert!(self.end.is_multiple_of(1 << level));
        self.push_subtree(level, root);
    }

    /// Puts the range that follows at the end.
    ///
    /// # Errors
    /// When `other` does not start where this one ends.
    pub fn append(&mut self, other: &Self) -> Result<(), RangeError> {
        if other.start != self.end {
            return Err(RangeError::Apart { expected: self.end, found: other.start });
        }
        for ((level, _), hash) in subtrees(other.start, other.end).zip(&other.hashes) {
            self.push_subtree(level, *hash);
        }
        Ok(())
    }

    /// Puts a perfect subtree of 2^`level` leaves at the end; the end is a multiple of its size.
    fn push_subtree(&mut self, mut level: u8, mut hash: Hash) {
        let end = self.end.saturating_add(1 << level);
        if end > MAX_SIZE {
            return;
        }
        self.end = end;
        // A right child whose sibling is here as well makes their parent.
        loop {
            let index = (end >> level) - 1;
            let here = index & 1 == 1 && (index - 1) << level >= self.start;
            let Some(left) = here.then(|| self.hashes.pop()).flatten() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
        }
        self.hashes.push(hash);
    }

    /// The first leaf.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The leaf after the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The hashes of the subtrees, left to right.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The root of the tree over these leaves, when they start with the first one.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        (self.start == 0).then(|| fold(self.hashes.iter()).unwrap_or_else(empty_root))
    }
}

/// The canonical perfect subtrees over the leaves from `start` to before `end`: the level (2^level leaves) and the
/// index among all of that level.
pub fn subtrees(start: u64, end: u64) -> impl Iterator<Item = (u8, u64)> {
    let mut at = start;
    std::iter::from_fn(move || {
        let left = end.checked_sub(at).filter(|left| *left > 0)?;
        // Both are below 64.
        let level = at.trailing_zeros().min(left.ilog2()) as u8;
        let index = at >> level;
        at += 1 << level;
        Some((level, index))
    })
}
