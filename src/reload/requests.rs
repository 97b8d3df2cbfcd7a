//! What the keeper is asked for, and by way of what.

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::authority::StateRequest;
use super::change::ChangeRequest;
use super::note::Note;
use super::rehearsal::RehearsalRequest;
use super::report::Report;
use crate::background;
use crate::pulse::Pulse;

/// Somebody asks for a reload and waits for its report.
#[derive(Debug)]
pub struct ReloadRequest {
    pub(super) answer: oneshot::Sender<Report>,
    /// What the reload is to be recorded with.
    pub(super) note: Option<Note>,
}

/// Somebody approves of the set that is held back, and waits for what comes of it.
#[derive(Debug)]
pub struct ApprovalRequest {
    pub(super) digest: String,
    pub(super) note: Option<String>,
    pub(super) user: String,
    pub(super) answer: oneshot::Sender<Value>,
}

/// Asks for a reload and waits for its report; nothing when the keeper has ended.
pub async fn request_reload(requests: &mpsc::Sender<ReloadRequest>) -> Option<Report> {
    let _waiting = background::Awaited::new();
    let (answer, report) = oneshot::channel();
    requests.send(ReloadRequest { answer, note: None }).await.ok()?;
    report.await.ok()
}

/// Approves of the set with this digest, with a signed statement or as a user of the control socket, and waits for
/// what comes of it; nothing when the keeper has ended.
pub async fn request_approval(
    approvals: &mpsc::Sender<ApprovalRequest>,
    digest: String,
    note: Option<String>,
    user: String,
) -> Option<Value> {
    let _waiting = background::Awaited::new();
    let (answer, outcome) = oneshot::channel();
    approvals.send(ApprovalRequest { digest, note, user, answer }).await.ok()?;
    outcome.await.ok()
}

/// What the keeper is asked, and how it shows that it listens.
pub(super) struct Inbox {
    pub(super) reloads: mpsc::Receiver<ReloadRequest>,
    pub(super) changes: mpsc::Receiver<ChangeRequest>,
    pub(super) approving: mpsc::Receiver<ApprovalRequest>,
    pub(super) rehearsing: mpsc::Receiver<RehearsalRequest>,
    pub(super) states: mpsc::Receiver<StateRequest>,
    pub(super) pulse: Pulse,
}
