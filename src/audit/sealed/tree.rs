//! The tree on the disk: tiles and checkpoints of one epoch.

use std::{collections::BTreeSet, io};

use jiff::Timestamp;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest, Sha256};

use super::{
    epoch::Epoch,
    names::{CHECKPOINT, checkpoints, kept_checkpoint, number, tree},
    place::{put, remove},
};
use crate::audit::{
    files::Disk,
    merkle::{Checkpoint, Frontier, Hash, Signer, TILE_WIDTH, Tile, TileName},
    problem::Problem,
    repeated::Repeated,
};

/// The extension lines that are ours; the caller's follow them.
const OURS: [&str; 4] = ["epoch ", "first-seq ", "time ", "epoch-file "];

/// Signs the state of a tree.
pub(super) fn sign(
    epoch: &Epoch,
    signer: &Signer,
    frontier: &Frontier,
    now: Timestamp,
    extensions: &[String],
) -> String {
    let mut lines = vec![
        format!("epoch {}", epoch.number),
        format!("first-seq {}", epoch.first_seq),
        format!("time {}", Repeated::default().time(now)),
        // Why the epoch began is signed with everything else.
        format!("epoch-file {}", BASE64.encode(Sha256::digest(epoch.to_bytes()))),
    ];
    lines.extend_from_slice(extensions);
    let checkpoint = Checkpoint {
        origin: epoch.origin.clone(),
        size: frontier.size(),
        root: frontier.root(),
        extensions: lines,
    };
    checkpoint.sign(&signer.with_name(&epoch.origin))
}

/// The caller's extension lines.
pub(super) fn extensions(checkpoint: &Checkpoint) -> Vec<String> {
    let ours = |line: &&String| OURS.iter().any(|prefix| line.starts_with(prefix));
    checkpoint.extensions.iter().skip_while(ours).cloned().collect()
}

/// The path of the newest checkpoint.
pub(super) fn checkpoint_path(epoch: u64) -> String {
    format!("{}/{CHECKPOINT}", tree(epoch))
}

/// Keeps a checkpoint for good, under its size.
pub(super) fn keep(disk: &dyn Disk, epoch: u64, size: u64, note: &str) -> io::Result<()> {
    put(disk, &format!("{}/{}", checkpoints(epoch), kept_checkpoint(size)), note.as_bytes())
}

/// The sizes of the checkpoints that are kept, in order.
pub(super) fn kept_sizes(disk: &dyn Disk, epoch: u64) -> io::Result<Vec<u64>> {
    Ok(disk.list(&checkpoints(epoch))?.iter().filter_map(|name| number(name)).collect())
}

/// The size that the newest checkpoint of an epoch tells, unverified.
pub(super) fn signed_size(disk: &dyn Disk, epoch: u64) -> Option<u64> {
    let note = disk.read(&checkpoint_path(epoch)).ok()??;
    let body = std::str::from_utf8(&note).ok()?.split_once("\n\n")?.0;
    Some(Checkpoint::parse(&format!("{body}\n")).ok()?.size)
}

/// Writes tiles; full ones of level 0 are left out, since the lines hash to them.
pub(super) fn write_tiles(disk: &dyn Disk, epoch: u64, tiles: &[Tile]) -> io::Result<()> {
    for tile in tiles.iter().filter(|tile| tile.level > 0 || tile.hashes.len() < TILE_WIDTH) {
        put(disk, &tile_path(epoch, tile.name()), &tile.to_bytes())?;
    }
    Ok(())
}

/// Writes the partial tiles of a tree.
pub(super) fn write_partials(disk: &dyn Disk, epoch: u64, frontier: &Frontier) -> io::Result<()> {
    write_tiles(disk, epoch, &frontier.partials().collect::<Vec<_>>())
}

/// The right edge of a tree of `size` leaves from its partial tiles.
pub(super) fn read_partials(disk: &dyn Disk, epoch: u64, size: u64) -> Result<Frontier, Problem> {
    let mut levels: Vec<Vec<Hash>> = Vec::new();
    for name in partial_names(size) {
        let path = tile_path(epoch, name);
        let problem = |what: String| Problem::File { path: path.clone(), what };
        let bytes = disk.read(&path).map_err(|error| problem(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| problem("the tile is missing".to_owned()))?;
        let tile =
            Tile::from_bytes(name.level, name.index, &bytes).map_err(|error| problem(error.to_string()))?;
        if tile.name() != name {
            return Err(problem(format!("{} hashes, {} belong there", tile.hashes.len(), name.width)));
        }
        levels.resize(name.level.into(), Vec::new());
        levels.push(tile.hashes);
    }
    Frontier::from_partials(size, levels)
        .map_err(|error| Problem::File { path: tree(epoch), what: error.to_string() })
}

/// Removes the partial tiles of the trees of `sizes` leaves that are not those of one of `keep` leaves.
pub(super) fn remove_partials(disk: &dyn Disk, epoch: u64, sizes: &[u64], keep: u64) -> io::Result<()> {
    let kept: BTreeSet<TileName> = partial_names(keep).collect();
    let old: BTreeSet<TileName> = sizes.iter().flat_map(|size| partial_names(*size)).collect();
    old.difference(&kept).try_for_each(|name| remove(disk, &tile_path(epoch, *name)))
}

/// The partial tiles of a tree of `size` leaves, level 0 first.
fn partial_names(size: u64) -> impl Iterator<Item = TileName> {
    (0..8u8).filter_map(move |level| {
        let hashes = size >> (8 * u32::from(level));
        let width = u16::try_from(hashes % 256).unwrap_or(0);
        (width > 0).then_some(TileName { level, index: hashes / 256, width })
    })
}

fn tile_path(epoch: u64, name: TileName) -> String {
    format!("{}/{}", tree(epoch), name.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::merkle::leaf_hash;

    #[test]
    fn the_names_of_partial_tiles_are_those_the_frontier_has() {
        let mut frontier = Frontier::new();
        let mut full = Vec::new();
        for size in 1..=70_000u64 {
            frontier.push(leaf_hash(b""), &mut full);
            if size % 251 < 2 || size % 256 < 2 {
                let names: Vec<TileName> = frontier.partials().map(|tile| tile.name()).collect();
                assert_eq!(partial_names(size).collect::<Vec<_>>(), names, "{size}");
            }
        }
    }
}
