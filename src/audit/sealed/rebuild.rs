//! The right edge of a tree: from the partial tiles, or when they are damaged from the lines of all its segments.

use std::io;

use super::{at, listing::Entry, place::invalid, text::Split, tree};
use crate::audit::{
    files::Disk,
    merkle::{Frontier, leaf_hash},
};

use super::{epoch::Epoch, open::Found};

/// The edge of the tree of `size` leaves. Damaged tiles are a problem; they are written anew.
pub(super) fn edge(
    disk: &dyn Disk,
    entries: &[Entry],
    epoch: &Epoch,
    size: u64,
    found: &mut Found,
) -> io::Result<Frontier> {
    match tree::read_partials(disk, epoch.number, size) {
        Ok(frontier) => Ok(frontier),
        Err(problem) => {
            found.report(problem);
            from_lines(disk, entries, epoch, size)
        }
    }
}

/// The edge of the tree of `size` leaves from lines alone.
pub(super) fn from_lines(
    disk: &dyn Disk,
    entries: &[Entry],
    epoch: &Epoch,
    size: u64,
) -> io::Result<Frontier> {
    let end = epoch.seq_after(size);
    let mut frontier = Frontier::new();
    let mut full = Vec::new();
    let own = |entry: &&Entry| entry.first >= epoch.first_seq && entry.first < end;
    let firsts: Vec<u64> = entries.iter().filter(own).map(|entry| entry.first).collect();
    for (place, first) in firsts.iter().enumerate() {
        if *first != epoch.seq_after(frontier.size()) {
            break;
        }
        let until = firsts.get(place + 1).copied().unwrap_or(end);
        let mut lines = Split::new(at::text(disk, *first)?);
        while epoch.seq_after(frontier.size()) < until {
            let Some(line) = lines.next()? else { break };
            frontier.push(leaf_hash(line.bytes), &mut full);
            full.clear();
        }
    }
    if frontier.size() != size {
        let missing = epoch.seq_after(frontier.size());
        return Err(invalid(format!("record {missing} is missing, the tree cannot be built from the lines")));
    }
    Ok(frontier)
}
