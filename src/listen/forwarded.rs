//! What an origin is told of the client, and what of the client's own words it does not get.
//!
//! `Forwarded` (RFC 7239) and the older `X-Forwarded-*` say who asked, how, and for which host. An origin believes
//! them, so they are the edge's to write: whatever a client that is no trusted proxy sent of them is dropped, under
//! every spelling an origin could read as one of them.

use std::net::IpAddr;
use std::sync::Mutex;

use http::HeaderValue;
use http::header::{self, HeaderName};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType};
use smallvec::SmallVec;

use crate::hostname::Hostname;
use crate::identify::Identity;
use crate::limits;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
const X_FORWARDED_HOST: &str = "x-forwarded-host";

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
    pub(super) identity: &'a Identity,
    /// What was told before of the same connection, where there is one.
    pub(super) told: Option<&'a Told>,
}

/// What the last request of a connection told the origin: the next one mostly tells the same.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Option<(Hostname, Option<u16>, Words)>>);

impl Clone for Told {
    /// Another connection, which has told nothing.
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// The values of fields, made once. A clone of one shares its text.
#[derive(Debug, Clone)]
struct Words {
    address: HeaderValue,
    authority: HeaderValue,
    hop: HeaderValue,
}

impl Words {
    fn of(asker: &Asker<'_>) -> Result<Self> {
        let address = asker.address.to_canonical();
        let authority = asker.identity.authority();
        Ok(Self {
            address: value(address.to_string())?,
            hop: value(element(address, &authority, asker.proto()))?,
            authority: value(authority)?,
        })
    }
}

impl Asker<'_> {
    fn proto(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// The words for it, those of the request before where they are the same.
    fn words(&self) -> Result<Words> {
        // Streams of one connection that come at once need not wait for each other.
        let Some(mut told) = self.told.and_then(|told| told.0.try_lock().ok()) else {
            return Words::of(self);
        };
        let Identity { host, port, .. } = self.identity;
        if let Some((_, _, words)) = told.as_ref().filter(|(told, beside, _)| told == host && beside == port)
        {
            return Ok(words.clone());
        }
        let words = Words::of(self)?;
        *told = Some((host.clone(), *port, words.clone()));
        Ok(words)
    }
}

/// Turns the head of a request into the one the origin gets: one canonical `Host`, no field that belongs to the
/// client's connection, and the truth about the client.
pub(super) fn prepare(request: &mut RequestHeader, asker: &Asker<'_>) -> Result<()> {
    let earlier = if asker.is_trusted { Earlier::take(request) } else { Earlier::default() };
    remove_what_is_not_for_origins(request)?;
    let Words { address, authority, hop } = asker.words()?;
    let proto = earlier.proto.unwrap_or(HeaderValue::from_static(asker.proto()));
    request.insert_header(X_FORWARDED_FOR, chain(earlier.addresses, address)?)?;
    request.insert_header(X_FORWARDED_PROTO, proto)?;
    request.insert_header(X_FORWARDED_HOST, earlier.host.unwrap_or_else(|| authority.clone()))?;
    request.insert_header(header::HOST, authority)?;
    request.insert_header("forwarded", chain(earlier.forwarded, hop)?)?;
    Ok(())
}

/// What becomes of a field on its way to an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    /// `TE`: that trailers are understood holds for HTTP/2 from end to end (RFC 9113 §8.2.2); the rest goes.
    Codings,
    /// `Content-Length`.
    Length,
    /// `Cookie`.
    Cookies,
}

impl Fate {
    /// Fields that are for one connection only (RFC 9110 §7.6.1) and are not taken away by Pingora with every
    /// protocol. It turns `Connection`, `Upgrade` and `Transfer-Encoding` into what the connection to the origin needs.
    /// Those that frame a message have names with a hyphen that some origins do not tell from `_`.
    fn of(name: &str) -> Self {
        match name {
            "te" => Self::Codings,
            "content-length" => Self::Length,
            "cookie" => Self::Cookies,
            "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "http2-settings"
            | "trailer" => Self::Goes,
            // Put in anew in a moment.
            X_FORWARDED_FOR | X_FORWARDED_PROTO | X_FORWARDED_HOST | "forwarded" => Self::Stays,
            _ if says_who_asked(name) => Self::Goes,
            _ if name.contains('_') && reads_as(name, "content-length") => Self::Goes,
            _ if name.contains('_') && reads_as(name, "transfer-encoding") => Self::Goes,
            _ => Self::Stays,
        }
    }
}

