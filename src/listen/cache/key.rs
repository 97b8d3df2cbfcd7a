//! What makes two requests ask for the same object.

use http::uri::PathAndQuery;
use pingora::cache::CacheKey;
use pingora::proxy::Session;

use super::store::Site;
use crate::identify::Identity;
use crate::limits;

/// The key of a GET of what the session asks for: scheme, canonical host, port unless it is the scheme's own, path
/// and query as they were sent. Nothing for a URI that is too long to keep.
///
/// Without scheme and host, two customers' pages at the same path would be one object (CVE-2026-2836).
pub(super) fn key(session: &Session, identity: &Identity, site: Site) -> Option<CacheKey> {
    let request = session.req_header();
    let target = request.uri.path_and_query().map(PathAndQuery::as_str);
    // A path that is no text is kept by Pingora beside the URI it could parse.
    let target = target.filter(|target| target.as_bytes() == request.raw_path())?;
    let text = text(is_secure(session), identity, target)?;
    let mut key = CacheKey::new(text, "");
    key.extensions.insert(site);
    Some(key)
}

/// Whether the request came over TLS.
pub(in crate::listen) fn is_secure(session: &Session) -> bool {
    session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

/// The key, readable: what the name of a host may hold neither a slash nor a colon, so that no two requests that
/// differ have one key.
fn text(secure: bool, identity: &Identity, target: &str) -> Option<String> {
    let (scheme, default_port) = if secure { ("https", 443) } else { ("http", 80) };
    let port = identity.port.filter(|port| *port != default_port);
    let host = &identity.host;
    let text = match port {
        Some(port) => format!("{scheme}://{host}:{port}{target}"),
        None => format!("{scheme}://{host}{target}"),
    };
    (text.len() <= limits::CACHE_KEY_BYTES).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identify::{RequestParts, Version, identify};

    fn of(secure: bool, host: &str, target: &str) -> Option<String> {
        let parts = RequestParts {
            version: Version::Http11,
            method: "GET",
            target: target.as_bytes(),
            authority: None,
            hosts: &[host.as_bytes()],
            sni: None,
        };
        text(secure, &identify(&parts).unwrap(), target)
    }

    #[test]
    fn scheme_host_port_path_and_query_are_in_the_key() {
        assert_eq!(of(false, "A.Example.", "/x?y").unwrap(), "http://a.example/x?y");
        assert_eq!(of(false, "a.example:80", "/").unwrap(), "http://a.example/");
        assert_eq!(of(true, "a.example:443", "/").unwrap(), "https://a.example/");
        assert_eq!(of(true, "a.example:80", "/").unwrap(), "https://a.example:80/");
        assert_eq!(of(false, "[2001:DB8::1]:8080", "/").unwrap(), "http://[2001:db8::1]:8080/");
    }

    #[test]
    fn an_endless_uri_is_no_key() {
        assert!(of(false, "a.example", &format!("/{}", "x".repeat(limits::CACHE_KEY_BYTES))).is_none());
    }
}
