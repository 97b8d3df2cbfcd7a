//! How a pattern lies to a few others: apart, within one of them, or cut by one.

use std::collections::{HashMap, HashSet};

use crate::policy::{Form, Pattern};

/// Patterns by their names, and the names above them.
#[derive(Debug, Default)]
pub(super) struct Overlap<'p> {
    at: HashMap<&'p str, Forms>,
    /// Every parent of a name in `at`.
    above: HashSet<&'p str>,
}

/// The forms that the patterns on one name have.
#[derive(Debug, Clone, Copy, Default)]
struct Forms {
    exact: bool,
    subtree: bool,
    below: bool,
}

impl Forms {
    fn add(&mut self, form: Form) {
        match form {
            Form::Exact => self.exact = true,
            Form::Subtree => self.subtree = true,
            Form::Below => self.below = true,
        }
    }

    /// Whether one of them covers all of a pattern on the same name.
    fn cover(self, form: Form) -> bool {
        self.subtree
            || match form {
                Form::Exact => self.exact,
                Form::Below => self.below,
                Form::Subtree => self.exact && self.below,
            }
    }
}

impl<'p> Overlap<'p> {
    pub(super) fn of(patterns: impl IntoIterator<Item = &'p Pattern>) -> Self {
        let mut overlap = Self::default();
        for pattern in patterns {
            overlap.at.entry(pattern.name.as_str()).or_default().add(pattern.form);
            // The parents of a name that is there are there as well.
            for parent in pattern.name.suffixes().skip(1) {
                if !overlap.above.insert(parent) {
                    break;
                }
            }
        }
        overlap
    }

    /// Whether all of `pattern` is covered by those on the same name.
    pub(super) fn covers_at_its_name(&self, pattern: &Pattern) -> bool {
        self.at.get(pattern.name.as_str()).is_some_and(|forms| forms.cover(pattern.form))
    }

    /// The nearest name above that of `pattern` from which all of it is covered.
    pub(super) fn covering_parent<'a>(&self, pattern: &'a Pattern) -> Option<&'a str> {
        let covers = |name: &&str| self.at.get(*name).is_some_and(|forms| forms.subtree || forms.below);
        pattern.name.suffixes().skip(1).find(covers)
    }

    /// Whether all of `pattern` is covered by one, or by those on one name.
    pub(super) fn covers(&self, pattern: &Pattern) -> bool {
        self.covers_at_its_name(pattern) || self.covering_parent(pattern).is_some()
    }

    /// Whether `pattern`, which may be one of these, is within another one.
    pub(super) fn has_wider(&self, pattern: &Pattern) -> bool {
        let at_name = || self.at.get(pattern.name.as_str()).is_some_and(|forms| forms.subtree);
        self.covering_parent(pattern).is_some() || (pattern.form != Form::Subtree && at_name())
    }

    /// Whether one more specific than `pattern` covers a part of it.
    pub(super) fn reaches_into(&self, pattern: &Pattern) -> bool {
        let name = pattern.name.as_str();
        let exact_at_name = || self.at.get(name).is_some_and(|forms| forms.exact);
        match pattern.form {
            Form::Exact => false,
            Form::Subtree => self.above.contains(name) || exact_at_name(),
            Form::Below => self.above.contains(name),
        }
    }

    /// Whether one covers a part of `pattern`, and none all of it.
    pub(super) fn cuts(&self, pattern: &Pattern) -> bool {
        let below_at_name = || {
            self.at.get(pattern.name.as_str()).is_some_and(|forms| forms.below)
                && pattern.form == Form::Subtree
        };
        !self.covers(pattern) && (self.reaches_into(pattern) || below_at_name())
    }

    /// Whether anything is on this name or below it.
    pub(super) fn is_near(&self, name: &str) -> bool {
        self.above.contains(name) || self.at.contains_key(name)
    }
}
