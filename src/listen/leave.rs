//! How a stopping edge parts from connections on which nobody is being served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pingora::server::ShutdownWatch;

use crate::limits;

/// Whether the edge stops because another process serves now. Shared by all connections; set once, by `server`.
///
/// A client that has just sent a request on an idle connection loses it when the connection is closed at that
/// moment, and cannot know whether it was served. An edge that stops for good has no time to lose. One that was
/// succeeded does: it waits a little for a next request, and answers that with `Connection: close`.
#[derive(Debug, Clone, Default)]
pub struct Leave(Arc<AtomicBool>);

impl Leave {
    /// Another process accepts connections from now on.
    pub fn hand_over(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Returns when a connection without a request is to be closed because the edge stops.
    pub(super) async fn idle(&self, shutdown: &mut ShutdownWatch) {
        if shutdown.wait_for(|stopping| *stopping).await.is_ok() && self.0.load(Ordering::SeqCst) {
            tokio::time::sleep(limits::LEAVE_IDLE).await;
        }
    }
}
