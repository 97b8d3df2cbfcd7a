//! What would replace what, in numbers that somebody who is asked to approve can judge.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::policy::guard::{Changes, Difference};
use crate::policy::{CompiledCase, Ruleset};

/// A set instead of another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// Names in force before.
    pub names: u64,
    /// Names that are new.
    pub names_added: Few,
    /// Names that go.
    pub names_removed: Few,
    /// Cases that are new.
    pub cases_added: Few,
    /// Cases that go.
    pub cases_removed: Few,
    /// Cases whose file or names are others.
    pub cases_changed: Few,
}

/// Some things: how many there are, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Few {
    /// How many.
    pub count: u64,
    /// The first [`limits::GUARD_NAMES_TOLD`].
    pub first: Vec<String>,
}

impl Replacement {
    /// `after` in the place of `before`, whose names are compared in `changes`.
    pub(super) fn of(before: &Ruleset, after: &Ruleset, changes: &Changes) -> Self {
        let mut replacement = Self {
            names: changes.before,
            names_added: Few::names(&changes.added),
            names_removed: Few::names(&changes.removed),
            ..Self::default()
        };
        for case in after.cases() {
            match before.case(&case.id) {
                None => replacement.cases_added.push(case),
                Some(earlier) if !earlier.is_same(case) => replacement.cases_changed.push(case),
                Some(_) => {}
            }
        }
        for case in before.cases() {
            if after.case(&case.id).is_none() {
                replacement.cases_removed.push(case);
            }
        }
        replacement
    }
}

impl Few {
    fn names(difference: &Difference) -> Self {
        Self { count: difference.names, first: difference.first.clone() }
    }

    fn push(&mut self, case: &Arc<CompiledCase>) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < limits::GUARD_NAMES_TOLD {
            self.first.push(case.id.to_string());
        }
    }
}

/// `3 (a.example, b.example, c.example)`; `…` stands for those that are not told.
impl fmt::Display for Few {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count)?;
        if self.first.is_empty() {
            return Ok(());
        }
        let told = u64::try_from(self.first.len()).unwrap_or(u64::MAX);
        let more = if self.count > told { ", …" } else { "" };
        write!(f, " ({}{more})", self.first.join(", "))
    }
}

/// Two lines: names, cases.
impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, names_added, names_removed, cases_added, cases_removed, cases_changed } = self;
        writeln!(f, "  names: {names} before; added {names_added}; taken out {names_removed}")?;
        write!(f, "  cases: added {cases_added}; taken out {cases_removed}; changed {cases_changed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sample::{case, rules, second};

    #[test]
    fn what_is_replaced_is_told_in_numbers_and_by_its_first_names() {
        let many: Vec<String> = (0..9).map(|number| format!("n{number}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let before = rules(vec![case("a", &many), case("b", &["b.example"])]);
        let after = rules(vec![case("a", &["n0.example"]), case("c", &["b.example", "c.example"])]);
        let facts = |rules: &Ruleset| crate::policy::guard::CaseSet::new(rules, &[]);
        let (known, new) = (facts(&before), facts(&after));
        let changes = Changes::between(&known.with(&before), &new.with(&after), second(0));
        let told = Replacement::of(&before, &after, &changes).to_string();
        let mut lines = told.lines();
        let names = lines.next().unwrap();
        assert!(names.starts_with("  names: 10 before; added 1 (c.example); taken out 8 ("), "{names}");
        assert!(names.ends_with(", …)"), "{names}");
        assert_eq!(lines.next(), Some("  cases: added 1 (c); taken out 1 (b); changed 1 (a)"));
    }
}
