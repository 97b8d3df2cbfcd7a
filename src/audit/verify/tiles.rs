//! Compares the tiles of an epoch with what the lines hash to.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
    path::{Path, PathBuf},
};

use super::{
    join::{Span, meet, merged},
    layout::{self, Content},
    leaves::Mark,
    report::{Finding, Report},
    scan::Scan,
};
use crate::audit::merkle::{Frontier, Hash, TILE_WIDTH, Tile, TileName};

/// Bytes of a full tile.
const TILE_BYTES: u64 = TILE_WIDTH as u64 * 32;

/// A hash in a tile's file that is not the one of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mismatch {
    tile: TileName,
    place: u64,
}

impl Mismatch {
    /// The leaves that the hash stands for.
    fn leaves(&self) -> Span {
        let bits = 8 * u32::from(self.tile.level);
        let first = self.tile.index.saturating_mul(TILE_WIDTH as u64).saturating_add(self.place);
        (first << bits, (first + 1) << bits)
    }
}

/// Follows the leaves of an epoch and compares each tile as it fills.
pub(super) struct TileCheck<'d> {
    directory: &'d Path,
    epoch: u64,
    /// Partial tiles that are compared, by the size of the tree that they are of.
    wanted: &'d BTreeMap<u64, BTreeSet<TileName>>,
    /// Hashes of whole groups of 256 leaves: its level 0 is level 1 of the tree.
    groups: Frontier,
    /// Leaves of the group that is not full.
    partial: Vec<Hash>,
    mismatches: Vec<Mismatch>,
    findings: Vec<Finding>,
    /// Some leaves have no hash: nothing more can be compared.
    stopped: bool,
    /// What only the open segment needed may be gone.
    gone: Gone,
}

/// Whether another segment has begun behind the last one that is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// It has, or never will.
    Known(bool),
    /// It had not when it was looked last; so begins the last one.
    After(u64),
}

