//! How far a set reaches: what it would newly block of the traffic that the edge has seen, and of the hosts it routes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;

use crate::decide::{Subject, Verdict, decide};
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::guard::{Reach, Share};
use crate::policy::{Form, Pattern, Ruleset, TransitionKind};
use crate::traffic::Traffic;

/// What `after` would block of the last hour's requests, and of the hosts that routes name, that `before` does not.
///
/// Asked as a client in no network, now and at the start of each case to come: a large case is one whenever it starts.
pub(super) fn reach(
    before: &Ruleset,
    after: &Ruleset,
    traffic: Option<&Traffic>,
    routed: &[Pattern],
    now: Timestamp,
) -> Reach {
    let starts = after.transitions(now, Timestamp::MAX).iter();
    let starts = starts.filter(|one| one.kind == TransitionKind::Effective).map(|one| one.at);
    let moments: BTreeSet<Timestamp> = starts.take(limits::GUARD_STARTS).chain([now]).collect();
    let newly = |host: &Hostname| {
        moments.iter().any(|at| is_blocked(after, host, *at) && !is_blocked(before, host, *at))
    };
    let mut reach = Reach::default();
    if let Some(traffic) = traffic {
        let sampled = traffic.sampled();
        let (blocked, hosts) = sampled.count(newly);
        let first = hosts.into_iter().take(limits::GUARD_NAMES_TOLD).map(ToString::to_string).collect();
        reach.requests = Share { blocked, all: sampled.requests, first };
    }
    let mut routes = Share { all: routed.len() as u64, ..Share::default() };
    for pattern in routed {
        if host_of(pattern.form, pattern.name.as_str()).is_some_and(|host| newly(&host)) {
            routes.blocked += 1;
            if routes.first.len() < limits::GUARD_NAMES_TOLD {
                routes.first.push(pattern.to_string());
            }
        }
    }
    reach.routes = routes;
    reach
}

/// Whether a client in no network is refused this host.
pub(super) fn is_blocked(ruleset: &Ruleset, host: &Hostname, at: Timestamp) -> bool {
    let names = std::slice::from_ref(host);
    let subject = Subject { names, client: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    matches!(decide(ruleset, &subject, at), Verdict::Block(_))
}

/// A host that a pattern covers: the name itself, or for `*.a.example` some name below it.
pub(super) fn host_of(form: Form, name: &str) -> Option<Hostname> {
    match form {
        Form::Exact | Form::Subtree => Hostname::parse(name).ok(),
        Form::Below => Hostname::parse(&format!("any.{name}")).ok(),
    }
}
