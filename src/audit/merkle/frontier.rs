//! The right edge of a growing tree: what must be kept to add leaves, tell the root and write tiles.

use super::{
    hash::{Hash, empty_root, fold, node_hash},
    range::MAX_SIZE,
    tile::{MAX_LEVEL, TILE_WIDTH, Tile},
};

/// The partial tiles are not those of a tree of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// A tile has another width.
    #[error("the partial tile of level {level} holds {found} hashes, a tree of {size} leaves has {expected}")]
    Width {
        /// The level.
        level: usize,
        /// Leaves of the tree.
        size: u64,
        /// Hashes that belong there.
        expected: u64,
        /// Hashes given.
        found: usize,
    },
    /// No tree is that large.
    #[error("{size} leaves are more than a tree can have")]
    Size {
        /// Leaves of the tree.
        size: u64,
    },
}

/// Bits of a leaf's index that one level of tiles spans.
const TILE_BITS: u32 = TILE_WIDTH.ilog2();

/// The partial tiles of a tree, level by level: at most 8 · 255 hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Frontier {
    /// The edge of a tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` leaves, from the hashes of its partial tiles, level 0 first. Levels at the end
    /// without hashes may be left out.
    ///
    /// # Errors
    /// When a level has another number of hashes than a tree of this size.
    pub fn from_partials(size: u64, partials: Vec<Vec<Hash>>) -> Result<Self, FrontierError> {
        if size > MAX_SIZE {
            return Err(FrontierError::Size { size });
        }
        for level in 0..partials.len().max(levels_of(size)) {
            let expected = width(size, level);
            let found = partials.get(level).map_or(0, Vec::len);
            if found as u64 != expected {
                return Err(FrontierError::Width { level, size, expected, found });
            }
        }
        Ok(Self { size, levels: partials })
    }

    /// Adds one leaf; each tile that it completes is put at the end of `full`. Returns the root of the tile of leaves
    /// that it completes. Beyond [`MAX_SIZE`] leaves are let go of.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<Tile>) -> Option<Hash> {
        if self.size >= MAX_SIZE {
            return None;
        }
        let mut root = None;
        self.size += 1;
        let mut hash = leaf;
        for level in 0..=MAX_LEVEL {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            let tile = self.levels.get_mut(usize::from(level))?;
            tile.push(hash);
            if tile.len() < TILE_WIDTH {
                break;
            }
            let hashes = std::mem::take(tile);
            hash = perfect_root(&hashes);
            root.get_or_insert(hash);
            full.push(Tile { level, index: full_tiles(self.size, level).saturating_sub(1), hashes });
        }
        root
    }

    /// Leaves of the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree; at most some 2,000 hashes are computed.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut subtrees = Vec::new();
        for tile in self.levels.iter().rev() {
            let mut rest = tile.as_slice();
            while let Some(width) = rest.len().checked_ilog2() {
                let Some((perfect, after)) = rest.split_at_checked(1 << width) else { break };
                subtrees.push(perfect_root(perfect));
                rest = after;
            }
        }
        fold(subtrees.iter()).unwrap_or_else(empty_root)
    }

    /// The partial tiles, level 0 first; levels whose last tile is full or that are not reached have none.
    pub fn partials(&self) -> impl Iterator<Item = Tile> {
        let tiles = (0u8..).zip(&self.levels).filter(|(_, hashes)| !hashes.is_empty());
        tiles.map(|(level, hashes)| Tile {
            level,
            index: full_tiles(self.size, level),
            hashes: hashes.clone(),
        })
    }
}

/// Levels that may hold a partial tile in a tree of `size` leaves.
fn levels_of(size: u64) -> usize {
    (u64::BITS - size.leading_zeros()).div_ceil(TILE_BITS) as usize
}

/// Full tiles of `level` in a tree of `size` leaves.
fn full_tiles(size: u64, level: u8) -> u64 {
    size.checked_shr(TILE_BITS * (u32::from(level) + 1)).unwrap_or(0)
}

/// Hashes of the partial tile of `level` in a tree of `size` leaves.
fn width(size: u64, level: usize) -> u64 {
    let shift = u32::try_from(level).ok().and_then(|level| level.checked_mul(TILE_BITS));
    shift.and_then(|shift| size.checked_shr(shift)).unwrap_or(0) % TILE_WIDTH as u64
}

/// The root over a power of two of hashes beside each other.
pub(super) fn perfect_root(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks(2).filter_map(|pair| Some(node_hash(pair.first()?, pair.last()?))).collect();
    }
    row.first().copied().unwrap_or_else(empty_root)
}
