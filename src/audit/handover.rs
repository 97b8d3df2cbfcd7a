//! What the state of a log and its threads hand to each other.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    event::Receipt,
    files::Disk,
    id::Nonce,
    journal::{Header, LANE_BYTES, Lane, LaneFile, Prepared},
};

/// How a lane is made.
pub(super) struct Setup {
    /// Where lanes go: the audit directory, then the spare one if there is one.
    pub(super) disks: Vec<Arc<dyn Disk>>,
    pub(super) edge: Arc<str>,
    /// Whether records have to last when the machine stops.
    pub(super) settled: bool,
    numbers: AtomicU64,
}

impl Setup {
    pub(super) fn new(disks: Vec<Arc<dyn Disk>>, edge: &str, settled: bool) -> Self {
        Self { disks, edge: edge.into(), settled, numbers: AtomicU64::new(1) }
    }

    /// The path of the next file of this process, whoever makes it.
    pub(super) fn next_path(&self, nonce: Nonce) -> String {
        Header::path(nonce, self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a file for a lane, under its name and not begun; `what` is the name of its draft. With `settled`, all of
    /// it is synced.
    pub(super) fn prepare(
        &self,
        disk: &Arc<dyn Disk>,
        nonce: Nonce,
        what: &str,
        settled: bool,
    ) -> io::Result<Prepared> {
        let draft = Prepared::draft(disk, &format!("{nonce}-{what}"), LANE_BYTES, settled)?;
        draft.named(&self.next_path(nonce), settled)
    }
}

/// What became of an event.
pub(super) struct Written {
    pub(super) receipt: Receipt,
    /// Which record of this process it is, when it is one: what a group commit counts in.
    pub(super) ticket: Option<u64>,
    /// A file was filled in no time, and there is much to seal.
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

    /// Whether it begins where the records of its file do.
    pub(super) fn is_whole(&self) -> bool {
        self.from == Lane::START
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

/// A file of this process's lane.
#[derive(Clone)]
pub(super) struct OwnFile {
    pub(super) file: LaneFile,
    /// Where the records in it end, or did when it was looked at.
    pub(super) end: u64,
}

/// Files of this process's lane, for the sealer.
pub(super) struct OwnLane {
    pub(super) nonce: Nonce,
    pub(super) files: Vec<OwnFile>,
    /// The path of the one that is being written.
    pub(super) current: Option<Arc<str>>,
    /// Records from this ordinal on do not count (yet).
    pub(super) end: u64,
}
