//! The audit log as the rest of the edge sees it.

use std::{
    cell::Cell,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    acknowledge::Acknowledge,
    announce::Announced,
    event::Event,
    files::{Disk, JOURNAL, RealDisk, TORN},
    handover::Setup,
    id::EventId,
    journal::{self, Commit, Draft},
    lock::LockError,
    options::{Counters, OpenError, Options},
    pending::Pending,
    privacy::Privacy,
    record,
    recovery::Recovery,
    repeated::Repeated,
    sealing::Sealing,
    state::State,
    worker::{self, Alarm},
};
use crate::background;
use crate::clock::Clock;

/// How often threads that have to end are brought forward.
const RECALL_EVERY: Duration = Duration::from_millis(1);

/// The audit log of this process. Share it by `Arc`; every method takes `&self`.
pub struct Audit {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What request threads and the log's own threads have in common.
pub(super) struct Shared {
    privacy: Privacy,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) setup: Arc<Setup>,
    pub(super) state: Mutex<State>,
    pub(super) sealing: Sealing,
    pub(super) commit: Option<Arc<Commit>>,
    pub(super) alarm: Alarm,
    pub(super) announced: Announced,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("edge", &self.shared.setup.edge).finish_non_exhaustive()
    }
}

thread_local! {
    /// The record in the making. It grows to the largest a thread has written and is not allocated again.
    static DRAFT: Cell<Draft> = const { Cell::new(Draft::new()) };
}

/// The line of the event that this thread has recorded last, with an id and a time of no event: for fuzzing. Nothing when
/// it has recorded none.
#[doc(hidden)]
#[must_use]
pub fn drafted() -> Option<String> {
    let mut draft = DRAFT.take();
    let mut line = Vec::new();
    // The version and the variant of RFC 9562, and nothing else.
    let no_event = EventId::from_bits(0x7000_8000_0000_0000_0000)?;
    let entry = journal::decode(draft.stamp(no_event, Timestamp::UNIX_EPOCH))?;
    record::line(&mut line, "", 0, &entry, &mut Repeated::default());
    DRAFT.set(draft);
    String::from_utf8(line).ok()
}

