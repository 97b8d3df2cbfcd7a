//! The keeper: one thread that hears of changes and carries them out.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::authority::{StateHold, StateRequest};
use super::change::{self, Changes, Hold};
use super::ear::Ear;
use super::note::Told;
use super::rehearsal::RehearsalRequest;
use super::report::Report;
use super::requests::{ApprovalRequest, Inbox, ReloadRequest};
use super::schedule::Schedule;
use super::swap::Swapper;
use crate::background;
use crate::clock::Clock;
use crate::gate::Gate;
use crate::limits;
use crate::pulse::Pulse;

/// Everything the keeper's thread works with.
pub struct Keeper {
    /// Carries out reloads.
    pub swapper: Swapper,
    /// Announces starts and ends of cases after this moment.
    pub announced: Timestamp,
    /// Tells the time of cases.
    pub clock: Arc<dyn Clock>,
    /// How long the directory must be still before it is read.
    pub debounce: Duration,
    /// Whether `SIGHUP` asks for a reload; a library leaves signals to its host.
    pub hangup: bool,
}

/// Reaches the keeper's thread, and ends it.
#[derive(Debug)]
pub struct KeeperHandle {
    requests: mpsc::Sender<ReloadRequest>,
    changes: Changes,
    approvals: mpsc::Sender<ApprovalRequest>,
    rehearsals: mpsc::Sender<RehearsalRequest>,
    state: StateHold,
    pulse: Pulse,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl KeeperHandle {
    /// A way to ask for reloads that can be handed on.
    #[must_use]
    pub fn requests(&self) -> mpsc::Sender<ReloadRequest> {
        self.requests.clone()
    }

    /// A way to change the policy directory while the keeper holds still.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// A way to approve of what is held back that can be handed on.
    #[must_use]
    pub fn approvals(&self) -> mpsc::Sender<ApprovalRequest> {
        self.approvals.clone()
    }

    /// A way to ask what would come of a change.
    #[must_use]
    pub fn rehearsals(&self) -> mpsc::Sender<RehearsalRequest> {
        self.rehearsals.clone()
    }

    /// Has the keeper let go of the state directory for the process that succeeds this one.
    #[must_use]
    pub fn state(&self) -> StateHold {
        self.state.clone()
    }

    /// Beats with every turn of the keeper's loop.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Ends the thread and waits for it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // What it has others do aside is in the way of the end.
        let _waiting = background::Awaited::new();
        // With its sender gone the keeper's loop ends.
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the keeper of the policy set ended in a panic");
        }
    }
}

