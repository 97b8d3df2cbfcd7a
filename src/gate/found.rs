//! The record of what a verdict found.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::line::Line;
use super::{Asked, Gate};
use crate::audit::{Enforcement, Event, Kind, Pending, RequestFacts};
use crate::decide::{Match, Matched};
use crate::policy::{Action, CompiledCase, Ruleset};

/// What happens to a request by a verdict.
pub(super) struct Happened<'a> {
    pub(super) kind: Kind,
    pub(super) at: Timestamp,
    /// The origin that it is about.
    pub(super) upstream: Option<SocketAddr>,
    /// Fields of the kind.
    pub(super) detail: Option<&'a Map<String, Value>>,
}

/// What a record says of a case that nothing has matched.
pub(super) fn enforcement_of(case: &CompiledCase) -> Enforcement<'_> {
    Enforcement {
        case: case.id.as_str(),
        customer: &case.customer,
        basis: case.basis.as_str(),
        action: case.action.as_str(),
        status: None,
        matched: "",
        also: &[],
    }
}

impl Gate {
    pub(super) fn record_found(
        &self,
        ruleset: &Ruleset,
        found: &Match<'_>,
        asked: &Asked<'_>,
        happened: &Happened<'_>,
    ) -> Pending {
        let (kind, case) = (happened.kind, found.case);
        self.metrics.verdict(kind.as_str(), case.id.as_str(), &case.tally);
        let also: SmallVec<[&str; 4]> = found.also.iter().map(|other| other.id.as_str()).collect();
        let names: SmallVec<[&[u8]; 4]> = asked.identity.seen.iter().map(AsRef::as_ref).collect();
        let mut matched = Line::default();
        match found.matched {
            Matched::Host { form, name } => matched.push(form.prefix()).push(name),
            network @ Matched::Network(_) => matched.show(network),
        };
        let event = Event {
            kind,
            revision: ruleset.revision().0,
            enforcement: Some(Enforcement {
                // A page cannot be shown before there is a connection.
                action: if kind == Kind::HandshakeRefused { Action::Refuse } else { case.action }.as_str(),
                // Only an answer has a status.
                status: (case.action == Action::Page && kind.is_answered()).then_some(case.status),
                matched: matched.as_str(),
                also: &also,
                ..enforcement_of(case)
            }),
            request: Some(RequestFacts {
                host: asked.identity.host.as_str(),
                names: &names,
                method: asked.method,
                path: asked.path,
                client: asked.client,
                listener: asked.listener,
                protocol: asked.protocol,
                tls: asked.tls,
                user_agent: asked.user_agent,
                upstream: happened.upstream,
            }),
            detail: happened.detail,
        };
        self.audit.record_at(&event, happened.at)
    }
}
