//! Cases that start or end by themselves, announced in the audit log.
//!
//! The data plane needs none of this: it holds every case against the clock with each request. What happens
//! here is the record of it, and that what is under way is judged again.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::ahead::Turn;
use crate::gate::Gate;

/// A clock that goes back by less than this is being corrected, not set.
const SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// Which starts and ends have been announced.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Everything up to this moment has been announced. It follows the clock, also back.
    announced: Timestamp,
    /// What was announced of the time after that, before the clock was set back.
    ahead: BTreeSet<Turn>,
}

impl Schedule {
    /// Announces what comes after `announced`, apart from what was announced `ahead`: after a restart, what the one
    /// before has left.
    pub(super) fn new(announced: Timestamp, ahead: BTreeSet<Turn>) -> Self {
        Self { announced, ahead }
    }

    /// Up to when everything has been announced.
    pub(super) fn announced(&self) -> Timestamp {
        self.announced
    }

    /// What was announced of the time after that.
    pub(super) fn ahead(&self) -> &BTreeSet<Turn> {
        &self.ahead
    }

    /// Another process has announced everything up to then.
    pub(super) fn skip_to(&mut self, announced: Option<Timestamp>, ahead: BTreeSet<Turn>) {
        if let Some(announced) = announced {
            *self = Self { announced, ahead };
        }
    }

    /// Records what has started or ended by `now`, makes it felt by what is under way, and returns whether there is
    /// anything to remember.
    ///
    /// A clock that was set forward passes over everything in between, in order. One that was set back undoes nothing
    /// that was recorded, and what comes to pass a second time is not recorded again; enforcement goes by the clock
    /// each time.
    pub(super) fn announce(&mut self, gate: &Gate, now: Timestamp) -> bool {
        if now < self.announced {
            self.go_back(gate, now);
            return true;
        }
        let ruleset = gate.ruleset();
        let transitions = ruleset.transitions(self.announced, now);
        for transition in transitions {
            if !self.ahead.remove(&Turn::of(transition)) {
                gate.record_transition(&ruleset, transition);
            }
        }
        if !transitions.is_empty() || ruleset.has_lapse(self.announced, now) {
            gate.changed();
        }
        self.ahead.retain(|turn| turn.at > now);
        self.announced = now;
        !transitions.is_empty()
    }

    fn go_back(&mut self, gate: &Gate, now: Timestamp) {
        let back = self.announced.duration_since(now);
        if back > SET_BACK {
            tracing::warn!(seconds = back.as_secs(), "the clock was set back; cases go by it as it is now");
        }
        let ruleset = gate.ruleset();
        let undone = ruleset.transitions(now, self.announced);
        self.ahead.extend(undone.iter().map(Turn::of));
        if !undone.is_empty() || ruleset.has_lapse(now, self.announced) {
            gate.changed();
        }
        self.announced = now;
    }

    /// When something next starts or ends.
    pub(super) fn next(&self, gate: &Gate) -> Option<Timestamp> {
        gate.ruleset().next_transition(self.announced)
    }
}

#[cfg(test)]
mod tests;
