//! Signals between the start of the process and the moment at which it serves.
//!
//! What a signal does by itself is to end the process, and one that means `reload` must not. All that an edge knows are
//! therefore heard from the first line on, and answered once there is something to answer with.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// For a signal that has come to be noticed.
const NOTICE: Duration = Duration::from_millis(1);

/// The signals of an edge, and what hears them until others do.
pub(super) struct Early {
    runtime: Runtime,
    stop: Stop,
    work: Work,
}

/// What ends an edge.
pub(super) struct Stop {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
}

/// What has it do as commands do.
pub(super) struct Work {
    pub(super) hangup: Signal,
    pub(super) upgrade: Signal,
}

impl Early {
    /// Hears all of them from now on. What comes before somebody listens is kept, several of a kind as one.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let stop =
            Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        let work =
            Work { hangup: signal(SignalKind::hangup())?, upgrade: signal(SignalKind::user_defined2())? };
        drop(entered);
        Ok(Self { runtime, stop, work })
    }

    /// Whether it was told to stop before it served.
    pub(super) fn is_told_to_stop(&mut self) -> bool {
        let Stop { terminate, interrupt } = &mut self.stop;
        let told = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let told = self.runtime.block_on(async { timeout(NOTICE, told).await.is_ok() });
        if told {
            tracing::info!("told to stop before it serves");
        }
        told
    }

    /// For those who answer them from now on, and the runtime that hears them.
    pub(super) fn share(self) -> (Runtime, Stop, Work) {
        (self.runtime, self.stop, self.work)
    }
}
