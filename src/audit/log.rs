//! The log as its callers see it.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::disk::{Disk, RealDisk};
use super::event::{Event, Receipt};
use super::id::Ids;
use super::journal::{Journal, Unsynced};
use super::lock::LockError;
use super::privacy::{ClientPrivacy, KeyError, Privacy};
use super::record;
use super::recover::{self, Recovery};
use crate::clock::Clock;

/// The size of a segment, in bytes, unless told otherwise.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// The smallest size of a segment, in bytes: several records of the largest kind, and the reserve.
pub const MIN_SEGMENT_BYTES: u64 = 64 * 1024;

/// Where and how records are kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The log's directory, made when it is absent.
    pub directory: PathBuf,
    /// The size at which a segment ends, in bytes; not below [`MIN_SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// The name of this edge, in every record.
    pub edge: String,
    /// How client addresses appear.
    pub client: ClientPrivacy,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes there, or the lock cannot be made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The key of the pseudonyms cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The directory or a segment cannot be read.
    #[error("audit directory `{}`: {error}", directory.display())]
    Io {
        /// The log's directory.
        directory: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// What has been counted since the process started: `decided = durable + gap`, always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Events handed to the log.
    pub decided: u64,
    /// Events in the journal.
    pub durable: u64,
    /// Events that could not be written.
    pub gap: u64,
    /// Whether the journal can be written.
    pub writing: bool,
    /// The `seq` of the last record; 0 when there is none.
    pub seq: u64,
    /// Why the journal cannot be written.
    pub error: Option<String>,
}

/// The audit log of one edge. Shared by all threads that record.
pub struct Audit {
    journal: Mutex<Journal>,
    privacy: Privacy,
    edge: String,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("edge", &self.edge).finish_non_exhaustive()
    }
}

thread_local! {
    /// The body of the line being made: one buffer a thread, so that the steady state allocates nothing.
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Audit {
    /// Takes the directory, recovers what an earlier process left, and goes on after its last record.
    ///
    /// # Errors
    /// When the directory is in use, or cannot be read or made. What is damaged in it is no error: it is
    /// reported in [`Recovery`] and left as it is.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<(Self, Recovery), OpenError> {
        let privacy = Privacy::load(&options.client)?;
        let disk = RealDisk::open(&options.directory, &options.edge)?;
        let directory = options.directory;
        let segment_bytes = options.segment_bytes.max(MIN_SEGMENT_BYTES);
        Self::open_on(Box::new(disk), segment_bytes, options.edge, privacy, clock)
            .map_err(|error| OpenError::Io { directory, error })
    }

    pub(super) fn open_on(
        disk: Box<dyn Disk>,
        segment_bytes: u64,
        edge: String,
        privacy: Privacy,
        clock: Arc<dyn Clock>,
    ) -> io::Result<(Self, Recovery)> {
        let (recovery, segment) = recover::recover(disk.as_ref(), segment_bytes)?;
        let ids = Ids::from_kernel()?;
        let journal = Journal::new(disk, edge.clone(), segment_bytes, segment, recovery.last_seq + 1, ids);
        Ok((Self { journal: Mutex::new(journal), privacy, edge, clock }, recovery))
    }

    /// Records one event. When this returns its record is in the journal, or it is counted in the gap; either way
    /// the receipt allows its effect.
    ///
    /// One `pwrite` under a lock; never waits for the disk's platter.
    pub fn record(&self, event: &Event<'_>) -> Receipt {
        BODY.with(|body| match body.try_borrow_mut() {
            Ok(mut body) => self.record_in(&mut body, event),
            // Recording from within a recording does not happen; if it did, it would only cost an allocation.
            Err(_) => self.record_in(&mut Vec::new(), event),
        })
    }

    fn record_in(&self, body: &mut Vec<u8>, event: &Event<'_>) -> Receipt {
        record::body(body, &self.edge, event, &self.privacy);
        let case = event.enforcement.map(|enforcement| enforcement.case);
        let mut journal = self.journal();
        // The time is read under the lock, so that records are in the order of their times.
        let now = self.clock.now();
        journal.record(body, case, event.kind, now)
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let journal = self.journal();
        let tally = journal.tally();
        Counters {
            decided: tally.decided,
            durable: tally.durable,
            gap: tally.missed,
            writing: journal.trouble().is_none(),
            seq: journal.last_seq(),
            error: journal.trouble().map(str::to_owned),
        }
    }

    /// To be called a few times a second: notices files that were removed, writes down a gap as soon as that
    /// works, and syncs closed segments, all off the request threads.
    pub fn retry(&self) {
        let unsynced = self.journal().tend(self.clock.now());
        self.sync(&unsynced);
    }

    /// Writes down what was missed, closes the segment and syncs it. Whatever is recorded later is only counted.
    pub fn close(&self) {
        let unsynced = self.journal().close(self.clock.now());
        self.sync(&unsynced);
    }

    /// Order: the data of closed segments, then the names.
    fn sync(&self, unsynced: &Unsynced) {
        for file in &unsynced.files {
            if let Err(error) = file.sync() {
                tracing::error!(%error, "a segment of the audit log could not be synced");
            }
        }
        if unsynced.names
            && let Err(error) = self.journal().disk.sync()
        {
            tracing::error!(%error, "the audit directory could not be synced");
        }
    }

    /// A panic while the lock is held leaves the journal as it was before or after one whole step.
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
