//! Knowing when a stopping edge has served its last request.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pingora::server::{ExecutionPhase, Server};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use crate::limits;
use crate::metrics::Metrics;

/// Watches Pingora's phases. Pingora waits out its whole grace time; an edge with no connection left need
/// not.
pub(super) struct Drained {
    phases: Receiver<ExecutionPhase>,
    metrics: Arc<Metrics>,
}

impl Drained {
    pub(super) fn watch(server: &Server, metrics: Arc<Metrics>) -> Self {
        Self { phases: server.watch_execution_phase(), metrics }
    }

    /// Returns once Pingora has ended, or is stopping and has no connection left.
    pub(super) fn wait(mut self, pingora: &JoinHandle<()>) {
        let mut stopping: Option<Instant> = None;
        while !pingora.is_finished() {
            match self.phases.try_recv() {
                Ok(ExecutionPhase::GracefulTerminate | ExecutionPhase::ShutdownStarted) => {
                    stopping.get_or_insert_with(Instant::now);
                }
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Closed) => return,
                Err(TryRecvError::Empty) => {
                    // Connections accepted in the last moment are counted a little later than accepted.
                    let settled = stopping.is_some_and(|since| since.elapsed() > limits::STOP_SETTLES);
                    if settled && self.metrics.connections() == 0 {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}
