//! `max_added` and `max_removed`: how many names a swap adds and takes out.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;

use super::facts::{CaseFacts, SetFacts};
use super::protect::written;
use super::{Finding, Rail, Settings, percent};
use crate::limits;

/// What one set has and another has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// How many names. Beyond [`limits::GUARD_NAMES_TOLD_APART`] a name that several changed cases have counts once
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
    #[must_use]
    pub fn between(before: &dyn SetFacts, after: &dyn SetFacts, now: Timestamp) -> Self {
        let counted = before.cases().iter().filter(|case| case.counts(now));
        Self {
            before: counted.map(|case| case.names).sum(),
            added: only_in(after, before, now),
            removed: only_in(before, after, now),
        }
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

fn only_in(one: &dyn SetFacts, other: &dyn SetFacts, now: Timestamp) -> Difference {
    let theirs = other.cases().iter().filter(|case| case.counts(now));
    let theirs: HashSet<[u8; 32]> = theirs.map(|case| case.names_digest).collect();
    let counts = |case: &CaseFacts| case.counts(now) && !theirs.contains(&case.names_digest);
    let wanted: Vec<bool> = one.cases().iter().map(counts).collect();
    let mut difference = Difference::default();
    let mut concerned = vec![false; wanted.len()];
    let mut seen = HashSet::new();
    one.each_name(&wanted, &mut |at, form, name| {
        if other.holds(form, name, now) {
            return;
        }
        if seen.len() < limits::GUARD_NAMES_TOLD_APART {
            let mut hasher = DefaultHasher::new();
            (form, name).hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                return;
            }
        }
        difference.names = difference.names.saturating_add(1);
        if difference.first.len() < limits::GUARD_NAMES_TOLD {
            difference.first.push(written(form, name));
        }
        if let Some(concerned) = concerned.get_mut(at) {
            *concerned = true;
        }
    });
    let cases = one.cases().iter().zip(concerned).filter(|(_, concerned)| *concerned);
    difference.cases = cases.take(limits::GUARD_NAMES_TOLD).map(|(case, _)| case.id.to_string()).collect();
    difference
}
