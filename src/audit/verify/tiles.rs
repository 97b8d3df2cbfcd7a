//! Compares the tiles of an epoch with what the lines hash to.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    join::{Span, meet, merged},
    layout,
    leaves::Mark,
    report::{Finding, Report, VerifyError},
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
    /// The size of the tree whose partial tiles are kept.
    target: u64,
    /// Hashes of whole groups of 256 leaves: its level 0 is level 1 of the tree.
    groups: Frontier,
    /// Leaves of the group that is not full.
    partial: Vec<Hash>,
    /// The partial tiles of the target, once it was reached.
    expected: Vec<Tile>,
    mismatches: Vec<Mismatch>,
    findings: Vec<Finding>,
    /// Some leaves have no hash: nothing more can be compared.
    stopped: bool,
}

impl<'d> TileCheck<'d> {
    pub(super) fn new(directory: &'d Path, epoch: u64, target: u64) -> Self {
        Self {
            directory,
            epoch,
            target,
            groups: Frontier::new(),
            partial: Vec::new(),
            expected: Vec::new(),
            mismatches: Vec::new(),
            findings: Vec::new(),
            stopped: false,
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Takes the leaves of the next segment in.
    pub(super) fn segment(&mut self, scan: &Scan) -> Result<(), VerifyError> {
        if self.stopped {
            return Ok(());
        }
        let target = scan.leaves.marks.iter().find(|mark| mark.size == self.target);
        self.reach(target);
        if !scan.leaves.head.is_empty() {
            self.partial.extend_from_slice(&scan.leaves.head);
            let hashes = std::mem::take(&mut self.partial);
            match (Tile { level: 0, index: 0, hashes }).root() {
                Some(root) => self.group(root)?,
                None => self.stopped = true,
            }
            self.reach(target);
        }
        for root in &scan.leaves.groups {
            self.group(*root)?;
            self.reach(target);
        }
        self.partial.extend_from_slice(scan.leaves.tail());
        Ok(())
    }

    /// Keeps the partial tiles when the target lies within the group that comes next.
    fn reach(&mut self, target: Option<&Mark>) {
        let Some(mark) = target.filter(|mark| mark.size / TILE_WIDTH as u64 == self.groups.size()) else {
            return;
        };
        let hashes = [self.partial.as_slice(), &mark.partial].concat();
        let level_0 = Tile { level: 0, index: self.groups.size(), hashes };
        let above = self.groups.partials().map(|tile| Tile { level: tile.level + 1, ..tile });
        self.expected =
            std::iter::once(level_0).filter(|tile| !tile.hashes.is_empty()).chain(above).collect();
    }

    fn group(&mut self, root: Hash) -> Result<(), VerifyError> {
        let mut full = Vec::new();
        self.groups.push(root, &mut full);
        for tile in full {
            self.compare(&Tile { level: tile.level + 1, ..tile })?;
        }
        Ok(())
    }

    fn path(&self, tile: TileName) -> PathBuf {
        PathBuf::from(format!("tree/{}/{}", self.epoch, tile.path()))
    }

    fn compare(&mut self, tile: &Tile) -> Result<(), VerifyError> {
        let name = tile.name();
        let path = self.path(name);
        let file = match layout::read(&self.directory.join(&path), 2 * TILE_BYTES) {
            Err(VerifyError::Io { error, .. }) if error.kind() == std::io::ErrorKind::Other => {
                Some(Vec::new())
            }
            other => other?,
        };
        let Some(bytes) = file else {
            self.findings.push(Finding::new(path, "the tile is missing"));
            return Ok(());
        };
        if bytes.len() != tile.hashes.len() * 32 {
            let what = format!("the tile has {} bytes instead of {}", bytes.len(), tile.hashes.len() * 32);
            self.findings.push(Finding::new(path, what));
        }
        let pairs = bytes.as_chunks::<32>().0.iter().zip(&tile.hashes);
        let differ = (0u64..).zip(pairs).filter(|(_, (there, hash))| there != hash);
        self.mismatches.extend(differ.map(|(place, _)| Mismatch { tile: name, place }));
        Ok(())
    }

    /// Compares the partial tiles; `sizes` are those at which they may have been written.
    fn partials(&mut self, names: &BTreeSet<TileName>) -> Result<(), VerifyError> {
        if self.stopped || self.target == 0 {
            return Ok(());
        }
        let expected = std::mem::take(&mut self.expected);
        for tile in &expected {
            self.compare(tile)?;
        }
        let known: BTreeSet<TileName> = expected.iter().map(Tile::name).collect();
        for name in names.difference(&known) {
            let what = format!("the tile belongs to no tree of {} records", self.target);
            self.findings.push(Finding::new(self.path(*name), what));
        }
        Ok(())
    }

    /// Reports what is wrong with tiles where the lines are right, and returns what tiles tell of where the lines in
    /// `bad` are wrong.
    pub(super) fn finish(
        mut self,
        names: &BTreeSet<TileName>,
        bad: &[Span],
        report: &mut Report,
    ) -> Result<Vec<Span>, VerifyError> {
        self.partials(names)?;
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
        Ok(merged(exact.map(|mismatch| mismatch.leaves()).collect()))
    }
}

/// The size of the tree whose partial tiles these are, if the lowest of them is there.
pub(super) fn size_of_partials(names: &BTreeSet<TileName>) -> Option<u64> {
    let lowest = names.iter().min_by_key(|name| name.level)?;
    let hashes = lowest.index.checked_mul(TILE_WIDTH as u64)?.checked_add(lowest.width.into())?;
    hashes.checked_mul(1u64.checked_shl(8 * u32::from(lowest.level))?)
}
