//! Answers of origins, kept and given again (RFC 9111).
//!
//! The verdict comes first: a request is looked up only once it may pass. What a block must reach hangs on the
//! names it blocks:
//!
//! ```text
//! swap or turn of a case -> pass: strike blocked hosts and closed origins -> bury what hung on them
//! request: passes counted -> verdict -> enter the host -> look up | fetch, note the origin -> store, unless struck
//! ```
//!
//! A request holds the entry of its host from before its fetch until its answer is stored. If a pass strikes the
//! entry meanwhile, the answer is not stored; after a reinstatement requests get a new entry, on which nothing of
//! before hangs. A request that was judged before a pass and enters after it is served by the origin, and so is one
//! judged by rules that no pass has been made for yet: the cache never knows less than the verdict.

mod account;
mod freshness;
mod key;
mod purge;
mod ranges;
mod roll;
mod status;
mod storage;
mod store;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Method;
use http::header::{AUTHORIZATION, RANGE};
use pingora::cache::cache_control::CacheControl;
use pingora::cache::key::{CacheHashKey, HashBinary};
use pingora::cache::lock::CacheLock;
use pingora::cache::predictor::Predictor;
use pingora::cache::{
    CacheKey, CacheMeta, CacheOptionOverrides, CachePhase, ForcedFreshness, HitHandler, NoCacheReason,
    RespCacheable,
};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::enforce::{self, Passed};
use crate::gate::Gate;
use crate::hostname::Hostname;
use crate::limits;

use purge::Checked;
use roll::Roll;
use status::{Bypass, CACHE_STATUS};
use storage::Hit;
use store::{Source, Store};

pub(super) use key::is_secure;
pub use purge::Purger;
pub(super) use ranges::{end_when_given, is_given};
pub use store::Removed;

/// How the cache is to be.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The most memory it takes, in bytes.
    pub bytes: usize,
    /// The largest content that is kept, in bytes.
    pub object_bytes: usize,
    /// How long an answer is fresh that says nothing of it; nothing: such an answer is not kept.
    pub default_ttl: Option<Duration>,
    /// How long a request waits for another one that fetches the same object.
    pub lock_timeout: Duration,
}

/// The cache of an edge.
pub struct Cache {
    settings: Settings,
    gate: Arc<Gate>,
    store: Store,
    sites: Roll<Hostname>,
    sources: Roll<SocketAddr>,
    /// How many passes have begun. Written by the purger alone.
    passes: AtomicU64,
    /// What the last pass was made for. Written by the purger alone.
    checked: ArcSwap<Checked>,
    lock: CacheLock,
    predictor: Predictor<16>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What a request has to do with the cache.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    /// The passes that had begun when the request came.
    began: u64,
    key: Option<CacheKey>,
    /// The origin that answers.
    source: Option<Source>,
    /// Whether the answer must not be kept, whatever it says.
    unstorable: bool,
    bypass: Option<Bypass>,
    /// Whether an origin is asked for the ranges alone, and not for the whole object.
    is_partial: bool,
    /// The URI that a request with an unsafe method changes (RFC 9111 §4.4).
    changes: Option<HashBinary>,
}

