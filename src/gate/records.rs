//! Records that concern no request: of policy sets, and of cases that turn by themselves.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::found::enforcement_of;
use super::{Gate, object};
use crate::audit::{Event, EventId, Kind, Receipt};
use crate::diagnostic::Diagnostics;
use crate::limits;
use crate::policy::{CompiledCase, Ruleset};

/// What became of the record of a policy set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    id: EventId,
    is_recorded: bool,
}

impl Noted {
    /// The id of the record; none when the log could only count the event, so that no record will ever have that id.
    #[must_use]
    pub fn record(self) -> Option<EventId> {
        self.is_recorded.then_some(self.id)
    }
}

impl From<Receipt> for Noted {
    fn from(receipt: Receipt) -> Self {
        Self { id: receipt.id(), is_recorded: receipt.is_recorded() }
    }
}

impl Gate {
    /// Records that a policy set comes into force; `from` says where it came from, `more` what else there is to say.
    /// Says which record tells of it.
    pub fn record_application(&self, ruleset: &Ruleset, from: &str, mut more: Map<String, Value>) -> Noted {
        let mut detail = object(json!({
            "result": from,
            "digest": ruleset.digest().to_string(),
            "cases": ruleset.cases().len(),
            "hosts": ruleset.host_count(),
        }));
        detail.append(&mut more);
        self.record_plain(Kind::PolicyApplied, ruleset.revision().0, &detail)
    }

    /// Records that a policy set was refused, with its first errors, and `more` about it. Says which
    /// record tells of it.
    pub fn record_rejection(&self, diagnostics: &Diagnostics, mut more: Map<String, Value>) -> Noted {
        let errors: Vec<String> =
            diagnostics.errors().take(limits::REPORTED_DIAGNOSTICS).map(ToString::to_string).collect();
        let mut detail = object(json!({ "error_count": diagnostics.error_count(), "errors": errors }));
        detail.append(&mut more);
        self.record_plain(Kind::PolicyRejected, self.ruleset().revision().0, &detail)
    }

    /// Records that something about a case has come to pass by itself, at a moment of the clock.
    pub fn record_turn(&self, ruleset: &Ruleset, kind: Kind, case: &CompiledCase, at: Timestamp) {
        tracing::info!(case = %case.id, %at, kind = kind.as_str(), "a case changed by itself");
        let pending = self.audit.record(&Event {
            kind,
            revision: ruleset.revision().0,
            enforcement: Some(enforcement_of(case)),
            request: None,
            detail: Some(&object(json!({ "at": at.to_string() }))),
        });
        let _receipt = pending.wait();
    }

    /// Records something that concerns no request, and waits until it is acknowledged. Says which record
    /// tells of it.
    pub fn record_plain(&self, kind: Kind, revision: u64, detail: &Map<String, Value>) -> Noted {
        let pending = self.audit.record(&Event {
            kind,
            revision,
            enforcement: None,
            request: None,
            detail: Some(detail),
        });
        pending.wait().into()
    }
}
