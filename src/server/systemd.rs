//! What the service manager is told: `sd_notify(3)`. Without one, nobody.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use sd_notify::NotifyState;

use super::stop::Departure;
use crate::limits;
use crate::pulse::Pulse;

/// Requests are answered.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// No more connections are accepted.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// The settings and policies are read anew; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// The process to watch from now on.
pub(super) fn main_process(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(states: &[NotifyState<'_>]) {
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    if let Err(error) = send(&text) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Never waits for long: a service manager that does not listen must not hold up an upgrade or a stop.
fn send(text: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(limits::NOTIFY_PATIENCE))?;
    match path.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(&path)?,
    }
    socket.send(text.as_bytes()).map(drop)
}

/// What must be alive for the edge to do its work.
#[derive(Debug, Clone)]
pub(super) struct Vitals {
    /// The threads that serve requests.
    pub(super) serving: Pulse,
    /// The keeper of the policy set.
    pub(super) keeper: Pulse,
}

impl Vitals {
    /// Returns once requests are served.
    ///
    /// # Errors
    /// When that does not come to be.
    pub(super) fn wait_for_service(&self) -> io::Result<()> {
        let began = std::time::Instant::now();
        while self.serving.age().is_none() {
            if began.elapsed() > limits::HANDOVER_PATIENCE {
                return Err(io::Error::other("the threads that serve requests do not begin"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The keeper may be busy with one reload for long; a thread that serves never may.
    fn are_good(&self, within: Duration) -> bool {
        self.serving.is_alive(within) && self.keeper.is_alive(limits::KEEPER_BUSY_AT_MOST)
    }
}

/// Pings the service manager's watchdog, if it has set one, as long as the vitals are good and this process is the one
/// that it watches.
pub(super) fn watch(vitals: Vitals, departure: Arc<Departure>) -> io::Result<()> {
    let Some(patience) = sd_notify::watchdog_enabled() else { return Ok(()) };
    let every = patience / 4;
    let pings = move || {
        while !departure.is_handed_over() {
            if vitals.are_good(patience / 2) {
                tell(&[NotifyState::Watchdog]);
            } else {
                tracing::error!("the threads of this edge do not get to their work");
            }
            thread::sleep(every);
        }
    };
    thread::Builder::new().name("watchdog".to_owned()).spawn(pings).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_well_when_it_serves_and_its_keeper_lives() {
        let vitals = Vitals { serving: Pulse::default(), keeper: Pulse::default() };
        let within = Duration::from_secs(60);
        assert!(!vitals.are_good(within));
        vitals.serving.beat();
        assert!(!vitals.are_good(within));
        vitals.keeper.beat();
        assert!(vitals.are_good(within));
        assert!(!vitals.are_good(Duration::ZERO) || vitals.serving.age() == Some(Duration::ZERO));
    }
}