impl Cache {
    /// A cache for the requests that pass `gate`. It stays until the process ends: Pingora holds what it caches in
    /// for longer than any request.
    #[must_use]
    pub fn start(settings: Settings, gate: Arc<Gate>) -> &'static Self {
        let metrics = Arc::clone(gate.metrics());
        Box::leak(Box::new(Self {
            settings,
            store: Store::new(settings.bytes, metrics),
            sites: Roll::new(),
            sources: Roll::new(),
            passes: AtomicU64::new(0),
            checked: ArcSwap::from_pointee(Checked::now(&gate)),
            lock: CacheLock::new(settings.lock_timeout),
            predictor: Predictor::new(
                limits::CACHE_UNCACHEABLE_PER_PART,
                Some(|why| why == freshness::AUTHORIZED),
            ),
            gate,
        }))
    }

    /// Before the verdict on a request.
    pub(super) fn begin(&self) -> Lookup {
        Lookup { began: self.passes.load(Ordering::Acquire), ..Lookup::default() }
    }

    /// Has Pingora look a request up, if it may be: it has passed, and nothing speaks against it.
    pub(super) fn look_up(
        &'static self,
        session: &mut Session,
        lookup: &mut Lookup,
        passed: &Passed,
        wanted: bool,
    ) {
        let found = self.key_for(session, lookup, passed, wanted);
        let key = match found {
            Ok(key) => key,
            Err(bypass) => {
                lookup.bypass = Some(bypass);
                return;
            }
        };
        lookup.key = Some(key);
        if session.req_header().method == Method::HEAD {
            // A range is for GET alone (RFC 9110 §14.2).
            session.req_header_mut().remove_header(&RANGE);
        }
        let request = session.req_header();
        // What is fetched for nobody is fetched whole, whatever the request it is made for named.
        lookup.is_partial =
            !is_background(session) && ranges::stay_as_they_are(request, self.settings.object_bytes);
        // An answer to credentials is seldom for others, and one to HEAD or a part is not kept: nobody waits for them.
        let alone = request.headers.contains_key(AUTHORIZATION)
            || request.method == Method::HEAD
            || lookup.is_partial;
        let mut overrides = CacheOptionOverrides::default();
        overrides.wait_timeout = Some(self.settings.lock_timeout);
        session.cache.enable(
            &self.store,
            None,
            Some(&self.predictor),
            (!alone).then_some(&self.lock),
            Some(overrides),
        );
        session.cache.set_max_file_size_bytes(self.settings.object_bytes);
    }

    fn key_for(
        &self,
        session: &mut Session,
        lookup: &mut Lookup,
        passed: &Passed,
        wanted: bool,
    ) -> std::result::Result<CacheKey, Bypass> {
        let Some(site) = self.enter(&self.sites, &passed.identity().host, lookup.began) else {
            return Err(Bypass::Edge);
        };
        if !wanted || self.is_behind(passed) {
            return Err(Bypass::Edge);
        }
        let key = key::key(session, passed.identity(), site).ok_or(Bypass::Request)?;
        let method = &session.req_header().method;
        if !matches!(*method, Method::GET | Method::HEAD) {
            if !matches!(*method, Method::OPTIONS | Method::TRACE) {
                lookup.changes = Some(key.primary_bin());
            }
            return Err(Bypass::Method);
        }
        // What an origin makes of the content of a GET is not in the key.
        if session.is_upgrade_req() || !session.as_downstream_mut().is_body_empty() {
            return Err(Bypass::Request);
        }
        Ok(key)
    }

    /// The entry of a name, unless a pass has begun since.
    fn enter<K>(&self, roll: &Roll<K>, name: &K, began: u64) -> Option<Arc<roll::Entry<K>>>
    where
        K: std::hash::Hash + Eq + Clone + fmt::Debug,
    {
        roll.enter(name, || self.passes.load(Ordering::Acquire) == began)
    }

    /// Whether the request was judged by rules, or at a time, that no pass has been made for yet: something may be
    /// stored that was blocked in between.
    fn is_behind(&self, passed: &Passed) -> bool {
        self.checked.load().is_behind(passed.ruleset(), self.gate.clock().now())
    }

    /// Whether what was found may be given to this request: its content must not come from an origin that is closed
    /// to it, and one with credentials gets what is for everybody.
    pub(super) fn on_hit(
        &self,
        session: &Session,
        meta: &CacheMeta,
        handler: &HitHandler,
        passed: &Passed,
    ) -> Option<ForcedFreshness> {
        let hit = handler.as_any().downcast_ref::<Hit>();
        let source = hit.and_then(|hit| hit.object().source.as_ref());
        if source.is_some_and(|source| enforce::is_closed(&self.gate, session, passed, source.name)) {
            return Some(ForcedFreshness::ForceMiss);
        }
        let shared =
            || freshness::may_share(CacheControl::from_resp_headers(meta.response_header()).as_ref());
        let authorized = session.req_header().headers.contains_key(AUTHORIZATION);
        (authorized && !shared()).then_some(ForcedFreshness::ForceMiss)
    }

    /// A connection to an origin is there.
    pub(super) fn on_connected(&self, lookup: &mut Lookup, peer: &HttpPeer) {
        let Some(address) = peer._address.as_inet() else { return };
        lookup.source = self.enter(&self.sources, address, lookup.began);
        lookup.unstorable = lookup.source.is_none();
    }

    /// Whether an answer is kept.
    pub(super) fn on_answer(
        &self,
        session: &Session,
        lookup: &Lookup,
        response: &ResponseHeader,
    ) -> RespCacheable {
        if lookup.unstorable {
            return RespCacheable::Uncacheable(NoCacheReason::Deferred);
        }
        let mut found = freshness::storable(session.req_header(), response, self.settings.default_ttl);
        if let (RespCacheable::Cacheable(meta), Some(source)) = (&mut found, &lookup.source) {
            meta.extensions_mut().insert(Arc::clone(source));
        }
        found
    }

    /// Before an answer leaves: says in it what the cache did, and forgets what an unsafe method has changed.
    pub(super) fn on_departure(&self, session: &Session, lookup: &mut Lookup, response: &mut ResponseHeader) {
        if response.status.is_informational() {
            return;
        }
        if let Some(uri) = lookup.changes.take()
            && (response.status.is_success() || response.status.is_redirection())
        {
            self.store.remove(&uri);
        }
        let metrics = &self.gate.metrics().cache;
        if let Some(value) = status::describe(&session.cache, lookup.bypass, metrics)
            && let Err(error) = response.append_header(CACHE_STATUS, value)
        {
            tracing::debug!(%error, "an answer goes without its cache-status");
        }
    }
}

