//! The way of one request to an origin: which one, by which address, and what happens when it fails.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::HttpPeer;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::cache;
use super::door::{self, Door};
use super::enforce::{self, Passed};
use super::facts;
use super::forwarded::{self, Asker};
use super::proxy::{Context, Patience};
use super::respond;
use super::way::{self, Destination, TrustError, Way};
use crate::forward::{Balance, HashKey, Lease, Member, Origins, Pool, Resolver};
use crate::gate::{Blocked, Gate, Ruling};
use crate::hostname::Hostname;

/// Leads requests to origins, through one door.
#[derive(Debug)]
pub struct Upstream {
    pub(super) gate: Arc<Gate>,
    pub(super) origins: Arc<Origins>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) door: Arc<Door>,
    /// One for each route.
    ways: Vec<Way>,
}

fn ways(origins: &Origins, patience: &Patience) -> Result<Vec<Way>, TrustError> {
    origins.pools().iter().map(|pool| Way::new(pool.route(), patience)).collect()
}

/// Turns down a switch of protocols that nobody asked for (RFC 9110 §15.2.2): what would follow it is no answer.
pub(super) fn expect_no_switch(session: &Session, response: &ResponseHeader) -> Result<()> {
    let is_switch = response.status == http::StatusCode::SWITCHING_PROTOCOLS;
    if !is_switch || session.as_downstream().is_upgrade_req() {
        return Ok(());
    }
    Err(Error::explain(ErrorType::InvalidHTTPHeader, "a switch of protocols that nobody asked for").into_up())
}

/// How far one request has got.
#[derive(Debug, Default)]
pub(super) struct Journey {
    route: usize,
    /// Origins whose turn has not come.
    ahead: VecDeque<Arc<Member>>,
    /// The origin the addresses are of, and that the request counts as under way to.
    current: Option<(Arc<Member>, Lease)>,
    /// Addresses of that origin still to be tried. The first is the one in use.
    addresses: VecDeque<SocketAddr>,
    /// The address that may be connected to: one verdict and one record hold for every attempt at it.
    admitted: Option<SocketAddr>,
    /// Attempts it may still take after this one.
    retries: usize,
    /// A case refused an address, which is on record: the answer when no other address can be reached.
    refusal: Option<Blocked>,
    /// An origin had as many requests under way as it may.
    met_full: bool,
}

impl Journey {
    /// What was allowed by another ruleset is to be asked again.
    pub(super) fn forget_admission(&mut self) {
        self.admitted = None;
    }

    /// Leaves the address that failed. Returns whether another attempt may be made, which counts as made.
    fn moves_on(&mut self, stays: bool) -> bool {
        if !stays {
            self.addresses.pop_front();
        }
        let somewhere = !self.addresses.is_empty() || !self.ahead.is_empty();
        if let Some(retries) = self.retries.checked_sub(1).filter(|_| somewhere) {
            self.retries = retries;
            return true;
        }
        // The next attempt finds no address and gives the answer of the case that refused one.
        self.addresses.clear();
        self.ahead.clear();
        self.refusal.is_some()
    }
}

impl Upstream {
    /// Leads to `origins` what `gate` lets through. The names of origins are resolved when their turn comes, by
    /// `resolver`.
    ///
    /// # Errors
    /// When the authorities that a route trusts cannot be read.
    pub fn new(
        gate: Arc<Gate>,
        origins: Arc<Origins>,
        resolver: Arc<Resolver>,
        patience: &Patience,
    ) -> Result<Self, TrustError> {
        way::check_system_authorities()?;
        let (ways, door) = (ways(&origins, patience)?, Door::new(Arc::clone(&gate)));
        Ok(Self { gate, origins, resolver, door, ways })
    }

