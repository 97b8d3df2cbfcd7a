//! What the rules say of a request: the verdict, and why.
//!
//! Pure: the ruleset, the subject and the time go in, the verdict comes out. `explain` and the data
//! plane call the same two functions.

mod candidate;
mod chain;
mod explanation;
mod reach;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::hostname::Hostname;
use crate::policy::{CompiledCase, Mode, Ruleset};

use candidate::{Candidate, ranked};

pub use candidate::Matched;
pub use chain::{Reason, Weighed, chain};
pub use explanation::Explanation;
pub use reach::{may_block, may_close};

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Every name the request gave: authority, `Host`, server name. It is blocked if any of them is.
    pub names: &'a [Hostname],
    /// The address of the client.
    pub client: IpAddr,
}

/// What the rules say.
#[derive(Debug, Clone)]
pub enum Verdict<'r> {
    /// No case concerns it.
    Allow,
    /// Record it, then do what the case says.
    Block(Match<'r>),
    /// Record it, then let it through: the case is only watched.
    Shadow(Match<'r>),
    /// Record it, then let it through: every case that concerns it exempts this client.
    Exempt(Match<'r>),
}

/// The case that won, and what it won over.
#[derive(Debug, Clone)]
pub struct Match<'r> {
    /// The winner.
    pub case: &'r Arc<CompiledCase>,
    /// What of the case matched: a host pattern such as `.a.example`, or an origin network.
    pub matched: Matched<'r>,
    /// The other cases that concern the subject, best first, each once.
    pub also: SmallVec<[&'r Arc<CompiledCase>; 2]>,
}

impl<'r> Verdict<'r> {
    /// The word for it: `allow`, `block`, `shadow` or `exempt`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block(_) => "block",
            Self::Shadow(_) => "shadow",
            Self::Exempt(_) => "exempt",
        }
    }

    /// The case behind it, unless the request is simply allowed.
    #[must_use]
    pub const fn found(&self) -> Option<&Match<'r>> {
        match self {
            Self::Allow => None,
            Self::Block(found) | Self::Shadow(found) | Self::Exempt(found) => Some(found),
        }
    }
}

/// Judges a request by its names. Allocates nothing when no case is built on any of them.
#[must_use]
pub fn decide<'r>(rules: &'r Ruleset, subject: &Subject<'r>, now: Timestamp) -> Verdict<'r> {
    let mut candidates = SmallVec::new();
    for name in subject.names {
        rules.covering(name, |case, named| {
            if runs(case, subject.client, now) && !case.excepts(name) {
                let matched = Matched::Host { form: named.form, name: named.name };
                candidates.push(Candidate { position: named.position, case, matched });
            }
        });
    }
    verdict(candidates, subject.client, now)
}

/// Judges an upstream connection by the address it would lead to. The longest prefix is the most
/// specific; `except` names no addresses and plays no part.
#[must_use]
pub fn judge_origin(rules: &Ruleset, origin: IpAddr, client: IpAddr, now: Timestamp) -> Verdict<'_> {
    let closing = rules.closing(origin).filter(|(_, case, _)| runs(case, client, now));
    let candidates = closing.map(|(position, case, network)| {
        let matched = Matched::Network(network);
        Candidate { position, case, matched }
    });
    verdict(candidates.collect(), client, now)
}

/// Whether a case keeps anybody at all from an address, whoever that is and whomever it exempts. It is asked where
/// no client asks, as for a health check.
#[must_use]
pub fn closes_to_somebody(rules: &Ruleset, origin: IpAddr, now: Timestamp) -> bool {
    rules.closing(origin).any(|(_, case, _)| case.in_force(now) && case.mode == Mode::Enforce)
}

/// Whether a case has a say about this client at all.
fn runs(case: &CompiledCase, client: IpAddr, now: Timestamp) -> bool {
    case.in_force(now) && case.concerns(client)
}

/// Picks the winner. A client that a case exempts is let through by *that* case only: the case leaves
/// the race, and the next one decides. An exemption written for an investigator in one matter must not
/// open what a court closed in another, so the verdict is `Exempt` only if no case is left.
fn verdict<'r>(found: SmallVec<[Candidate<'r, 'r>; 4]>, client: IpAddr, now: Timestamp) -> Verdict<'r> {
    if found.is_empty() {
        return Verdict::Allow;
    }
    let candidates = ranked(found);
    let standing = candidates.iter().position(|one| !one.case.exempts(client, now));
    let enforces = |at: &usize| candidates.get(*at).is_some_and(|one| one.case.mode == Mode::Enforce);
    // A shadow case stops nobody. Where a better-ranked case would have, and exempts this client, it is the
    // exemption that lets the client through, and that is what the record must say.
    let waived = (0..standing.unwrap_or_default()).find(enforces);
    let (at, exempt) = match (standing, waived) {
        (None, _) => (0, true),
        (Some(at), Some(waived)) if !enforces(&at) => (waived, true),
        (Some(at), _) => (at, false),
    };
    let Some(winner) = candidates.get(at) else { return Verdict::Allow };
    let others = candidates.iter().enumerate().filter(|(position, _)| *position != at);
    let result = Match {
        case: winner.case,
        matched: winner.matched,
        also: others.map(|(_, other)| other.case).collect(),
    };
    match winner.case.mode {
        _ if exempt => Verdict::Exempt(result),
        Mode::Enforce => Verdict::Block(result),
        Mode::Shadow => Verdict::Shadow(result),
    }
}

#[cfg(test)]
mod tests;
