//! The ruleset: a policy set compiled into the one immutable thing the data plane asks.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::diagnostic::Diagnostics;
use crate::hostname::Hostname;
use crate::limits;
use crate::network::{NetworkMap, canonical_ip, destination};

use super::book::{Book, ParsedCase};
use super::case::{Case, CaseId};
use super::compile::{CompileError, Compiling, set_error};
use super::compiled::CompiledCase;
use super::files::{Digest, PolicyFiles};
use super::here::Here;
use super::merged::{MergedNames, Merging};
use super::names::{Fingers, Forms, Layer, Layers, MemorySpool, Named, NamesKey};
use super::pattern::Form;
use super::revision::Revision;

/// What the operator says about itself and every case needs.
#[derive(Debug, Clone)]
pub struct CompileOptions {
    /// The URL that identifies this operator in `Link: <…>; rel="blocked-by"` (RFC 7725 §4).
    pub blocked_by: Option<String>,
    /// Which edge it is for.
    pub here: Here,
    /// From so many names on a layer of the index is an image; [`limits::IMAGE_FROM_NAMES`] by itself.
    pub image_from_names: u64,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self { blocked_by: None, here: Here::default(), image_from_names: limits::IMAGE_FROM_NAMES }
    }
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
    pub(super) revision: Revision,
    pub(super) digest: Digest,
    /// Sorted by id, so that the lower position is the lower id.
    pub(super) cases: Vec<Arc<CompiledCase>>,
    /// Names to positions in `cases`.
    pub(super) hosts: Layers,
    /// Origin networks to positions in `cases`.
    pub(super) origins: NetworkMap<u32>,
    /// Sorted by time, then id.
    pub(super) transitions: Vec<Transition>,
    /// When exemptions end, sorted: nobody is told, but whom they let through has to go.
    pub(super) lapses: Vec<Timestamp>,
    /// What the pages of its cases were made from.
    pub(super) pages: Digest,
    /// See [`CompileOptions::image_from_names`].
    pub(super) image_from: u64,
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

    /// The same rules with all their names in one layer. It takes seconds with millions of names, and is done beside the
    /// traffic; `None` when the names lie well as they are.
    #[must_use]
    pub fn merging(&self) -> Option<Merging> {
        self.hosts.wants_merging(self.image_from).then(|| Merging::of(self.hosts.clone(), self.image_from))
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
            image_from: self.image_from,
        })
    }

    /// The image that holds all or most of its names, when there is one.
    #[must_use]
    pub fn image(&self) -> Option<MergedNames> {
        self.hosts.shared().find(|layer| layer.is_image()).map(MergedNames::of)
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

    /// Calls `each` for every case built on `host` or a parent of it, whatever it covers: with its position in
    /// [`Ruleset::cases`], whether that name is the host's own, and the forms of its patterns.
    pub(crate) fn naming(&self, host: &Hostname, mut each: impl FnMut(usize, bool, Forms)) {
        self.hosts.naming_all(host, |_, own, position, forms| each(position as usize, own, forms));
    }

    /// Looks names up that mostly come in the order of [`Self::each_name_of`].
    pub(crate) fn fingers(&self) -> Fingers<'_> {
        self.hosts.fingers()
    }

    /// Calls `each` with every pattern of the wanted cases, by their position in [`Ruleset::cases`].
    pub(crate) fn each_name_of(&self, wanted: &[bool], each: &mut dyn FnMut(usize, Form, &str)) {
        self.hosts.each_name_of(wanted, each);
    }

    /// The cases that close a network holding this address, or the one that a connection to it leads to, with their
    /// position and that network.
    pub(crate) fn closing(&self, origin: IpAddr) -> impl Iterator<Item = (u32, &Arc<CompiledCase>, IpNet)> {
        let led = Some(destination(origin)).filter(|led| *led != canonical_ip(origin));
        let holding =
            self.origins.holding(origin).chain(led.into_iter().flat_map(|led| self.origins.holding(led)));
        holding.filter_map(|(net, at)| Some((*at, self.cases.get(*at as usize)?, net)))
    }
}

pub(super) fn origins(cases: &[Arc<CompiledCase>]) -> NetworkMap<u32> {
    (0..).zip(cases).flat_map(|(number, case)| case.origins.iter().map(move |net| (*net, number))).collect()
}

pub(super) fn transitions(cases: &[Arc<CompiledCase>]) -> Vec<Transition> {
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

pub(super) fn lapses(cases: &[Arc<CompiledCase>]) -> Vec<Timestamp> {
    let mut lapses: Vec<Timestamp> = cases.iter().flat_map(|case| case.lapses()).collect();
    lapses.sort_unstable();
    lapses.dedup();
    lapses
}

#[cfg(test)]
mod tests;