impl Audit {
    /// Takes the directory, seals what earlier processes left in the journal, and goes on after the last record.
    ///
    /// # Errors
    /// When another process has the directory, it cannot be made or listed, or a key cannot be used. Damage in the log
    /// and a disk that takes no writes are told in [`Recovery`] and [`Counters`] instead.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<(Self, Recovery), OpenError> {
        let disk: Arc<dyn Disk> = match RealDisk::open(&options.directory, &options.edge) {
            Err(LockError::Held { .. }) if options.succeed => {
                Arc::new(RealDisk::unlocked(&options.directory, &options.edge))
            }
            other => Arc::new(other?),
        };
        let spare = options.spare.as_ref().map(|directory| {
            let disk: Arc<dyn Disk> = Arc::new(RealDisk::unlocked(directory, &options.edge));
            disk
        });
        let interval = options.commit_interval;
        let (audit, recovery) = Self::open_on(disk, spare, options, clock)?;
        let threads = worker::start(&audit.shared, interval)
            .map_err(|error| OpenError::Io { directory: "its threads".into(), error })?;
        *audit.threads.lock().unwrap_or_else(PoisonError::into_inner) = threads;
        Ok((audit, recovery))
    }

    /// The same without threads of its own: whoever calls this does their work with [`Self::tend`].
    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        spare: Option<Arc<dyn Disk>>,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), OpenError> {
        let now = clock.now();
        let privacy = Privacy::load(&options.client, now)?;
        let io = |error| OpenError::Io { directory: options.directory.clone(), error };
        let settled = options.acknowledge == Acknowledge::Disk;
        for folder in [JOURNAL, TORN] {
            spare.iter().try_for_each(|spare| spare.make_folder(folder)).map_err(io)?;
        }
        let disks: Vec<Arc<dyn Disk>> = std::iter::once(Arc::clone(&disk)).chain(spare).collect();
        let setup = Arc::new(Setup::new(disks, &options.edge, settled));
        let mut state = State::new(Arc::clone(&setup)).map_err(io)?;
        let sealing = Sealing::new(disk, &setup, &options);
        let mut recovery = Recovery::default();
        if let Err(error) = sealing.take_over(now, &state.own_lane(), &mut recovery) {
            // A key that others may read is for the operator to mend; a disk in trouble is for the threads to try again.
            if error.kind() == io::ErrorKind::PermissionDenied {
                return Err(io(error));
            }
            state.note(&error, now);
        }
        // A disk that takes nothing is noticed now, not with the first request.
        state.restart(now);
        let commit = settled.then(|| Arc::new(Commit::default()));
        let state = Mutex::new(state);
        let shared = Shared {
            privacy,
            clock,
            setup,
            state,
            sealing,
            commit,
            alarm: Alarm::default(),
            announced: Announced::default(),
        };
        Ok((Self { shared: Arc::new(shared), threads: Mutex::default() }, recovery))
    }

    /// Records one event: when this returns, a process that is killed has lost nothing. The receipt comes when the
    /// event is acknowledged as configured.
    ///
    /// Never fails: an event that cannot be written is counted, and the receipt says so. No system call and no
    /// allocation in the steady state.
    pub fn record(&self, event: &Event<'_>) -> Pending {
        self.record_at(event, self.shared.clock.now())
    }

    /// The same for an event that has just happened, for whoever has looked already at the clock that the log goes by.
    pub(crate) fn record_at(&self, event: &Event<'_>, now: Timestamp) -> Pending {
        let shared = &*self.shared;
        // Only a thread that is being torn down has no draft any more.
        let mut draft = DRAFT.try_with(Cell::take).unwrap_or_default();
        draft.facts(event, &shared.privacy, now);
        let case = event.enforcement.map(|enforcement| enforcement.case);
        let written = shared.lock().record(&mut draft, case, event.kind, now);
        DRAFT.try_with(|kept| kept.set(draft)).ok();
        if written.wants_sealing {
            shared.alarm.ring();
        }
        match (&shared.commit, written.ticket) {
            (Some(commit), Some(ticket)) => {
                commit.want(ticket);
                Pending::until(written.receipt, Arc::clone(commit), ticket)
            }
            _ => Pending::ready(written.receipt),
        }
    }

    /// What became of this process's events.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// Does once what the threads of the log do again and again.
    #[cfg(test)]
    pub(super) fn tend(&self) {
        self.shared.tend();
        self.seal();
        self.archive();
    }

    /// Does once what the thread that looks after the lane does, and nothing of the others.
    #[cfg(test)]
    pub(super) fn look_after(&self) {
        self.shared.tend();
    }

    /// Makes the next file, and keeps it.
    #[cfg(test)]
    pub(super) fn prepare_late(&self) -> journal::Prepared {
        let setup = &self.shared.setup;
        setup.prepare(&setup.disks[0], self.shared.lock().nonce(), "next", false).unwrap()
    }

    /// Hands it over.
    #[cfg(test)]
    pub(super) fn put_late(&self, late: journal::Prepared) {
        let unused = self.shared.lock().put_prepared(late);
        unused.into_iter().for_each(journal::Prepared::discard);
    }

    /// Whether a thread of the log was to wake before its time.
    #[cfg(test)]
    pub(super) fn has_rung(&self) -> bool {
        self.shared.alarm.is_rung()
    }

    /// Seals what there is.
    #[cfg(test)]
    pub(super) fn seal(&self) {
        self.shared.seal();
    }

    /// Compresses the segments that are full.
    #[cfg(test)]
    pub(super) fn archive(&self) {
        self.shared.archive();
    }

    /// From now on nothing can be written, as on a full disk.
    #[cfg(test)]
    pub(super) fn fail_writing(&self) {
        let now = self.shared.clock.now();
        self.shared.lock().fail(&io::ErrorKind::StorageFull.into(), now);
    }

    /// Says what has changed, as a timer does.
    #[cfg(test)]
    pub(super) fn announce(&self) {
        self.shared.announce();
    }

    /// Puts the gap where it outlives the process, as a timer does.
    #[cfg(test)]
    pub(super) fn keep_gap(&self) {
        let now = self.shared.clock.now();
        self.shared.lock().keep_gap(now);
    }

    /// Does once what the committer does again and again.
    #[cfg(test)]
    pub(super) fn sync(&self) {
        let done = self.shared.sync();
        if let Some(commit) = &self.shared.commit {
            commit.finish(done);
        }
    }

    /// Writes down a pending gap, into the journal's reserve when the disk is still full, seals everything and lets go
    /// of the directory. Events after this are only counted. A second call does nothing.
    ///
    /// # Errors
    /// What the system said when the gap could not be written or something could not be sealed; nothing is lost then:
    /// the next process finds it in the journal.
    pub fn close(&self) -> io::Result<()> {
        let now = self.shared.clock.now();
        let written = {
            let mut state = self.shared.lock();
            if state.closed {
                return Ok(());
            }
            state.close(now)
        };
        self.stop_threads();
        let synced = self.shared.last_sync();
        if let Some(commit) = &self.shared.commit {
            commit.stop();
        }
        let sealed = self.shared.seal_last();
        self.shared.lock().let_go();
        written.and(synced).and(sealed)
    }

    fn stop_threads(&self) {
        // Whoever stands aside would have the end wait for everybody else.
        let _waiting = background::Awaited::new();
        self.shared.alarm.stop();
        if let Some(commit) = &self.shared.commit {
            commit.end();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // One that was about to step aside when it was told may stand there by now.
            while !thread.is_finished() {
                background::recall();
                std::thread::sleep(RECALL_EVERY);
            }
            // A thread that panicked has said so on standard error.
            thread.join().ok();
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.stop_threads();
        if let Some(commit) = &self.shared.commit {
            // Somebody may still hold a `Pending`.
            self.shared.last_sync().ok();
            commit.stop();
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters_of(&self.lock())
    }

    /// Says in the log of the process what has changed for the worse or the better. Once the log is closed nothing is
    /// written any more, and that is no failure.
    pub(super) fn announce(&self) {
        let counters = {
            let state = self.lock();
            if state.closed {
                return;
            }
            self.counters_of(&state)
        };
        self.announced.say(&counters);
    }

    fn counters_of(&self, state: &State) -> Counters {
        Counters {
            decided: state.decided,
            durable: state.durable,
            gap: state.missed,
            gap_pending: state.pending(),
            seq: self.sealing.last_seq(),
            writing_ok: !state.failing && !state.closed,
            sealing_ok: self.sealing.is_ok(),
            unsynced: state.unsynced_events,
            last_error: state.last_error.clone(),
            disturbed: state.disturbed + self.sealing.disturbed(),
        }
    }

    pub(super) fn privacy(&self) -> &Privacy {
        &self.privacy
    }
}
