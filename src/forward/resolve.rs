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
    /// It failed a moment ago and is not asked again yet.
    #[error("the origin `{0}` could not be resolved a moment ago")]
    JustFailed(String),
    /// It took longer than [`limits::RESOLVE_AT_MOST`].
    #[error("resolving the origin `{0}` took too long")]
    Slow(String),
}

/// Resolves origin names through the system and remembers the answers for a short while.
#[derive(Debug, Default)]
pub struct Resolver {
    /// What is known of each name. Written by whichever request finds it new.
    names: Mutex<HashMap<String, Arc<Name>>>,
}

/// One origin's name.
#[derive(Debug, Default)]
struct Name {
    known: Mutex<Known>,
    /// Held by the one request that asks the resolver; the others use what is known, or wait for it.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone)]
struct Known {
    /// The last good answer, and when it came.
    addresses: Option<(Arc<[IpAddr]>, Instant)>,
    /// When the resolver last failed.
    failed: Option<Instant>,
}

impl Known {
    fn younger_than(&self, age: Duration) -> Option<&[IpAddr]> {
        let (addresses, at) = self.addresses.as_ref()?;
        (at.elapsed() < age).then_some(addresses)
    }

    fn has_just_failed(&self) -> bool {
        self.failed.is_some_and(|at| at.elapsed() < limits::RESOLVED_FRESH)
    }
}

impl Name {
    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What can be said without asking: an answer that is fresh, one that is still usable while the resolver
    /// fails or is being asked, or that it has just failed.
    fn at_hand(&self, name: &str, asking: bool) -> Option<Result<Vec<IpAddr>, ResolveError>> {
        let known = self.known();
        let fresh = known.younger_than(limits::RESOLVED_FRESH);
        let usable =
            || known.younger_than(limits::RESOLVED_USABLE).filter(|_| asking || known.has_just_failed());
        match fresh.or_else(usable) {
            Some(addresses) => Some(Ok(addresses.to_vec())),
            None => known.has_just_failed().then(|| Err(ResolveError::JustFailed(name.to_owned()))),
        }
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Some(answer) = self.at_hand(name, self.asking.try_lock().is_err()) {
            return answer;
        }
        let _asking = self.asking.lock().await;
        // Whoever held it before may have brought the answer.
        if let Some(answer) = self.at_hand(name, false) {
            return answer;
        }
        let answer = look_up(name).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(addresses) => {
                *known = Known { addresses: Some((addresses.clone().into(), Instant::now())), failed: None };
                Ok(addresses)
            }
            Err(error) => {
                known.failed = Some(Instant::now());
                match known.younger_than(limits::RESOLVED_USABLE) {
                    Some(stale) => {
                        tracing::warn!(%error, "using the addresses known before");
                        Ok(stale.to_vec())
                    }
                    None => Err(error),
                }
            }
        }
    }
}

impl Resolver {
    /// The addresses of an origin, in the order the resolver gives them.
    ///
    /// An answer that cannot be renewed is used for a while longer: a resolver that is down must not take
    /// every site with it. A name is asked for by one request at a time, and not again right after a failure.
    ///
    /// # Errors
    /// When the name cannot be resolved and no usable older answer is known.
    pub async fn addresses(&self, origin: &Origin) -> Result<Vec<SocketAddr>, ResolveError> {
        let addresses = match origin.host.ip() {
            Some(address) => vec![address],
            None => self.name(origin.host.as_str()).addresses(origin.host.as_str()).await?,
        };
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, origin.port)).collect())
    }

    fn name(&self, name: &str) -> Arc<Name> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.get(name) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(names.entry(name.to_owned()).or_default()),
        }
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
