//! Origin names become addresses, at run time and for a short while.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Origin;
use crate::limits;

/// Why an origin has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's resolver failed.
    #[error("cannot resolve the origin `{name}`: {cause}")]
    Lookup {
        /// The origin's name.
        name: String,
        /// What the resolver said.
        cause: std::io::Error,
    },
    /// It knows the name, but no address of it.
    #[error("the origin `{0}` has no address")]
    NoAddress(String),
    /// It took longer than [`limits::RESOLVE_AT_MOST`].
    #[error("resolving the origin `{0}` took too long")]
    Slow(String),
}

/// Resolves origin names through the system and remembers the answers for a short while.
#[derive(Debug, Default)]
pub struct Resolver {
    /// Written by whichever request thread finds an answer missing or too old.
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    addresses: Arc<[IpAddr]>,
    at: Instant,
}

impl Resolver {
    /// The addresses of an origin, in the order the resolver gives them.
    ///
    /// An answer that cannot be renewed is used for a while longer: a resolver that is down must not take
    /// every site with it.
    ///
    /// # Errors
    /// When the name cannot be resolved and no usable older answer is known.
    pub async fn addresses(&self, origin: &Origin) -> Result<Vec<SocketAddr>, ResolveError> {
        let with_port = |addresses: &[IpAddr]| {
            addresses.iter().map(|address| SocketAddr::new(*address, origin.port)).collect()
        };
        if let Some(address) = origin.host.ip() {
            return Ok(with_port(&[address]));
        }
        let name = origin.host.as_str();
        let known = self.recall(name);
        if let Some(fresh) = known.as_ref().filter(|known| known.at.elapsed() < limits::RESOLVED_FRESH) {
            return Ok(with_port(&fresh.addresses));
        }
        match look_up(name).await {
            Ok(addresses) => {
                let result = with_port(&addresses);
                self.remember(name, addresses);
                Ok(result)
            }
            Err(error) => match known.filter(|known| known.at.elapsed() < limits::RESOLVED_USABLE) {
                Some(stale) => {
                    tracing::warn!(%error, "using the addresses known before");
                    Ok(with_port(&stale.addresses))
                }
                None => Err(error),
            },
        }
    }

    fn recall(&self, name: &str) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn remember(&self, name: &str, addresses: Vec<IpAddr>) {
        let known = Known { addresses: addresses.into(), at: Instant::now() };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), known);
    }
}

async fn look_up(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let answer = tokio::time::timeout(limits::RESOLVE_AT_MOST, tokio::net::lookup_host((name, 0))).await;
    let found = answer
        .map_err(|_| ResolveError::Slow(name.to_owned()))?
        .map_err(|cause| ResolveError::Lookup { name: name.to_owned(), cause })?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|address| address.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(ResolveError::NoAddress(name.to_owned())) } else { Ok(addresses) }
}

/// Keeps the limits of this module in step with each other.
const _: () = assert!(
    Duration::as_secs(&limits::RESOLVED_FRESH) < Duration::as_secs(&limits::RESOLVED_USABLE),
    "an answer is usable for longer than it is fresh"
);
