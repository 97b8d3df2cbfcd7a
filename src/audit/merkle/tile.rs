//! Tiles: up to 256 hashes of one level beside each other, in one file (C2SP tlog-tiles).

use super::{frontier::perfect_root, hash::Hash};

/// Hashes of a full tile.
pub const TILE_WIDTH: usize = 256;

/// The highest level a tile can have: trees have fewer than 2^64 leaves.
pub(super) const MAX_LEVEL: u8 = 7;

/// The bytes or the path are no tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// The length is not that of 1 to 256 hashes.
    #[error("{0} bytes are not 1 to 256 hashes of 32")]
    Length(usize),
    /// The path is not written as a tile's is.
    #[error("the path is not that of a tile")]
    Path,
}

/// Where a tile belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileName {
    /// Tiles of level 0 hold leaf hashes; a hash of level L stands for 256^L leaves.
    pub level: u8,
    /// The place among the tiles of this level.
    pub index: u64,
    /// How many hashes, 1 to 256.
    pub width: u16,
}

impl TileName {
    /// The path, as in `tile/1/x001/234.p/17`; a full tile has no `.p/…`.
    #[must_use]
    pub fn path(self) -> String {
        let path = format!("tile/{}/{}", self.level, index_path(self.index));
        if usize::from(self.width) == TILE_WIDTH { path } else { format!("{path}.p/{}", self.width) }
    }

    /// Reads a path back; each tile has one spelling only.
    ///
    /// # Errors
    /// When no tile has this path.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        Self::read(path).filter(|name| name.path() == path).ok_or(TileError::Path)
    }

    fn read(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().ok().filter(|width| (1..256).contains(width))?),
            None => (rest, 256),
        };
        let level = level.parse().ok().filter(|level| *level <= MAX_LEVEL)?;
        let index = index.split('/').try_fold(0u64, |number, part| {
            let digits = part.trim_start_matches('x').parse::<u64>().ok()?;
            number.checked_mul(1000)?.checked_add(digits)
        })?;
        Some(Self { level, index, width })
    }

    /// Whether a tile of this name is a part of a tree of `size` leaves.
    #[must_use]
    pub fn is_within(self, size: u64) -> bool {
        let hashes = size.checked_shr(8 * u32::from(self.level)).unwrap_or(0);
        let end = self.index.checked_mul(256).and_then(|start| start.checked_add(self.width.into()));
        end.is_some_and(|end| end <= hashes)
    }
}

/// The number as elements of three digits, all but the last with an `x` in front: 1234067 is `x001/x234/067`.
fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// Up to 256 hashes of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// See [`TileName::level`].
    pub level: u8,
    /// See [`TileName::index`].
    pub index: u64,
    /// The hashes from left to right.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// Where it belongs.
    #[must_use]
    pub fn name(&self) -> TileName {
        let width = u16::try_from(self.hashes.len()).unwrap_or(u16::MAX);
        TileName { level: self.level, index: self.index, width }
    }

    /// The path below the tree's directory, see [`TileName::path`].
    #[must_use]
    pub fn path(&self) -> String {
        self.name().path()
    }

    /// The hashes one after the other.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.concat()
    }

    /// Reads the bytes of a tile.
    ///
    /// # Errors
    /// When they are not 1 to 256 whole hashes.
    pub fn from_bytes(level: u8, index: u64, bytes: &[u8]) -> Result<Self, TileError> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.is_empty() || hashes.len() > TILE_WIDTH {
            return Err(TileError::Length(bytes.len()));
        }
        Ok(Self { level, index, hashes: hashes.to_vec() })
    }

    /// The root of a full tile, which is a hash of the level above; `None` for a partial one.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        (self.hashes.len() == TILE_WIDTH).then(|| perfect_root(&self.hashes))
    }
}
