//! The log's own threads: nothing that may wait for a disk happens on a request thread.
//!
//! ```text
//! audit-seal     every half second, and when a file was full within a second: journal -> sealed log
//! audit-archive  full segments -> zstd, index
//! audit-tend     every 100 ms: the next journal file, the memory of full ones, the end of a gap, the next key; brings
//!                forward who stands aside
//! audit-commit   `acknowledge = "disk"`: fdatasync, as soon as somebody waits
//! ```
//!
//! The first two stand aside for the threads that serve requests where the system lets them come forward again, and work
//! in pieces of a fifth of a millisecond when they had to, since a record is safe before they see it. How long they rest
//! in between goes by what is left to do. The third makes files in such pieces.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use super::{
    files::JOURNAL,
    handover::Unsynced,
    journal::{Commit, CommitRound, Prepared},
    log::Shared,
    rewriting::write_again,
};
use crate::{background, limits};

const SEAL_EVERY: Duration = Duration::from_millis(500);
/// Passes on stop after everything of this process is sealed.
const PASSES_FOR_OTHERS: u32 = 16;
const TEND_EVERY: Duration = Duration::from_millis(100);

/// Starts the threads of a log.
pub(super) fn start(shared: &Arc<Shared>, interval: Duration) -> io::Result<Vec<JoinHandle<()>>> {
    let spawn = |name: &str, work: Box<dyn FnOnce(Arc<Shared>) + Send>| {
        let shared = Arc::clone(shared);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || work(shared))
    };
    background::prepare();
    let mut threads = vec![
        spawn(
            "audit-seal",
            Box::new(|shared| {
                background::shorten_slice();
                while shared.alarm.sleep(SEAL_EVERY, Some(Bell::Seal)) {
                    shared.seal();
                }
            }),
        )?,
        spawn(
            "audit-archive",
            Box::new(|shared| {
                background::shorten_slice();
                while shared.alarm.sleep(SEAL_EVERY, None) {
                    shared.archive();
                }
            }),
        )?,
        spawn(
            "audit-tend",
            Box::new(|shared| {
                background::shorten_slice();
                while shared.alarm.sleep(TEND_EVERY, Some(Bell::Tend)) {
                    background::recall();
                    shared.tend();
                }
            }),
        )?,
    ];
    if let Some(commit) = shared.commit.clone() {
        threads
            .push(spawn("audit-commit", Box::new(move |shared| commit_rounds(&shared, &commit, interval)))?);
    }
    Ok(threads)
}

/// Wakes the threads before their time.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    state: Mutex<AlarmState>,
    changed: Condvar,
}

/// Who is woken before its time.
#[derive(Debug, Clone, Copy)]
enum Bell {
    Seal,
    Tend,
}

#[derive(Debug, Default)]
struct AlarmState {
    /// For each [`Bell`].
    rung: [bool; 2],
    stopped: bool,
}

impl Alarm {
    /// A file was filled in no time: there is much to seal, and another has to be made ready.
    pub(super) fn ring(&self) {
        self.lock().rung = [true; 2];
        self.changed.notify_all();
    }

    #[cfg(test)]
    pub(super) fn is_rung(&self) -> bool {
        self.lock().rung != [false; 2]
    }

    /// The threads are to end.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits this long, or until the `bell`. False when it is time to end.
    fn sleep(&self, time: Duration, bell: Option<Bell>) -> bool {
        let rung = |state: &AlarmState| {
            let [seal, tend] = state.rung;
            match bell {
                Some(Bell::Seal) => seal,
                Some(Bell::Tend) => tend,
                None => false,
            }
        };
        let quiet = |state: &mut AlarmState| !(state.stopped || rung(state));
        let (mut state, _) =
            self.changed.wait_timeout_while(self.lock(), time, quiet).unwrap_or_else(PoisonError::into_inner);
        match bell {
            Some(Bell::Seal) => state.rung[0] = false,
            Some(Bell::Tend) => state.rung[1] = false,
            None => {}
        }
        !state.stopped
    }

    fn lock(&self) -> MutexGuard<'_, AlarmState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn commit_rounds(shared: &Shared, commit: &Commit, interval: Duration) {
    let mut round = CommitRound::new(interval);
    while commit.next(&round) {
        round.begin();
        let done = shared.sync();
        round.end();
        commit.finish(done);
    }
}

impl Shared {
    /// Seals what is in the journal.
    pub(super) fn seal(&self) {
        let now = self.clock.now();
        let (own, failing) = {
            let state = self.lock();
            (state.own_lane(), state.failing)
        };
        let pass = || self.sealing.pass(&own, now);
        // Not with the locks that request threads take, too; and not where the disk may be full: sealing makes room on it.
        let passed = if failing || !self.sealing.is_ok() {
            background::hurried(pass)
        } else {
            background::aside(limits::SEALING_ASIDE_AT_MOST, pass)
        };
        let mut state = self.lock();
        passed.finished.iter().for_each(|path| state.forget(path));
        passed.displaced.iter().for_each(|path| state.displace(path));
        if let Some(trouble) = passed.trouble {
            state.note(&io::Error::other(trouble), now);
        }
        let Some(error) = passed.error else {
            if passed.more {
                drop(state);
                self.alarm.ring();
            }
            return;
        };
        state.note(&error, now);
        if super::journal::is_space(&error) {
            // The file made ahead of time holds space that sealing needs now.
            drop(state);
            self.drop_prepared();
        }
    }

