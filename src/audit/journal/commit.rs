//! Group commit: who waits for the disk, and how often it is asked.
//!
//! One `fdatasync` answers for everything that was written before it began. Back to back they would keep the disk and
//! a core busy for the sake of a few records each, so a round begins no sooner after the one before than four times
//! what that one took, and never later than the commit interval. A lone request on an idle edge does not wait at all.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

/// How much longer than its own time a round keeps the next one waiting.
const PACE: u32 = 4;

/// Those who wait for the disk.
#[derive(Debug, Default)]
pub(in crate::audit) struct Commit {
    state: Mutex<State>,
    wanted: Condvar,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The greatest ticket that somebody wants on the disk.
    wanted: u64,
    /// All up to this ticket are there, or were given up.
    done: u64,
    waiting: Vec<(u64, Waker)>,
    /// There will be no more rounds.
    ended: bool,
    /// Nobody waits any more.
    stopped: bool,
}

impl Commit {
    /// Asks for a round; nobody has to wait for it.
    pub(in crate::audit) fn want(&self, ticket: u64) {
        let mut state = self.lock();
        if ticket > state.wanted {
            if state.wanted <= state.done {
                self.wanted.notify_one();
            }
            state.wanted = ticket;
        }
    }

    /// Whether all up to `ticket` is done; otherwise `waker` is called when it is.
    pub(in crate::audit) fn poll(&self, ticket: u64, waker: &Waker) -> bool {
        let mut state = self.lock();
        let done = state.is_done(ticket);
        if !done {
            state.waiting.push((ticket, waker.clone()));
        }
        done
    }

    /// Blocks this thread until all up to `ticket` is done.
    pub(in crate::audit) fn wait(&self, ticket: u64) {
        let mut state = self.lock();
        while !state.is_done(ticket) {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks the committer until somebody wants a round and it is time for one. False when there will be no more.
    pub(in crate::audit) fn next(&self, round: &CommitRound) -> bool {
        let mut state = self.lock();
        while state.wanted <= state.done && !state.ended {
            state = self.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        while !state.ended {
            let Some(rest) = round.rest() else { break };
            state = self.wanted.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.ended
    }

    /// The committer is to end.
    pub(in crate::audit) fn end(&self) {
        self.lock().ended = true;
        self.wanted.notify_all();
    }

    /// All up to `ticket` is done.
    pub(in crate::audit) fn finish(&self, ticket: u64) {
        let ready = {
            let mut state = self.lock();
            state.done = state.done.max(ticket);
            let done = state.done;
            self.done.notify_all();
            state.waiting.extract_if(.., |(waits_for, _)| *waits_for <= done).collect::<Vec<_>>()
        };
        ready.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Nobody waits any more: the log is closed, and has synced what there was.
    pub(in crate::audit) fn stop(&self) {
        let waiting = {
            let mut state = self.lock();
            state.stopped = true;
            self.wanted.notify_all();
            self.done.notify_all();
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_done(&self, ticket: u64) -> bool {
        self.done >= ticket || self.stopped
    }
}

/// When the next round may begin.
#[derive(Debug)]
pub(in crate::audit) struct CommitRound {
    interval: Duration,
    began: Instant,
    took: Duration,
}

impl CommitRound {
    /// The first round may begin at once.
    pub(in crate::audit) fn new(interval: Duration) -> Self {
        Self { interval, began: Instant::now(), took: Duration::ZERO }
    }

    pub(in crate::audit) fn begin(&mut self) {
        self.began = Instant::now();
    }

    pub(in crate::audit) fn end(&mut self) {
        self.took = self.began.elapsed();
    }

    /// How long to wait still.
    fn rest(&self) -> Option<Duration> {
        let pace = (self.took * PACE).min(self.interval);
        pace.checked_sub(self.began.elapsed()).filter(|rest| !rest.is_zero())
    }
}
