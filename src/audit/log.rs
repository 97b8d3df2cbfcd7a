//! The audit log as the rest of the edge sees it.

use std::{
    cell::Cell,
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    acknowledge::{Acknowledge, COMMIT_INTERVAL},
    disk::{Disk, RealDisk},
    event::{Event, Receipt},
    gap::Gap,
    id::{EventId, Ids},
    journal::Journal,
    lock::LockError,
    privacy::{ClientPrivacy, KeyError, Privacy},
    record::{self, Times},
    recover::{self, Recovery},
};
use crate::clock::Clock;

/// The size of a segment unless configured otherwise.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// The smallest size of a segment.
pub const MIN_SEGMENT_BYTES: u64 = 64 * 1024;

/// How often a request may try to write again while writing fails.
const RETRY: SignedDuration = SignedDuration::from_millis(100);
/// How often a request looks whether the segment is still in its place.
const VERIFY: SignedDuration = SignedDuration::from_secs(1);

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
    /// When an event counts as recorded.
    pub acknowledge: Acknowledge,
    /// How long events are collected for one `fdatasync`, when the disk acknowledges.
    pub commit_interval: Duration,
    /// A second audit directory, on another disk, for when the first takes nothing.
    pub spare: Option<PathBuf>,
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
    /// Events handed to [`Audit::record`].
    pub decided: u64,
    /// Events whose record is in the journal.
    pub durable: u64,
    /// Events that could only be counted.
    pub gap: u64,
    /// Those of them that no gap record tells of yet.
    pub gap_pending: u64,
    /// The `seq` of the last record in the log, gap records included.
    pub seq: u64,
    /// Whether the last attempt to write succeeded.
    pub writing_ok: bool,
    /// What the system said the last time something failed, with its time.
    pub last_error: Option<(Timestamp, String)>,
    /// Segments that somebody else deleted or changed while they were written.
    pub disturbed: u64,
}

/// The audit log of this process. Share it by `Arc`; every method takes `&self`.
pub struct Audit {
    edge: String,
    privacy: Privacy,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    journal: Journal,
    ids: Ids,
    times: Times,
    gap: Gap,
    gap_line: Vec<u8>,
    decided: u64,
    durable: u64,
    missed: u64,
    failing: bool,
    closed: bool,
    last_error: Option<(Timestamp, String)>,
    tried_at: Timestamp,
    verified_at: Timestamp,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("edge", &self.edge).finish_non_exhaustive()
    }
}