impl Lookup {
    /// The key of a request that is looked up.
    pub(super) fn key(&mut self) -> Result<CacheKey> {
        let missing = || Error::explain(ErrorType::InternalError, "a look-up without a key");
        self.key.take().ok_or_else(missing)
    }
}

/// The variant of an answer that a request asks for.
pub(super) fn variance(meta: &CacheMeta, request: &RequestHeader) -> Option<HashBinary> {
    freshness::variance(meta.headers(), request)
}

/// Whether a stale answer is given: while it is fetched anew, or because its origin fails. For how long is its own
/// `Cache-Control`'s to say (RFC 5861), and Pingora's to hold.
pub(super) fn serves_stale(error: Option<&Error>) -> bool {
    error.is_none_or(|error| error.esource() == &ErrorSource::Upstream)
}

/// An origin is to be asked. Pingora would ask it for the whole object on a HEAD, and stop reading as soon as the client
/// has its head; so a HEAD goes as it is, and keeps nothing. So does a request for a part that is not worth the whole. What is
/// there and stale was worth it: it is fetched anew, or given stale.
pub(super) fn on_miss(session: &mut Session, lookup: Option<&Lookup>) {
    let is_partial =
        lookup.is_some_and(|lookup| lookup.is_partial) && session.cache.phase() == CachePhase::Miss;
    if session.cache.enabled() && (is_partial || session.req_header().method == Method::HEAD) {
        session.cache.disable(NoCacheReason::Deferred);
    }
}

/// The request is over. Whoever waits for its fetch, which may have been left before it was whole, is let go.
pub(super) fn at_the_end(session: &mut Session) {
    session.cache.release_write_lock(NoCacheReason::Deferred);
}

/// Whether the request is one of Pingora's own, which fetches anew what was given stale: nobody waits for it.
pub(super) fn is_background(session: &Session) -> bool {
    session.subrequest_ctx.is_some()
}
