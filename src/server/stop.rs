//! The signals that stop an edge, and knowing when it has served its last request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ExecutionPhase, Server, ShutdownSignal, ShutdownSignalWatch};
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::early::Stop;
use crate::limits;
use crate::listen::Leave;
use crate::metrics::Metrics;

/// A stop that no signal asks for.
#[derive(Debug, Default)]
pub(super) struct Departure {
    leave: Leave,
    handed_over: AtomicBool,
    begun: Notify,
}

impl Departure {
    /// How connections learn of it.
    pub(super) fn leave(&self) -> Leave {
        self.leave.clone()
    }

    /// Stops because another process serves now.
    pub(super) fn hand_over(&self) {
        self.leave.hand_over();
        self.handed_over.store(true, Ordering::SeqCst);
        self.begin();
    }

    /// Stops.
    pub(super) fn begin(&self) {
        self.begun.notify_one();
    }

    /// Whether another process serves now.
    pub(super) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::SeqCst)
    }
}

/// The signals that stop an edge. Says when they are answered: whoever is told `ready` may send one at once.
pub(super) struct Signals {
    /// Pingora waits for them once.
    signals: Mutex<Option<Stop>>,
    heard: Sender<()>,
    departure: Arc<Departure>,
}

impl Signals {
    /// The watch, and what tells that it has begun.
    pub(super) fn new(signals: Stop, departure: Arc<Departure>) -> (Self, mpsc::Receiver<()>) {
        let (heard, begun) = mpsc::channel();
        (Self { signals: Mutex::new(Some(signals)), heard, departure }, begun)
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Stop { mut terminate, mut interrupt }) = signals else {
            return ShutdownSignal::GracefulTerminate;
        };
        // When nobody waits for the start any more, the edge is stopping.
        self.heard.send(()).ok();
        tokio::select! {
            _ = terminate.recv() => ShutdownSignal::GracefulTerminate,
            _ = interrupt.recv() => ShutdownSignal::FastShutdown,
            () = self.departure.begun.notified() => ShutdownSignal::GracefulTerminate,
        }
    }
}

/// Watches Pingora's phases. Pingora waits out its whole grace time; an edge with no connection left need
/// not.
pub(super) struct Drained {
    phases: Receiver<ExecutionPhase>,
    metrics: Arc<Metrics>,
    departure: Arc<Departure>,
}

impl Drained {
    pub(super) fn watch(server: &Server, metrics: Arc<Metrics>, departure: Arc<Departure>) -> Self {
        Self { phases: server.watch_execution_phase(), metrics, departure }
    }

    /// Returns once Pingora has ended, or is stopping and has no connection left. Calls `on_stop` when it begins to
    /// stop.
    pub(super) fn wait(mut self, pingora: &JoinHandle<()>, on_stop: impl FnOnce()) {
        let mut on_stop = Some(on_stop);
        let mut stopping: Option<Instant> = None;
        while !pingora.is_finished() {
            match self.phases.try_recv() {
                Ok(ExecutionPhase::GracefulTerminate | ExecutionPhase::ShutdownStarted) => {
                    stopping.get_or_insert_with(Instant::now);
                    if let Some(on_stop) = on_stop.take() {
                        on_stop();
                    }
                }
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Closed) => return,
                Err(TryRecvError::Empty) => {
                    // Connections accepted in the last moment are counted a little later than accepted.
                    let settles = match self.departure.is_handed_over() {
                        true => limits::LEAVE_SETTLES,
                        false => limits::STOP_SETTLES,
                    };
                    let settled = stopping.is_some_and(|since| since.elapsed() > settles);
                    if settled && self.metrics.connections() == 0 {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}
