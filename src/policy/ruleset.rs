//! The ruleset: a policy set compiled into the one immutable thing the data plane asks.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use ipnet::IpNet;
use jiff::Timestamp;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::hostname::Hostname;
use crate::limits;
use crate::network::NetworkMap;

use super::book::{Book, ParsedCase};
use super::case::{Case, CaseId};
use super::compiled::CompiledCase;
use super::files::{Digest, PolicyFiles};
use super::names::{BuildError, Layer, Layers, MemorySpool, Named, NamesKey, NamesOf, Run, Spool, Unsorted};
use super::page::Templates;
use super::revision::Revision;

/// What the operator says about itself and every case needs.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// The URL that identifies this operator in `Link: <…>; rel="blocked-by"` (RFC 7725 §4).
    pub blocked_by: Option<String>,
}

/// A start or an end of a case that comes by itself.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The moment from which on it holds.
    pub at: Timestamp,
    /// The case.
    pub case: Arc<CompiledCase>,
    /// Start or end.
    pub kind: TransitionKind,
}

/// What happens to a case at a [`Transition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransitionKind {
    /// It comes into force.
    Effective,
    /// It ends.
    Expired,
}

/// A policy set, compiled. Immutable; shared between all threads and swapped whole.
#[derive(Debug)]
pub struct Ruleset {
    revision: Revision,
    digest: Digest,
    /// Sorted by id, so that the lower position is the lower id.
    cases: Vec<Arc<CompiledCase>>,
    /// Names to positions in `cases`.
    hosts: Layers,
    /// Origin networks to positions in `cases`.
    origins: NetworkMap<u32>,
    /// Sorted by time, then id.
    transitions: Vec<Transition>,
    /// When exemptions end, sorted: nobody is told, but whom they let through has to go.
    lapses: Vec<Timestamp>,
    /// What the pages of its cases were made from.
    pages: Digest,
}

/// Why a set was not compiled.
#[derive(Debug)]
pub enum CompileError {
    /// Faults of the pages or of the set as a whole.
    Faulty(Diagnostics),
    /// Some cases were remembered without their names, and no layer has them: the files must be read whole.
    Forgotten,
}

/// What a set is compiled with.
pub struct Compiling<'a> {
    /// What the operator says about itself.
    pub options: &'a CompileOptions,
    /// The set in force, most of which stays as a rule.
    pub before: Option<&'a Ruleset>,
    /// What is known of that set, names above all.
    pub book: &'a Book,
    /// Where names wait until they are merged.
    pub spool: &'a mut dyn Spool,
}

impl Ruleset {
    /// Compiles cases with the pages among `files`; see [`Ruleset::compile_with`].
    ///
    /// # Errors
    /// Every fault of a page or of the set as a whole, not only the first.
    pub fn compile(cases: Vec<Case>, files: &PolicyFiles) -> Result<Self, Diagnostics> {
        Self::compile_with(cases, files, &CompileOptions::default())
    }

    /// Compiles cases: names into the index, pages into bytes, networks into sorted sets.
    ///
    /// # Errors
    /// Every fault of a page or of the set as a whole, not only the first.
    pub fn compile_with(
        cases: Vec<Case>,
        files: &PolicyFiles,
        options: &CompileOptions,
    ) -> Result<Self, Diagnostics> {
        let cases: Vec<ParsedCase> = cases.into_iter().map(ParsedCase::from).collect();
        let book = Book::default();
        let with = Compiling { options, before: None, book: &book, spool: &mut MemorySpool };
        Self::compile_set(&cases, files, with).map_err(|error| match error {
            CompileError::Faulty(diagnostics) => diagnostics,
            CompileError::Forgotten => set_error("", "the names of a list are not at hand").into(),
        })
    }

