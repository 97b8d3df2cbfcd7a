//! Keeping the set in force for a restart, until the disk has it.

use std::time::Instant;

use jiff::Timestamp;

use super::history;
use super::note::Note;
use super::store::Store;
use crate::gate::Noted;
use crate::limits;
use crate::policy::{Contents, PolicyFiles, Revision};

/// A set in force that is still to be kept.
#[derive(Debug)]
pub(super) struct Unkept {
    /// Its revision.
    pub(super) revision: Revision,
    /// Its files.
    pub(super) files: PolicyFiles,
    /// When it came into force.
    pub(super) applied: Timestamp,
    /// Its `policy.applied` record.
    pub(super) event: Noted,
    /// What the commands said that made it.
    pub(super) changes: Vec<Note>,
}

/// A set that the disk has refused, and when it is tried again.
#[derive(Debug)]
pub(super) struct Refused {
    set: Unkept,
    next: Instant,
}

impl Unkept {
    /// Keeps it, and writes down who made it. What comes back is to be tried again.
    pub(super) fn keep(self, store: &Store, contents: &dyn Contents) -> Option<Refused> {
        let outcome = store.keep_from(self.revision.0, &self.files, contents, self.applied);
        // Whether or not the files are there: it says who made the revision.
        history::note(store.root(), self.revision.0, self.event.record(), &self.changes);
        match outcome {
            Ok(()) => None,
            Err(error) => {
                let revision = self.revision;
                tracing::error!(%error, %revision, "the policy set is in force but could not be kept for a restart; it is tried again");
                Some(Refused { set: self, next: Instant::now() + limits::KEEP_AGAIN })
            }
        }
    }
}

impl Refused {
    /// Tries again when it is time. Nothing is left to do once another set is in force, which has all of this one that
    /// still counts.
    pub(super) fn tend(self, in_force: Revision, store: &Store, contents: &dyn Contents) -> Option<Self> {
        if self.set.revision != in_force {
            return None;
        }
        if Instant::now() < self.next {
            return Some(self);
        }
        let revision = self.set.revision;
        let refused = self.set.keep(store, contents);
        if refused.is_none() {
            tracing::info!(%revision, "the policy set is kept for a restart now");
        }
        refused
    }
}
