//! The way of one request to an origin: which one, by which address, and what happens when it fails.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::HttpPeer;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result};
use smallvec::SmallVec;

use super::cache;
use super::door::{self, Door, Use};
use super::enforce::{self, Passed};
use super::facts;
use super::forwarded::{self, Asker};
use super::proxy::Patience;
use super::respond;
use super::trip::Trip;
use super::way::{self, Destination, TrustError, Way};
use crate::forward::{Balance, HashKey, Lease, Order, Origins, Pool, Resolver};
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
    /// Origins whose turn has not come, by their positions in the pool, the next one at the end.
    ahead: Order,
    /// The origin the addresses are of, and that the request counts as under way to.
    current: Option<(usize, Lease)>,
    /// Addresses of that origin still to be tried. The first is the one in use.
    addresses: SmallVec<[SocketAddr; 2]>,
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

    fn leave_address(&mut self) {
        if !self.addresses.is_empty() {
            self.addresses.remove(0);
        }
    }

    /// Leaves the address that failed. Returns whether another attempt may be made, which counts as made.
    fn moves_on(&mut self, stays: bool) -> bool {
        if !stays {
            self.leave_address();
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
    pub(super) async fn route(&self, session: &mut Session, trip: &mut Trip) -> Result<bool> {
        let Some((route, pool)) = self.origins.find(&trip.passed()?.identity().host) else {
            self.gate.metrics().rejected("no-route");
            let reason = "this edge has no route for the name asked for";
            Box::pin(respond::write_plain(session, 404, reason)).await?;
            return Ok(true);
        };
        let mut ahead = pool.order(&hash_key(pool, session, trip.passed()?));
        ahead.reverse();
        trip.journey = Journey { route, ahead, retries: pool.route().retries, ..Journey::default() };
        let ruling = self.next(session, trip).await?;
        enforce::carry_out(session, ruling).await
    }

    /// Makes sure that there is an address to try, if any is left: an origin's name is resolved when its turn
    /// comes, so that one name that cannot be resolved delays nobody who need not go there.
    async fn find_addresses(&self, journey: &mut Journey) {
        while journey.addresses.is_empty() {
            journey.current = None;
            let Some(pool) = self.origins.pool(journey.route) else { return };
            let Some(at) = journey.ahead.pop() else { return };
            let Some(member) = pool.members().get(at) else { continue };
            let Some(lease) = pool.lease(member) else {
                journey.met_full = true;
                continue;
            };
            let origin = member.origin();
            match origin.host.ip() {
                Some(address) => journey.addresses.push(SocketAddr::new(address, origin.port)),
                None => match Box::pin(self.resolver.addresses(origin)).await {
                    Ok(addresses) => journey.addresses.extend(addresses),
                    Err(error) => tracing::warn!(%error, "an origin has no address"),
                },
            }
            journey.current = Some((at, lease));
        }
    }

    /// Passes over the addresses that a case refuses, up to one that may be connected to. When none is left,
    /// the first refusal is the ruling.
    async fn next(&self, session: &Session, trip: &mut Trip) -> Result<Ruling> {
        loop {
            self.find_addresses(&mut trip.journey).await;
            let Some(&upstream) = trip.journey.addresses.first() else { break };
            if trip.journey.admitted == Some(upstream) {
                return Ok(Ruling::Forward);
            }
            let passed = trip.passed()?;
            match enforce::judge_origin(&self.gate, session, passed, upstream) {
                Ruling::Forward => {
                    trip.journey.admitted = Some(upstream);
                    return Ok(Ruling::Forward);
                }
                Ruling::Enforce(blocked) => {
                    tracing::info!(%upstream, host = %passed.identity().host, "a case refuses this origin");
                    trip.journey.refusal.get_or_insert(blocked);
                }
            }
            trip.journey.leave_address();
        }
        let refusal = trip.journey.refusal.take().map(Ruling::Enforce);
        refusal.ok_or_else(|| if trip.journey.met_full { all_busy() } else { nowhere() })
    }

    /// The peer to connect to. Called again after a failure: the address that failed has been left by then.
    pub(super) async fn peer(&self, session: &mut Session, trip: &mut Trip) -> Result<Box<HttpPeer>> {
        if let Ruling::Enforce(blocked) = self.next(session, trip).await? {
            // Reached only when a reachable origin failed and the others are refused.
            enforce::carry_out(session, Ruling::Enforce(blocked)).await?;
            return Err(enforce::answered());
        }
        let journey = &trip.journey;
        let member = |at: usize| self.origins.pool(journey.route)?.members().get(at);
        let (Some(address), Some(member), Some(way)) = (
            journey.addresses.first(),
            journey.current.as_ref().and_then(|(at, _)| member(*at)),
            self.way(journey.route),
        ) else {
            return Err(nowhere());
        };
        let to = Destination {
            origin: member.origin(),
            address: *address,
            host: &trip.passed()?.identity().host,
            client: Some(enforce::asker(session)),
            upgrade: session.as_downstream().is_upgrade_req(),
        };
        Ok(Box::new(way.peer(&self.door, &to)))
    }

    /// Nothing was sent yet, so any request may try the next address.
    pub(super) fn could_not_connect(
        &self,
        peer: &HttpPeer,
        trip: &mut Trip,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(flight) = trip.flight() {
            flight.waits_on(None);
            if flight.is_bereft() {
                error.set_retry(false);
                return error;
            }
        }
        if door::is_refusal(&error) {
            return self.turned_away(trip, error);
        }
        let retry = trip.journey.moves_on(false);
        self.note_retry(retry);
        tracing::warn!(%peer, %error, retry, "cannot connect to an origin");
        error.set_retry(retry);
        error
    }

    /// The rules have changed since the request was judged: it is judged again by those in force, so that what the door
    /// refused is on record and answered as the case says.
    fn turned_away(&self, trip: &mut Trip, mut error: Box<Error>) -> Box<Error> {
        trip.judge_anew(self.gate.ruleset());
        tracing::info!(%error, "a network was closed while a request was on its way there");
        error.set_retry(true);
        error
    }

    /// A connection failed after the request, or a part of it, may have been sent. It is sent again only when that
    /// cannot do anything twice (RFC 9110 §9.2.2), and as long as the client has seen nothing of an answer.
    pub(super) fn broke_off(
        &self,
        session: &mut Session,
        trip: &mut Trip,
        mut error: Box<Error>,
        reused: bool,
    ) -> Box<Error> {
        let nothing_seen = trip.passed().is_ok() && session.response_written().is_none();
        let may_repeat = session.req_header().method.is_idempotent() && session.as_mut().is_body_empty();
        let theirs = matches!(error.esource(), ErrorSource::Upstream);
        // A connection from the pool had often been closed before it was used; and a server that turns out to
        // speak no HTTP/2 is asked again in HTTP/1.
        let stays = reused || matches!(error.etype(), ErrorType::InvalidH2 | ErrorType::H2Downgrade);
        if let Some(flight) = trip.flight() {
            flight.waits_on(None);
            if flight.is_bereft() {
                error.set_retry(false);
                return error;
            }
        }
        if door::is_refusal(&error) {
            return self.turned_away(trip, error);
        }
        let retry = theirs && nothing_seen && may_repeat && trip.journey.moves_on(stays);
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
        trip: &Trip,
        peer: &HttpPeer,
        connection: RawFd,
    ) -> Result<()> {
        let (passed, flight, asker) = (trip.passed()?, trip.flight(), enforce::asker(session));
        let shared = self.way(trip.journey.route).is_some_and(|way| way.http2);
        let used = self.door.note_user(connection, asker, !shared);
        if used.as_ref().is_some_and(Use::is_late) {
            return Err(door::refusal("the connection left the pool with those of another host".to_owned()));
        }
        let address = peer._address.as_inet();
        if let Some(flight) = &flight {
            if let Some(address) = address {
                flight.leads_to(*address);
            }
            // One for an upgrade has no descriptor; it was noted when it was made.
            if !shared && used.is_some() {
                flight.waits_on(used);
            }
            if !flight.goes_out() {
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
        trip: &Trip,
    ) -> Result<()> {
        let connection = facts::of(session);
        let asker = Asker {
            address: connection.map_or_else(|| enforce::asker(session), |connection| connection.client),
            is_trusted: connection.is_some_and(|connection| connection.trusted),
            https: cache::is_secure(session),
            identity: trip.passed()?.identity(),
            told: connection.map(|connection| &connection.told),
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
