//! Origin names become addresses, at run time and for as long as their DNS records hold.

mod dns;
mod known;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smallvec::{SmallVec, smallvec};
use tokio::sync::{Semaphore, watch};
use tokio::time::{timeout, timeout_at};

use self::dns::{Answer, Asker};
use self::known::{Advice, Known};
use super::Origin;
use crate::limits;
use crate::metrics::Metrics;

/// `[dns]`: who is asked for the addresses of origins, and how long an answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The name servers: `resolvers`, 1 to 8. Default: none here, and those of `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
    /// An answer holds for its TTL and at least so long: `min_ttl`, 1 s to 1 h. Default: 1 s.
    pub min_ttl: Duration,
    /// And at most so long: `max_ttl`, 1 s to 168 h. Default: 1 h.
    pub max_ttl: Duration,
    /// How long the last good addresses are used beyond that when they cannot be renewed: `keep`, 0 to 720 h.
    /// Default: 24 h.
    pub keep: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            min_ttl: limits::RESOLVED_AT_LEAST,
            max_ttl: limits::RESOLVED_AT_MOST,
            keep: limits::RESOLVED_KEPT,
        }
    }
}

/// Why an origin has no address.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve the origin `{name}`: {cause}")]
pub struct ResolveError {
    /// The origin's name.
    pub name: String,
    /// What the look-up said, which may have been a moment ago.
    pub cause: Arc<str>,
}

/// Resolves origin names and remembers the answers for as long as they hold.
#[derive(Debug)]
pub struct Resolver {
    /// What is known of each name. Written by whichever request finds it new.
    names: Mutex<HashMap<String, Arc<Name>>>,
    desk: Arc<Desk>,
}

/// What every look-up needs.
#[derive(Debug)]
struct Desk {
    asker: Asker,
    /// Room for look-ups: sockets are few, and name servers are not to be flooded.
    room: Semaphore,
    keep: Duration,
    metrics: Arc<Metrics>,
}

/// One origin's name.
#[derive(Debug)]
struct Name {
    text: String,
    known: watch::Sender<Known>,
}

impl Resolver {
    /// Asks as the settings say. Nobody is asked before a name is needed.
    #[must_use]
    pub fn new(dns: Dns, metrics: Arc<Metrics>) -> Self {
        let (keep, room) = (dns.keep, Semaphore::new(limits::RESOLVES_AT_ONCE));
        let desk = Desk { asker: Asker::new(dns), room, keep, metrics };
        Self { names: Mutex::default(), desk: Arc::new(desk) }
    }

    /// The addresses of an origin, best first.
    ///
    /// A name is looked up when it is needed and its last answer has lapsed, or nearly so: then beside the requests
    /// that use it. Addresses that cannot be renewed are used for a while longer: name servers that are down must
    /// not take every site with them. A name is looked up once at a time, and after failures not at once again.
    ///
    /// # Errors
    /// When the name cannot be resolved and no usable older answer is known.
    pub async fn addresses(&self, origin: &Origin) -> Result<SmallVec<[SocketAddr; 2]>, ResolveError> {
        if let Some(address) = origin.host.ip() {
            return Ok(smallvec![SocketAddr::new(address, origin.port)]);
        }
        let addresses = self.find(&self.name(origin.host.as_str())).await?;
        Ok(addresses.iter().map(|address| SocketAddr::new(*address, origin.port)).collect())
    }

    fn name(&self, text: &str) -> Arc<Name> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(text) {
            return Arc::clone(known);
        }
        let name = Arc::new(Name { text: text.to_owned(), known: watch::Sender::default() });
        names.insert(text.to_owned(), Arc::clone(&name));
        name
    }

    async fn find(&self, name: &Arc<Name>) -> Result<Arc<[IpAddr]>, ResolveError> {
        let advice = name.advice(self.desk.keep);
        let fail = |cause| ResolveError { name: name.text.clone(), cause };
        match advice {
            Advice::Use(addresses) => Ok(addresses),
            Advice::UseAndAsk(addresses) => {
                self.ask(name);
                Ok(addresses)
            }
            Advice::AskUntil(until, addresses) => {
                self.ask(name);
                let in_time = timeout_at(until.into(), name.settled()).await.is_ok();
                Ok(if in_time { name.known_now(self.desk.keep).unwrap_or(addresses) } else { addresses })
            }
            Advice::Ask => {
                self.ask(name);
                // The look-up has a bound of its own; this one is for what nobody thought of.
                let bound = limits::RESOLVE_AT_MOST + limits::RESOLVE_WAIT;
                timeout(bound, name.settled()).await.map_err(|_| fail("no answer has come".into()))?;
                name.known_now(self.desk.keep).map_err(fail)
            }
            Advice::Fail(cause) => Err(fail(cause)),
        }
    }

    /// Begins a look-up, unless one is under way. It goes on when the request that began it goes away.
    fn ask(&self, name: &Arc<Name>) {
        if !name.known.send_if_modified(|known| known.begin(Instant::now())) {
            return;
        }
        let (asking, desk) = (Asking { name: Some(Arc::clone(name)) }, Arc::clone(&self.desk));
        tokio::spawn(async move {
            // The room is never closed, so that this waits at most.
            let (Some(name), Ok(_place)) = (&asking.name, desk.room.acquire().await) else { return };
            let answer = timeout(limits::RESOLVE_AT_MOST, desk.asker.look_up(&name.text)).await;
            let answer = answer.unwrap_or_else(|_| Err("it took too long".to_owned()));
            desk.metrics.looked_up(answer.is_ok());
            asking.end(answer);
        });
    }
}

impl Name {
    fn advice(&self, keep: Duration) -> Advice {
        self.known.borrow().advice(Instant::now(), keep)
    }

    /// Waits until no look-up is under way.
    async fn settled(&self) {
        // It fails only when the sender is gone, which is ours.
        self.known.subscribe().wait_for(|known| !known.is_asked()).await.ok();
    }

    /// What can be used without asking.
    fn known_now(&self, keep: Duration) -> Result<Arc<[IpAddr]>, Arc<str>> {
        match self.advice(keep) {
            Advice::Use(addresses) | Advice::UseAndAsk(addresses) | Advice::AskUntil(_, addresses) => {
                Ok(addresses)
            }
            Advice::Fail(cause) => Err(cause),
            Advice::Ask => Err("its look-up was given up".into()),
        }
    }

    fn answered(&self, answer: Answer) {
        let (name, holds) = (&self.text, answer.holds);
        let (mut change, mut failed) = (None, false);
        self.known.send_modify(|known| {
            failed = known.fails();
            change = known.answered(answer, Instant::now());
        });
        if failed {
            tracing::info!(name, "the name of an origin can be looked up again");
        }
        if let Some(change) = change {
            let (before, now) = (&change.before, &change.now);
            tracing::info!(name, ?before, ?now, ?holds, "an origin has other addresses");
        }
    }

    fn failed(&self, cause: &str) {
        let mut first = false;
        self.known.send_modify(|known| first = known.failed(cause, Instant::now()));
        if first {
            tracing::warn!(name = self.text, cause, "cannot look up the name of an origin");
        }
    }
}

/// A look-up under way. However it ends, those who wait for it are told.
struct Asking {
    name: Option<Arc<Name>>,
}

impl Asking {
    fn end(mut self, answer: Result<Answer, String>) {
        let Some(name) = self.name.take() else { return };
        match answer {
            Ok(answer) => name.answered(answer),
            Err(cause) => name.failed(&cause),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            name.failed("its look-up was given up");
        }
    }
}
