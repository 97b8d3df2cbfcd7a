//! Enforcement for one Pingora session: its facts go to the gate, and the gate's answer to the client.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::header;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use smallvec::SmallVec;

use super::facts::{self, Connection};
use super::flight::Flight;
use super::respond;
use crate::act::Ask;
use crate::decide::{self, Subject, Verdict};
use crate::gate::{Asked, Gate, Ruling};
use crate::hostname::Hostname;
use crate::identify::{self, IdentifyError, Identity, RequestParts, Version};
use crate::policy::Ruleset;

/// Proof that a request was judged and may pass. Only [`enforce_request`] makes one, and whatever is done for
/// the request afterwards asks for it.
#[derive(Debug)]
pub struct Passed {
    identity: Arc<Identity>,
    /// The ruleset the request was judged by, and will be until its end.
    ruleset: Arc<Ruleset>,
    /// When its names were judged, in changes of the rules.
    moment: u64,
}

impl Passed {
    /// The names the request is about.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn shared_identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    /// The rules it was judged by.
    pub(super) fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// Whether nothing has changed since its names were judged.
    pub(super) fn stands(&self, gate: &Gate) -> bool {
        gate.stands(&self.ruleset, self.moment)
    }

    /// Goes on under a newer ruleset: the one in force when the door turned the request's connection away.
    pub(super) fn follow(&mut self, ruleset: Arc<Ruleset>) {
        self.ruleset = ruleset;
    }
}

/// Judges the request of `session`. A blocked one is recorded and then answered here, as is one that names
/// no host; nothing is left to do for either, and `request_filter` returns `Ok(true)`.
///
/// # Errors
/// When the answer cannot be written to the client.
pub async fn enforce_request(gate: &Gate, session: &mut Session) -> Result<Option<Passed>> {
    // Below HTTP the edge has found out what the request is about; a proxy that embeds this crate has not.
    let flight = Flight::current();
    let found = match &flight {
        Some(flight) => Ok(Arc::clone(&flight.identity)),
        None => identify(session.req_header(), None).map(Arc::new),
    };
    let identity = match found {
        Ok(identity) => identity,
        Err(error) => {
            gate.metrics().rejected("no-identity");
            session.set_keepalive(None);
            Box::pin(respond::write_plain(session, 400, &error.to_string())).await?;
            return Ok(None);
        }
    };
    // In this order: a change in between is noticed before the request goes out.
    let (moment, ruleset) = (gate.moment(), gate.ruleset());
    match with_facts(session, &identity, |asked| gate.judge(&ruleset, asked)) {
        Ruling::Forward if is_misdirected(flight.as_deref()) => {
            gate.metrics().rejected("misdirected");
            let reason = "this connection was made for another name";
            Box::pin(respond::write_plain(session, 421, reason)).await?;
            Ok(None)
        }
        Ruling::Forward => Ok(Some(Passed { identity, ruleset, moment })),
        Ruling::Enforce(blocked) => {
            settle(flight.as_deref());
            // What few requests need takes no room in all of them.
            let answered = async { respond::give(session, blocked.acknowledged().await).await };
            Box::pin(answered).await?;
            Ok(None)
        }
    }
}

/// Judges a request that no client waits for, made to fetch anew what one was given: it is let through or not, and
/// there is nothing to answer or to record.
pub(super) fn enforce_in_background(gate: &Gate, session: &Session) -> Option<Passed> {
    let sni = facts::of(session).and_then(Connection::sni);
    let identity = Arc::new(identify(session.req_header(), sni).ok()?);
    let (moment, ruleset) = (gate.moment(), gate.ruleset());
    let blocked = blocks(&ruleset, gate, &identity, asker(session));
    (!blocked).then_some(Passed { identity, ruleset, moment })
}

/// Whether the rules in force keep a client from these names. Nothing is recorded: it is for requests that nobody waits
/// for, and for those that are judged once more in a moment.
pub(super) fn is_blocked(gate: &Gate, identity: &Identity, client: IpAddr) -> bool {
    blocks(&gate.ruleset(), gate, identity, client)
}

fn blocks(ruleset: &Ruleset, gate: &Gate, identity: &Identity, client: IpAddr) -> bool {
    let subject = Subject { names: &identity.names, client };
    matches!(decide::decide(ruleset, &subject, gate.clock().now()), Verdict::Block(_))
}

