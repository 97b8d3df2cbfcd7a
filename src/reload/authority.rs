//! Who numbers, keeps and records policy sets: one process at a time, also while an edge is succeeded by the next.
//!
//! The process that is to be succeeded lets go of the state directory before the next one reads its policies. From
//! then on it makes no revisions: it goes on enforcing, and follows what the next one has put in force, so that its
//! last connections are judged by the same rules. When the next one does not come to serve, it takes everything back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::ahead::{self, Turn};
use super::store::{self, Store, StoreError};
use crate::policy::Revision;

/// Who has the state directory.
#[derive(Debug)]
pub(super) enum Authority {
    /// This process.
    Own(Store),
    /// The process that succeeds it.
    Successor {
        /// The state directory.
        root: PathBuf,
        /// The newest revision this process has given.
        newest: u64,
        /// How many sets it keeps.
        kept: usize,
    },
}

impl Authority {
    /// Lets go of the state directory and returns the newest revision ever given. A second call changes nothing.
    pub(super) fn let_go(&mut self) -> u64 {
        match self {
            Self::Own(store) => {
                let newest = store.newest();
                *self = Self::Successor { root: store.root().to_owned(), newest, kept: store.kept() };
                newest
            }
            Self::Successor { newest, .. } => *newest,
        }
    }

    /// Takes the state directory again, whose lock must be free by now.
    pub(super) fn take_back(&mut self) -> Result<(), StoreError> {
        if let Self::Successor { root, newest, kept } = self {
            let mut store = Store::open(root)?.keeping(*kept);
            store.seen(*newest);
            *self = Self::Own(store);
        }
        Ok(())
    }

    /// The state directory, whoever has it.
    pub(super) fn root(&self) -> &Path {
        match self {
            Self::Own(store) => store.root(),
            Self::Successor { root, .. } => root,
        }
    }

    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// The revision that the successor has put a set in force under, if it has.
    pub(super) fn followed(&self, digest: &str) -> Option<Revision> {
        match self {
            Self::Own(_) => None,
            Self::Successor { root, newest, .. } => {
                store::newest_revision_of(root, digest).filter(|revision| revision > newest).map(Revision)
            }
        }
    }

    pub(super) fn note_announced(&self, at: Timestamp) {
        if let Self::Own(store) = self {
            store.note_announced(at);
        }
    }

    /// Starts and ends that were announced before the clock was set back.
    pub(super) fn ahead(&self) -> BTreeSet<Turn> {
        match self {
            Self::Own(store) => ahead::read(store.root()),
            Self::Successor { .. } => BTreeSet::new(),
        }
    }

    pub(super) fn note_ahead(&self, turns: &BTreeSet<Turn>) {
        if let Self::Own(store) = self {
            ahead::write(store.root(), turns);
        }
    }

    pub(super) fn announced(&self) -> Option<Timestamp> {
        match self {
            Self::Own(store) => store.announced(),
            Self::Successor { .. } => None,
        }
    }
}

/// What the keeper is told about the state directory.
#[derive(Debug)]
pub(super) enum StateRequest {
    LetGo(oneshot::Sender<u64>),
    TakeBack(oneshot::Sender<Result<(), StoreError>>),
}

/// Has the keeper let go of the state directory, and take it back. For threads that may wait, not for async code.
#[derive(Debug, Clone)]
pub struct StateHold {
    pub(super) requests: mpsc::Sender<StateRequest>,
}

impl StateHold {
    /// Has it let go: no revision is given, kept or recorded by this process after this. Returns the newest revision
    /// ever given; nothing when the keeper has ended.
    #[must_use]
    pub fn let_go(&self) -> Option<u64> {
        let (answer, newest) = oneshot::channel();
        self.requests.blocking_send(StateRequest::LetGo(answer)).ok()?;
        newest.blocking_recv().ok()
    }

    /// Has it take the directory back, read the policies and go on as before.
    ///
    /// # Errors
    /// When the directory cannot be opened: another process still has it.
    pub fn take_back(&self) -> Result<(), StoreError> {
        let (answer, outcome) = oneshot::channel();
        if self.requests.blocking_send(StateRequest::TakeBack(answer)).is_err() {
            // The keeper has ended, and so does this edge.
            return Ok(());
        }
        outcome.blocking_recv().unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_has_one_owner_and_no_revision_is_given_twice() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        assert_eq!(store.take_revision(), 1);
        let mut first = Authority::Own(store);
        assert_eq!((first.let_go(), first.let_go()), (1, 1));
        assert!(!first.is_own());
        let mut second = Store::open(directory.path()).unwrap();
        assert!(matches!(first.take_back(), Err(StoreError::InUse(_))));
        assert_eq!(second.take_revision(), 2);
        drop(second);
        first.take_back().unwrap();
        first.take_back().unwrap();
        let Authority::Own(store) = &mut first else { panic!("it has the directory") };
        assert_eq!(store.take_revision(), 3);
    }

    #[test]
    fn a_counter_that_was_lost_in_between_gives_no_revision_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        store.take_revision();
        let mut authority = Authority::Own(store);
        authority.let_go();
        std::fs::remove_file(directory.path().join("revision")).unwrap();
        authority.take_back().unwrap();
        let Authority::Own(store) = &mut authority else { panic!("it has the directory") };
        assert_eq!(store.take_revision(), 2);
    }
}
