//! Enforcement for one Pingora session: its facts go to the gate, and the gate's answer to the client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderName, header};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use smallvec::SmallVec;

use super::respond;
use crate::act::Ask;
use crate::gate::{Asked, Gate, Ruling};
use crate::identify::{self, Identity, IdentifyError, RequestParts, Version};
use crate::policy::Ruleset;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Enforced {
    /// Nothing stands against it.
    Pass,
    /// It has been answered or refused; `request_filter` returns `Ok(true)`.
    Done,
}

/// Judges the request of `session` by its names. A blocked one is recorded and then answered here.
///
/// # Errors
/// When the answer cannot be written to the client.
pub async fn enforce(
    gate: &Gate,
    ruleset: &Ruleset,
    session: &mut Session,
    identity: &Identity,
) -> Result<Enforced> {
    let ruling = with_facts(session, identity, |asked| gate.judge(ruleset, asked));
    carry_out(session, ruling).await
}

/// Judges a connection to an origin on behalf of the request of `session`. Only after
/// [`Enforced::Pass`] may it be opened; otherwise the request has been answered.
///
/// # Errors
/// When the answer cannot be written to the client.
pub async fn enforce_origin(
    gate: &Gate,
    ruleset: &Ruleset,
    session: &mut Session,
    identity: &Identity,
    upstream: SocketAddr,
) -> Result<Enforced> {
    let ruling = judge_origin(gate, ruleset, session, identity, upstream);
    carry_out(session, ruling).await
}

/// The gate's ruling on one upstream address, recorded when it is against it.
pub(super) fn judge_origin(
    gate: &Gate,
    ruleset: &Ruleset,
    session: &Session,
    identity: &Identity,
    upstream: SocketAddr,
) -> Ruling {
    with_facts(session, identity, |asked| gate.judge_origin(ruleset, asked, upstream))
}

/// Gives the answer of a ruling.
pub(super) async fn carry_out(session: &mut Session, ruling: Ruling) -> Result<Enforced> {
    match ruling {
        Ruling::Forward => Ok(Enforced::Pass),
        Ruling::Enforce(answer) => {
            respond::give(session, answer).await?;
            Ok(Enforced::Done)
        }
    }
}

/// The names of a request as Pingora has parsed it.
pub(super) fn identify(request: &RequestHeader) -> Result<Identity, IdentifyError> {
    let hosts: SmallVec<[&[u8]; 1]> =
        request.headers.get_all(header::HOST).iter().map(|value| value.as_bytes()).collect();
    identify::identify(&RequestParts {
        version: version(request),
        method: request.method.as_str(),
        target: request.raw_path(),
        authority: request.uri.authority().map(|authority| authority.as_str().as_bytes()),
        hosts: &hosts,
        sni: None,
    })
}

fn with_facts<T>(session: &Session, identity: &Identity, judge: impl FnOnce(&Asked<'_>) -> T) -> T {
    let request = session.req_header();
    let field = |name: HeaderName| request.headers.get(name).map(|value| value.as_bytes());
    let asked = Asked {
        identity,
        client: client_ip(session),
        listener: session.server_addr().and_then(|address| address.as_inet()).copied(),
        protocol: version(request).as_str(),
        method: request.method.as_str(),
        path: request.raw_path(),
        user_agent: field(header::USER_AGENT),
        ask: Ask {
            head: request.method == http::Method::HEAD,
            accept: field(header::ACCEPT),
            accept_language: field(header::ACCEPT_LANGUAGE),
            content_type: field(header::CONTENT_TYPE),
        },
    };
    judge(&asked)
}

fn version(request: &RequestHeader) -> Version {
    match request.version {
        http::Version::HTTP_2 => Version::Http2,
        http::Version::HTTP_11 => Version::Http11,
        _ => Version::Http10,
    }
}

/// The client's address; 0.0.0.0 for one that has none, such as a peer on a Unix socket.
fn client_ip(session: &Session) -> IpAddr {
    let inet = session.client_addr().and_then(|address| address.as_inet());
    inet.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip)
}