    /// Compiles a set that was read, and takes over from the one before what has not changed: names that a layer has
    /// already, and cases whose pages are made.
    ///
    /// # Errors
    /// As [`CompileError`] says; nothing is taken half.
    pub fn compile_set(
        cases: &[ParsedCase],
        files: &PolicyFiles,
        with: Compiling<'_>,
    ) -> Result<Self, CompileError> {
        let mut diagnostics = Diagnostics::default();
        let mut cases: Vec<&ParsedCase> = cases.iter().collect();
        cases.sort_by(|a, b| a.case.id.cmp(&b.case.id));
        for pair in cases.windows(2) {
            if let [first, second] = pair
                && first.case.id == second.case.id
            {
                diagnostics.push(set_error(second.case.id.as_str(), "two cases have this id"));
            }
        }
        let Compiling { options, before, book, spool } = with;
        let pages = pages_digest(files, options);
        let kept = before.filter(|before| before.pages == pages);
        let mut compiled = compile_cases(&cases, files, options, kept, &mut diagnostics);
        if diagnostics.has_errors() {
            return Err(CompileError::Faulty(diagnostics));
        }
        let hosts = place(&cases, book.layers(), spool)?;
        for (case, count) in compiled.iter_mut().zip(hosts.counts(cases.len())) {
            case.count_hosts(count as usize);
        }
        let compiled: Vec<Arc<CompiledCase>> = compiled.into_iter().map(Prepared::shared).collect();
        Ok(Self {
            revision: Revision::default(),
            digest: Digest::default(),
            transitions: transitions(&compiled),
            lapses: lapses(&compiled),
            origins: origins(&compiled),
            cases: compiled,
            hosts,
            pages,
        })
    }

    /// The same rules with all their names in one layer. It takes seconds with millions of names, and is done beside the
    /// traffic; `None` when the names lie well as they are.
    #[must_use]
    pub fn merging(&self) -> Option<Merging> {
        self.hosts.wants_merging(limits::IMAGE_FROM_NAMES).then(|| Merging(self.hosts.clone()))
    }

    /// The same rules with their names in the layer that was merged, and those that came since beside it. Nothing when the
    /// layer is of another set.
    #[must_use]
    pub fn with_merged(&self, merged: &MergedNames) -> Option<Self> {
        let keys: Vec<NamesKey> = self.cases.iter().map(|case| case.names_key()).collect();
        let layers = std::iter::once(merged.layer()).chain(self.hosts.shared());
        Some(Self {
            revision: self.revision,
            digest: self.digest,
            cases: self.cases.clone(),
            hosts: Layers::place(&keys, layers.collect()).ok()?,
            origins: origins(&self.cases),
            transitions: self.transitions.clone(),
            lapses: self.lapses.clone(),
            pages: self.pages,
        })
    }

    /// The image that holds all or most of its names, when there is one.
    #[must_use]
    pub fn image(&self) -> Option<MergedNames> {
        self.hosts.shared().find(|layer| layer.is_image()).map(MergedNames)
    }

    pub(super) fn layers(&self) -> Vec<Arc<Layer>> {
        self.hosts.shared().collect()
    }

    /// The same rules under the number and digest they are put in force with.
    #[must_use]
    pub fn with_identity(self, revision: Revision, digest: Digest) -> Self {
        Self { revision, digest, ..self }
    }

    /// The number of this policy set; 0 until [`Ruleset::with_identity`].
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The digest of the files it was compiled from; zeros until [`Ruleset::with_identity`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Every case, sorted by id, in force or not.
    #[must_use]
    pub fn cases(&self) -> &[Arc<CompiledCase>] {
        &self.cases
    }

    /// The case with this id.
    #[must_use]
    pub fn case(&self, id: &CaseId) -> Option<&Arc<CompiledCase>> {
        let at = self.cases.binary_search_by(|case| case.id.cmp(id)).ok()?;
        self.cases.get(at)
    }

    /// How many host names the cases are built on, whatever the form of their patterns. A name of two cases counts twice.
    #[must_use]
    pub fn host_count(&self) -> usize {
        usize::try_from(self.hosts.names()).unwrap_or(usize::MAX)
    }

    /// Bytes of memory the host index holds.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.hosts.memory_bytes()
    }

    /// Whether any case closes networks to upstream connections.
    #[must_use]
    pub fn has_origins(&self) -> bool {
        !self.origins.is_empty()
    }

    /// The first moment after `after` at which a verdict may change by itself: a case starts or ends, or an
    /// exemption ends.
    #[must_use]
    pub fn next_transition(&self, after: Timestamp) -> Option<Timestamp> {
        let at = self.transitions.partition_point(|one| one.at <= after);
        let lapse = self.lapses.partition_point(|lapse| *lapse <= after);
        let transition = self.transitions.get(at).map(|one| one.at);
        transition.into_iter().chain(self.lapses.get(lapse).copied()).min()
    }

    /// Whether an exemption ends with `from_exclusive < end <= to_inclusive`.
    #[must_use]
    pub fn has_lapse(&self, from_exclusive: Timestamp, to_inclusive: Timestamp) -> bool {
        let next = self.lapses.partition_point(|lapse| *lapse <= from_exclusive);
        self.lapses.get(next).is_some_and(|lapse| *lapse <= to_inclusive)
    }

