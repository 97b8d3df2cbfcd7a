//! What is heard of the policy directory, and what of it has settled.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::settling::{Change, Settling};
use super::source::Writers;
use super::watch::Watcher;
use crate::limits;

/// Hears of changes. Nothing is decided on the directory before all that has happened in it was heard.
pub(super) struct Ear {
    watcher: Watcher,
    settling: Settling,
}

impl Ear {
    /// Listens to a policy directory, which must be still for `quiet` before it is read. Somebody may be writing the files
    /// that are `left`. To be called within a runtime.
    pub(super) fn new(directory: &Path, quiet: Duration, left: &BTreeSet<String>) -> io::Result<Self> {
        let mut settling = Settling::new(quiet);
        for name in left {
            settling.note(Change::Begun(name.clone()), Instant::now());
        }
        Ok(Self { watcher: Watcher::new(directory)?, settling })
    }

    /// Waits until something is there to be heard.
    pub(super) async fn stirs(&self) {
        if let Err(error) = self.watcher.stirs().await {
            // It may well fail the next time too, and the regular comparison does the work meanwhile.
            tracing::error!(%error, "cannot hear of file changes");
            sleep(limits::LOOK_EVERY).await;
        }
    }

    /// Hears all that has happened.
    pub(super) fn hear(&mut self) {
        let (settling, now) = (&mut self.settling, Instant::now());
        self.watcher.hear(|change| settling.note(change, now));
    }

    /// Something has changed that could not be heard.
    pub(super) fn suspect(&mut self) {
        self.settling.note(Change::Unknown, Instant::now());
    }

    /// Whether nothing has changed that is complete and was not read.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.hear();
        self.settling.is_quiet()
    }

    /// When to read the directory, if anything has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.settling.due()
    }

    /// The directory is about to be read: what is heard from here on asks for another reading.
    pub(super) fn begin(&mut self) {
        self.hear();
        self.settling.clear(Instant::now());
        // Directories first: what changes in a new one while the set is read must be heard.
        self.watcher.refresh();
    }
}

impl Writers for Ear {
    fn at_work(&mut self) -> BTreeSet<String> {
        self.hear();
        self.settling.being_written(Instant::now())
    }

    fn is_heard(&self) -> bool {
        !self.settling.is_quiet()
    }
}
