//! What is known of a connection before its first request, and holds for all of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::HeaderName;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::proxy::Session;

use super::forwarded::Told;
use super::listeners::Front;
use crate::hostname::Hostname;

/// The connection of a session, as far as it was noted there. A request that the cache makes in the background has it
/// from the one that it is made for.
pub(super) fn of(session: &Session) -> Option<&Connection> {
    noted(session).map(|connection| &**connection)
}

/// The same, to be kept.
pub(super) fn shared(session: &Session) -> Option<Arc<Connection>> {
    noted(session).map(Arc::clone)
}

fn noted(session: &Session) -> Option<&Arc<Connection>> {
    session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

/// What a stream says of itself so that [`of`] finds its connection: Pingora passes this on to whatever it makes of a
/// session, and looks at none of it.
pub(super) fn note(connection: &Arc<Connection>) -> Result<ProxyDigest> {
    let response = ResponseHeader::build(http::StatusCode::OK, None)?;
    Ok(ProxyDigest::new(Box::new(response), Some(Box::new(Arc::clone(connection)))))
}

/// One client connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who asks: the peer, or whom a trusted proxy in front names. 0.0.0.0 for a peer without an address.
    pub client: IpAddr,
    /// Whether the peer is a proxy whose word about its clients is taken.
    pub trusted: bool,
    /// The address the connection came in on.
    pub listener: Option<SocketAddr>,
    /// The same as text, for records.
    listener_text: Box<str>,
    /// Set on connections with TLS.
    pub tls: Option<Tls>,
    /// Whether a request for another name than the server name is answered with 421.
    pub strict_sni: bool,
    /// When it was accepted.
    pub opened: Instant,
    /// What may stand in front of it.
    pub front: Arc<Front>,
    /// What origins were told of it.
    pub(super) told: Told,
}

/// What the handshake told.
#[derive(Debug, Clone)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The server name the client asked for (RFC 6066 §3), if it asked for one.
    pub sni: Option<Hostname>,
}

impl Connection {
    /// A cleartext connection of `peer`.
    #[must_use]
    pub fn cleartext(peer: Option<SocketAddr>, listener: Option<SocketAddr>) -> Self {
        let client = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let (opened, front, told) = (Instant::now(), Arc::default(), Told::default());
        let listener_text = listener.map(|address| address.to_string()).unwrap_or_default().into();
        Self {
            client,
            trusted: false,
            listener,
            listener_text,
            tls: None,
            strict_sni: false,
            opened,
            front,
            told,
        }
    }

    /// The field in which a proxy in front names the client of each request, when its word is taken.
    #[must_use]
    pub fn client_header(&self) -> Option<&HeaderName> {
        let header = self.front.client_header.as_ref()?;
        self.trusted.then(|| header.name())
    }

    /// Who asks in a request whose client header has these values.
    pub(super) fn client_of<'v>(&self, values: impl DoubleEndedIterator<Item = &'v [u8]>) -> IpAddr {
        let header = self.front.client_header.as_ref().filter(|_| self.client_header().is_some());
        header.and_then(|header| header.client(values, &self.front.trusted)).unwrap_or(self.client)
    }

    /// The address the connection came in on as records show it; empty when it has none.
    #[must_use]
    pub fn listener_text(&self) -> &str {
        &self.listener_text
    }

    /// The server name of the handshake.
    #[must_use]
    pub fn sni(&self) -> Option<&Hostname> {
        self.tls.as_ref()?.sni.as_ref()
    }

    /// The TLS version, as records show it.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        self.tls.as_ref().map(|tls| tls.version)
    }
}