impl Drop for KeeperHandle {
    fn drop(&mut self) {
        self.end();
    }
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread, no inotify instance or no signal handler.
    pub fn spawn(self) -> io::Result<KeeperHandle> {
        let (requests, reloads) = mpsc::channel(limits::RELOAD_REQUESTS);
        let (change, changes) = mpsc::channel(limits::RELOAD_REQUESTS);
        let (approvals, approving) = mpsc::channel(limits::APPROVAL_REQUESTS);
        let (rehearsals, rehearsing) = mpsc::channel(limits::REHEARSALS);
        let (state, states) = mpsc::channel(1);
        let pulse = Pulse::default();
        let inbox = Inbox { reloads, changes, approving, rehearsing, states, pulse: pulse.clone() };
        let (stop, stopped) = oneshot::channel();
        let (started, outcome) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(self.run(inbox, stopped, &started)),
                Err(error) => {
                    started.send(Err(error)).ok();
                }
            }
        })?;
        match outcome.recv() {
            Ok(Ok(())) => {
                let (state, changes, stop) = (StateHold { requests: state }, Changes(change), Some(stop));
                let thread = Some(thread);
                Ok(KeeperHandle { requests, changes, approvals, rehearsals, state, pulse, stop, thread })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the keeper ended before it had started")),
        }
    }

    async fn run(
        self,
        mut inbox: Inbox,
        mut stopped: oneshot::Receiver<()>,
        started: &std::sync::mpsc::Sender<io::Result<()>>,
    ) {
        let gate = self.swapper.gate();
        let mut work = match Work::new(self, gate) {
            Ok(work) => work,
            Err(error) => {
                started.send(Err(error)).ok();
                return;
            }
        };
        started.send(Ok(())).ok();
        let mut look = interval(limits::LOOK_EVERY);
        let mut tend = interval(limits::TEND_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            inbox.pulse.beat();
            let held = work.hold.is_some();
            let due = work.ear.due().filter(|_| !held);
            let transition = work.next_transition();
            tokio::select! {
                _ = &mut stopped => return work.swapper.tend_unfinished(&mut work.ear),
                Some(request) = inbox.states.recv() => work.hand_over(request),
                complete = change::over(&mut work.hold) => work.end_hold(complete),
                Some(request) = inbox.changes.recv(), if !held => work.hold = request.hold(),
                Some(request) = inbox.reloads.recv(), if !held => work.reload_for(request),
                Some(request) = inbox.approving.recv(), if !held => work.approve(request),
                Some(request) = inbox.rehearsing.recv(), if !held => work.rehearse(request),
                () = work.ear.stirs() => work.ear.hear(),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => drop(work.reload()),
                () = hung_up(&mut work.hangup), if !held => drop(work.reload()),
                () = sleep_until(transition) => work.announce(),
                _ = look.tick() => work.look(),
                _ = tend.tick() => work.tend(),
            }
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// The keeper's state while it runs.
struct Work {
    swapper: Swapper,
    gate: Arc<Gate>,
    schedule: Schedule,
    ear: Ear,
    hangup: Option<Signal>,
    /// Asked for while a file was being written that has to be waited for; they get the report of the reload that follows.
    waiting: Vec<ReloadRequest>,
    /// A command is changing the directory: nothing is read until it has done so.
    hold: Option<Hold>,
    clock: Arc<dyn Clock>,
}

impl Work {
    fn new(keeper: Keeper, gate: Arc<Gate>) -> io::Result<Self> {
        let schedule = Schedule::new(keeper.announced, keeper.swapper.authority().ahead());
        Ok(Self {
            ear: Ear::new(keeper.swapper.directory(), keeper.debounce, keeper.swapper.left())?,
            hangup: keeper.hangup.then(|| signal(SignalKind::hangup())).transpose()?,
            swapper: keeper.swapper,
            gate,
            schedule,
            waiting: Vec::new(),
            hold: None,
            clock: keeper.clock,
        })
    }

    /// Reads the directory now, but for what somebody is in the middle of writing: half a list is a valid, shorter list.
    /// Nothing comes back when the rest has to wait for that; another reading follows then.
    fn reload(&mut self) -> Option<Report> {
        self.ear.begin();
        // What the set in force has to say of its cases comes before the set that replaces it.
        self.announce();
        let Some(report) = self.swapper.reload(&self.told(), &mut self.ear) else {
            if self.ear.due().is_none() {
                self.ear.suspect();
            }
            return None;
        };
        if report.waiting {
            // Whoever has made a change is answered when that is judged.
            let asked = self.waiting.extract_if(.., |request| request.note.is_none());
            for request in asked {
                request.answer.send(report.clone()).ok();
            }
            return None;
        }
        self.swapper.authority().note_announced(self.schedule.announced());
        let swapper = &self.swapper;
        for request in self.waiting.extract_if(.., |request| swapper.has_judged(request.note.as_ref())) {
            // Whoever asked may have gone away; the reload stands.
            request.answer.send(report.clone()).ok();
        }
        Some(report)
    }

    fn told(&self) -> Told {
        let notes = self.waiting.iter().filter_map(|request| request.note.clone()).collect();
        // A command that was given up may have been undone since.
        let live = self.waiting.iter().filter(|request| !request.answer.is_closed());
        let ends =
            live.filter_map(|request| request.note.as_ref()).filter(|note| note.command == "reinstate");
        Told { notes, ended: ends.filter_map(|note| note.case.clone()).collect() }
    }

    fn rehearse(&mut self, request: RehearsalRequest) {
        self.swapper.rehearse_for(request, &mut self.ear);
    }

    fn reload_for(&mut self, request: ReloadRequest) {
        // Commands that were given up are named on record with the set that follows, as long as they are not too many.
        if self.waiting.len() >= limits::RELOADS_WAITING {
            self.waiting.retain(|request| !request.answer.is_closed());
        }
        self.waiting.push(request);
        self.reload();
    }

    /// What a command has changed is read at once. What it has abandoned is read when it has settled, like any change.
    fn end_hold(&mut self, complete: bool) {
        let Some(Hold { note, answer, .. }) = self.hold.take().filter(|_| complete) else { return };
        self.reload_for(ReloadRequest { answer, note: Some(note) });
    }

    /// The last approval that is needed puts the set in force, if it still lies in the directory.
    fn approve(&mut self, request: ApprovalRequest) {
        let ApprovalRequest { digest, note, user, answer } = request;
        let value = match self.swapper.approve(&digest, note.as_deref(), &user) {
            Err(error) => json!({ "error": error.to_string() }),
            Ok(held) => {
                let reloaded = if held.is_approved() { self.reload() } else { None };
                let noted =
                    || json!({ "result": "noted", "approvals": held.approvals, "needed": held.needed });
                reloaded.map_or_else(noted, |report| json!(report))
            }
        };
        // Whoever asked may have gone away; the approval stands.
        answer.send(value).ok();
    }

    /// Catches what inotify cannot tell: network file systems, links whose target changed, lost events.
    fn look(&mut self) {
        if self.hold.is_none() && self.ear.is_quiet() && self.swapper.is_stale(&mut self.ear) {
            self.ear.suspect();
        }
    }

    fn tend(&mut self) {
        self.swapper.drop_retired();
        self.swapper.tend_kept();
        self.swapper.tend_names();
        self.swapper.tend_unfinished(&mut self.ear);
        self.gate.traffic().turn(self.clock.now());
        self.announce();
        if self.hold.is_none() && self.swapper.is_awaited() {
            self.reload();
        }
    }

    fn announce(&mut self) {
        // A successor announces.
        if !self.swapper.authority().is_own() {
            return;
        }
        let now = self.clock.now();
        if self.schedule.announce(&self.gate, now) {
            self.swapper.authority().note_ahead(self.schedule.ahead());
            self.swapper.authority().note_announced(now);
        }
    }

    fn hand_over(&mut self, request: StateRequest) {
        match request {
            StateRequest::LetGo(answer) => {
                // Up to here this process has announced; what comes after is the successor's.
                self.announce();
                self.swapper.authority().note_announced(self.schedule.announced());
                self.swapper.tend_unfinished(&mut self.ear);
                answer.send(self.swapper.let_go()).ok();
            }
            StateRequest::TakeBack(answer) => {
                let outcome = self.swapper.take_back();
                if outcome.is_ok() {
                    let announced = self.swapper.authority().announced();
                    self.schedule.skip_to(announced, self.swapper.authority().ahead());
                    self.reload();
                }
                answer.send(outcome).ok();
            }
        }
    }

    /// When the next case starts or ends, on the runtime's clock. Looked at again with every turn of the
    /// loop, and that is at least every [`limits::TEND_EVERY`], so a clock that jumps is followed.
    fn next_transition(&self) -> Instant {
        let wait = self.schedule.next(&self.gate).map(|at| at.duration_since(self.clock.now()));
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or(Duration::ZERO);
        match self.schedule.next(&self.gate) {
            Some(_) => Instant::now() + wait.min(limits::LOOK_EVERY),
            None => Instant::now() + limits::LOOK_EVERY,
        }
    }
}
