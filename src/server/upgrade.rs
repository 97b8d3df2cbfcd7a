//! A graceful upgrade, as the process that is to be succeeded sees it.
//!
//! It starts its own program anew, hands over the listening sockets, lets go of the state directory when the new
//! process asks for it, and stops when that one serves. At every step before the last it can go on as if nothing had
//! happened, and does so when the new process ends, fails or takes too long.

use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use serde_json::{Value, json};

use super::handover::{Channel, Message, Named, SUCCEED};
use super::launch::Launch;
use super::stop::Departure;
use super::systemd;
use crate::limits;
use crate::reload::StateHold;

/// What a new process has been given, and gives back when it does not come to serve.
#[derive(Debug, Default)]
struct Given {
    /// The state directory.
    state: bool,
    /// The eye of the service manager.
    place: bool,
}

/// Has this process succeeded by a new one.
#[derive(Debug)]
pub(super) struct Upgrader {
    launch: Launch,
    /// For the new process. Gone once this one stops, so that nobody waits at a socket that is never accepted from.
    sockets: Mutex<Option<Arc<Named>>>,
    state: StateHold,
    departure: Arc<Departure>,
    under_way: Mutex<()>,
}

impl Upgrader {
    pub(super) fn new(launch: Launch, sockets: Named, state: StateHold, departure: Arc<Departure>) -> Self {
        let sockets = Mutex::new(Some(Arc::new(sockets)));
        Self { launch, sockets, state, departure, under_way: Mutex::default() }
    }

    /// Upgrades, and returns the answer for the control socket. Blocks until the new process serves or has failed.
    pub(super) fn upgrade(&self) -> Value {
        let Ok(_one_at_a_time) = self.under_way.try_lock() else {
            return json!({ "error": "an upgrade is under way already" });
        };
        let began = Instant::now();
        match self.start_successor() {
            Ok(pid) => {
                tracing::info!(pid, "another process serves now; this one ends what it has begun");
                json!({ "result": "upgraded", "pid": pid, "seconds": began.elapsed().as_secs_f64() })
            }
            Err(reason) => {
                tracing::error!(%reason, "the upgrade failed; this process goes on");
                json!({ "error": format!("the upgrade failed, and the running edge goes on: {reason}") })
            }
        }
    }

    /// This process stops: there is nothing to hand over any more.
    pub(super) fn close(&self) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn sockets(&self) -> Result<Arc<Named>, String> {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sockets.ok_or_else(|| "the edge is stopping".to_owned())
    }

    fn start_successor(&self) -> Result<u32, String> {
        if std::process::id() == 1 {
            return Err(
                "this edge is the first process of its container, and with it everything there would end: \
                        start another container"
                    .to_owned(),
            );
        }
        let sockets = self.sockets()?;
        let (channel, theirs) = Channel::pair().map_err(in_words("making a pair of sockets"))?;
        let mut child = self.spawn(theirs.into()).map_err(in_words("starting the new process"))?;
        let pid = child.id();
        let mut given = Given::default();
        let accompanied = self.accompany(&channel, sockets, pid, &mut given);
        let Err(mut reason) = accompanied else {
            self.departure.hand_over();
            return Ok(pid);
        };
        if given.place {
            systemd::main_process(std::process::id());
        }
        if let Some(status) = end(&mut child) {
            reason = format!("{reason} ({status})");
        }
        if given.state {
            self.take_back();
        }
        Err(reason)
    }

    fn spawn(&self, stdin: Stdio) -> io::Result<Child> {
        let mut command = self.launch.command()?;
        // What systemd told this process alone.
        for variable in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(variable);
        }
        // With `command` goes this process's copy of the other end: the end of the new process is noticed.
        command.env(SUCCEED, "1").stdin(stdin).spawn()
    }

    /// Answers the new process until it serves.
    fn accompany(
        &self,
        channel: &Channel,
        sockets: Arc<Named>,
        pid: u32,
        given: &mut Given,
    ) -> Result<(), String> {
        let began = Instant::now();
        channel.send_sockets(&sockets).map_err(in_words("handing over the sockets"))?;
        drop(sockets);
        loop {
            let left = limits::UPGRADE_AT_MOST.saturating_sub(began.elapsed());
            match receive(channel, left)? {
                Message::Prepared => {
                    given.state = true;
                    let revision = self.state.let_go().ok_or("the edge is stopping")?;
                    send(channel, &Message::State { revision })?;
                }
                Message::Ready => break,
                other => return Err(unexpected(&other)),
            }
        }
        // A stop that was asked for meanwhile is meant for both.
        self.sockets()?;
        given.place = true;
        systemd::main_process(pid);
        send(channel, &Message::Yours)?;
        match receive(channel, limits::HANDOVER_PATIENCE)? {
            Message::Settled => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Goes on making revisions. The new process is gone, and with it its hold on the state directory.
    fn take_back(&self) {
        let began = Instant::now();
        while let Err(error) = self.state.take_back() {
            if began.elapsed() > limits::HANDOVER_PATIENCE {
                tracing::error!(%error, "policies can no longer be changed; restart this edge");
                return;
            }
            thread::sleep(limits::CONTROL_RETRY);
        }
    }
}

fn send(channel: &Channel, message: &Message) -> Result<(), String> {
    channel.send(message).map_err(in_words("speaking to the new process"))
}

fn receive(channel: &Channel, patience: Duration) -> Result<Message, String> {
    match channel.receive(patience.max(Duration::from_millis(1))) {
        Ok(Message::Failed { reason }) => Err(reason),
        Ok(message) => Ok(message),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err("the new process ended before it served".to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err("the new process did not serve in time".to_owned())
        }
        Err(error) => Err(in_words("listening to the new process")(error)),
    }
}

fn unexpected(message: &Message) -> String {
    format!("the new process said {message:?} out of turn")
}

fn in_words(what: &'static str) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Ends a new process that must not serve. How it ended, when that was by itself.
fn end(child: &mut Child) -> Option<ExitStatus> {
    // One that has ended by itself may take a moment to be gone.
    let began = Instant::now();
    while began.elapsed() < limits::SUCCESSOR_ENDS {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let ended = child.kill().and_then(|()| child.wait());
    if let Err(error) = ended {
        tracing::error!(%error, pid = child.id(), "the new process could not be ended");
    }
    None
}
