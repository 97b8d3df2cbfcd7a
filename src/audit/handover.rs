//! What the state of a log and its threads hand to each other.

use std::sync::Arc;

use super::{event::Receipt, files::Disk, id::Nonce, journal::LaneFile};

/// How a lane is made.
pub(super) struct Setup {
    /// Where lanes go: the audit directory, then the spare one if there is one.
    pub(super) disks: Vec<Arc<dyn Disk>>,
    pub(super) edge: String,
    /// Whether records have to last when the machine stops.
    pub(super) settled: bool,
}

/// What became of an event.
pub(super) struct Written {
    pub(super) receipt: Receipt,
    /// Which record of this process it is, when it is one: what a group commit counts in.
    pub(super) ticket: Option<u64>,
    /// A file was filled, and there is much to seal.
    pub(super) wants_sealing: bool,
}

/// The records of a file between two places, none of them synced so far.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) file: LaneFile,
    pub(super) from: u64,
    pub(super) end: u64,
}

impl Part {
    pub(super) fn is_empty(&self) -> bool {
        self.from >= self.end
    }

    /// Whether both are of one file, whatever its name is.
    pub(super) fn is_of(&self, file: &LaneFile) -> bool {
        Arc::ptr_eq(&self.file.file, &file.file)
    }
}

/// What there is to sync, and what that answers for.
pub(super) struct Unsynced {
    /// In the order of their records.
    pub(super) parts: Vec<Part>,
    pub(super) new_names: bool,
    pub(super) ticket: u64,
}

/// Files of this process's lane, for the sealer.
pub(super) struct OwnLane {
    pub(super) nonce: Nonce,
    pub(super) files: Vec<LaneFile>,
    /// The path of the one that is being written.
    pub(super) current: Option<String>,
    /// Records from this ordinal on do not count (yet).
    pub(super) end: u64,
}
