//! What a disk has failed to sync, written once more.
//!
//! After a failed `fdatasync` nobody knows which pages of a file are on the disk, and the next call may answer for
//! pages that were thrown away. So the records go into new files: drafts, synced whole, which then get their names.
//! At every moment there is, under names that readers follow, either what was there before or a whole copy of it.

use std::{io, sync::Arc};

use super::{
    files::JOURNAL,
    handover::{Part, Setup},
    journal::{Header, Lane, LaneFile, LaneReader, Prepared},
};

/// A file in the making.
struct Copy<'a> {
    lane: Lane,
    header: Header,
    of: &'a Part,
}

/// Writes all records of `parts` once more and syncs them. Returns the files that have names now, also after an error,
/// and whether all of it is on the disk.
pub(super) fn write_again(setup: &Setup, parts: &[Part]) -> (Vec<LaneFile>, io::Result<()>) {
    let mut copies = Vec::new();
    let made = parts.iter().try_for_each(|part| copy(setup, part, &mut copies));
    let made = made.and_then(|()| copies.iter().try_for_each(|copy| copy.lane.file().file.sync()));
    if let Err(error) = made {
        copies.into_iter().for_each(discard);
        return (Vec::new(), Err(error));
    }
    let (files, named) = name(copies);
    let outcome = named.and_then(|()| files.iter().try_for_each(|file| file.disk.sync_folder(JOURNAL)));
    if outcome.is_ok() {
        remove_elsewhere(parts, &files);
    }
    (files, outcome)
}

/// Copies the records of one part, into as many files as it takes.
fn copy<'a>(setup: &Setup, part: &'a Part, copies: &mut Vec<Copy<'a>>) -> io::Result<()> {
    let source = part.file.file.as_ref();
    let damaged = || {
        let what = format!("`{}` does not hold any more what was written there", part.file.path);
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    let mut reader = LaneReader::open(source)?.ok_or_else(damaged)?;
    reader.rewind(part.from);
    let (mut has_file, mut last) = (false, 0);
    // Bytes beyond may be those of an event that counts as missed.
    while reader.position() < part.end {
        if !reader.look(source)? {
            return Err(damaged());
        }
        let (Some(entry), Some(record)) = (reader.entry(), reader.record()) else { return Err(damaged()) };
        if !has_file || copies.last().is_none_or(|copy| !copy.lane.has_room(record.len())) {
            let edge = reader.header().edge.clone();
            let header = Header { nonce: entry.id.nonce(), first: entry.id.ordinal(), edge };
            let bytes = usize::try_from(part.end - reader.position()).unwrap_or(usize::MAX);
            let lane = draft(setup, &header, copies.len(), bytes)?;
            copies.push(Copy { lane, header, of: part });
            has_file = true;
        }
        copies.last_mut().ok_or_else(damaged)?.lane.append(record)?;
        last = entry.id.ordinal();
        reader.advance();
    }
    // Its name may be taken over, and with it goes what was kept there.
    if let (Some(slot), Some(copy)) = (reader.kept_gap(source, last)?, copies.last_mut()) {
        copy.lane.keep_gap(&slot)?;
    }
    Ok(())
}

/// A file for records, wherever there is space.
fn draft(setup: &Setup, header: &Header, number: usize, records: usize) -> io::Result<Lane> {
    let mut outcome = Err(io::Error::other("there is no disk"));
    for disk in &setup.disks {
        let name = format!("{}-again-{number}", header.nonce);
        outcome = Prepared::make(disk, &name, Lane::bytes_for(records), false)
            .and_then(|prepared| prepared.head(header));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Gives the copies their names, the last one first: a name is the end of the file before it, and what it cuts off
/// there has to be in the copies that are named already.
fn name(mut copies: Vec<Copy<'_>>) -> (Vec<LaneFile>, io::Result<()>) {
    let mut files = Vec::new();
    while let Some(copy) = copies.pop() {
        let mut file = copy.lane.file().clone();
        let source = &copy.of.file;
        let replaced = Arc::ptr_eq(&source.disk, &file.disk).then_some(source.identity);
        if let Err(error) = file.take_name(&copy.header, replaced) {
            discard(copy);
            copies.into_iter().for_each(discard);
            return (files, Err(error));
        }
        files.push(file);
    }
    (files, Ok(()))
}

/// Of two files with one name, on two disks, only the copy is to be found by the next process.
fn remove_elsewhere(parts: &[Part], copies: &[LaneFile]) {
    for part in parts {
        let same = |copy: &LaneFile| copy.path == part.file.path && !Arc::ptr_eq(&copy.disk, &part.file.disk);
        let is_ours =
            || part.file.disk.identity(&part.file.path).ok()?.filter(|there| *there == part.file.identity);
        if copies.iter().any(same) && is_ours().is_some() {
            // One that stays holds the same records.
            part.file.disk.remove(&part.file.path).ok();
        }
    }
}

fn discard(copy: Copy<'_>) {
    let file = copy.lane.file();
    // A draft that stays is removed by the next start.
    file.disk.remove(&file.path).ok();
}