    /// The starts and ends with `from_exclusive < at <= to_inclusive`, in order of time.
    #[must_use]
    pub fn transitions(&self, from_exclusive: Timestamp, to_inclusive: Timestamp) -> &[Transition] {
        let start = self.transitions.partition_point(|one| one.at <= from_exclusive);
        let end = self.transitions.partition_point(|one| one.at <= to_inclusive);
        self.transitions.get(start..end).unwrap_or_default()
    }

    /// Calls `each` for every case that is built on `host` or a parent of it in a form that covers `host`; a case that is
    /// built on several of these names comes with each, the longest first.
    pub(crate) fn covering<'r, 's>(
        &'r self,
        host: &'s Hostname,
        mut each: impl FnMut(&'r Arc<CompiledCase>, Named<'s>),
    ) {
        self.hosts.covering(host, |named| {
            if let Some(case) = self.cases.get(named.position as usize) {
                each(case, named);
            }
        });
    }

    /// The cases that close a network holding this address, with their position and that network.
    pub(crate) fn closing(&self, origin: IpAddr) -> impl Iterator<Item = (u32, &Arc<CompiledCase>, IpNet)> {
        self.origins.holding(origin).filter_map(|(net, at)| Some((*at, self.cases.get(*at as usize)?, net)))
    }
}

/// Names that are being put into one layer, beside the traffic.
#[derive(Debug)]
pub struct Merging(Layers);

impl Merging {
    /// Does it.
    ///
    /// # Errors
    /// When the names cannot be merged; those in force stay as they are.
    pub fn merge(&self) -> Result<MergedNames, String> {
        let merged = self.0.merged(limits::IMAGE_FROM_NAMES).map_err(|error| error.to_string())?;
        Ok(MergedNames(Arc::new(merged)))
    }
}

/// The names of a set in one layer.
#[derive(Debug, Clone)]
pub struct MergedNames(Arc<Layer>);

impl MergedNames {
    pub(super) fn layer(&self) -> Arc<Layer> {
        Arc::clone(&self.0)
    }

    /// To know them again, without holding them.
    #[must_use]
    pub fn mark(&self) -> NamesMark {
        NamesMark(Arc::downgrade(&self.0))
    }

    /// Writes them to disk; false when they are too few to be worth it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, to: &mut dyn io::Write) -> io::Result<bool> {
        self.0.write(to)
    }

    /// Reads `length` octets that were written by [`MergedNames::write`].
    ///
    /// # Errors
    /// When the disk refuses, or a single bit is not as it was written.
    pub fn read(from: &mut dyn io::Read, length: u64) -> io::Result<Self> {
        Ok(Self(Arc::new(Layer::read(from, length)?)))
    }
}

/// Knows the names of a set again; the default knows none.
#[derive(Debug, Clone, Default)]
pub struct NamesMark(Weak<Layer>);

impl NamesMark {
    /// Whether these are the names it was made for.
    #[must_use]
    pub fn is_of(&self, names: &MergedNames) -> bool {
        Weak::ptr_eq(&self.0, &Arc::downgrade(&names.0))
    }
}

/// A case of the new set: one of the set before, or one that nobody shares yet.
enum Prepared {
    Kept(Arc<CompiledCase>),
    New(CompiledCase),
}

impl Prepared {
    fn count_hosts(&mut self, count: usize) {
        if let Self::New(case) = self {
            case.host_count = count;
        }
    }

    fn shared(self) -> Arc<CompiledCase> {
        match self {
            Self::Kept(case) => case,
            Self::New(case) => Arc::new(case),
        }
    }
}

fn compile_cases(
    cases: &[&ParsedCase],
    files: &PolicyFiles,
    options: &CompileOptions,
    kept: Option<&Ruleset>,
    diagnostics: &mut Diagnostics,
) -> Vec<Prepared> {
    let unchanged = |parsed: &ParsedCase| {
        let before = kept?.case(&parsed.case.id)?;
        before.is_of(parsed.file, parsed.names()).then(|| Arc::clone(before))
    };
    // Pages are only looked at when one has to be made, or has changed.
    let mut templates = kept.is_none().then(|| Templates::load(files, diagnostics));
    let mut compiled = Vec::with_capacity(cases.len());
    for parsed in cases {
        if let Some(before) = unchanged(parsed) {
            compiled.push(Prepared::Kept(before));
            continue;
        }
        let templates = templates.get_or_insert_with(|| Templates::load(files, diagnostics));
        let pages = templates.render(&parsed.case, options, diagnostics);
        match CompiledCase::new(&parsed.case, pages, parsed.file, parsed.names()) {
            Ok(case) => compiled.push(Prepared::New(case)),
            Err(full) => diagnostics.push(set_error("", &full.to_string())),
        }
    }
    compiled
}

