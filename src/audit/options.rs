//! How a log is kept, and what may stand against opening it.

use std::{io, path::PathBuf, time::Duration};

use jiff::Timestamp;

use super::{
    acknowledge::{Acknowledge, COMMIT_INTERVAL},
    lock::LockError,
    privacy::{ClientPrivacy, KeyError},
};

/// The size of a segment unless configured otherwise.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// The smallest size of a segment.
pub const MIN_SEGMENT_BYTES: u64 = 64 * 1024;
/// How to keep the log.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the log is; made when absent, for its owner only.
    pub directory: PathBuf,
    /// A segment's size in bytes, [`MIN_SEGMENT_BYTES`] at least.
    pub segment_bytes: u64,
    /// This edge's name in every record.
    pub edge: String,
    /// How much of a client's address is recorded.
    pub client: ClientPrivacy,
    /// What an event has to survive before its receipt is given out.
    pub acknowledge: Acknowledge,
    /// With [`Acknowledge::Disk`], the longest time between two group commits.
    pub commit_interval: Duration,
    /// A directory on another disk, for the journal when the first one takes nothing.
    pub spare: Option<PathBuf>,
    /// A file outside the directory that remembers how far the log has got, so that an older copy is noticed.
    pub witness: Option<PathBuf>,
    /// Whether another process may still have the directory: then this one records beside it and seals when it has
    /// gone (a graceful upgrade).
    pub succeed: bool,
}

impl Options {
    /// A log in `directory` with segments of [`SEGMENT_BYTES`] and no more of a client than its network.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, edge: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            segment_bytes: SEGMENT_BYTES,
            edge: edge.into(),
            client: ClientPrivacy::Truncated,
            acknowledge: Acknowledge::default(),
            commit_interval: COMMIT_INTERVAL,
            spare: None,
            witness: None,
            succeed: false,
        }
    }
}

/// Why the log cannot be opened. A full disk is no reason: then events are counted from the start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory, or it cannot be made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The key of the pseudonyms cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What is there cannot be listed or read.
    #[error("audit directory `{}`: {error}", directory.display())]
    Io {
        /// The audit directory.
        directory: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// What became of this process's events: `decided = durable + gap` at every moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Events handed to [`super::Audit::record`].
    pub decided: u64,
    /// Events whose record is in the journal.
    pub durable: u64,
    /// Events that could only be counted.
    pub gap: u64,
    /// Those of them that no gap record tells of yet.
    pub gap_pending: u64,
    /// The `seq` of the last record under a checkpoint.
    pub seq: u64,
    /// Whether the last attempt to write to the journal succeeded.
    pub writing_ok: bool,
    /// Whether the last attempt to seal succeeded.
    pub sealing_ok: bool,
    /// Events acknowledged although the disk had refused the sync, with [`Acknowledge::Disk`]: they are in the
    /// journal, but would not have survived a crash of the machine at that moment.
    pub unsynced: u64,
    /// What the system said the last time something failed, with its time.
    pub last_error: Option<(Timestamp, String)>,
    /// Files that somebody else deleted or changed while they were written.
    pub disturbed: u64,
}
