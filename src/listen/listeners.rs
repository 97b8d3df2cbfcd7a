//! What each listening address asks of its connections.

use std::net::SocketAddr;
use std::sync::Arc;

use super::client_header::ClientHeader;
use super::tls::Terminator;
use crate::network::Networks;

/// One listening address.
#[derive(Debug)]
pub struct Listener {
    /// The address it is bound to, with its real port; the unspecified address stands for all of the machine's.
    pub address: SocketAddr,
    /// Ends TLS; none for cleartext.
    pub tls: Option<Terminator>,
    /// Whether a request for another name than the server name is answered with 421.
    pub strict_sni: bool,
    /// The proxies in front of it.
    pub front: Arc<Front>,
}

/// Proxies in front of a listener, and how they name their clients.
#[derive(Debug, Default)]
pub struct Front {
    /// Whether connections begin with a PROXY protocol header, which comes from `trusted` peers only.
    pub proxy_protocol: bool,
    /// The field in which they name the client of each request.
    pub client_header: Option<ClientHeader>,
    /// The proxies whose word is taken.
    pub trusted: Networks,
}

/// All listening addresses of an edge.
#[derive(Debug, Clone, Default)]
pub struct Listeners(Arc<[Arc<Listener>]>);

impl Listeners {
    /// Takes them all.
    #[must_use]
    pub fn new(listeners: Vec<Listener>) -> Self {
        Self(listeners.into_iter().map(Arc::new).collect())
    }

    /// The only one, if it is bound to one address: every connection came in on that, and the system need not be asked.
    pub(super) fn only(&self) -> Option<&Arc<Listener>> {
        let [only] = &*self.0 else { return None };
        (!only.address.ip().to_canonical().is_unspecified()).then_some(only)
    }

    /// The one that a connection to `local` came in on: an address of its own before the unspecified one.
    pub(super) fn of(&self, local: SocketAddr) -> Option<&Arc<Listener>> {
        let own = |listener: &&Arc<Listener>| same(listener.address, local);
        let any = |listener: &&Arc<Listener>| {
            listener.address.ip().is_unspecified() && listener.address.port() == local.port()
        };
        self.0.iter().find(own).or_else(|| self.0.iter().find(any))
    }
}

/// Whether both are one address; an IPv4 client of an IPv6 socket shows a mapped one.
fn same(bound: SocketAddr, local: SocketAddr) -> bool {
    bound.port() == local.port() && bound.ip().to_canonical() == local.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_its_own_comes_before_the_unspecified_one() {
        let listener = |address: &str, strict_sni| {
            let (address, front) = (address.parse().unwrap(), Arc::default());
            Listener { address, tls: None, strict_sni, front }
        };
        let listeners = Listeners::new(vec![
            listener("0.0.0.0:80", false),
            listener("192.0.2.1:80", true),
            listener("[::]:443", false),
        ]);
        let found = |local: &str| listeners.of(local.parse().unwrap()).map(|one| one.address.to_string());
        assert_eq!(found("192.0.2.1:80").as_deref(), Some("192.0.2.1:80"));
        assert_eq!(found("[::ffff:192.0.2.1]:80").as_deref(), Some("192.0.2.1:80"));
        assert_eq!(found("192.0.2.2:80").as_deref(), Some("0.0.0.0:80"));
        assert_eq!(found("[::ffff:192.0.2.1]:443").as_deref(), Some("[::]:443"));
        assert_eq!(found("192.0.2.1:8080"), None);
        let only = |address: &str| Listeners::new(vec![listener(address, false)]).only().is_some();
        assert!(
            only("192.0.2.1:80")
                && !only("0.0.0.0:80")
                && !only("[::]:80")
                && !only("[::ffff:0.0.0.0]:80")
                && listeners.only().is_none()
        );
    }
}