/// One look at all names, since hardly any request has one of these.
fn remove_what_is_not_for_origins(request: &mut RequestHeader) -> Result<()> {
    let fated = request.headers.keys().map(|name| (name, Fate::of(name.as_str())));
    let fated: SmallVec<[(HeaderName, Fate); 4]> =
        fated.filter(|(_, fate)| *fate != Fate::Stays).map(|(name, fate)| (name.clone(), fate)).collect();
    for (name, fate) in fated {
        match fate {
            Fate::Stays => {}
            Fate::Goes => {
                request.remove_header(&name);
            }
            Fate::Codings => settle_codings(request)?,
            Fate::Length => settle_length(request)?,
            Fate::Cookies => settle_cookies(request)?,
        }
    }
    Ok(())
}

fn settle_codings(request: &mut RequestHeader) -> Result<()> {
    let mut codings =
        request.headers.get_all(header::TE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let keeps_te = codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"));
    request.remove_header(&header::TE);
    if keeps_te {
        request.insert_header(header::TE, HeaderValue::from_static("trailers"))?;
    }
    Ok(())
}

/// Says the length in one way only: one number without zeros in front, which some read as octal.
fn settle_length(request: &mut RequestHeader) -> Result<()> {
    let mut lengths = request.headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(()) };
    // Whoever read the request has seen to it that all of them say the same.
    let text = first.to_str().ok().and_then(|text| text.split(',').next()).map(str::trim);
    let length: Option<u64> = text.and_then(|text| text.parse().ok());
    let unclear = || Error::explain(ErrorType::InternalError, "a length that is no number");
    let settled = HeaderValue::from(length.ok_or_else(unclear)?);
    if lengths.next().is_some() || *first != settled {
        request.insert_header(header::CONTENT_LENGTH, settled)?;
    }
    Ok(())
}

/// Puts the cookies that a client of HTTP/2 sent in several fields into one: what is not HTTP/2 from end to end does not
/// know that they belong together (RFC 9113 §8.2.3).
fn settle_cookies(request: &mut RequestHeader) -> Result<()> {
    let whole = {
        let pieces = request.headers.get_all(header::COOKIE).iter();
        let pieces: SmallVec<[&[u8]; 8]> = pieces.map(HeaderValue::as_bytes).collect();
        if pieces.len() < 2 {
            return Ok(());
        }
        HeaderValue::try_from(pieces.join(&b"; "[..])).map_err(unusable)?
    };
    request.insert_header(header::COOKIE, whole)?;
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
        let one = |name: &str| request.headers.get(name).cloned();
        Self {
            addresses: list(request, X_FORWARDED_FOR),
            forwarded: list(request, "forwarded"),
            proto: one(X_FORWARDED_PROTO),
            host: one(X_FORWARDED_HOST),
        }
    }
}

/// The values of a list as one, unless it is longer than any honest chain of proxies.
fn list(request: &RequestHeader, name: &str) -> Option<String> {
    let values: Option<Vec<&str>> =
        request.headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
    let joined = values?.join(", ");
    (!joined.is_empty() && joined.len() <= limits::FORWARDED_BYTES).then_some(joined)
}

/// Whether an origin may take a field for one of these. Many see no difference between `-` and `_` (RFC 3875
/// §4.1.18 turns both into `_`).
fn says_who_asked(name: &str) -> bool {
    // Nearly every name ends here, with its first letter.
    matches!(name.as_bytes(), [b'f' | b'x', ..])
        && (reads_as(name, "forwarded") || reads_as(name, "x-real-ip") || begins(name, "x-forwarded-"))
}

fn reads_as(name: &str, whole: &str) -> bool {
    name.len() == whole.len() && begins(name, whole)
}

fn begins(name: &str, with: &str) -> bool {
    let is_one = |(octet, wanted)| octet == wanted || (octet == b'_' && wanted == b'-');
    name.len() >= with.len() && name.bytes().zip(with.bytes()).all(is_one)
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

/// A list with one more element at its end.
fn chain(earlier: Option<String>, last: HeaderValue) -> Result<HeaderValue> {
    let Some(earlier) = earlier else { return Ok(last) };
    let mut whole = earlier.into_bytes();
    whole.extend_from_slice(b", ");
    whole.extend_from_slice(last.as_bytes());
    HeaderValue::try_from(whole).map_err(unusable)
}

fn value(text: String) -> Result<HeaderValue> {
    HeaderValue::try_from(text).map_err(unusable)
}

fn unusable(cause: header::InvalidHeaderValue) -> Box<Error> {
    Error::because(ErrorType::InternalError, "a field value", cause)
}

#[cfg(test)]
mod tests;
