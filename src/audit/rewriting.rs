//! What a disk has failed to sync, written once more.
//!
//! After a failed `fdatasync` nobody knows which pages of a file are on the disk, and the next call may answer for
//! pages that were thrown away. So the records go into new files: drafts, synced whole, which then get their names.
//! A copy that begins where its source does comes behind it, so that nothing in the source counts any more. At every
//! moment there is, under names that readers follow, either what was there before or a whole copy of it.

use std::{io, sync::Arc};

use super::{
    files::JOURNAL,
    handover::{OwnFile, Part, Setup},
    id::Nonce,
    journal::{Header, Lane, LaneReader, Prepared},
};

/// A file in the making.
struct Copy {
    lane: Lane,
    nonce: Nonce,
}

/// Writes all records of `parts` once more and syncs them. Returns the files that have names now, also after an error,
/// and whether all of it is on the disk.
pub(super) fn write_again(setup: &Setup, parts: &[Part]) -> (Vec<OwnFile>, io::Result<()>) {
    let mut copies = Vec::new();
    let made = parts.iter().try_for_each(|part| copy(setup, part, &mut copies));
    let made = made.and_then(|()| copies.iter().try_for_each(|copy| copy.lane.file().file.sync()));
    if let Err(error) = made {
        copies.into_iter().for_each(discard);
        return (Vec::new(), Err(error));
    }
    let (files, named) = name(setup, copies);
    let outcome = named.and_then(|()| files.iter().try_for_each(|copy| copy.file.disk.sync_folder(JOURNAL)));
    if outcome.is_ok() {
        remove_copied(parts);
    }
    (files, outcome)
}

/// Copies the records of one part, into as many files as it takes.
fn copy(setup: &Setup, part: &Part, copies: &mut Vec<Copy>) -> io::Result<()> {
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
            let (nonce, edge) = (entry.id.nonce(), Arc::clone(&reader.header().edge));
            // The first one takes the place of a source that is copied whole, also where that begins with a missed event.
            let first = if has_file || !part.is_whole() { entry.id.ordinal() } else { reader.header().first };
            let header = Header { nonce, first, edge };
            let bytes = usize::try_from(part.end - reader.position()).unwrap_or(usize::MAX);
            let lane = draft(setup, &header, copies.len(), bytes)?;
            copies.push(Copy { lane, nonce });
            has_file = true;
        }
        copies.last_mut().ok_or_else(damaged)?.lane.append(record)?;
        last = entry.id.ordinal();
        reader.advance();
    }
    // The source may go, and with it what was kept there.
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
        outcome = Prepared::draft(disk, &name, Lane::bytes_for(records), false)
            .and_then(|prepared| prepared.begin(header));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Gives the copies their names, the last one first: a file is the end of the one before it, and what it cuts off there
/// has to be in the copies that are named already.
fn name(setup: &Setup, mut copies: Vec<Copy>) -> (Vec<OwnFile>, io::Result<()>) {
    let mut files = Vec::new();
    while let Some(copy) = copies.pop() {
        let mut own = copy.lane.own_file();
        if let Err(error) = own.file.take_name(&setup.next_path(copy.nonce)) {
            discard(copy);
            copies.into_iter().for_each(discard);
            return (files, Err(error));
        }
        files.push(own);
    }
    (files, Ok(()))
}

/// Removes the files of which all that counts has been copied: what a power cut leaves of them is no damage to tell.
fn remove_copied(parts: &[Part]) {
    for part in parts.iter().filter(|part| part.is_whole()) {
        // One that stays holds nothing that counts, and goes when it is sealed.
        part.file.remove().ok();
    }
}

fn discard(copy: Copy) {
    // A draft that stays is removed by the next start.
    copy.lane.file().remove().ok();
}
