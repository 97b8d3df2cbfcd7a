//! What an origin is told of the client, and what of the client's own words it does not get.
//!
//! `Forwarded` (RFC 7239) and the older `X-Forwarded-*` say who asked, how, and for which host. An origin believes
//! them, so they are the edge's to write: whatever a client that is no trusted proxy sent of them is dropped, under
//! every spelling an origin could read as one of them.

use std::net::IpAddr;

use http::HeaderValue;
use http::header::{self, HeaderName};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType};

use crate::limits;

/// Fields that are for one connection only (RFC 9110 §7.6.1) and are not taken away by Pingora with every protocol.
/// It turns `Connection`, `Upgrade` and `Transfer-Encoding` into what the connection to the origin needs.
const HOP_BY_HOP: [HeaderName; 6] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("http2-settings"),
    header::TRAILER,
];

/// Fields that say where a message ends, whose names have a hyphen that some origins do not tell from `_`.
const FRAMING: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who asks, as the connection tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    /// The other end of the connection.
    pub(super) address: IpAddr,
    /// Whether that is a proxy whose word on earlier hops counts.
    pub(super) is_trusted: bool,
    /// Whether the connection is encrypted.
    pub(super) https: bool,
    /// The one canonical name that was judged, with the port when there is one.
    pub(super) authority: &'a str,
}

/// Turns the head of a request into the one the origin gets: one canonical `Host`, no field that belongs to the
/// client's connection, and the truth about the client.
pub(super) fn prepare(request: &mut RequestHeader, asker: &Asker<'_>) -> Result<()> {
    remove_hop_by_hop(request)?;
    settle_framing(request)?;
    let earlier = if asker.is_trusted { Earlier::take(request) } else { Earlier::default() };
    remove_forwarded(request);
    let authority = value(asker.authority.to_owned())?;
    let proto = if asker.https { "https" } else { "http" };
    let address = asker.address.to_canonical();
    request.insert_header(X_FORWARDED_FOR, value(chain(earlier.addresses, address.to_string()))?)?;
    request.insert_header(X_FORWARDED_PROTO, earlier.proto.unwrap_or(HeaderValue::from_static(proto)))?;
    request.insert_header(X_FORWARDED_HOST, earlier.host.unwrap_or_else(|| authority.clone()))?;
    request.insert_header(header::HOST, authority)?;
    let hop = element(address, asker.authority, proto);
    request.insert_header(header::FORWARDED, value(chain(earlier.forwarded, hop))?)?;
    Ok(())
}

