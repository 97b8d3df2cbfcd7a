//! `max_added` and `max_removed`: how many names a swap adds and takes out.

use std::thread::{self, ScopedJoinHandle};

use jiff::Timestamp;

use super::compared::{Compared, Way};
use super::facts::{CaseFacts, SetFacts};
use super::{Finding, Rail, Settings, percent};
use crate::{background, limits};

/// What one set has and another has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// How many names. Beyond [`crate::limits::GUARD_NAMES_TOLD_APART`] a name that several changed cases have counts once
    /// for each.
    pub names: u64,
    /// The first of them.
    pub first: Vec<String>,
    /// The first cases that have them.
    pub cases: Vec<String>,
}

/// What a swap does to the names that are blocked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names in force before.
    pub before: u64,
    /// What is new.
    pub added: Difference,
    /// What goes.
    pub removed: Difference,
}

impl Changes {
    /// Compares two sets. Only cases whose names are not there under any id on the other side are walked through, so
    /// that a changed case costs its own names and a renamed one nothing.
    ///
    /// A name goes when its pattern does, and as well when an exception takes it out, when the case turns to shadow, is
    /// put off into the future or gets a territory that leaves clients out. It is new when any of these is undone, but
    /// for the start: a case counts from when it is known.
    #[must_use]
    pub fn between(before: &dyn SetFacts, after: &dyn SetFacts, now: Timestamp) -> Self {
        let counted = before.cases().iter().filter(|case| case.counts(now));
        let names: u64 = counted.map(|case| case.names).sum();
        let walked = changed(before, after).saturating_add(changed(after, before));
        let added = || Compared::new(after, before, Way::Added, now).difference();
        let removed = || Compared::new(before, after, Way::Removed, now).difference();
        let (added, removed) = if walked < limits::COMPARED_BY_ONE_NAMES {
            (added(), removed())
        } else {
            both(&added, &removed)
        };
        Self { before: names, added, removed }
    }

    pub(super) fn findings(&self, settings: &Settings) -> Vec<Finding> {
        let sides = [
            (Rail::MaxAdded, &self.added, settings.max_added, settings.max_added_percent),
            (Rail::MaxRemoved, &self.removed, settings.max_removed, settings.max_removed_percent),
        ];
        let mut found = Vec::new();
        for (rail, difference, most, most_percent) in sides {
            let share = percent(difference.names, self.before);
            let by_share = self.before >= settings.floor && share > most_percent;
            if difference.names <= most && !by_share {
                continue;
            }
            let verb = if rail == Rail::MaxAdded { "adds" } else { "takes out" };
            let mut message = format!("the set {verb} {} names", difference.names);
            if self.before > 0 {
                message.push_str(&format!(", {share} % of the {} in force", self.before));
            }
            // The bound that was met first is told; a share is told in names, too.
            let limit = if difference.names > most {
                message.push_str(&format!("; {most} may be"));
                most
            } else {
                message.push_str(&format!("; {most_percent} % may be"));
                u64::try_from(u128::from(self.before) * u128::from(most_percent) / 100).unwrap_or(u64::MAX)
            };
            found.push(Finding {
                rail,
                message,
                found: difference.names,
                limit,
                first: difference.first.clone(),
                cases: difference.cases.clone(),
            });
        }
        found
    }
}

/// How many names the cases of one side have that are not just so on the other.
fn changed(one: &dyn SetFacts, other: &dyn SetFacts) -> u64 {
    changed_cases(one, other).fold(0, |names, case| names.saturating_add(case.names))
}

/// The cases of one side that are not just so on the other.
pub fn changed_cases<'a>(
    one: &'a dyn SetFacts,
    other: &'a dyn SetFacts,
) -> impl Iterator<Item = &'a CaseFacts> {
    let is_there = |case: &CaseFacts| {
        let found = other.cases().binary_search_by(|their| their.id.cmp(&case.id));
        found.ok().and_then(|at| other.cases().get(at)) == Some(case)
    };
    one.cases().iter().filter(move |case| !is_there(case))
}

/// Both at once, each on a thread that stands back behind requests.
fn both(
    added: &(impl Fn() -> Difference + Sync),
    removed: &(impl Fn() -> Difference + Sync),
) -> (Difference, Difference) {
    thread::scope(|scope| {
        let behind = thread::Builder::new().name("guard".to_owned()).spawn_scoped(scope, || aside(added));
        let removed =
            match thread::Builder::new().name("guard".to_owned()).spawn_scoped(scope, || aside(removed)) {
                Ok(thread) => ended(thread),
                Err(_) => removed(),
            };
        (behind.map_or_else(|_| added(), ended), removed)
    })
}

fn aside<T>(work: impl Fn() -> T) -> T {
    background::stand_back(limits::COMPILE_NICENESS);
    background::step_aside(limits::ASIDE_AT_MOST);
    work()
}

/// What a thread has found; its panic goes on here.
fn ended(thread: ScopedJoinHandle<'_, Difference>) -> Difference {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
