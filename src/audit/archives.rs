//! Full segments that wait to be compressed.

use std::io;

use jiff::Timestamp;

use super::sealed::Archive;
use crate::limits;

/// Which segments wait, and which of them are tried rarely.
#[derive(Debug, Default)]
pub(super) struct Archives {
    waiting: Vec<Archive>,
    /// Segments that somebody has changed, and when they were last read: nothing but a person can mend them.
    changed: Vec<(Archive, Timestamp)>,
}

impl Archives {
    pub(super) fn add(&mut self, jobs: Vec<Archive>) {
        self.waiting.extend(jobs);
    }

    /// How many are behind.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Those to be tried now.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<Archive> {
        // However far a wall clock was set back meanwhile.
        let is_due =
            |since: Timestamp| now.duration_since(since).unsigned_abs() >= limits::CHANGED_SEGMENT_AGAIN;
        let again = self.changed.extract_if(.., |(_, since)| is_due(*since)).map(|(job, _)| job);
        self.waiting.drain(..).chain(again).collect()
    }

    /// One was tried in vain.
    pub(super) fn put_back(&mut self, job: Archive, error: &io::Error, now: Timestamp) {
        if error.kind() != io::ErrorKind::InvalidData {
            return self.waiting.push(job);
        }
        tracing::error!(%error, "a segment of the audit log is not what was sealed: it is not compressed, and looked at again in ten minutes");
        self.changed.push((job, now));
    }
}
