//! A process beside the one that seals for it, as in a graceful upgrade: which of its files it may forget.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{
    files::Disk,
    handover::{OwnFile, OwnLane},
    id::Nonce,
    journal::{LaneReader, place_of},
    sealed::covered,
    sealer::parse_extension,
};

/// The files of this process that the other one has removed, and all of whose records a signed checkpoint covers. A file
/// that somebody else removed is kept: its records can still be read from it.
pub(super) fn sealed_beside(disk: &dyn Disk, own: &OwnLane) -> io::Result<Vec<Arc<str>>> {
    let gone: Vec<&OwnFile> = own.files.iter().filter(|own| is_gone(own)).collect();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let Some(lines) = covered(disk) else { return Ok(Vec::new()) };
    let sealed: BTreeMap<Nonce, u64> = lines.iter().filter_map(|line| parse_extension(line)).collect();
    let mut lane = Vec::new();
    for OwnFile { file, .. } in &own.files {
        // One that does not begin as it did is for the sealer to report.
        if let Some(reader) = LaneReader::open(file.file.as_ref())? {
            lane.push((reader.header().nonce, place_of(reader.header(), &file.path), Arc::clone(&file.path)));
        }
    }
    lane.sort();
    // All that counts in a file is below the first ordinal of the next one.
    let is_sealed =
        |nonce, next: u64| sealed.get(nonce).is_some_and(|through| through.saturating_add(1) >= next);
    let covered = lane
        .array_windows()
        .filter(|[(nonce, _, _), (of, (next, _), _)]| of == nonce && is_sealed(nonce, *next));
    let is_named = |path: &Arc<str>| gone.iter().any(|own| own.file.path == *path);
    Ok(covered.map(|[(_, _, path), _]| Arc::clone(path)).filter(is_named).collect())
}

fn is_gone(own: &OwnFile) -> bool {
    own.file.disk.identity(&own.file.path).is_ok_and(|there| there.is_none())
}