thread_local! {
    /// The line in the making. It grows to the longest line a thread has written and is not allocated again.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Audit {
    /// Takes the directory, sets a torn tail aside and goes on after the last record.
    ///
    /// # Errors
    /// When another process has the directory, it cannot be made or listed, or the key cannot be used. Damage in
    /// the log and a disk that takes no writes are told in [`Recovery`] and [`Counters`] instead.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<(Self, Recovery), OpenError> {
        let disk = Arc::new(RealDisk::open(&options.directory, &options.edge)?);
        Self::open_on(disk, options, clock)
    }

    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), OpenError> {
        let privacy = Privacy::load(&options.client, clock.now())?;
        let io = |error| OpenError::Io { directory: options.directory.clone(), error };
        let ids = Ids::from_kernel().map_err(io)?;
        let (recovery, resume) = recover::recover(disk.as_ref()).map_err(io)?;
        let segment_bytes = options.segment_bytes.max(MIN_SEGMENT_BYTES);
        let journal = Journal::new(disk, recovery.last_seq + 1, resume, segment_bytes);
        let now = clock.now();
        let mut state = State {
            journal,
            ids,
            times: Times::default(),
            gap: Gap::default(),
            gap_line: Vec::new(),
            decided: 0,
            durable: 0,
            missed: 0,
            failing: false,
            closed: false,
            last_error: None,
            tried_at: now,
            verified_at: now,
        };
        // A disk that takes nothing is noticed now, not with the first request.
        if let Err(error) = state.journal.restart() {
            state.fail(&error, now);
        }
        Ok((Self { edge: options.edge, privacy, clock, state: Mutex::new(state) }, recovery))
    }

    /// Records one event: when this returns, a process that is killed has lost nothing.
    ///
    /// Never fails: an event that cannot be written is counted, and the receipt says so. One `pwrite` and no
    /// allocation in the steady state.
    pub fn record(&self, event: &Event<'_>) -> Receipt {
        // Only a thread that is being torn down has no line any more.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        record::body(&mut line, &self.edge, event, &self.privacy, self.clock.now());
        let receipt = self.lock().record(event, &mut line, self.clock.as_ref(), &self.edge);
        LINE.try_with(|kept| kept.set(line)).ok();
        receipt
    }

    /// Looks after the log off the request path; a timer calls this every 100 ms to 1 s.
    ///
    /// Notices a segment that was taken away, writes down a gap as soon as that works, and syncs full segments.
    pub fn retry(&self) {
        let now = self.clock.now();
        self.privacy.tend(now);
        let trouble = self.privacy.trouble();
        let unsynced = {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            state.look_after(now, &self.edge);
            if let Some(trouble) = trouble {
                state.last_error = Some((now, trouble));
            }
            state.journal.unsynced()
        };
        if let Err(error) = unsynced.sync() {
            self.lock().note(&error, now);
        }
    }

    /// What became of this process's events.
    pub fn counters(&self) -> Counters {
        let state = self.lock();
        Counters {
            decided: state.decided,
            durable: state.durable,
            gap: state.missed,
            gap_pending: state.gap.missed(),
            seq: state.journal.next_seq() - 1,
            writing_ok: !state.failing && !state.closed,
            last_error: state.last_error.clone(),
            disturbed: state.journal.disturbed(),
        }
    }

    /// Writes down a pending gap, into the segment's reserve when the disk is still full, and syncs everything.
    /// Events after this are only counted. A second call does nothing.
    ///
    /// # Errors
    /// What the system said when the gap could not be written or something could not be synced.
    pub fn close(&self) -> io::Result<()> {
        let now = self.clock.now();
        let mut state = self.lock();
        if std::mem::replace(&mut state.closed, true) {
            return Ok(());
        }
        state.look_after(now, &self.edge);
        let gap = state.write_last_gap(now, &self.edge);
        let synced = state.journal.close();
        gap.and(synced)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn record(&mut self, event: &Event<'_>, line: &mut [u8], clock: &dyn Clock, edge: &str) -> Receipt {
        let now = clock.now();
        self.decided += 1;
        let writable = self.is_writable(now, edge);
        // The id comes after the gap's, so that ids and `seq` grow together.
        let id = self.ids.next(now);
        if writable {
            match self.append(line, id, now) {
                Ok(seq) => {
                    self.durable += 1;
                    return Receipt::recorded(id, seq);
                }
                Err(error) => self.fail(&error, now),
            }
        }
        self.missed += 1;
        self.gap.count(event.enforcement.map(|enforcement| enforcement.case), event.kind, now);
        Receipt::missed(id)
    }

    /// Whether a record may be written now; tries to get there when it is time to.
    fn is_writable(&mut self, now: Timestamp, edge: &str) -> bool {
        let due = if self.failing {
            is_due(self.tried_at, now, RETRY)
        } else {
            is_due(self.verified_at, now, VERIFY)
        };
        if due && !self.closed {
            self.look_after(now, edge);
        }
        !self.failing && !self.closed
    }

    /// Checks that the log is in its place, and ends a gap when writing works again.
    fn look_after(&mut self, now: Timestamp, edge: &str) {
        self.tried_at = now;
        self.verified_at = now;
        let outcome = if self.failing { self.restart(now, edge) } else { self.journal.verify() };
        match outcome {
            Ok(()) => self.failing = false,
            Err(error) => self.fail(&error, now),
        }
    }

    fn restart(&mut self, now: Timestamp, edge: &str) -> io::Result<()> {
        self.journal.restart()?;
        while !self.gap.is_empty() {
            let some = self.gap.take_some();
            self.write_gap(some, now, edge, true)?;
        }
        Ok(())
    }

    /// On stop: what is still missing goes into the reserve, in one record.
    fn write_last_gap(&mut self, now: Timestamp, edge: &str) -> io::Result<()> {
        if self.gap.is_empty() {
            return Ok(());
        }
        let all = self.gap.take_all();
        self.write_gap(all, now, edge, false)
    }

    fn write_gap(&mut self, gap: Gap, now: Timestamp, edge: &str, rotate: bool) -> io::Result<()> {
        let mut line = std::mem::take(&mut self.gap_line);
        gap.body(&mut line, edge);
        let id = self.ids.next(now);
        let written = if rotate {
            self.append(&mut line, id, now).map(|_| ())
        } else {
            self.append_here(&mut line, id, now)
        };
        self.gap_line = line;
        if written.is_err() {
            self.gap.put_back(gap);
        }
        written
    }

    fn append(&mut self, line: &mut [u8], id: EventId, now: Timestamp) -> io::Result<u64> {
        let seq = self.journal.next_seq();
        self.journal.append(record::finish(line, id, seq, self.times.text(now)))?;
        Ok(seq)
    }

    fn append_here(&mut self, line: &mut [u8], id: EventId, now: Timestamp) -> io::Result<()> {
        let seq = self.journal.next_seq();
        self.journal.append_here(record::finish(line, id, seq, self.times.text(now)))
    }

    fn fail(&mut self, error: &io::Error, now: Timestamp) {
        self.failing = true;
        self.tried_at = now;
        self.note(error, now);
    }

    fn note(&mut self, error: &io::Error, now: Timestamp) {
        self.last_error = Some((now, error.to_string()));
    }
}

/// A clock that was set back is no reason to wait.
fn is_due(last: Timestamp, now: Timestamp, interval: SignedDuration) -> bool {
    now < last || now.duration_since(last) >= interval
}
