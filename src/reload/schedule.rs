//! Cases that start or end by themselves, exemptions that end and reviews that fall due, announced in the audit log.
//!
//! The data plane needs none of this: it holds every case against the clock with each request. What happens
//! here is the record of it, and that what is under way is judged again.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::ahead::{Turn, What};
use crate::gate::Gate;
use crate::policy::{CompiledCase, Ruleset, Transition, TransitionKind};

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
        let turns = turns(&ruleset, self.announced, now);
        for (turn, case) in &turns {
            if !self.ahead.remove(turn) {
                gate.record_turn(&ruleset, turn.what.kind(), case, turn.at);
            }
        }
        if turns.iter().any(|(turn, _)| turn.what != What::Review) {
            gate.changed();
        }
        self.ahead.retain(|turn| turn.at > now);
        self.announced = now;
        !turns.is_empty()
    }

    fn go_back(&mut self, gate: &Gate, now: Timestamp) {
        let back = self.announced.duration_since(now);
        if back > SET_BACK {
            tracing::warn!(seconds = back.as_secs(), "the clock was set back; cases go by it as it is now");
        }
        let ruleset = gate.ruleset();
        let undone = turns(&ruleset, now, self.announced);
        if undone.iter().any(|(turn, _)| turn.what != What::Review) {
            gate.changed();
        }
        self.ahead.extend(undone.into_iter().map(|(turn, _)| turn));
        self.announced = now;
    }

    /// When something next starts or ends.
    pub(super) fn next(&self, gate: &Gate) -> Option<Timestamp> {
        gate.ruleset().next_transition(self.announced)
    }
}

/// Everything that comes to pass with `from < at <= to`, in order of time.
fn turns(ruleset: &Ruleset, from: Timestamp, to: Timestamp) -> Vec<(Turn, Arc<CompiledCase>)> {
    let mut turns = Vec::new();
    let mut push = |at, case: &Arc<CompiledCase>, what| {
        turns.push((Turn { at, case: case.id.to_string(), what }, Arc::clone(case)));
    };
    for Transition { at, case, kind } in ruleset.transitions(from, to) {
        let what = if *kind == TransitionKind::Effective { What::Effective } else { What::Expired };
        push(*at, case, what);
    }
    // All cases are gone through only when there is something to be found.
    let is_near = |case: &CompiledCase, at| from < at && at <= to && case.expires.is_none_or(|end| at < end);
    if ruleset.has_lapse(from, to) {
        for case in ruleset.cases() {
            case.lapses().filter(|at| is_near(case, *at)).for_each(|at| push(at, case, What::Exemption));
        }
    }
    if day(from) != day(to) {
        for case in ruleset.cases() {
            let late = case.review.and_then(overdue_from).filter(|at| is_near(case, *at));
            late.into_iter().for_each(|at| push(at, case, What::Review));
        }
    }
    turns.sort_by(|(a, _), (b, _)| a.cmp(b));
    turns.dedup_by(|(a, _), (b, _)| a == b);
    turns
}

fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// A review is overdue when its day has passed.
fn overdue_from(review: Date) -> Option<Timestamp> {
    Some(review.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests;
