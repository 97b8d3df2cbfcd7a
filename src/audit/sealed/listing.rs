//! The segments of a directory, by their names, and what an interrupted process left beside them.

use std::{collections::BTreeMap, io};

use super::{
    archive::{Archive, Lines},
    epoch::Epochs,
    index::SegmentIndex,
    names::{Form, parse_segment, segment, segment_name},
    open::Found,
    tree,
};
use crate::audit::{
    files::{Disk, PRUNED, SEGMENTS},
    problem::Problem,
};

/// One segment, and in which forms it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: u64,
    pub(super) plain: bool,
    pub(super) compressed: bool,
    indexed: bool,
}

/// Lists the segments, first to last. A draft of an archiver is removed; one of a rescue that stands alone is the
/// segment itself.
pub(super) fn read(disk: &dyn Disk) -> io::Result<Vec<Entry>> {
    let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
    let mut drafts = Vec::new();
    for name in disk.list(SEGMENTS)? {
        let Some((first, form)) = parse_segment(&name) else { continue };
        let empty = Entry { first, plain: false, compressed: false, indexed: false };
        match form {
            Form::Plain => entries.entry(first).or_insert(empty).plain = true,
            Form::Compressed => entries.entry(first).or_insert(empty).compressed = true,
            Form::Index => entries.entry(first).or_insert(empty).indexed = true,
            Form::Draft => drafts.push((first, name)),
        }
    }
    entries.retain(|_, entry| entry.plain || entry.compressed);
    for (first, name) in drafts {
        let draft = format!("{SEGMENTS}/{name}");
        let plain = segment_name(first, Form::Plain);
        if name == format!("{plain}.new") && !entries.contains_key(&first) {
            disk.rename(&draft, &format!("{SEGMENTS}/{plain}"))?;
            disk.sync_folder(SEGMENTS)?;
            entries.insert(first, Entry { first, plain: true, compressed: false, indexed: false });
        } else {
            // One that stays is written over the next time.
            disk.remove(&draft).ok();
        }
    }
    Ok(entries.into_values().collect())
}

impl Entry {
    /// Its index; damage is a problem.
    fn index(&self, disk: &dyn Disk, found: &mut Found) -> Option<SegmentIndex> {
        if !self.indexed && self.plain {
            // Not closed yet.
            return None;
        }
        let path = segment(self.first, Form::Index);
        let read = disk.read(&path).map_err(|error| error.to_string());
        let bytes = read.and_then(|bytes| bytes.ok_or_else(|| "the index is missing".to_owned()));
        let index = bytes.and_then(|bytes| SegmentIndex::parse(&bytes).map_err(|error| error.to_string()));
        match index {
            Ok(index) if index.first_seq == self.first => return Some(index),
            Ok(_) => found.report(Problem::File { path, what: "the index of another segment".to_owned() }),
            // An index that is written before its compressed segment may be half of a pair: the job is done anew.
            Err(_) if self.plain => {}
            Err(what) => found.report(Problem::File { path, what }),
        }
        None
    }
}

/// What the indexes of the closed segments tell without reading their lines.
pub(super) struct Closed {
    /// The `seq` after the last one that is known.
    pub(super) next_seq: u64,
    /// Jobs that were not finished.
    pub(super) jobs: Vec<Archive>,
}

/// Looks all segments over but the last one, when it is plain.
pub(super) fn look_over(disk: &dyn Disk, entries: &[Entry], epochs: &Epochs, found: &mut Found) -> Closed {
    let mut closed = Closed { next_seq: 1, jobs: Vec::new() };
    for (place, entry) in entries.iter().enumerate() {
        let next = entries.get(place + 1).map(|next| next.first);
        if entry.plain && next.is_none() {
            break;
        }
        let index = entry.index(disk, found);
        if let Some(index) = &index {
            found.last_revision = found.last_revision.max(index.last_revision);
            found.last_time = found.last_time.max(index.last_time);
            closed.next_seq = closed.next_seq.max(index.end_seq());
            let same_epoch = next.is_some_and(|next| epochs.of(next) == epochs.of(entry.first));
            match next {
                Some(next) if same_epoch && !pruned_between(disk, index.end_seq(), next) => {
                    found.report(Problem::Missing { expected: index.end_seq(), found: next });
                }
                Some(next) if next < index.end_seq() => {
                    found.report(Problem::Overlap { segment: entry.first, next });
                }
                _ => {}
            }
        }
        if index.is_none() && next.is_none() {
            // Its records are not more than its bytes: a hole is better than a number given twice.
            let path = segment(entry.first, Form::Compressed);
            let length = disk.open(&path).and_then(|file| file.state()).map_or(0, |state| state.length);
            closed.next_seq = closed.next_seq.max(entry.first.saturating_add(length));
        }
        if entry.plain {
            closed.jobs.extend(next.and_then(|next| job(disk, *entry, next, epochs, index)));
        }
        closed.next_seq = closed.next_seq.max(entry.first);
    }
    closed
}

/// Whether pruned segments account for every record from `end` to before `next`.
fn pruned_between(disk: &dyn Disk, end: u64, next: u64) -> bool {
    let mut at = end;
    while at < next {
        let name = segment_name(at, Form::Index);
        let bytes = disk.read(&format!("{PRUNED}/{name}")).ok().flatten();
        match bytes.and_then(|bytes| SegmentIndex::parse(&bytes).ok()) {
            Some(index) if index.first_seq == at && index.records > 0 => at = index.end_seq(),
            _ => return false,
        }
    }
    // One that starts before the end is another matter.
    true
}

/// The job to archive a closed segment that is still plain.
fn job(
    disk: &dyn Disk,
    entry: Entry,
    next: u64,
    epochs: &Epochs,
    index: Option<SegmentIndex>,
) -> Option<Archive> {
    let number = epochs.of(entry.first);
    let epoch = epochs.known.iter().find(|epoch| epoch.number == number)?;
    let end = if epochs.of(next) == number {
        next
    } else {
        // The last segment of an epoch ends with its tree.
        next.min(epoch.seq_after(tree::signed_size(disk, number)?))
    };
    (end > entry.first).then(|| Archive {
        first: entry.first,
        end,
        epoch: number,
        leaf: entry.first - epoch.first_seq,
        lines: match index.filter(|index| index.end_seq() == end) {
            Some(index) => Lines::Sealed(index.range, None),
            None => Lines::Unknown,
        },
    })
}
