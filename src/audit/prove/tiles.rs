//! The log as C2SP tlog-tiles has it, for the tools of others: `checkpoint`, `tile/<L>/<N>` and `tile/entries/<N>`.

use std::path::{Path, PathBuf};

use super::tree::{ProveError, Tree, key};
use crate::audit::{
    merkle::{Frontier, TILE_WIDTH, TileName, leaf_hash},
    verify::layout,
};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportedTiles {
    /// Trees, one for each epoch.
    pub trees: u64,
    /// Tiles of all levels.
    pub tiles: u64,
    /// Bundles of records.
    pub bundles: u64,
    /// Bundles that are left out because one of their records is longer than the 65,535 bytes that one may have.
    pub left_out: u64,
}

/// Writes the tree of each epoch into `target/<epoch>/`, complete with tiles of level 0 and partial ones.
///
/// # Errors
/// When the log cannot be read, does not lead to its signed root or has pruned records, or a file cannot be written.
pub fn export_tiles(directory: &Path, target: &Path) -> Result<ExportedTiles, ProveError> {
    let base = key(directory)?;
    let mut done = ExportedTiles::default();
    for epoch in layout::epochs(directory)? {
        let tree = Tree::open(directory, &base, epoch)?;
        let mut writer = Writer::new(target.join(epoch.to_string()), &mut done);
        for files in &tree.segments {
            tree.lines(files, &mut |_, line| writer.entry(line).map(|()| true))?;
        }
        writer.finish(&tree)?;
        done.trees += 1;
    }
    Ok(done)
}

struct Writer<'d> {
    target: PathBuf,
    frontier: Frontier,
    /// The records of the tile that is not full, each after its length in two bytes.
    bundle: Vec<u8>,
    /// Records in the bundle.
    width: u16,
    /// One of them is too long.
    is_left_out: bool,
    done: &'d mut ExportedTiles,
}

impl<'d> Writer<'d> {
    fn new(target: PathBuf, done: &'d mut ExportedTiles) -> Self {
        let (frontier, bundle) = (Frontier::new(), Vec::new());
        Self { target, frontier, bundle, width: 0, is_left_out: false, done }
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), ProveError> {
        let path = self.target.join(name);
        let folder = path.parent().unwrap_or(&self.target);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, content));
        written.map_err(|error| ProveError::Io { path, error })
    }

    fn entry(&mut self, line: &[u8]) -> Result<(), ProveError> {
        match u16::try_from(line.len()) {
            Ok(length) => {
                self.bundle.extend_from_slice(&length.to_be_bytes());
                self.bundle.extend_from_slice(line);
            }
            Err(_) => self.is_left_out = true,
        }
        self.width += 1;
        let mut full = Vec::new();
        self.frontier.push(leaf_hash(line), &mut full);
        for tile in full {
            self.write(&tile.path(), &tile.to_bytes())?;
            self.done.tiles += 1;
        }
        if usize::from(self.width) == TILE_WIDTH { self.close_bundle() } else { Ok(()) }
    }

    fn close_bundle(&mut self) -> Result<(), ProveError> {
        let last = self.frontier.size().saturating_sub(1);
        let name = TileName { level: 0, index: last / TILE_WIDTH as u64, width: self.width };
        if self.is_left_out {
            self.done.left_out += 1;
        } else {
            self.write(&name.path().replacen("tile/0/", "tile/entries/", 1), &self.bundle)?;
            self.done.bundles += 1;
        }
        self.bundle.clear();
        (self.width, self.is_left_out) = (0, false);
        Ok(())
    }

    fn finish(mut self, tree: &Tree) -> Result<(), ProveError> {
        if self.frontier.size() != tree.checkpoint.size || self.frontier.root() != tree.checkpoint.root {
            return Err(ProveError::Root(tree.epoch));
        }
        if self.width > 0 {
            self.close_bundle()?;
        }
        for tile in self.frontier.partials() {
            self.write(&tile.path(), &tile.to_bytes())?;
            self.done.tiles += 1;
        }
        // Last, so that whoever sees it finds all tiles it stands for.
        self.write("checkpoint", tree.note.as_bytes())
    }
}
