//! Lines on their way from the journal to the sealed log.

use jiff::Timestamp;

use super::{journal::Entry, record, repeated::Repeated};

/// Whole lines, and what the sealed log wants to know of them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<u8>,
    pub(super) count: u64,
    pub(super) latest: Timestamp,
    pub(super) revision: u64,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        (self.count, self.latest, self.revision) = (0, Timestamp::MIN, 0);
    }

    pub(super) fn add(&mut self, edge: &str, seq: u64, entry: &Entry<'_>, repeated: &mut Repeated) {
        record::line(&mut self.lines, edge, seq, entry, repeated);
        self.count += 1;
        self.latest = entry.time;
        self.revision = self.revision.max(entry.facts.revision);
    }
}
