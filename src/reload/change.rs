//! A change of the policy directory by a command: the keeper holds still while files are moved, and reads them after.
//!
//! Without that, a reload could see half of a change that takes several renames, or take a file up before it is known
//! why it is there.

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::note::Note;
use super::report::Report;
use crate::background;
use crate::limits;

/// Somebody is about to change the policy directory.
#[derive(Debug)]
pub(super) struct ChangeRequest {
    note: Note,
    ready: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
    answer: oneshot::Sender<Report>,
}

impl ChangeRequest {
    /// Says that the keeper holds still; nothing when whoever asked has gone.
    pub(super) fn hold(self) -> Option<Hold> {
        self.ready.send(()).ok()?;
        let until = Instant::now() + limits::CHANGE_AT_MOST;
        Some(Hold { note: self.note, done: self.done, until, answer: self.answer })
    }
}

/// While this is there the keeper reads nothing by itself.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) note: Note,
    pub(super) answer: oneshot::Sender<Report>,
    done: oneshot::Receiver<()>,
    until: Instant,
}

/// Waits for the end of a hold; true when the change is complete. One that was left by its maker, or takes too long,
/// ends as well: whatever it has left behind is read like any other change.
pub(super) async fn over(hold: &mut Option<Hold>) -> bool {
    let Some(hold) = hold else { return std::future::pending().await };
    tokio::select! {
        done = &mut hold.done => done.is_ok(),
        () = sleep_until(hold.until) => false,
    }
}

/// Asks the keeper to hold still.
#[derive(Debug, Clone)]
pub struct Changes(pub(super) mpsc::Sender<ChangeRequest>);

impl Changes {
    /// Waits until the keeper holds still; nothing when it has ended. Changes wait for each other.
    pub async fn begin(&self, note: Note) -> Option<Change> {
        // A long set that is being compiled is in the way.
        let _waiting = background::Awaited::new();
        let (ready, held) = oneshot::channel();
        let (done, awaited) = oneshot::channel();
        let (answer, report) = oneshot::channel();
        self.0.send(ChangeRequest { note, ready, done: awaited, answer }).await.ok()?;
        held.await.ok()?;
        Some(Change { done, report })
    }
}

/// A change under way. Dropped, it is abandoned.
#[derive(Debug)]
pub struct Change {
    done: oneshot::Sender<()>,
    report: oneshot::Receiver<Report>,
}

impl Change {
    /// Has the keeper read what is there now; nothing when the change took too long, or the keeper has ended.
    pub async fn complete(self) -> Option<Report> {
        let _waiting = background::Awaited::new();
        self.done.send(()).ok()?;
        self.report.await.ok()
    }
}
