//! Which answers are kept, how long they are fresh, and what they vary with (RFC 9111, as a shared cache).

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, ETAG, EXPIRES, HeaderMap, HeaderName, LAST_MODIFIED,
    PROXY_AUTHENTICATE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};
use pingora::cache::cache_control::{CacheControl, DirectiveKey, DirectiveValue, InterpretCacheControl};
use pingora::cache::filters::resp_cacheable;
use pingora::cache::key::HashBinary;
use pingora::cache::{CacheMeta, CacheMetaDefaults, NoCacheReason, RespCacheable, VarianceBuilder};
use pingora::http::{RequestHeader, ResponseHeader};

/// The answer to a request with `Authorization` that does not say that others may have it. Says nothing of the
/// URI: requests without credentials are not kept from the cache for it.
pub(super) const AUTHORIZED: &str = "authorization";

/// No time of freshness, no serving of what is stale, but what the answer says itself.
const NOTHING_BY_DEFAULT: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);

/// Status codes whose answers may be fresh without saying so (RFC 9110 §15.1), but for 206, which is no whole.
const BY_DEFAULT: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// Fields between two neighbours, which no cache keeps (RFC 9111 §3.1).
const HOP_BY_HOP: [HeaderName; 6] = [CONNECTION, PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// Whether the answer may be kept, and what is kept of it.
///
/// Beyond the RFC: an answer with `Set-Cookie` is not kept, nor one that could never be served from the cache
/// without being fetched again.
pub(super) fn storable(
    request: &RequestHeader,
    response: &ResponseHeader,
    default_ttl: Option<Duration>,
) -> RespCacheable {
    let status = response.status.as_u16();
    let not_kept = RespCacheable::Uncacheable(NoCacheReason::OriginNotCache);
    if status < 200 || matches!(status, 206 | 304) || response.headers.contains_key(SET_COOKIE) {
        return not_kept;
    }
    let unreadable = || response.headers.get_all(VARY).iter().any(|value| value.to_str().is_err());
    if vary(&response.headers).any(|name| name == "*") || unreadable() {
        return not_kept;
    }
    let control = control(response);
    let authorized = request.headers.contains_key(AUTHORIZATION);
    if authorized && !may_share(control.as_ref()) {
        return RespCacheable::Uncacheable(NoCacheReason::Custom(AUTHORIZED));
    }
    let mut kept = response.clone();
    strip_hop_by_hop(&mut kept);
    let found = resp_cacheable(control.as_ref(), kept.clone(), authorized, &NOTHING_BY_DEFAULT);
    match (found, default_ttl) {
        (RespCacheable::Cacheable(meta), _) => aged(meta, control.as_ref()),
        (RespCacheable::Uncacheable(_), Some(ttl)) if says_nothing(response, control.as_ref()) => {
            let now = SystemTime::now();
            now.checked_add(ttl)
                .map_or(not_kept, |until| aged(CacheMeta::new(until, now, 0, 0, kept), control.as_ref()))
        }
        (uncacheable, _) => uncacheable,
    }
}

/// The `Cache-Control` of an answer. Of two times that contradict each other the shorter counts (RFC 9111 §4.2.1), where
/// Pingora takes the last.
fn control(response: &ResponseHeader) -> Option<CacheControl> {
    let mut control = CacheControl::from_resp_headers(response)?;
    for (key, wanted) in [(DirectiveKey::MaxAge, "max-age"), (DirectiveKey::SMaxAge, "s-maxage")] {
        let times = list(&response.headers, &CACHE_CONTROL).filter_map(|directive| {
            let (name, value) = directive.split_once('=')?;
            // What cannot be read is no time for which anything is fresh.
            let seconds = value.trim().trim_matches('"').parse().unwrap_or(0u64);
            name.trim().eq_ignore_ascii_case(wanted).then_some(seconds)
        });
        let (count, least) = times.fold((0, u64::MAX), |(count, least), time| (count + 1, least.min(time)));
        if count > 1 {
            control.directives.insert(key, Some(DirectiveValue(least.to_string().into_bytes())));
        }
    }
    Some(control)
}

/// Whether the answer to a request with credentials is for others too (RFC 9111 §3.5).
pub(super) fn may_share(control: Option<&CacheControl>) -> bool {
    control.is_some_and(CacheControl::allow_caching_authorized_req)
}

/// Whether an answer leaves it to the cache how long it is fresh.
fn says_nothing(response: &ResponseHeader, control: Option<&CacheControl>) -> bool {
    let forbids = control.is_some_and(|control| control.no_store() || control.private());
    let timed = control.is_some_and(|control| control.fresh_duration().is_some());
    let may = BY_DEFAULT.contains(&response.status.as_u16()) || control.is_some_and(CacheControl::public);
    may && !forbids && !timed && !response.headers.contains_key(EXPIRES)
}

/// Counts the time an answer has spent in caches on its way (RFC 9111 §4.2.3), and gives up one that is of no use:
/// stale from the start, and with nothing to ask the origin whether it has changed.
fn aged(mut meta: CacheMeta, control: Option<&CacheControl>) -> RespCacheable {
    let age = meta.headers().get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    let age = Duration::from_secs(u64::from(age.unwrap_or(0u32)));
    let created = meta.created();
    if let (false, Some(epoch), Some(until)) =
        (age.is_zero(), created.checked_sub(age), meta.fresh_until().checked_sub(age))
    {
        // An `Expires` is a moment, which no age moves.
        if control.is_some_and(|control| control.fresh_duration().is_some()) {
            meta.expire_at(until);
        }
        meta.set_epoch_override(epoch);
        meta.response_header_mut().remove_header(&AGE);
    }
    let now = SystemTime::now();
    let validates = meta.headers().contains_key(ETAG) || meta.headers().contains_key(LAST_MODIFIED);
    let useful = meta.is_fresh(now) || validates || meta.serve_stale_while_revalidate(now);
    if useful {
        RespCacheable::Cacheable(meta)
    } else {
        RespCacheable::Uncacheable(NoCacheReason::OriginNotCache)
    }
}

fn strip_hop_by_hop(response: &mut ResponseHeader) {
    let named: Vec<String> = list(&response.headers, &CONNECTION).map(str::to_owned).collect();
    for name in named.iter().map(String::as_str).chain(["keep-alive", "proxy-connection"]) {
        response.remove_header(name);
    }
    for name in &HOP_BY_HOP {
        response.remove_header(name);
    }
}

/// The variant of an answer that a request asks for; nothing when the answer does not vary.
pub(super) fn variance(response: &HeaderMap, request: &RequestHeader) -> Option<HashBinary> {
    let mut variance = VarianceBuilder::new();
    for name in vary(response).map(str::to_ascii_lowercase) {
        let mut value = Vec::new();
        // No field is another thing than an empty one.
        for field in request.headers.get_all(name.as_str()) {
            value.extend_from_slice(b", ");
            value.extend_from_slice(field.as_bytes());
        }
        variance.add_owned_name_value(name, value);
    }
    variance.finalize()
}

fn vary(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    list(headers, &VARY)
}

/// The elements of a list-based field (RFC 9110 §5.6.1).
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests;