    /// The same gate, door and resolver, with other routes.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn leading_to(&self, origins: Arc<Origins>, patience: &Patience) -> Result<Self, TrustError> {
        let ways = ways(&origins, patience)?;
        let (gate, door) = (Arc::clone(&self.gate), Arc::clone(&self.door));
        Ok(Self { gate, origins, resolver: Arc::clone(&self.resolver), door, ways })
    }

    /// The door all its connections are made through.
    #[must_use]
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// How the origins of the route at a position are spoken to.
    pub(super) fn way(&self, route: usize) -> Option<&Way> {
        self.ways.get(route)
    }

    /// Whether answers for a host may be kept, as its route says.
    pub(super) fn keeps_answers(&self, host: &Hostname) -> bool {
        self.origins.find(host).is_some_and(|(_, pool)| pool.route().cache)
    }

    /// Finds an origin for the request, or answers it. Returns whether it has been answered.
    pub(super) async fn route(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        let Some((route, pool)) = self.origins.find(&context.passed()?.identity().host) else {
            self.gate.metrics().rejected("no-route");
            respond::write_plain(session, 404, "this edge has no route for the name asked for").await?;
            return Ok(true);
        };
        let order = pool.order(&hash_key(pool, session, context.passed()?));
        context.journey = Journey {
            route,
            ahead: order.iter().filter_map(|at| pool.members().get(*at).cloned()).collect(),
            retries: pool.route().retries,
            ..Journey::default()
        };
        let ruling = self.next(session, context).await?;
        enforce::carry_out(session, ruling).await
    }

    /// Makes sure that there is an address to try, if any is left: an origin's name is resolved when its turn
    /// comes, so that one name that cannot be resolved delays nobody who need not go there.
    async fn find_addresses(&self, journey: &mut Journey) {
        while journey.addresses.is_empty() {
            journey.current = None;
            let Some(pool) = self.origins.pool(journey.route) else { return };
            let Some(member) = journey.ahead.pop_front() else { return };
            let Some(lease) = pool.lease(&member) else {
                journey.met_full = true;
                continue;
            };
            match self.resolver.addresses(member.origin()).await {
                Ok(addresses) => journey.addresses.extend(addresses),
                Err(error) => tracing::warn!(%error, "an origin has no address"),
            }
            journey.current = Some((member, lease));
        }
    }

    /// Passes over the addresses that a case refuses, up to one that may be connected to. When none is left,
    /// the first refusal is the ruling.
    async fn next(&self, session: &Session, context: &mut Context) -> Result<Ruling> {
        loop {
            self.find_addresses(&mut context.journey).await;
            let Some(&upstream) = context.journey.addresses.front() else { break };
            if context.journey.admitted == Some(upstream) {
                return Ok(Ruling::Forward);
            }
            let passed = context.passed()?;
            match enforce::judge_origin(&self.gate, session, passed, upstream) {
                Ruling::Forward => {
                    context.journey.admitted = Some(upstream);
                    return Ok(Ruling::Forward);
                }
                Ruling::Enforce(blocked) => {
                    tracing::info!(%upstream, host = %passed.identity().host, "a case refuses this origin");
                    context.journey.refusal.get_or_insert(blocked);
                }
            }
            context.journey.addresses.pop_front();
        }
        let refusal = context.journey.refusal.take().map(Ruling::Enforce);
        refusal.ok_or_else(|| if context.journey.met_full { all_busy() } else { nowhere() })
    }

    /// The peer to connect to. Called again after a failure: the address that failed has been left by then.
    pub(super) async fn peer(&self, session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        if let Ruling::Enforce(blocked) = self.next(session, context).await? {
            // Reached only when a reachable origin failed and the others are refused.
            enforce::carry_out(session, Ruling::Enforce(blocked)).await?;
            return Err(enforce::answered());
        }
        let journey = &context.journey;
        let (Some(address), Some((member, _)), Some(way)) =
            (journey.addresses.front(), journey.current.as_ref(), self.way(journey.route))
        else {
            return Err(nowhere());
        };
        let to = Destination {
            origin: member.origin(),
            address: *address,
            host: &context.passed()?.identity().host,
            client: Some(enforce::asker(session)),
            upgrade: session.as_downstream().is_upgrade_req(),
        };
        Ok(Box::new(way.peer(&self.door, &to)))
    }

    /// Nothing was sent yet, so any request may try the next address.
    pub(super) fn could_not_connect(
        &self,
        peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(flight) = context.flight() {
            flight.waits_on(None);
            if flight.is_bereft() {
                error.set_retry(false);
                return error;
            }
        }
        if door::is_refusal(&error) {
            return self.turned_away(context, error);
        }
        let retry = context.journey.moves_on(false);
        self.note_retry(retry);
        tracing::warn!(%peer, %error, retry, "cannot connect to an origin");
        error.set_retry(retry);
        error
    }

    /// The rules have changed since the request was judged: it is judged again by those in force, so that what the door
    /// refused is on record and answered as the case says.
    fn turned_away(&self, context: &mut Context, mut error: Box<Error>) -> Box<Error> {
        context.judge_anew(self.gate.ruleset());
        tracing::info!(%error, "a network was closed while a request was on its way there");
        error.set_retry(true);
        error
    }

    /// A connection failed after the request, or a part of it, may have been sent. It is sent again only when that
    /// cannot do anything twice (RFC 9110 §9.2.2), and as long as the client has seen nothing of an answer.
    pub(super) fn broke_off(
        &self,
        session: &mut Session,
        context: &mut Context,
        mut error: Box<Error>,
        reused: bool,
    ) -> Box<Error> {
        let nothing_seen = context.passed().is_ok() && session.response_written().is_none();
        let may_repeat = session.req_header().method.is_idempotent() && session.as_mut().is_body_empty();
        let theirs = matches!(error.esource(), ErrorSource::Upstream);
        // A connection from the pool had often been closed before it was used; and a server that turns out to
        // speak no HTTP/2 is asked again in HTTP/1.
        let stays = reused || matches!(error.etype(), ErrorType::InvalidH2 | ErrorType::H2Downgrade);
        if let Some(flight) = context.flight() {
            flight.waits_on(None);
            if flight.is_bereft() {
                error.set_retry(false);
                return error;
            }
        }
        if door::is_refusal(&error) {
            return self.turned_away(context, error);
        }
        let retry = theirs && nothing_seen && may_repeat && context.journey.moves_on(stays);
        self.note_retry(retry);
        if theirs {
            tracing::warn!(%error, retry, "an origin broke off");
        }
        error.set_retry(retry);
        error
    }

    fn note_retry(&self, retry: bool) {
        if retry {
            self.gate.metrics().upstream_retried();
        }
    }

    /// A connection is there, new or from the pool, and the request goes out on it, unless the rules in force forbid
    /// that: they may have changed since the request was judged, and no octet of it is to leave then.
    pub(super) fn goes_out(
        &self,
        session: &Session,
        context: &Context,
        peer: &HttpPeer,
        connection: RawFd,
    ) -> Result<()> {
        let (passed, flight, asker) = (context.passed()?, context.flight(), enforce::asker(session));
        let shared = self.way(context.journey.route).is_some_and(|way| way.http2);
        let used = self.door.note_user(connection, asker, !shared);
        let address = peer._address.as_inet();
        if let Some(flight) = &flight {
            if let Some(address) = address {
                flight.leads_to(*address);
            }
            // One for an upgrade has no descriptor; it was noted when it was made.
            if !shared && used.is_some() {
                flight.waits_on(used);
            }
            if flight.is_bereft() {
                return Err(door::refusal("the rules have changed".to_owned()));
            }
        }
        if passed.stands(&self.gate) {
            return Ok(());
        }
        if enforce::is_blocked(&self.gate, passed.identity(), asker) {
            if let Some(flight) = &flight {
                flight.strand();
            }
            return Err(door::refusal(format!("a case blocks {}", passed.identity().host)));
        }
        address.map_or(Ok(()), |address| self.door.ask(address.ip(), Some(asker)))
    }

    /// The head the origin gets: the one canonical name that was judged, whatever the client's spelling of it, and
    /// the truth about the client.
    pub(super) fn prepare_head(
        &self,
        session: &Session,
        request: &mut RequestHeader,
        context: &Context,
    ) -> Result<()> {
        let authority = context.passed()?.identity().authority();
        let connection = facts::of(session);
        let asker = Asker {
            address: connection.map_or_else(|| enforce::asker(session), |connection| connection.client),
            is_trusted: connection.is_some_and(|connection| connection.trusted),
            https: cache::is_secure(session),
            authority: &authority,
        };
        forwarded::prepare(request, &asker)
    }
}

fn hash_key(pool: &Pool, session: &Session, passed: &Passed) -> Vec<u8> {
    let Balance::ConsistentHash(key) = pool.route().balance else { return Vec::new() };
    match key {
        HashKey::Client => enforce::asker(session).to_canonical().to_string().into_bytes(),
        HashKey::Host => passed.identity().host.as_str().as_bytes().to_vec(),
        HashKey::Path => session.req_header().raw_path().to_vec(),
    }
}

fn nowhere() -> Box<Error> {
    Error::explain(ErrorType::HTTPStatus(502), "no origin can be reached")
}

fn all_busy() -> Box<Error> {
    Error::explain(ErrorType::HTTPStatus(503), "every origin has as many requests under way as it may")
}

#[cfg(test)]
mod tests;