/// Whether a case keeps this request from an origin. Nothing is recorded: no connection is asked for. Where it does
/// not, what the request is given comes from there, and a change of rules may cut it.
pub(super) fn is_closed(gate: &Gate, session: &Session, passed: &Passed, origin: SocketAddr) -> bool {
    let closed = matches!(decide_origin(gate, session, passed, origin), Verdict::Block(_));
    if !closed {
        Flight::with_current(|flight| flight.leads_to(origin));
    }
    closed
}

fn decide_origin<'p>(gate: &Gate, session: &Session, passed: &'p Passed, origin: SocketAddr) -> Verdict<'p> {
    decide::judge_origin(&passed.ruleset, origin.ip(), asker(session), gate.clock().now())
}

/// Whether the request is about another name than its connection was made for, where that is forbidden (RFC 9110
/// §15.5.20). A handshake without a server name was made for no name.
fn is_misdirected(flight: Option<&Flight>) -> bool {
    flight.is_some_and(|flight| {
        let tls = flight.connection.tls.as_ref().filter(|_| flight.connection.strict_sni);
        tls.is_some_and(|tls| tls.sni.as_ref() != Some(&flight.identity.host))
    })
}

/// The request gets its answer: a later change of rules has nothing of it to cut.
fn settle(flight: Option<&Flight>) {
    if let Some(flight) = flight {
        flight.settle();
    }
}

/// The gate's ruling on a connection to an origin. Only on [`Ruling::Forward`] may it be opened; a ruling
/// against it has been recorded, and is carried out with [`carry_out`].
#[must_use]
pub fn judge_origin(gate: &Gate, session: &Session, passed: &Passed, upstream: SocketAddr) -> Ruling {
    let ruling = match decide_origin(gate, session, passed, upstream) {
        // The facts are for the record, and nothing is recorded of what no case concerns.
        Verdict::Allow => Ruling::Forward,
        // What no client asked for is no event, unless a connection is refused.
        Verdict::Shadow(_) | Verdict::Exempt(_) if session.subrequest_ctx.is_some() => Ruling::Forward,
        _ => {
            with_facts(session, &passed.identity, |asked| gate.judge_origin(&passed.ruleset, asked, upstream))
        }
    };
    if matches!(ruling, Ruling::Forward) {
        Flight::with_current(|flight| flight.leads_to(upstream));
    }
    ruling
}

/// Gives the answer of a ruling. Returns whether there was one, and so nothing is left to do.
///
/// # Errors
/// When the answer cannot be written to the client.
pub async fn carry_out(session: &mut Session, ruling: Ruling) -> Result<bool> {
    match ruling {
        Ruling::Forward => Ok(false),
        Ruling::Enforce(blocked) => {
            Flight::with_current(Flight::settle);
            let answered = async { respond::give(session, blocked.acknowledged().await).await };
            Box::pin(answered).await?;
            Ok(true)
        }
    }
}

/// Answers a request that lost its origin to a cut, as the rules in force say. Returns whether it was one.
pub(super) async fn answer_bereft(gate: &Gate, session: &mut Session) -> bool {
    let Some(flight) = Flight::current().filter(|flight| flight.is_bereft()) else { return false };
    if has_answer(session) {
        return false;
    }
    let ruleset = gate.ruleset();
    let by_name = with_facts(session, &flight.identity, |asked| gate.judge(&ruleset, asked));
    let ruling = match (by_name, flight.upstream()) {
        (Ruling::Forward, Some(upstream)) => {
            with_facts(session, &flight.identity, |asked| gate.judge_origin(&ruleset, asked, upstream))
        }
        (ruling, _) => ruling,
    };
    // The proxy ends the connection after a failure, and the answer says so.
    session.set_keepalive(None);
    // A client that is gone by now needs no answer.
    carry_out(session, ruling).await.unwrap_or(true)
}

/// Whether the client has the beginning of an answer. Interim responses are none (RFC 9110 §15.2); a switch of protocols is.
pub(super) fn has_answer(session: &Session) -> bool {
    session.response_written().is_some_and(|head| {
        !head.status.is_informational() || head.status == http::StatusCode::SWITCHING_PROTOCOLS
    })
}

/// Ends a request that has had its answer, or its refusal, after Pingora's filters: nothing more is written.
pub(crate) fn answered() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the request has been answered").into_down()
}

/// The names of a request as Pingora has parsed it.
pub(super) fn identify(request: &RequestHeader, sni: Option<&Hostname>) -> Result<Identity, IdentifyError> {
    with_parts(request, sni, identify::identify)
}

