//! Full segments that wait to be compressed.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;

use super::sealed::Archive;
use crate::limits;

/// Which segments wait, and which of them are tried rarely.
#[derive(Debug, Default)]
pub(super) struct Archives {
    lists: Mutex<Lists>,
    /// How many wait: whoever stands aside may not hold what sealing needs, and asks here.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Lists {
    waiting: Vec<Archive>,
    /// Segments that somebody has changed, and when they were last read: nothing but a person can mend them.
    changed: Vec<(Archive, Timestamp)>,
}

impl Archives {
    pub(super) fn add(&self, jobs: Vec<Archive>) {
        let mut lists = self.lock();
        lists.waiting.extend(jobs);
        self.count(&lists);
    }

    /// How many are behind.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Those to be tried now.
    pub(super) fn take(&self, now: Timestamp) -> Vec<Archive> {
        // However far a wall clock was set back meanwhile.
        let is_due =
            |since: Timestamp| now.duration_since(since).unsigned_abs() >= limits::CHANGED_SEGMENT_AGAIN;
        let mut lists = self.lock();
        let mut due = std::mem::take(&mut lists.waiting);
        due.extend(lists.changed.extract_if(.., |(_, since)| is_due(*since)).map(|(job, _)| job));
        self.count(&lists);
        due
    }

    /// One was tried in vain.
    pub(super) fn put_back(&self, job: Archive, error: &io::Error, now: Timestamp) {
        let is_changed = error.kind() == io::ErrorKind::InvalidData;
        if is_changed {
            tracing::error!(%error, "a segment of the audit log is not what was sealed: it is not compressed, and looked at again in ten minutes");
        }
        let mut lists = self.lock();
        if is_changed {
            lists.changed.push((job, now));
        } else {
            lists.waiting.push(job);
        }
        self.count(&lists);
    }

    fn count(&self, lists: &Lists) {
        self.waiting.store(lists.waiting.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
