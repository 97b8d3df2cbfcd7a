//! What the cache did for an answer, as its `cache-status` field says (RFC 9211).

use std::time::SystemTime;

use http::HeaderValue;
use pingora::cache::{CachePhase, HttpCache};

use crate::metrics::CacheMetrics;

/// The name of the field.
pub(super) const CACHE_STATUS: &str = "cache-status";

/// Why a request was not looked up (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bypass {
    /// Its method is neither GET nor HEAD.
    Method,
    /// Something else in the request, such as its content.
    Request,
    /// The edge was told not to, or must not now.
    Edge,
}

/// Counts the answer and says where it came from.
pub(super) fn describe(
    cache: &HttpCache,
    bypass: Option<Bypass>,
    metrics: &CacheMetrics,
) -> Option<HeaderValue> {
    let value = match (cache.phase(), bypass) {
        (CachePhase::Hit | CachePhase::Stale | CachePhase::StaleUpdating, _) => {
            metrics.hits.inc();
            let until = cache.maybe_cache_meta().map(|meta| meta.fresh_until())?;
            return HeaderValue::try_from(format!("interdict; hit; ttl={}", seconds_until(until))).ok();
        }
        (CachePhase::Revalidated, _) => "interdict; fwd=stale; fwd-status=304; stored",
        (CachePhase::RevalidatedNoCache(_), _) => "interdict; fwd=stale; fwd-status=304",
        (CachePhase::Expired, _) => "interdict; fwd=stale; stored",
        (CachePhase::Miss, _)
            if cache.maybe_cache_key().is_some_and(|key| key.get_variance_key().is_some()) =>
        {
            "interdict; fwd=vary-miss; stored"
        }
        (CachePhase::Miss, _) => "interdict; fwd=uri-miss; stored",
        (_, None) => "interdict; fwd=miss",
        (_, Some(bypass)) => {
            metrics.bypasses.inc();
            return Some(HeaderValue::from_static(match bypass {
                Bypass::Method => "interdict; fwd=method",
                Bypass::Request => "interdict; fwd=request",
                Bypass::Edge => "interdict; fwd=bypass",
            }));
        }
    };
    metrics.misses.inc();
    Some(HeaderValue::from_static(value))
}

/// Negative for what is stale.
fn seconds_until(moment: SystemTime) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    match moment.duration_since(SystemTime::now()) {
        Ok(left) => whole(left.as_secs()),
        Err(over) => -whole(over.duration().as_secs()),
    }
}
