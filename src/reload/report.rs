//! What the last reload came to, for `/status` and `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

use super::held::Held;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gate::Noted;
use crate::limits;
use crate::policy::Ruleset;

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Result {
    /// A new set is in force.
    Applied,
    /// The files are those of the set in force.
    Unchanged,
    /// The files hold errors; the set in force stays.
    Rejected,
    /// The edge started on the last good set, because the files hold errors.
    LastGood,
    /// The files are a good set that is over a limit of the guard and waits for approval; the set in force stays.
    Held,
}

impl Result {
    /// The word used in status, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
            Self::LastGood => "last-good",
            Self::Held => "held",
        }
    }

    /// Every result, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Applied, Self::Unchanged, Self::Rejected, Self::LastGood, Self::Held];
}

/// The last reload.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How it ended.
    pub result: Result,
    /// When, UTC.
    pub at: Timestamp,
    /// How long it took, in seconds, from the first byte read to the swap.
    pub seconds: f64,
    /// Its errors, one line each; the first ones when there are many.
    pub errors: Vec<String>,
    /// Its warnings, one line each; the first ones when there are many.
    pub warnings: Vec<String>,
    /// The revision in force after it.
    pub revision: u64,
    /// The digest of the set in force after it, in hexadecimal.
    pub digest: String,
    /// The id of the record that tells of it: of the `policy.rejected` of a set that was refused, else of the
    /// `policy.applied` of the set in force. None when another process has recorded that, or nobody: see `counted`.
    pub event: Option<String>,
    /// Whether the audit log could only count the event, so that no record tells of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
    /// Whether something has changed that waits for a file that is being written, and nothing of it could be taken; the
    /// warnings say what.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waiting: bool,
    /// What is held back and waits for approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// The last report, shared with whoever shows it. Written by the keeper only.
#[derive(Debug, Clone)]
pub struct SharedReport(Arc<Mutex<Report>>);

impl SharedReport {
    /// Starts with the report of the load at start.
    #[must_use]
    pub fn new(report: Report) -> Self {
        Self(Arc::new(Mutex::new(report)))
    }

    /// The last report.
    #[must_use]
    pub fn latest(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, report: Report) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }
}

/// The first of these as text.
pub(super) fn lines(severity: Vec<&Diagnostic>) -> Vec<String> {
    severity.into_iter().take(limits::REPORTED_DIAGNOSTICS).map(ToString::to_string).collect()
}

/// A report before it is known what is in force after it.
pub(super) fn report(result: Result, diagnostics: &Diagnostics, at: Timestamp, began: Instant) -> Report {
    Report {
        result,
        at,
        seconds: began.elapsed().as_secs_f64(),
        errors: lines(diagnostics.errors().collect()),
        warnings: lines(diagnostics.warnings().collect()),
        revision: 0,
        digest: String::new(),
        event: None,
        counted: false,
        waiting: false,
        held: None,
    }
}

/// Tells the log of the edge what came of a reload.
pub(super) fn log_report(report: &Report, ruleset: &Ruleset) {
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    for error in &report.errors {
        tracing::error!("{error}");
    }
    let (revision, cases, hosts) = (ruleset.revision(), ruleset.cases().len(), ruleset.host_count());
    match report.result {
        Result::Applied => {
            tracing::info!(%revision, cases, hosts, seconds = report.seconds, "policy set in force");
        }
        Result::Unchanged if report.waiting => {
            tracing::info!(%revision, "what has changed in the policy directory is read when it is complete");
        }
        Result::Unchanged => tracing::info!(%revision, "policy set unchanged"),
        Result::Rejected => {
            tracing::error!(%revision, "policy set refused; the running one stays");
        }
        Result::Held => {
            tracing::error!(%revision, "policy set held back; the running one stays until it is approved");
        }
        Result::LastGood => {
            tracing::error!(%revision, "policy set refused; started on the last good one");
        }
    }
}

/// A report that says what is in force after it, and where that is recorded.
pub(super) fn identified(report: Report, in_force: &Ruleset, noted: Option<Noted>) -> Report {
    let (revision, digest) = (in_force.revision().0, in_force.digest().to_string());
    let event = noted.and_then(Noted::record);
    let counted = noted.is_some() && event.is_none();
    Report { revision, digest, event: event.map(|event| event.to_string()), counted, ..report }
}