/// The parts of a request that name a host, for whoever finds out which.
pub(super) fn with_parts<T>(
    request: &RequestHeader,
    sni: Option<&Hostname>,
    identify: impl FnOnce(&RequestParts<'_>) -> T,
) -> T {
    let hosts: SmallVec<[&[u8]; 1]> =
        request.headers.get_all(header::HOST).iter().map(|value| value.as_bytes()).collect();
    identify(&RequestParts {
        version: version(request),
        method: request.method.as_str(),
        target: request.raw_path(),
        authority: request.uri.authority().map(|authority| authority.as_str().as_bytes()),
        hosts: &hosts,
        sni,
    })
}

fn with_facts<T>(session: &Session, identity: &Identity, judge: impl FnOnce(&Asked<'_>) -> T) -> T {
    let flight = Flight::current();
    let connection = flight.as_ref().map(|flight| &*flight.connection).or_else(|| facts::of(session));
    // A proxy that embeds this crate has noted nothing of the connection.
    let own_listener =
        || session.server_addr().and_then(|address| address.as_inet()).map(ToString::to_string);
    let own_listener = if connection.is_none() { own_listener() } else { None };
    let about = About {
        identity,
        client: asker(session),
        listener: connection.map_or(own_listener.as_deref().unwrap_or_default(), Connection::listener_text),
        tls: connection.and_then(Connection::tls_version),
    };
    about.with_request(session.req_header(), judge)
}

/// What is known of a request beside its head.
pub(super) struct About<'a> {
    pub(super) identity: &'a Identity,
    pub(super) client: IpAddr,
    pub(super) listener: &'a str,
    pub(super) tls: Option<&'a str>,
}

impl About<'_> {
    /// Puts it together with the head.
    pub(super) fn with_request<T>(&self, request: &RequestHeader, judge: impl FnOnce(&Asked<'_>) -> T) -> T {
        let fields = Fields::of(request);
        judge(&Asked {
            identity: self.identity,
            client: self.client,
            listener: self.listener,
            tls: self.tls,
            protocol: version(request).as_str(),
            method: request.method.as_str(),
            path: request.raw_path(),
            user_agent: fields.user_agent,
            ask: Ask {
                head: request.method == http::Method::HEAD,
                accept: fields.accept.as_deref(),
                accept_language: fields.accept_language.as_deref(),
                content_type: fields.content_type,
            },
        })
    }
}

/// What the record and the answer of a block need of a head, found in one look at it.
#[derive(Default)]
struct Fields<'r> {
    accept: Option<Cow<'r, [u8]>>,
    accept_language: Option<Cow<'r, [u8]>>,
    user_agent: Option<&'r [u8]>,
    content_type: Option<&'r [u8]>,
}

impl<'r> Fields<'r> {
    fn of(request: &'r RequestHeader) -> Self {
        let mut fields = Self::default();
        for (name, value) in &request.headers {
            let value = value.as_bytes();
            match *name {
                header::ACCEPT => join(&mut fields.accept, value),
                header::ACCEPT_LANGUAGE => join(&mut fields.accept_language, value),
                header::USER_AGENT if fields.user_agent.is_none() => fields.user_agent = Some(value),
                header::CONTENT_TYPE if fields.content_type.is_none() => fields.content_type = Some(value),
                _ => {}
            }
        }
        fields
    }
}

/// The values of a list-based field as one (RFC 9110 §5.3).
fn join<'r>(whole: &mut Option<Cow<'r, [u8]>>, value: &'r [u8]) {
    *whole = Some(match whole.take() {
        None => Cow::Borrowed(value),
        Some(before) => Cow::Owned([&*before, b", ", value].concat()),
    });
}

pub(super) fn version(request: &RequestHeader) -> Version {
    match request.version {
        http::Version::HTTP_2 => Version::Http2,
        http::Version::HTTP_11 => Version::Http11,
        _ => Version::Http10,
    }
}

/// Who asks: the client of this request, whoever is at the other end of the connection.
pub(super) fn asker(session: &Session) -> IpAddr {
    let of_connection = || facts::of(session).map(|connection| named_in(connection, session.req_header()));
    let flying = Flight::with_current(|flight| flight.client);
    flying.or_else(of_connection).unwrap_or_else(|| client_ip(session))
}

/// Who asks in a request on this connection.
pub(super) fn named_in(connection: &Connection, request: &RequestHeader) -> IpAddr {
    match connection.client_header() {
        Some(name) => {
            connection.client_of(request.headers.get_all(name).iter().map(|value| value.as_bytes()))
        }
        None => connection.client,
    }
}

/// The client's address; 0.0.0.0 for one that has none, such as a peer on a Unix socket.
fn client_ip(session: &Session) -> IpAddr {
    let inet = session.client_addr().and_then(|address| address.as_inet());
    inet.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip)
}