impl<'d> TileCheck<'d> {
    pub(super) fn new(
        directory: &'d Path,
        epoch: u64,
        wanted: &'d BTreeMap<u64, BTreeSet<TileName>>,
        gone: Gone,
    ) -> Self {
        Self {
            directory,
            epoch,
            wanted,
            groups: Frontier::new(),
            partial: Vec::new(),
            mismatches: Vec::new(),
            findings: Vec::new(),
            stopped: false,
            gone,
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Takes the leaves of the next segment in.
    pub(super) fn segment(&mut self, scan: &Scan) {
        if self.stopped {
            return;
        }
        let mut marks =
            scan.leaves.marks.iter().filter(|mark| self.wanted.contains_key(&mark.size)).peekable();
        self.reach(&mut marks);
        if !scan.leaves.head.is_empty() {
            self.partial.extend_from_slice(&scan.leaves.head);
            let hashes = std::mem::take(&mut self.partial);
            match (Tile { level: 0, index: 0, hashes }).root() {
                Some(root) => self.group(root),
                None => self.stopped = true,
            }
            self.reach(&mut marks);
        }
        for root in &scan.leaves.groups {
            self.group(*root);
            self.reach(&mut marks);
        }
        self.partial.extend_from_slice(scan.leaves.tail());
    }

    /// Compares the partial tiles of the sizes that lie before the end of the group that comes next.
    fn reach<'m>(&mut self, marks: &mut Peekable<impl Iterator<Item = &'m Mark>>) {
        let whole = self.groups.size();
        while let Some(mark) = marks.next_if(|mark| mark.size / TILE_WIDTH as u64 == whole) {
            let hashes = [self.partial.as_slice(), &mark.partial].concat();
            let level_0 = Tile { level: 0, index: whole, hashes };
            let above = self.groups.partials().map(|tile| Tile { level: tile.level + 1, ..tile });
            let tiles: Vec<Tile> = std::iter::once(level_0).chain(above).collect();
            let wanted = self.wanted.get(&mark.size);
            for tile in tiles.iter().filter(|tile| wanted.is_some_and(|wanted| wanted.contains(&tile.name())))
            {
                self.compare(tile);
            }
        }
    }

    fn group(&mut self, root: Hash) {
        let mut full = Vec::new();
        self.groups.push(root, &mut full);
        for tile in full {
            self.compare(&Tile { level: tile.level + 1, ..tile });
        }
    }

    /// Whether a partial tile may be gone because the segment that needed it was closed.
    fn has_gone(&mut self, tile: TileName) -> bool {
        if usize::from(tile.width) == TILE_WIDTH {
            return false;
        }
        if let Gone::After(last) = self.gone
            && layout::segments(self.directory)
                .is_ok_and(|there| there.iter().any(|files| files.first > last))
        {
            self.gone = Gone::Known(true);
        }
        self.gone == Gone::Known(true)
    }

    fn path(&self, tile: TileName) -> PathBuf {
        PathBuf::from(format!("tree/{}/{}", self.epoch, tile.path()))
    }

    fn compare(&mut self, tile: &Tile) {
        let name = tile.name();
        let path = self.path(name);
        let bytes = match layout::content(self.directory, &path, 2 * TILE_BYTES) {
            Content::Bytes(bytes) => bytes,
            Content::Missing if self.has_gone(name) => return,
            Content::Missing => return self.findings.push(Finding::new(path, "the tile is missing")),
            Content::Unreadable(why) => return self.findings.push(Finding::new(path, why)),
        };
        if bytes.len() != tile.hashes.len() * 32 {
            let what = format!("the tile has {} bytes instead of {}", bytes.len(), tile.hashes.len() * 32);
            self.findings.push(Finding::new(path, what));
        }
        let pairs = bytes.as_chunks::<32>().0.iter().zip(&tile.hashes);
        let differ = (0u64..).zip(pairs).filter(|(_, (there, hash))| there != hash);
        self.mismatches.extend(differ.map(|(place, _)| Mismatch { tile: name, place }));
    }

    /// Reports what is wrong with tiles where the lines are right, and returns what tiles tell of where the lines in
    /// `bad` are wrong.
    pub(super) fn finish(mut self, bad: &[Span], report: &mut Report) -> Vec<Span> {
        let is_explained = |mismatch: &Mismatch| bad.iter().any(|bad| meet(*bad, mismatch.leaves()));
        let (explained, at_fault): (Vec<Mismatch>, Vec<Mismatch>) =
            self.mismatches.iter().partition(|mismatch| is_explained(mismatch));
        for finding in std::mem::take(&mut self.findings) {
            report.find(finding);
        }
        for run in at_fault.chunk_by(|one, next| one.tile == next.tile && one.place + 1 == next.place) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                let what = "the tile does not hold the hashes of the signed records";
                let finding = Finding::new(self.path(first.tile), what);
                report.find(finding.bytes(first.place * 32, (last.place + 1) * 32));
            }
        }
        // Hashes of higher levels stand for the same leaves, only less exactly.
        let exact = explained.iter().filter(|mismatch| mismatch.tile.level <= 1);
        merged(exact.map(|mismatch| mismatch.leaves()).collect())
    }
}

/// Which partial tiles to compare, by the size of the tree that they are of: all those of the tree at the start of the
/// open segment, which must be there, and of `names` each with the largest of `sizes` that has it. The second part
/// are names of no such tree.
pub(super) fn wanted(
    names: &BTreeSet<TileName>,
    sizes: &BTreeSet<u64>,
    opened: u64,
) -> (BTreeMap<u64, BTreeSet<TileName>>, Vec<TileName>) {
    let mut wanted = BTreeMap::from([(opened, partial_names(opened).collect::<BTreeSet<_>>())]);
    let mut strange = Vec::new();
    for name in names {
        let has_it = |size: &&u64| partial_names(**size).any(|of_size| of_size == *name);
        if wanted.get(&opened).is_some_and(|opened| opened.contains(name)) {
            continue;
        }
        match sizes.iter().rev().find(has_it) {
            Some(size) => drop(wanted.entry(*size).or_default().insert(*name)),
            None => strange.push(*name),
        }
    }
    (wanted, strange)
}

/// The partial tiles of a tree of `size` leaves, level 0 first.
pub(super) fn partial_names(size: u64) -> impl Iterator<Item = TileName> {
    (0..8u8).filter_map(move |level| {
        let hashes = size >> (8 * u32::from(level));
        let width = u16::try_from(hashes % TILE_WIDTH as u64).ok().filter(|width| *width > 0)?;
        Some(TileName { level, index: hashes / TILE_WIDTH as u64, width })
    })
}
