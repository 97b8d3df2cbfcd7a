//! One set held against another, name by name: what the one blocks and the other does not.
//!
//! A name is blocked by a case that is carried out and has a pattern for it, but not where an exception of that case
//! covers it. Only cases that the other side does not have as they are get walked through, so that a change costs its
//! own names; where nothing but an exception has come, only the names below it are looked up.

use std::cell::OnceCell;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use jiff::Timestamp;

use super::Difference;
use super::facts::{CaseFacts, OwnNames, SetFacts};
use super::pattern::{covers, suffixes};
use super::protect::written;
use crate::limits;
use crate::policy::{CaseId, Form};

/// Which question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// What is new. A case counts as soon as it is known, also when it begins later.
    Added,
    /// What goes. A case that begins later does not stand in for one that has begun.
    Removed,
}

/// The comparison under way.
pub(super) struct Compared<'s> {
    one: &'s dyn SetFacts,
    other: &'s dyn SetFacts,
    /// Names of the other side that come in order.
    beside: Box<dyn OwnNames + 's>,
    way: Way,
    now: Timestamp,
    ours: Exceptions<'s>,
    theirs: Exceptions<'s>,
    /// The cases of the other side by their names, for those that got another id.
    by_names: OnceCell<HashMap<[u8; 32], Vec<usize>>>,
    /// Pairs whose territories were compared.
    compared: HashMap<(usize, usize), bool>,
    /// Cases of the other side that stand in for one of ours and have exceptions.
    stand_ins: BTreeSet<usize>,
    covering: Vec<usize>,
    seen: HashSet<u64>,
    concerned: Vec<bool>,
    difference: Difference,
}

/// What is to be looked up of a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interest {
    Nothing,
    /// What the exceptions of this case of the other side cover.
    Excepted(usize),
    Everything,
}

impl<'s> Compared<'s> {
    pub(super) fn new(one: &'s dyn SetFacts, other: &'s dyn SetFacts, way: Way, now: Timestamp) -> Self {
        Self {
            one,
            other,
            beside: other.own_names(),
            way,
            now,
            ours: Exceptions::of(one.cases()),
            theirs: Exceptions::of(other.cases()),
            by_names: OnceCell::new(),
            compared: HashMap::new(),
            stand_ins: BTreeSet::new(),
            covering: Vec::new(),
            seen: HashSet::new(),
            concerned: vec![false; one.cases().len()],
            difference: Difference::default(),
        }
    }

    pub(super) fn difference(mut self) -> Difference {
        let interests: Vec<Interest> = (0..self.one.cases().len()).map(|at| self.interest(at)).collect();
        let wanted: Vec<bool> = interests.iter().map(|interest| *interest != Interest::Nothing).collect();
        let one = self.one;
        one.each_name(&wanted, &mut |at, form, name| {
            if let Some(Interest::Excepted(stand_in)) = interests.get(at)
                && !self.theirs.cover(*stand_in, form, name)
            {
                return;
            }
            if !self.ours.cover(at, form, name)
                && !self.is_held_by_the_same_name(at, form, name)
                && !self.is_held(at, form, name)
            {
                self.note(at, form, name);
            }
        });
        self.look_inside();
        let cases = one.cases().iter().zip(self.concerned).filter(|(_, concerned)| *concerned);
        let cases = cases.take(limits::GUARD_NAMES_TOLD).map(|(case, _)| case.id.to_string());
        Difference { cases: cases.collect(), ..self.difference }
    }