/// What the pages of a set are made from: their files, and what the operator says about itself.
fn pages_digest(files: &PolicyFiles, options: &CompileOptions) -> Digest {
    let mut all = options.blocked_by.clone().unwrap_or_default().into_bytes();
    for (path, file) in files.under("pages/") {
        all.push(0);
        all.extend(path.as_bytes());
        all.extend(file.digest.as_bytes());
    }
    Digest::of(&all)
}

/// Finds every case in a layer of the set before, and makes one of the names that are new.
fn place(
    cases: &[&ParsedCase],
    before: &[Arc<Layer>],
    spool: &mut dyn Spool,
) -> Result<Layers, CompileError> {
    let keys: Vec<NamesKey> = cases.iter().map(|parsed| parsed.key.clone()).collect();
    let missing = match Layers::place(&keys, before.to_vec()) {
        Ok(layers) => return Ok(layers),
        Err(missing) => missing,
    };
    let fault =
        |error: &dyn std::fmt::Display| CompileError::Faulty(set_error("", &error.to_string()).into());
    let mut names = Vec::with_capacity(missing.len());
    for parsed in missing.into_iter().filter_map(|position| cases.get(position)) {
        if !parsed.has_names {
            return Err(CompileError::Forgotten);
        }
        names.push(names_of(parsed, spool).map_err(|error| fault(&error))?);
    }
    let live: HashSet<&NamesKey> = keys.iter().collect();
    let fresh = Layer::new(&names, limits::IMAGE_FROM_NAMES);
    let layers = fresh
        .and_then(|fresh| {
            Layers::folded(fresh, before.to_vec(), |key| live.contains(key), limits::IMAGE_FROM_NAMES)
        })
        .map_err(|error: BuildError| fault(&error))?;
    Layers::place(&keys, layers).map_err(|_| CompileError::Forgotten)
}

/// The names of a case: those in its file, and the runs of its lists.
fn names_of(parsed: &ParsedCase, spool: &mut dyn Spool) -> io::Result<NamesOf> {
    let mut written = Unsorted::default();
    for pattern in &parsed.case.hosts {
        if !written.push(pattern) {
            return Err(io::Error::other("a case has more names than the index can address"));
        }
    }
    let mut runs = vec![Run::new(written, spool)?];
    for named in &parsed.case.lists {
        let gone = || io::Error::other(format!("the names of `{}` are not at hand", named.list.path));
        runs.push(named.list.names().ok_or_else(gone)?.clone());
    }
    Ok(NamesOf { key: parsed.key.clone(), runs })
}

fn origins(cases: &[Arc<CompiledCase>]) -> NetworkMap<u32> {
    (0..).zip(cases).flat_map(|(number, case)| case.origins.iter().map(move |net| (*net, number))).collect()
}

fn transitions(cases: &[Arc<CompiledCase>]) -> Vec<Transition> {
    let mut transitions = Vec::new();
    for case in cases {
        // A case that ends before it starts is never in force and has nothing to announce.
        if case.effective.zip(case.expires).is_some_and(|(start, end)| end <= start) {
            continue;
        }
        let ends = [(case.effective, TransitionKind::Effective), (case.expires, TransitionKind::Expired)];
        for (at, kind) in ends {
            transitions.extend(at.map(|at| Transition { at, case: Arc::clone(case), kind }));
        }
    }
    transitions.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.case.id.cmp(&b.case.id)));
    transitions
}

fn lapses(cases: &[Arc<CompiledCase>]) -> Vec<Timestamp> {
    let mut lapses: Vec<Timestamp> = cases.iter().flat_map(|case| case.lapses()).collect();
    lapses.sort_unstable();
    lapses.dedup();
    lapses
}

/// A fault that belongs to the set, not to a place in a file.
fn set_error(text: &str, message: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        file: "cases".to_owned(),
        line: 1,
        column: 1,
        text: text.to_owned(),
        message: message.to_owned(),
        hint: None,
    }
}

#[cfg(test)]
mod tests;
