//! The facts of a set, taken from its parsed cases and files.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::facts::{CaseFacts, ListFacts, SetFacts};
use super::pattern::suffixes;
use crate::document::BYTE_ORDER_MARK;
use crate::policy::{Case, Form, Mode, Pattern, PolicyFiles, Ruleset};

/// What is kept of a set for the guard: its names as one text a case, everything else in numbers.
#[derive(Debug, Clone, Default)]
pub struct CaseSet {
    cases: Vec<CaseFacts>,
    /// The patterns of each case, one a line.
    names: Vec<Arc<str>>,
    lists: BTreeMap<String, ListFacts>,
}

impl CaseSet {
    /// Takes the facts of parsed cases and the lists they name. What `before` knows of an unchanged list, or of a case
    /// with the same names, is taken over.
    #[must_use]
    pub fn new(cases: &[Case], files: &PolicyFiles, before: Option<&Self>) -> Self {
        let mut sorted: Vec<&Case> = cases.iter().collect();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        let mut set = Self::default();
        for case in sorted {
            let text = names_text(case);
            let facts = case_facts(case, &text);
            let known = before.and_then(|before| before.names_of(&facts));
            set.cases.push(facts);
            set.names.push(known.unwrap_or_else(|| text.into()));
        }
        for (path, content) in files.under("lists/") {
            let digest: [u8; 32] = Sha256::digest(content).into();
            let known =
                before.and_then(|before| before.lists.get(path)).filter(|known| known.digest == digest);
            let facts = known.copied().unwrap_or_else(|| list_facts(digest, content));
            set.lists.insert(path.to_owned(), facts);
        }
        set
    }

    /// The same set, together with the ruleset that was compiled from it.
    #[must_use]
    pub fn with<'s>(&'s self, ruleset: &'s Ruleset) -> CaseSetView<'s> {
        CaseSetView { facts: self, ruleset }
    }

    fn names_of(&self, case: &CaseFacts) -> Option<Arc<str>> {
        let at = self.cases.binary_search_by(|other| other.id.cmp(&case.id)).ok()?;
        let same = self.cases.get(at)?.names_digest == case.names_digest;
        self.names.get(at).filter(|_| same).cloned()
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

    fn each_name(&self, case: usize, each: &mut dyn FnMut(Form, &str)) {
        for line in self.facts.names.get(case).into_iter().flat_map(|names| names.lines()) {
            match (line.strip_prefix("*."), line.strip_prefix('.')) {
                (Some(name), _) => each(Form::Below, name),
                (None, Some(name)) => each(Form::Subtree, name),
                (None, None) => each(Form::Exact, line),
            }
        }
    }

    fn holds(&self, form: Form, name: &str, now: Timestamp) -> bool {
        suffixes(name).enumerate().any(|(depth, suffix)| {
            self.ruleset.naming(suffix).any(|(_, case, forms)| {
                let counts = case.mode == Mode::Enforce && case.expires.is_none_or(|end| now < end);
                // At its own name a pattern is held by the same form or the wider one, above by any suffix form.
                let covered = match form {
                    _ if depth > 0 => forms.covering(false).is_some(),
                    Form::Exact => forms.covering(true).is_some(),
                    Form::Subtree => {
                        forms.covering(true).is_some() && forms.covering(false) == Some(Form::Subtree)
                    }
                    Form::Below => forms.covering(false).is_some(),
                };
                counts && covered
            })
        })
    }

    fn lists(&self) -> &BTreeMap<String, ListFacts> {
        &self.facts.lists
    }
}

fn names_text(case: &Case) -> String {
    let length = case.hosts.iter().map(|pattern| pattern.name.as_str().len() + 3).sum();
    let mut text = String::with_capacity(length);
    for pattern in &case.hosts {
        text.push_str(pattern.form.prefix());
        text.push_str(pattern.name.as_str());
        text.push('\n');
    }
    text
}

fn case_facts(case: &Case, names: &str) -> CaseFacts {
    CaseFacts {
        id: case.id.clone(),
        names_digest: Sha256::digest(names).into(),
        names: u64::try_from(case.hosts.len()).unwrap_or(u64::MAX),
        enforced: case.mode == Mode::Enforce,
        expires: case.expires,
        except: case.except.clone(),
        origins: case.origins.clone(),
    }
}

/// Counts the entries of a list as its reader does.
fn list_facts(digest: [u8; 32], content: &[u8]) -> ListFacts {
    let mut facts = ListFacts { digest, entries: 0, bad: 0 };
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
    for line in content.split(|byte| *byte == b'\n') {
        match std::str::from_utf8(line).map(entry_of) {
            Ok(None) => {}
            Ok(Some(entry)) if is_pattern(entry) => facts.entries += 1,
            _ => facts.bad += 1,
        }
    }
    facts
}

/// The entry of a line, without blanks and comment.
fn entry_of(line: &str) -> Option<&str> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r');
    let line = line.trim_matches(blank);
    let comment = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| line.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with(blank)));
    let entry = line.get(..comment.unwrap_or(line.len()))?.trim_end_matches(blank);
    (!entry.is_empty()).then_some(entry)
}

fn is_pattern(entry: &str) -> bool {
    Pattern::parse(entry).is_ok_and(|pattern| pattern.name.glued_address().is_none())
}
