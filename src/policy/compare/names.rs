//! The names of two sets, merged in order: nothing is held of a name but where it is.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::policy::exchange::Concern;
use crate::policy::{Case, CaseId, Pattern};

/// The names of a set with their cases, in order.
#[derive(Debug)]
pub struct Listed<'p> {
    cases: Vec<&'p Case>,
    /// Sorted by name, form and id of the case; each pair once.
    entries: Vec<Entry<'p>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry<'p> {
    pattern: &'p Pattern,
    /// A position in `cases`, which are in the order of their ids.
    case: u32,
}

fn by_name(a: &Pattern, b: &Pattern) -> Ordering {
    a.name.cmp(&b.name).then_with(|| a.form.cmp(&b.form))
}

impl<'p> Listed<'p> {
    /// Sorts the names of all cases, in force or not.
    #[must_use]
    pub fn new(concerns: &'p [Concern<'p>]) -> Self {
        let mut sorted: Vec<&Concern<'_>> = concerns.iter().collect();
        sorted.sort_by(|a, b| a.case.id.cmp(&b.case.id));
        let mut entries = Vec::with_capacity(sorted.iter().map(|concern| concern.hosts.len()).sum());
        for (case, concern) in (0..).zip(&sorted) {
            entries.extend(concern.hosts.iter().map(|pattern| Entry { pattern, case }));
        }
        entries.sort_unstable_by(|a, b| by_name(a.pattern, b.pattern).then(a.case.cmp(&b.case)));
        entries.dedup_by(|a, b| a.case == b.case && a.pattern == b.pattern);
        Self { cases: sorted.iter().map(|concern| concern.case).collect(), entries }
    }

    /// The cases of some entries.
    fn holders(&self, entries: &[Entry<'p>]) -> Vec<&'p Case> {
        let case = |entry: &Entry<'_>| self.cases.get(usize::try_from(entry.case).ok()?).copied();
        entries.iter().filter_map(case).collect()
    }
}

/// A name that is in one set only, or that other cases hold, or hold otherwise.
#[derive(Debug)]
pub struct NameChange<'p> {
    /// The name.
    pub pattern: &'p Pattern,
    /// The cases that hold it in the first set, in the order of their ids; none when it was added.
    pub before: Vec<&'p Case>,
    /// The cases that hold it in the second set; none when it was removed.
    pub after: Vec<&'p Case>,
}

/// How many names differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally<'p> {
    /// In the second set only.
    pub added: u64,
    /// In the first set only.
    pub removed: u64,
    /// In both, under other cases or with another action or mode.
    pub changed: u64,
    /// Names that a case holds in one set only: how many were added to it, and removed from it.
    pub by_case: BTreeMap<&'p CaseId, (u64, u64)>,
}

impl Tally<'_> {
    /// Whether no name differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added == 0 && self.removed == 0 && self.changed == 0
    }
}

/// Merges two lists of names; `each` is told of every difference, in the order of the names.
///
/// # Errors
/// The first one of `each`.
pub fn compare_names<'p, E>(
    before: &Listed<'p>,
    after: &Listed<'p>,
    mut each: impl FnMut(&NameChange<'p>) -> Result<(), E>,
) -> Result<Tally<'p>, E> {
    let mut tally = Tally::default();
    let (mut old, mut new) = (before.entries.as_slice(), after.entries.as_slice());
    while let Some(pattern) = first_of(old, new) {
        let (held_before, held_after) =
            (before.holders(take(&mut old, pattern)), after.holders(take(&mut new, pattern)));
        if held_before.iter().map(said).eq(held_after.iter().map(said)) {
            continue;
        }
        match (held_before.is_empty(), held_after.is_empty()) {
            (true, _) => tally.added += 1,
            (_, true) => tally.removed += 1,
            _ => tally.changed += 1,
        }
        for case in without(&held_after, &held_before) {
            tally.by_case.entry(&case.id).or_default().0 += 1;
        }
        for case in without(&held_before, &held_after) {
            tally.by_case.entry(&case.id).or_default().1 += 1;
        }
        each(&NameChange { pattern, before: held_before, after: held_after })?;
    }
    Ok(tally)
}

/// What a case says of a name, as far as it counts as a change of the name.
fn said<'c>(case: &&'c Case) -> (&'c CaseId, &'static str, &'static str) {
    (&case.id, case.action.as_str(), case.mode.as_str())
}

fn without<'c, 'p>(cases: &'c [&'p Case], others: &'c [&'p Case]) -> impl Iterator<Item = &'p Case> + 'c {
    cases.iter().copied().filter(|case| !others.iter().any(|other| other.id == case.id))
}

/// The pattern that comes first in either.
fn first_of<'p>(old: &[Entry<'p>], new: &[Entry<'p>]) -> Option<&'p Pattern> {
    match (old.first(), new.first()) {
        (Some(a), Some(b)) if by_name(a.pattern, b.pattern).is_gt() => Some(b.pattern),
        (Some(a), _) => Some(a.pattern),
        (None, b) => b.map(|b| b.pattern),
    }
}

/// Takes the entries of `pattern` off the front.
fn take<'e, 'p>(entries: &mut &'e [Entry<'p>], pattern: &Pattern) -> &'e [Entry<'p>] {
    let count = entries.iter().take_while(|entry| entry.pattern == pattern).count();
    let (taken, rest) = entries.split_at_checked(count).unwrap_or((entries, &[]));
    *entries = rest;
    taken
}
