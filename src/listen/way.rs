//! How the origins of each route are spoken to, as Pingora wants to hear it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pingora::prelude::HttpPeer;
use pingora::protocols::ALPN;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpUpstreamRequestPolicy;
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::door::Door;
use super::proxy::Patience;
use crate::forward::{Origin, OriginTls, Route};
use crate::hostname::Hostname;
use crate::limits;

/// The certificates of a route's `tls.ca` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is no PEM.
    #[error("cannot read the certificates in `{path}`: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: rustls::pki_types::pem::Error,
    },
    /// It holds something else than certificates of authorities.
    #[error("a certificate in `{path}` cannot be used: {cause}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: rustls::Error,
    },
    /// It holds no certificate.
    #[error("there is no certificate in `{0}`")]
    Empty(PathBuf),
}

/// How the origins of one route are spoken to.
#[derive(Debug)]
pub(super) struct Way {
    tls: Option<OriginTls>,
    ca: Option<Arc<CaType>>,
    pub(super) http2: bool,
    connect: Duration,
    silence: Duration,
    /// Keeps the pooled connections of routes apart that trust different authorities or speak different protocols:
    /// one was verified as one route asks, and must not serve another.
    group: u64,
}

/// Where one connection leads, and on whose behalf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination<'a> {
    pub(super) origin: &'a Origin,
    pub(super) address: SocketAddr,
    /// The host of the request, for an origin that is known by its address alone.
    pub(super) host: &'a Hostname,
    /// Nobody for a health check.
    pub(super) client: Option<IpAddr>,
    /// An upgrade is HTTP/1 only (RFC 9113 §8.6).
    pub(super) upgrade: bool,
}

impl Way {
    pub(super) fn new(route: &Route, patience: &Patience) -> Result<Self, TrustError> {
        let ca = route.tls.as_ref().and_then(|tls| tls.ca.as_deref()).map(authorities).transpose()?;
        let mut hasher = DefaultHasher::new();
        (&route.tls, route.http2).hash(&mut hasher);
        Ok(Self {
            tls: route.tls.clone(),
            ca,
            http2: route.http2,
            connect: route.connect_timeout.unwrap_or(patience.connect),
            silence: route.upstream_timeout.unwrap_or(patience.silence),
            group: hasher.finish(),
        })
    }

    /// The peer, which connects through the door and nowhere else.
    pub(super) fn peer(&self, door: &Arc<Door>, to: &Destination<'_>) -> HttpPeer {
        let name = self.tls.as_ref().map(|tls| server_name(tls, to)).unwrap_or_default();
        let mut peer = HttpPeer::new(to.address, self.tls.is_some(), name);
        peer.group_key = self.group;
        let options = &mut peer.options;
        options.custom_l4 = Some(door.way(to.client, self.connect));
        // Of protocol upgrades only a WebSocket passes: an origin that switched to another protocol, such as
        // h2c, could be asked for other names through the same tunnel, unseen.
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::default();
        options.connection_timeout = Some(self.connect);
        options.total_connection_timeout = Some(self.connect);
        options.read_timeout = Some(self.silence);
        options.write_timeout = Some(self.silence);
        options.idle_timeout = Some(limits::UPSTREAM_IDLE);
        let verify = self.tls.as_ref().is_none_or(|tls| tls.verify);
        options.verify_cert = verify;
        options.verify_hostname = verify;
        options.ca.clone_from(&self.ca);
        if self.http2 && !to.upgrade {
            options.alpn = if self.tls.is_some() { ALPN::H2H1 } else { ALPN::H2 };
            options.max_h2_streams = limits::UPSTREAM_STREAMS;
            options.h2_ping_interval = Some(limits::UPSTREAM_PING);
        }
        peer
    }
}

/// The name the certificate has to be for. Never empty: without a name Pingora verifies nothing.
fn server_name(tls: &OriginTls, to: &Destination<'_>) -> String {
    let known_by_name = Some(&to.origin.host).filter(|host| host.ip().is_none());
    let name = tls.name.as_ref().or(known_by_name).unwrap_or(to.host);
    name.ip().map_or_else(|| name.to_string(), |address| address.to_string())
}

fn authorities(path: &Path) -> Result<Arc<CaType>, TrustError> {
    let read = |cause| TrustError::Read { path: path.to_path_buf(), cause };
    let mut store = rustls::RootCertStore::empty();
    let mut known = Vec::new();
    for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
        let certificate = certificate.map_err(read)?;
        let unusable = |cause| TrustError::Unusable { path: path.to_path_buf(), cause };
        // Looked at here, so that a bad one is an error at the start and not with every connection.
        store.add(certificate.clone()).map_err(unusable)?;
        known.push(WrappedX509::new(certificate.to_vec(), parse_x509));
    }
    if known.is_empty() { Err(TrustError::Empty(path.to_path_buf())) } else { Ok(known.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(tls: Option<&str>, origin: &str, host: &str) -> String {
        let parse = |text: &str| Hostname::parse(text).unwrap();
        let tls = OriginTls { name: tls.map(parse), ca: None, verify: true };
        let origin = Origin { host: parse(origin), port: 443, weight: 1 };
        let to = Destination {
            origin: &origin,
            address: ([192, 0, 2, 1], 443).into(),
            host: &parse(host),
            client: None,
            upgrade: false,
        };
        server_name(&tls, &to)
    }

    #[test]
    fn a_certificate_is_for_the_routes_name_else_the_origins_else_the_requests() {
        assert_eq!(name(Some("tls.example"), "origin.example", "a.example"), "tls.example");
        assert_eq!(name(None, "origin.example", "a.example"), "origin.example");
        assert_eq!(name(None, "192.0.2.1", "a.example"), "a.example");
        assert_eq!(name(None, "192.0.2.1", "[2001:db8::1]"), "2001:db8::1");
    }
}
