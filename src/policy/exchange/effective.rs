//! What a policy set blocks for everyone at one moment, as far as plain patterns can say it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::overlap::Overlap;
use super::reason::Omission;
use crate::policy::{Case, CaseId, Mode, Pattern};

/// A case with all the names it concerns, those of its lists included.
#[derive(Debug)]
pub struct Concern<'p> {
    /// The case.
    pub case: &'p Case,
    /// Its names.
    pub hosts: Vec<&'p Pattern>,
}

/// The list in force.
#[derive(Debug, Default)]
pub struct Effective<'p> {
    /// What is blocked for everyone, each once, in the order of the cases.
    pub patterns: Vec<&'p Pattern>,
    /// The cases these come from: how many are in force and enforced.
    pub cases: usize,
    /// What is blocked for some, or in part, and cannot be said by a pattern.
    pub omissions: Omissions,
}

/// What was left out, counted by reason, with the first of each.
#[derive(Debug, Default)]
pub struct Omissions {
    /// How many, by reason.
    pub counts: BTreeMap<Omission, u64>,
    /// The first of each reason.
    pub first: Vec<Omitted>,
    /// How many of each reason are kept with their text.
    samples: u64,
}

/// One thing that was left out.
#[derive(Debug, Serialize)]
pub struct Omitted {
    /// Why.
    pub reason: Omission,
    /// The pattern or network.
    pub what: String,
    /// Its case, where it is the case that stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
}

impl Omissions {
    /// None yet; of each reason so many are kept with their text.
    #[must_use]
    pub fn keeping(samples: u64) -> Self {
        Self { samples, ..Self::default() }
    }

    /// Counts one.
    pub fn add(&mut self, reason: Omission, what: &dyn std::fmt::Display, case: Option<&CaseId>) {
        let count = self.counts.entry(reason).or_default();
        *count += 1;
        if *count <= self.samples {
            let case = case.map(ToString::to_string);
            self.first.push(Omitted { reason, what: what.to_string(), case });
        }
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// Finds what `concerns` block at `now`, of the case `only` or of all. Cases in shadow mode block nothing, and where
/// one is more specific it lets through what a wider one blocks. A case that names edges is not for all of them.
#[must_use]
pub fn effective<'p>(
    concerns: &'p [Concern<'p>],
    now: Timestamp,
    only: Option<&CaseId>,
    samples: u64,
) -> Effective<'p> {
    let mut found = Effective { omissions: Omissions::keeping(samples), ..Effective::default() };
    let in_force =
        |mode| move |concern: &&'p Concern<'p>| concern.case.mode == mode && concern.case.in_force(now);
    let shadows = concerns.iter().filter(in_force(Mode::Shadow));
    let shadows = Overlap::of(shadows.flat_map(|concern| concern.hosts.iter().copied()));
    let mut seen = hashbrown::HashSet::new();
    for Concern { case, hosts } in concerns.iter().filter(in_force(Mode::Enforce)) {
        if only.is_some_and(|only| *only != case.id) {
            continue;
        }
        found.cases += 1;
        for network in &case.origins {
            found.omissions.add(Omission::Origins, network, Some(&case.id));
        }
        let except = Overlap::of(&case.except);
        let for_some = for_some(case, now);
        for pattern in hosts.iter().filter(|pattern| !except.covers(pattern)) {
            let reason = match for_some {
                Some(reason) => Some(reason),
                None if except.cuts(pattern) => Some(Omission::Exception),
                None if shadows.reaches_into(pattern) => Some(Omission::Shadowed),
                None => None,
            };
            match reason {
                Some(reason) => found.omissions.add(reason, pattern, Some(&case.id)),
                None if seen.insert(*pattern) => found.patterns.push(pattern),
                None => {}
            }
        }
    }
    found
}

/// Why a case does not hold for every client on every edge, if so.
fn for_some(case: &Case, now: Timestamp) -> Option<Omission> {
    let mut exemptions = case.exempt.iter();
    if case.legal.as_ref().is_some_and(|legal| !legal.territory.is_empty()) {
        Some(Omission::Territory)
    } else if !case.edges.is_empty() {
        Some(Omission::Edges)
    } else if exemptions.any(|exemption| exemption.expires.is_none_or(|end| now < end)) {
        Some(Omission::Exemption)
    } else {
        None
    }
}
