//! The facts of a set, taken from its ruleset and the lists its cases name.

use std::collections::BTreeMap;

use super::facts::{CaseFacts, ListFacts, OwnNames, SetFacts};
use crate::hostname::Hostname;
use crate::policy::names::{Fingers, Forms};
use crate::policy::{CompiledCase, Form, Mode, ParsedCase, Ruleset};

/// What is kept of a set for the guard: numbers only. The names are where the ruleset has them.
#[derive(Debug, Clone, Default)]
pub struct CaseSet {
    cases: Vec<CaseFacts>,
    lists: BTreeMap<String, ListFacts>,
}

impl CaseSet {
    /// Takes the facts of a ruleset and of the lists that the cases it was compiled from name.
    #[must_use]
    pub fn new(ruleset: &Ruleset, cases: &[ParsedCase]) -> Self {
        let lists = cases.iter().flat_map(|parsed| &parsed.case.lists).map(|named| {
            let list = &named.list;
            let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
            let (entries, bad) = (count(list.entries), count(list.bad_entries));
            (list.path.clone(), ListFacts { digest: *list.digest.as_bytes(), entries, bad })
        });
        Self { lists: lists.collect(), cases: ruleset.cases().iter().map(|case| case_facts(case)).collect() }
    }

    /// The same set, together with the ruleset that was compiled from it.
    #[must_use]
    pub fn with<'s>(&'s self, ruleset: &'s Ruleset) -> CaseSetView<'s> {
        CaseSetView { facts: self, ruleset }
    }
}

/// The facts of a set and its index of names.
#[derive(Debug, Clone, Copy)]
pub struct CaseSetView<'s> {
    facts: &'s CaseSet,
    ruleset: &'s Ruleset,
}

impl SetFacts for CaseSetView<'_> {
    fn cases(&self) -> &[CaseFacts] {
        &self.facts.cases
    }

    fn each_name(&self, wanted: &[bool], each: &mut dyn FnMut(usize, Form, &str)) {
        self.ruleset.each_name_of(wanted, each);
    }

    fn own_names(&self) -> Box<dyn OwnNames + '_> {
        Box::new(self.ruleset.fingers())
    }

    fn each_covering(&self, form: Form, name: &str, each: &mut dyn FnMut(usize)) {
        let Ok(host) = Hostname::parse(name) else { return };
        self.ruleset.naming(&host, |position, own, forms| {
            if if own { holds(forms, form) } else { forms.covering(false).is_some() } {
                each(position);
            }
        });
    }

    fn lists(&self) -> &BTreeMap<String, ListFacts> {
        &self.facts.lists
    }
}

impl OwnNames for Fingers<'_> {
    fn each_covering(&mut self, form: Form, name: &str, each: &mut dyn FnMut(usize)) {
        self.naming(name, |position, forms| {
            if holds(forms, form) {
                each(position);
            }
        });
    }
}

/// Whether forms of a name hold all that one form of the same name does: it is there, or a wider one is.
fn holds(forms: Forms, form: Form) -> bool {
    match form {
        Form::Exact => forms.covering(true).is_some(),
        Form::Subtree => forms.covering(true).is_some() && forms.covering(false) == Some(Form::Subtree),
        Form::Below => forms.covering(false).is_some(),
    }
}

fn case_facts(case: &CompiledCase) -> CaseFacts {
    CaseFacts {
        id: case.id.clone(),
        names_digest: *case.names().as_bytes(),
        names: u64::try_from(case.host_count).unwrap_or(u64::MAX),
        enforced: case.mode == Mode::Enforce,
        effective: case.effective,
        expires: case.expires,
        except: case.exceptions.clone(),
        origins: case.origins.clone(),
        territory: case.territory().cloned(),
        exempt: case.exempted().collect(),
    }
}
