//! Cases that start or end by themselves, announced in the audit log.
//!
//! The data plane needs none of this: it holds every case against the clock with each request. What happens
//! here is the record of it.

use jiff::Timestamp;

use crate::gate::Gate;

/// Which starts and ends have been announced.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Everything up to this moment has been announced.
    announced: Timestamp,
}

impl Schedule {
    /// Announces what comes after `announced`: after a restart, the time of the last record.
    pub(super) fn new(announced: Timestamp) -> Self {
        Self { announced }
    }

    /// Records what has started or ended by `now`. A clock that was set back announces nothing twice.
    pub(super) fn announce(&mut self, gate: &Gate, now: Timestamp) {
        if now <= self.announced {
            return;
        }
        let ruleset = gate.ruleset();
        for transition in ruleset.transitions(self.announced, now) {
            gate.record_transition(&ruleset, transition);
        }
        self.announced = now;
    }

    /// When something next starts or ends.
    pub(super) fn next(&self, gate: &Gate) -> Option<Timestamp> {
        gate.ruleset().next_transition(self.announced)
    }
}