fn remove_hop_by_hop(request: &mut RequestHeader) -> Result<()> {
    for name in &HOP_BY_HOP {
        request.remove_header(name);
    }
    // `TE: trailers` says that trailers are understood, which holds for HTTP/2 from end to end (RFC 9113 §8.2.2).
    let mut codings =
        request.headers.get_all(header::TE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let keeps_te = codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"));
    request.remove_header(&header::TE);
    if keeps_te {
        request.insert_header(header::TE, HeaderValue::from_static("trailers"))?;
    }
    Ok(())
}

/// Says the length in one way only: one number without zeros in front, which some read as octal, and no field that an
/// origin could take for one that frames or routes a message.
fn settle_framing(request: &mut RequestHeader) -> Result<()> {
    let mut lengths = request.headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(first) = lengths.next() {
        // Whoever read the request has seen to it that all of them say the same.
        let text = first.to_str().ok().and_then(|text| text.split(',').next()).map(str::trim);
        let length: Option<u64> = text.and_then(|text| text.parse().ok());
        let unclear = || Error::explain(ErrorType::InternalError, "a length that is no number");
        let settled = HeaderValue::from(length.ok_or_else(unclear)?);
        if lengths.next().is_some() || *first != settled {
            request.insert_header(header::CONTENT_LENGTH, settled)?;
        }
    }
    let frames = |name: &HeaderName| {
        let alike = |known: HeaderName| name.as_str().replace('_', "-") == known.as_str();
        name.as_str().contains('_') && FRAMING.into_iter().any(alike)
    };
    let lookalikes: Vec<HeaderName> = request.headers.keys().filter(|name| frames(name)).cloned().collect();
    for name in lookalikes {
        request.remove_header(&name);
    }
    Ok(())
}

/// What a trusted proxy says of the hops before it.
#[derive(Debug, Default)]
struct Earlier {
    addresses: Option<String>,
    forwarded: Option<String>,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
}

impl Earlier {
    fn take(request: &RequestHeader) -> Self {
        let one = |name: HeaderName| request.headers.get(name).cloned();
        Self {
            addresses: list(request, &X_FORWARDED_FOR),
            forwarded: list(request, &header::FORWARDED),
            proto: one(X_FORWARDED_PROTO),
            host: one(X_FORWARDED_HOST),
        }
    }
}

/// The values of a list as one, unless it is longer than any honest chain of proxies.
fn list(request: &RequestHeader, name: &HeaderName) -> Option<String> {
    let values: Option<Vec<&str>> =
        request.headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
    let joined = values?.join(", ");
    (!joined.is_empty() && joined.len() <= limits::FORWARDED_BYTES).then_some(joined)
}

fn remove_forwarded(request: &mut RequestHeader) {
    let theirs: Vec<HeaderName> =
        request.headers.keys().filter(|name| says_who_asked(name.as_str())).cloned().collect();
    for name in theirs {
        request.remove_header(&name);
    }
}

/// Whether an origin may take a field for one of these. Many see no difference between `-` and `_` (RFC 3875
/// §4.1.18 turns both into `_`).
fn says_who_asked(name: &str) -> bool {
    let begins = |with: &str| {
        let is_one = |(octet, wanted)| octet == wanted || (octet == b'_' && wanted == b'-');
        name.len() >= with.len() && name.bytes().zip(with.bytes()).all(is_one)
    };
    let is = |whole: &str| name.len() == whole.len() && begins(whole);
    is("forwarded") || is("x-real-ip") || begins("x-forwarded-")
}

/// One element of `Forwarded` (RFC 7239 §4). An IPv6 address and a host with a port stand in quotes.
fn element(address: IpAddr, authority: &str, proto: &str) -> String {
    let node = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let is_token =
        authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let quote = if is_token { "" } else { "\"" };
    format!("for={node};host={quote}{authority}{quote};proto={proto}")
}

fn chain(earlier: Option<String>, last: String) -> String {
    match earlier {
        Some(earlier) => format!("{earlier}, {last}"),
        None => last,
    }
}

fn value(text: String) -> Result<HeaderValue> {
    HeaderValue::try_from(text)
        .map_err(|cause| Error::because(ErrorType::InternalError, "a field value", cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTRUSTED: Asker<'_> = Asker {
        address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        is_trusted: false,
        https: false,
        authority: "a.example",
    };

    fn prepared(fields: &[(&'static str, &str)], asker: &Asker<'_>) -> Vec<(String, String)> {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        prepare(&mut request, asker).unwrap();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let mut all: Vec<_> =
            request.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        all.sort();
        all
    }

    #[track_caller]
    fn assert_fields(found: &[(String, String)], expected: &[(&str, &str)]) {
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }

    const PLAIN: [(&str, &str); 5] = [
        ("forwarded", "for=192.0.2.1;host=a.example;proto=http"),
        ("host", "a.example"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-proto", "http"),
    ];

    #[test]
    fn what_an_untrusted_client_says_of_itself_is_dropped_under_every_spelling() {
        let lies = [
            ("Host", "A.example."),
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "203.0.113.10"),
            ("x_forwarded_for", "203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "b.example"),
            ("X-Forwarded-Port", "1"),
            ("Forwarded", "for=203.0.113.9"),
            ("X-Real-IP", "203.0.113.9"),
            ("X_Real_Ip", "203.0.113.9"),
        ];
        assert_fields(&prepared(&lies, &UNTRUSTED), &PLAIN);
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_added_to() {
        let chain = [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "198.51.100.2"),
            ("X-Forwarded-Proto", "https"),
            ("Forwarded", "for=203.0.113.9"),
            ("X-Forwarded-Port", "1"),
        ];
        let expected = [
            ("forwarded", "for=203.0.113.9, for=192.0.2.1;host=a.example;proto=http"),
            ("host", "a.example"),
            ("x-forwarded-for", "203.0.113.9, 198.51.100.2, 192.0.2.1"),
            ("x-forwarded-host", "a.example"),
            ("x-forwarded-proto", "https"),
        ];
        assert_fields(&prepared(&chain, &Asker { is_trusted: true, ..UNTRUSTED }), &expected);
    }

    #[test]
    fn a_chain_longer_than_any_honest_one_is_started_anew() {
        let long = "203.0.113.9, ".repeat(400) + "203.0.113.9";
        let found = prepared(&[("X-Forwarded-For", &long)], &Asker { is_trusted: true, ..UNTRUSTED });
        assert_fields(&found, &PLAIN);
    }

    #[test]
    fn addresses_and_hosts_are_written_as_their_rfc_asks() {
        let six = Asker {
            address: "2001:db8::1".parse().unwrap(),
            https: true,
            authority: "[2001:db8::2]:8443",
            ..UNTRUSTED
        };
        let expected = "for=\"[2001:db8::1]\";host=\"[2001:db8::2]:8443\";proto=https";
        assert_eq!(prepared(&[], &six)[0].1, expected);
        let mapped = Asker { address: "::ffff:192.0.2.1".parse().unwrap(), ..UNTRUSTED };
        assert_fields(&prepared(&[], &mapped), &PLAIN);
    }

    #[test]
    fn what_belongs_to_the_clients_connection_stays_there() {
        let hop = [
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic eA=="),
            ("Proxy-Authenticate", "Basic"),
            ("HTTP2-Settings", "AA"),
            ("Trailer", "x"),
            ("TE", "gzip, deflate"),
        ];
        assert_fields(&prepared(&hop, &UNTRUSTED), &PLAIN);
    }

    #[test]
    fn the_length_is_said_in_one_way_only() {
        let unclear = [
            ("Content-Length", "005, 5"),
            ("Content-Length", "5"),
            ("Content_Length", "9"),
            ("Transfer_Encoding", "chunked"),
            ("Other_Field", "kept"),
        ];
        let found = prepared(&unclear, &UNTRUSTED);
        let rest: Vec<_> =
            found.iter().filter(|(name, _)| !PLAIN.iter().any(|(plain, _)| plain == name)).collect();
        let (length, other) = (("content-length", "5"), ("other_field", "kept"));
        let expected = [length, other].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(rest, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn that_trailers_are_understood_is_passed_on() {
        let found = prepared(&[("TE", "gzip"), ("TE", "deflate, Trailers")], &UNTRUSTED);
        assert!(found.contains(&("te".to_owned(), "trailers".to_owned())), "{found:?}");
    }
}
