//! What of the configuration can change while the edge runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::connection::{Bounds, Timeouts};
use super::proxy::Patience;
use super::upstream::Upstream;

/// One state of it. A request keeps the one it began with to its end.
#[derive(Debug)]
pub struct Settings {
    /// Where requests that may pass go.
    pub upstream: Arc<Upstream>,
    /// How long origins and clients may take while a request is forwarded.
    pub patience: Patience,
    /// How long a client may take on its connection.
    pub timeouts: Timeouts,
    /// How much clients may ask for.
    pub bounds: Bounds,
}

/// The state in use, shared by all connections. Written by `server` alone.
#[derive(Debug)]
pub struct Live {
    now: ArcSwap<Settings>,
    changed: watch::Sender<()>,
}

impl Live {
    /// Begins with these.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { now: ArcSwap::from_pointee(settings), changed: watch::Sender::new(()) }
    }

    /// What holds now. A request asks once.
    #[must_use]
    pub fn now(&self) -> Arc<Settings> {
        self.now.load_full()
    }

    /// Looks at what holds now, for a moment.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Settings) -> T) -> T {
        look(&self.now.load())
    }

    /// What holds for requests that come from now on.
    pub fn set(&self, settings: Settings) {
        self.now.store(Arc::new(settings));
        self.changed.send_replace(());
    }

    /// Tells when other settings hold.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
