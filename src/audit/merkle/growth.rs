//! A tree and the last range of it that grow by the same leaves, with each node hashed once.

use super::{
    frontier::Frontier,
    hash::Hash,
    range::Range,
    tile::{TILE_WIDTH, Tile},
};

/// Leaves of a whole tile, as a level of subtrees.
const TILE_LEVEL: u8 = TILE_WIDTH.ilog2() as u8;

/// A tree, and the range of its leaves that ends where it ends.
#[derive(Debug)]
pub struct Growth {
    tree: Frontier,
    range: Range,
    /// Leaves from the start of a tile on that the tree has and the range has not: it may get the tile's root instead.
    held: Vec<Hash>,
    full: Vec<Tile>,
}

impl Growth {
    /// Begins with a tree and a range that ends with it.
    #[must_use]
    pub fn new(tree: Frontier, range: Range) -> Self {
        Self { tree, range, held: Vec::new(), full: Vec::new() }
    }

    /// Puts one leaf at the end of both.
    pub fn push(&mut self, leaf: Hash) {
        let root = self.tree.push(leaf, &mut self.full);
        if self.held.is_empty() && !self.range.end().is_multiple_of(TILE_WIDTH as u64) {
            self.range.push(leaf);
            return;
        }
        self.held.push(leaf);
        if let Some(root) = root
            && self.held.len() == TILE_WIDTH
        {
            self.held.clear();
            self.range.push_perfect(TILE_LEVEL, root);
        }
    }

    /// The tree, the range, and the tiles that have become full.
    #[must_use]
    pub fn finish(mut self) -> (Frontier, Range, Vec<Tile>) {
        self.held.drain(..).for_each(|leaf| self.range.push(leaf));
        (self.tree, self.range, self.full)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::leaf_hash;
    use super::*;

    fn leaf(number: u64) -> Hash {
        leaf_hash(&number.to_le_bytes())
    }

    /// A tree of `size` leaves, and its range from `start` on.
    fn begun(start: u64, size: u64) -> (Frontier, Range) {
        let (mut tree, mut range) = (Frontier::new(), Range::new(start));
        (0..size).for_each(|number| {
            tree.push(leaf(number), &mut Vec::new());
        });
        (start..size).for_each(|number| range.push(leaf(number)));
        (tree, range)
    }

    #[test]
    fn a_range_that_does_not_end_with_its_tree_gets_its_own_nodes() {
        for (size, start) in [(3, 256), (256, 3), (0, 5), (255, 1)] {
            let (tree, mut range) = (begun(0, size).0, Range::new(start));
            let mut growth = Growth::new(tree, range.clone());
            for number in 0..700 {
                growth.push(leaf(number));
                range.push(leaf(number));
            }
            assert_eq!(growth.finish().1, range, "a tree of {size} leaves, a range from {start} on");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn both_are_what_they_are_when_each_grows_alone(
            start in 0u64..1100, begins in 0u64..700, steps in proptest::collection::vec(0u64..900, 1..4),
        ) {
            let (mut tree, mut range) = begun(start, start + begins);
            let mut next = start + begins;
            for step in steps {
                let mut growth = Growth::new(tree.clone(), range.clone());
                let mut full = Vec::new();
                for number in next..next + step {
                    growth.push(leaf(number));
                    tree.push(leaf(number), &mut full);
                    range.push(leaf(number));
                }
                next += step;
                let (grown_tree, grown_range, grown_full) = growth.finish();
                prop_assert_eq!(&grown_tree, &tree);
                prop_assert_eq!(&grown_range, &range);
                prop_assert_eq!(grown_full, full);
            }
        }
    }
}
