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

    /// Up to when everything has been announced.
    pub(super) fn announced(&self) -> Timestamp {
        self.announced
    }

    /// Another process has announced everything up to then.
    pub(super) fn skip_to(&mut self, announced: Option<Timestamp>) {
        self.announced = announced.map_or(self.announced, |announced| announced.max(self.announced));
    }

    /// Records what has started or ended by `now`, makes it felt by what is under way, and returns whether there was
    /// anything. A clock that was set back announces nothing twice.
    pub(super) fn announce(&mut self, gate: &Gate, now: Timestamp) -> bool {
        if now <= self.announced {
            return false;
        }
        let ruleset = gate.ruleset();
        let transitions = ruleset.transitions(self.announced, now);
        for transition in transitions {
            gate.record_transition(&ruleset, transition);
        }
        if !transitions.is_empty() || ruleset.has_lapse(self.announced, now) {
            gate.changed();
        }
        self.announced = now;
        !transitions.is_empty()
    }

    /// When something next starts or ends.
    pub(super) fn next(&self, gate: &Gate) -> Option<Timestamp> {
        gate.ruleset().next_transition(self.announced)
    }
}
