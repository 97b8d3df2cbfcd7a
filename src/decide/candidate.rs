//! Cases that concern a subject, and which of them goes first.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::policy::{Action, CompiledCase, Form, Mode};

/// One way in which one case concerns the subject.
#[derive(Debug)]
pub(super) struct Candidate<'r, 's> {
    /// The place of the case in its ruleset: lower is the lower id.
    pub(super) position: u32,
    pub(super) case: &'r Arc<CompiledCase>,
    pub(super) matched: Matched<'s>,
}

/// What of a case matched. Displayed it is the pattern, `.a.example`, or the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched<'s> {
    /// A host pattern.
    Host {
        /// Which names it covers.
        form: Form,
        /// Its name: the subject's own or a parent of it.
        name: &'s str,
    },
    /// A network of origins.
    Network(IpNet),
}

impl Matched<'_> {
    /// Greater is more specific: exact over suffix, longer suffix (in octets) over shorter, longer prefix
    /// over shorter. `.a` and `*.a` are equal.
    pub(super) fn specificity(&self) -> usize {
        match self {
            Self::Host { form: Form::Exact, .. } => usize::MAX,
            Self::Host { name, .. } => name.len(),
            Self::Network(network) => usize::from(network.prefix_len()),
        }
    }
}

impl fmt::Display for Matched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { form, name } => write!(f, "{}{name}", form.prefix()),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// Each case once, with what matched most specifically, in the order of precedence: most specific, then
/// enforce over shadow, then refuse over page, then the lower id. Of two equally specific matches of one
/// case the one found first stays, which is the one of the subject's earlier name.
pub(super) fn ranked<'r, 's>(
    mut found: SmallVec<[Candidate<'r, 's>; 4]>,
) -> SmallVec<[Candidate<'r, 's>; 4]> {
    if found.len() > 1 {
        found.sort_by_key(|one| (one.position, Reverse(one.matched.specificity())));
        found.dedup_by_key(|one| one.position);
        found.sort_by_key(rank);
    }
    found
}

/// The lower of two goes first.
pub(super) fn rank(one: &Candidate<'_, '_>) -> (Reverse<usize>, bool, bool, u32) {
    let watched = one.case.mode == Mode::Shadow;
    let answered = one.case.action == Action::Page;
    (Reverse(one.matched.specificity()), watched, answered, one.position)
}
