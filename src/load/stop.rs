//! A run that is told to stop.

use tokio::sync::watch;

/// Tells a run to send no more: what is under way is still waited for. Clones speak of the same run.
#[derive(Debug, Clone)]
pub struct Stop {
    told: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { told: watch::Sender::new(false) }
    }
}

impl Stop {
    /// From now on nothing is sent.
    pub fn tell(&self) {
        self.told.send_replace(true);
    }

    /// Whether it was told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        *self.told.borrow()
    }

    /// Ends when it is told.
    pub(super) async fn told(&self) {
        // It cannot end otherwise: what tells it is here.
        self.told.subscribe().wait_for(|told| *told).await.ok();
    }
}
