//! The ruleset: a policy set compiled into the one immutable thing the data plane asks.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::network::NetworkMap;

use super::case::{Case, CaseId};
use super::compiled::CompiledCase;
use super::files::{Digest, PolicyFiles};
use super::here::Here;
use super::index::{Forms, HostIndex, IndexFull};
use super::page::Templates;
use super::revision::Revision;

/// What the operator says about itself and every case needs.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// The URL that identifies this operator in `Link: <…>; rel="blocked-by"` (RFC 7725 §4).
    pub blocked_by: Option<String>,
    /// Which edge it is for.
    pub here: Here,
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
    hosts: HostIndex,
    /// Origin networks to positions in `cases`.
    origins: NetworkMap<u32>,
    /// Sorted by time, then id.
    transitions: Vec<Transition>,
    /// When exemptions end, sorted: nobody is told, but whom they let through has to go.
    lapses: Vec<Timestamp>,
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
        mut cases: Vec<Case>,
        files: &PolicyFiles,
        options: &CompileOptions,
    ) -> Result<Self, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        cases.sort_by(|a, b| a.id.cmp(&b.id));
        for pair in cases.windows(2) {
            if let [first, second] = pair
                && first.id == second.id
            {
                diagnostics.push(set_error(second.id.as_str(), "two cases have this id"));
            }
        }
        let templates = Templates::load(files, &mut diagnostics);
        let hosts = index(&cases);
        let origins = origins(&cases);
        let mut compiled = Vec::with_capacity(cases.len());
        for case in cases {
            let pages = templates.render(&case, options, &mut diagnostics);
            match CompiledCase::new(case, pages) {
                Ok(case) => compiled.push(Arc::new(case)),
                Err(full) => diagnostics.push(set_error("", &full.to_string())),
            }
        }
        match hosts {
            Ok(hosts) if !diagnostics.has_errors() => Ok(Self {
                revision: Revision::default(),
                digest: Digest::default(),
                transitions: transitions(&compiled),
                lapses: lapses(&compiled),
                cases: compiled,
                hosts,
                origins,
            }),
            Ok(_) => Err(diagnostics),
            Err(full) => {
                diagnostics.push(set_error("", &full.to_string()));
                Err(diagnostics)
            }
        }
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

    /// How many different host names the cases are built on, whatever the form of their patterns.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.len()
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

    /// The cases built on exactly this name, with their position and the forms of their patterns.
    pub(crate) fn naming(&self, name: &str) -> impl Iterator<Item = (u32, &Arc<CompiledCase>, Forms)> {
        self.hosts.naming(name).filter_map(|(at, forms)| Some((at, self.cases.get(at as usize)?, forms)))
    }

    /// The cases that close a network holding this address, with their position and that network.
    pub(crate) fn closing(&self, origin: IpAddr) -> impl Iterator<Item = (u32, &Arc<CompiledCase>, IpNet)> {
        self.origins.holding(origin).filter_map(|(net, at)| Some((*at, self.cases.get(*at as usize)?, net)))
    }
}

/// Positions of cases; more than `u32` counts is an error of [`index`] already.
fn numbered(cases: &[Case]) -> impl Iterator<Item = (u32, &Case)> {
    (0..).zip(cases)
}

fn index(cases: &[Case]) -> Result<HostIndex, IndexFull> {
    let names = cases.iter().map(|case| case.hosts.len()).sum();
    let bytes = cases.iter().flat_map(|case| &case.hosts).map(|pattern| pattern.name.as_str().len()).sum();
    let mut index = HostIndex::with_capacity(names, bytes);
    for (number, case) in numbered(cases) {
        for pattern in &case.hosts {
            index.insert(number, pattern)?;
        }
    }
    index.shrink();
    Ok(index)
}

fn origins(cases: &[Case]) -> NetworkMap<u32> {
    numbered(cases).flat_map(|(number, case)| case.origins.iter().map(move |net| (*net, number))).collect()
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