    fn interest(&mut self, at: usize) -> Interest {
        let (one, other) = (self.one, self.other);
        let Some(case) = one.cases().get(at).filter(|case| case.counts(self.now)) else {
            return Interest::Nothing;
        };
        let same = position(other.cases(), &case.id).filter(|theirs| self.has_the_same(at, *theirs));
        let stand_in = same.or_else(|| {
            let alike = self.alike(&case.names_digest);
            alike.into_iter().find(|theirs| self.has_the_same(at, *theirs))
        });
        let Some(stand_in) = stand_in else { return Interest::Everything };
        let except = other.cases().get(stand_in).map(|case| case.except.as_slice()).unwrap_or_default();
        let is_ours = |ours: &mut Exceptions<'_>| {
            except.iter().all(|pattern| ours.cover(at, pattern.form, pattern.name.as_str()))
        };
        if except == case.except.as_slice() || is_ours(&mut self.ours) {
            return Interest::Nothing;
        }
        self.stand_ins.insert(stand_in);
        Interest::Excepted(stand_in)
    }

    /// The cases of the other side with just these names.
    fn alike(&self, names: &[u8; 32]) -> Vec<usize> {
        let by_names = self.by_names.get_or_init(|| {
            let mut all: HashMap<[u8; 32], Vec<usize>> = HashMap::new();
            for (at, case) in self.other.cases().iter().enumerate() {
                all.entry(case.names_digest).or_default().push(at);
            }
            all
        });
        by_names.get(names).cloned().unwrap_or_default()
    }

    fn has_the_same(&mut self, ours: usize, theirs: usize) -> bool {
        let (our, their) = (self.one.cases().get(ours), self.other.cases().get(theirs));
        our.map(|case| case.names_digest) == their.map(|case| case.names_digest)
            && self.is_as_wide(ours, theirs)
    }

    /// Whether a case of the other side is carried out wherever ours is.
    fn is_as_wide(&mut self, ours: usize, theirs: usize) -> bool {
        let (Some(our), Some(their)) = (self.one.cases().get(ours), self.other.cases().get(theirs)) else {
            return false;
        };
        let begun = self.way == Way::Added || their.has_begun(self.now) || !our.has_begun(self.now);
        if !their.counts(self.now) || !begun {
            return false;
        }
        if their.territory.is_none() {
            return true;
        }
        *self.compared.entry((ours, theirs)).or_insert_with(|| their.concerns_all_of(our))
    }

    /// Whether the other side has the very name, in a case that leaves nothing out. Most names that a changed case still
    /// has are told by that.
    fn is_held_by_the_same_name(&mut self, at: usize, form: Form, name: &str) -> bool {
        let mut covering = std::mem::take(&mut self.covering);
        covering.clear();
        self.beside.each_covering(form, name, &mut |theirs| covering.push(theirs));
        let holds = |theirs: &usize| !self.theirs.has_any(*theirs) && self.is_as_wide(at, *theirs);
        let held = covering.iter().any(holds);
        self.covering = covering;
        held
    }

    /// Whether the other side blocks all of a pattern of our case.
    fn is_held(&mut self, at: usize, form: Form, name: &str) -> bool {
        let mut covering = std::mem::take(&mut self.covering);
        covering.clear();
        self.other.each_covering(form, name, &mut |theirs| covering.push(theirs));
        let mut held = false;
        for theirs in &covering {
            if self.is_as_wide(at, *theirs) && !self.theirs.cover(*theirs, form, name) {
                held = true;
                if self.theirs.has_any(*theirs) {
                    self.stand_ins.insert(*theirs);
                }
            }
        }
        self.covering = covering;
        held
    }

    /// What an exception takes out of a pattern that is there on both sides: it counts as one name. Asked of the cases
    /// that have changed, and of those that stand in for another.
    fn look_inside(&mut self) {
        let (one, other) = (self.one, self.other);
        for (at, case) in other.cases().iter().enumerate() {
            if case.except.is_empty() || !case.counts(self.now) {
                continue;
            }
            let before = position(one.cases(), &case.id).and_then(|at| one.cases().get(at));
            if before == Some(case) && !self.stand_ins.contains(&at) {
                continue;
            }
            for pattern in &case.except {
                self.look_at(pattern.form, pattern.name.as_str());
            }
        }
    }

    fn look_at(&mut self, form: Form, name: &str) {
        let one = self.one;
        let mut covering = Vec::new();
        one.each_covering(form, name, &mut |ours| covering.push(ours));
        for ours in covering {
            let counts = one.cases().get(ours).is_some_and(|case| case.counts(self.now));
            if counts && !self.ours.cover(ours, form, name) && !self.is_held(ours, form, name) {
                return self.note(ours, form, name);
            }
        }
    }

    fn note(&mut self, at: usize, form: Form, name: &str) {
        if self.seen.len() < limits::GUARD_NAMES_TOLD_APART {
            let mut hasher = DefaultHasher::new();
            (form, name).hash(&mut hasher);
            if !self.seen.insert(hasher.finish()) {
                return;
            }
        }
        self.difference.names = self.difference.names.saturating_add(1);
        if self.difference.first.len() < limits::GUARD_NAMES_TOLD {
            self.difference.first.push(written(form, name));
        }
        if let Some(concerned) = self.concerned.get_mut(at) {
            *concerned = true;
        }
    }
}

/// Where a case is; they are sorted by id.
fn position(cases: &[CaseFacts], id: &CaseId) -> Option<usize> {
    cases.binary_search_by(|case| case.id.cmp(id)).ok()
}

/// The exceptions of the cases of a set.
struct Exceptions<'s> {
    cases: &'s [CaseFacts],
    /// Those of cases with many, by name; made when they are first asked for.
    many: HashMap<usize, HashMap<&'s str, Vec<Form>>>,
}

impl<'s> Exceptions<'s> {
    /// So few are looked through one by one.
    const FEW: usize = 8;

    fn of(cases: &'s [CaseFacts]) -> Self {
        Self { cases, many: HashMap::new() }
    }

    fn has_any(&self, at: usize) -> bool {
        self.cases.get(at).is_some_and(|case| !case.except.is_empty())
    }

    /// Whether an exception of this case covers all of a pattern.
    fn cover(&mut self, at: usize, form: Form, name: &str) -> bool {
        let Some(case) = self.cases.get(at) else { return false };
        if case.except.len() <= Self::FEW {
            let covered = |pattern: &crate::policy::Pattern| {
                covers((pattern.form, pattern.name.as_str()), (form, name))
            };
            return case.except.iter().any(covered);
        }
        let by_name = self.many.entry(at).or_insert_with(|| {
            let mut by_name: HashMap<&str, Vec<Form>> = HashMap::new();
            for pattern in &case.except {
                by_name.entry(pattern.name.as_str()).or_default().push(pattern.form);
            }
            by_name
        });
        suffixes(name).any(|parent| {
            let forms = by_name.get(parent).into_iter().flatten();
            forms.into_iter().any(|wide| covers((*wide, parent), (form, name)))
        })
    }
}

#[cfg(test)]
mod tests;
