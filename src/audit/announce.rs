//! Says in the log of the process when writing or sealing begins to fail, and when it works again.

use std::sync::{Mutex, PoisonError};

use super::options::Counters;

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Announced(Mutex<Said>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Said {
    writing_fails: bool,
    sealing_fails: bool,
    unsynced: u64,
    disturbed: u64,
}

impl Announced {
    /// Says what has changed.
    pub(super) fn say(&self, counters: &Counters) {
        let now = Said {
            writing_fails: !counters.writing_ok,
            sealing_fails: !counters.sealing_ok,
            unsynced: counters.unsynced,
            disturbed: counters.disturbed,
        };
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), now);
        if before == now {
            return;
        }
        let error = counters.last_error.as_ref().map_or("", |(_, error)| error.as_str());
        match (before.writing_fails, now.writing_fails) {
            (false, true) => {
                tracing::error!(error, "the audit journal cannot be written: events are only counted")
            }
            (true, false) => tracing::warn!(missed = counters.gap, "the audit journal is written again"),
            _ => {}
        }
        match (before.sealing_fails, now.sealing_fails) {
            (false, true) => {
                tracing::error!(error, "the audit log cannot be sealed: records wait in the journal")
            }
            (true, false) => tracing::warn!(seq = counters.seq, "the audit log is sealed again"),
            _ => {}
        }
        if now.unsynced > before.unsynced {
            let events = now.unsynced - before.unsynced;
            tracing::error!(events, error, "events were acknowledged that the disk had refused to sync");
        }
        if now.disturbed > before.disturbed {
            tracing::error!(
                "a file of the audit log was deleted or changed by somebody else; a new one follows"
            );
        }
    }
}