    /// Compresses full segments.
    pub(super) fn archive(&self) {
        let now = self.clock.now();
        let jobs = self.sealing.full_segments(now);
        if jobs.is_empty() {
            return;
        }
        let archive = || self.sealing.archive(jobs, now);
        if let Err(error) = background::aside(limits::COMPRESSING_ASIDE_AT_MOST, archive) {
            self.lock().note(&error, now);
        }
    }

    /// Looks after the lane.
    pub(super) fn tend(&self) {
        let now = self.clock.now();
        self.privacy().tend(now);
        if let Some(trouble) = self.privacy().trouble() {
            self.lock().note(&io::Error::other(trouble), now);
        }
        // Before anything that may want space: a file that is gone keeps its own for as long as it is mapped.
        let spent = self.lock().take_spent();
        drop(spent);
        let prepared = {
            let mut state = self.lock();
            if state.failing {
                state.restart(now);
            }
            if let Err(error) = state.renew() {
                state.note(&error, now);
            }
            state.prepared_file()
        };
        if prepared.is_some_and(|file| !file.is_in_place().unwrap_or(false)) {
            // Somebody took it away: nothing may be recorded in it.
            self.drop_prepared();
        }
        self.announce();
        self.prepare();
    }

    /// Makes the next file of the lane. Without one ahead of time it is made when it is needed, or elsewhere.
    fn prepare(&self) {
        let (wanted, nonce) = {
            let state = self.lock();
            (state.wants_prepared() && self.sealing.is_ok(), state.nonce())
        };
        let Some(disk) = self.setup.disks.first().filter(|_| wanted) else { return };
        let settled = self.setup.settled;
        let made = background::in_pieces(|| self.setup.prepare(disk, nonce, "next", settled));
        if let Ok(prepared) = made {
            let unused = self.lock().put_prepared(prepared);
            unused.into_iter().for_each(Prepared::discard);
        }
    }

    /// Gives back the space of the file made ahead of time.
    fn drop_prepared(&self) {
        let prepared = self.lock().take_prepared();
        prepared.into_iter().for_each(Prepared::discard);
    }

    /// One group commit. Returns the ticket that it answers for.
    pub(super) fn sync(&self) -> u64 {
        let unsynced = self.lock().take_unsynced();
        let Err(error) = sync_all(&unsynced) else {
            self.lock().synced(&unsynced);
            return unsynced.ticket;
        };
        let again = {
            let now = self.clock.now();
            let mut state = self.lock();
            state.note(&error, now);
            state.distrust(unsynced)
        };
        // Others record meanwhile, into a file behind these.
        let (copies, outcome) = write_again(&self.setup, &again.parts);
        let now = self.clock.now();
        let mut state = self.lock();
        state.adopt(copies);
        match outcome {
            Ok(()) => state.synced(&again),
            Err(error) => {
                // Nobody is let through and nobody waits for ever: the records are in the journal, and that the
                // disk has not confirmed them is counted and said.
                state.note(&error, now);
                state.give_up(&again);
            }
        }
        again.ticket
    }

    /// On stop, for a log whose lane outlives the last pass.
    pub(super) fn last_sync(&self) -> io::Result<()> {
        if self.commit.is_none() {
            return Ok(());
        }
        let unsynced = self.lock().take_unsynced();
        let synced = sync_all(&unsynced);
        let mut state = self.lock();
        match &synced {
            Ok(()) => state.synced(&unsynced),
            Err(_) => state.give_up(&unsynced),
        }
        synced
    }

    /// Seals everything and ends the sealed log.
    pub(super) fn seal_last(&self) -> io::Result<()> {
        // No file follows any more: the one made ahead of time holds space that sealing may need.
        self.drop_prepared();
        // Another process may record faster than this: what is its own is its own to seal.
        let mut others = PASSES_FOR_OTHERS;
        let passes = loop {
            let now = self.clock.now();
            let own = self.lock().own_lane();
            let passed = background::hurried(|| self.sealing.pass(&own, now));
            passed.finished.iter().for_each(|path| self.lock().forget(path));
            match passed.error {
                Some(error) => break Err(error),
                None if passed.more && (!passed.own_is_done || others > 0) => {
                    others -= u32::from(passed.own_is_done);
                }
                None => break Ok(()),
            }
        };
        // Also after an error: what is not sealed stays in the journal, and nobody may find it locked there.
        let closed = self.sealing.close(self.clock.now());
        passes.and(closed)
    }
}

fn sync_all(unsynced: &Unsynced) -> io::Result<()> {
    for part in &unsynced.parts {
        part.file.file.sync()?;
    }
    if unsynced.new_names {
        for part in &unsynced.parts {
            part.file.disk.sync_folder(JOURNAL)?;
        }
    }
    Ok(())
}
