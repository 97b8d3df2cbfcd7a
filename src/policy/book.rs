//! What was read of a policy set, remembered for the next one: a file that has not changed is not read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::case::{Case, CaseId};
use super::files::{Digest, PolicyFile, PolicyFiles};
use super::list::{HostList, NamedList};
use super::merged::MergedNames;
use super::names::{Layer, NamesKey};
use super::page::DEFAULT_PAGE;
use super::ruleset::Ruleset;
use crate::diagnostic::Diagnostics;

/// A case as it was read, and what that took.
#[derive(Debug, Clone)]
pub struct ParsedCase {
    /// The case.
    pub case: Arc<Case>,
    /// How many host patterns it has, doubles included. The case itself may have let go of them.
    pub patterns: usize,
    /// Its file.
    path: String,
    /// What the file was; nothing when the case came from no file.
    pub(super) file: Option<Digest>,
    pub(super) id_line: u32,
    pub(super) key: NamesKey,
    /// Whether its names are at hand: written into the case, and in the runs of its lists.
    pub(super) has_names: bool,
    pub(super) found: Diagnostics,
}

impl ParsedCase {
    pub(super) fn new(path: &str, file: Digest, id_line: u32, case: Case, found: Diagnostics) -> Self {
        Self { path: path.to_owned(), file: Some(file), id_line, found, ..Self::from(case) }
    }

    /// The digest of its names: it changes when they do.
    #[must_use]
    pub fn names(&self) -> Digest {
        self.key.names
    }

    /// Without its names, which are in an index by now.
    fn remembered(&self) -> Self {
        let holds_none = self.case.lists.iter().all(|named| named.list.names().is_none());
        if self.case.hosts.is_empty() && holds_none {
            return Self { has_names: false, ..self.clone() };
        }
        let forget = |named: &NamedList| NamedList {
            list: Arc::new(named.list.without_names()),
            refuses_bad_entries: named.refuses_bad_entries,
        };
        let case = Case {
            hosts: Vec::new(),
            lists: self.case.lists.iter().map(forget).collect(),
            ..self.case.as_ref().clone()
        };
        Self { case: Arc::new(case), has_names: false, ..self.clone() }
    }
}

impl From<Case> for ParsedCase {
    fn from(case: Case) -> Self {
        Self {
            key: NamesKey { case: case.id.clone(), names: case.names_digest() },
            patterns: case.pattern_count(),
            has_names: case.lists.iter().all(|named| named.list.names().is_some()),
            case: Arc::new(case),
            path: String::new(),
            file: None,
            id_line: 1,
            found: Diagnostics::new(),
        }
    }
}

/// The cases of a policy set, and everything that was wrong with them.
#[derive(Debug)]
pub struct ParsedSet {
    /// In the order of their files.
    pub cases: Vec<ParsedCase>,
    /// Errors and warnings of all files.
    pub found: Diagnostics,
    /// How many lists were read for it.
    pub lists_read: usize,
}

/// What is known of the set in force: its files, and the layers that have its names.
#[derive(Debug, Default)]
pub struct Book {
    cases: BTreeMap<String, ParsedCase>,
    lists: BTreeMap<Digest, HostList>,
    layers: Vec<Arc<Layer>>,
}

impl Book {
    /// Remembers a set that was read and compiled, and nothing of the one before it.
    #[must_use]
    pub fn of(cases: &[ParsedCase], compiled: &Ruleset) -> Self {
        let lists = cases.iter().flat_map(|parsed| &parsed.case.lists);
        Self {
            lists: lists.map(|named| (named.list.digest, named.list.without_names())).collect(),
            cases: cases.iter().map(|parsed| (parsed.path.clone(), parsed.remembered())).collect(),
            layers: compiled.layers(),
        }
    }

    /// What an earlier process has left: lists that it had read, and the names.
    #[must_use]
    pub fn restored(lists: Vec<HostList>, names: &MergedNames) -> Self {
        let lists = lists.into_iter().map(|list| (list.digest, list));
        Self { cases: BTreeMap::new(), lists: lists.collect(), layers: vec![names.layer()] }
    }

    /// The lists, for the next process.
    pub fn lists(&self) -> impl Iterator<Item = &HostList> {
        self.lists.values()
    }

    /// The names lie in other layers by now.
    pub fn moved(&mut self, compiled: &Ruleset) {
        self.layers = compiled.layers();
    }

    /// Whether a list with this content was read, so that its content is not needed for cases that have named it.
    #[must_use]
    pub fn has_list(&self, digest: Digest) -> bool {
        self.lists.contains_key(&digest)
    }

    /// Whether the set has a case in this file.
    #[must_use]
    pub fn has_case(&self, path: &str) -> bool {
        self.cases.contains_key(path)
    }

    /// The id of the case in this file, when the set has just this file.
    #[must_use]
    pub fn case_in(&self, path: &str, digest: Digest) -> Option<&CaseId> {
        let known = self.cases.get(path).filter(|known| known.file == Some(digest))?;
        Some(&known.case.id)
    }

    pub(super) fn list(&self, digest: Digest) -> Option<&HostList> {
        self.lists.get(&digest)
    }

    pub(super) fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// Whether the names of a case, whatever they are, lie in a layer.
    pub(super) fn has_names(&self, case: &Case) -> bool {
        let key = NamesKey { case: case.id.clone(), names: case.names_digest() };
        self.layers.iter().any(|layer| layer.has(&key))
    }

    /// The case of a file, when neither the file nor a list or page that it names has changed.
    pub(super) fn known(&self, path: &str, file: &PolicyFile, files: &PolicyFiles) -> Option<&ParsedCase> {
        let known = self.cases.get(path).filter(|known| known.file == Some(file.digest))?;
        let same = |named: &NamedList| {
            files.files.get(&named.list.path).is_some_and(|file| file.digest == named.list.digest)
        };
        let page = &known.case.page;
        let has_page = page == DEFAULT_PAGE || files.has(&format!("pages/{page}.html"));
        (has_page && known.case.lists.iter().all(same)).then_some(known)
    }
}
