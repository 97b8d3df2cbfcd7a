//! What a request is about: the parts of a request that name a host become one [`Identity`], or a refusal.
//!
//! A request names its host in up to four places: the request-target, `:authority`, the `Host` field and the server
//! name of the TLS handshake. All but the last have to agree on one canonical name, which is the one the origin gets;
//! where they do not, someone between client and origin would believe another one, so the request is refused. The
//! server name may differ, since clients share a connection between names, and is judged beside the host.

mod error;
mod target;
#[cfg(test)]
mod tests;

use smallvec::{SmallVec, smallvec};

use crate::hostname::{Hostname, HostnameError};

pub use error::{IdentifyError, Place};
pub use target::Target;

/// The version of HTTP a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0. A `Host` field is asked for all the same.
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
    /// HTTP/2 (RFC 9113).
    Http2,
}

impl Version {
    /// The word used in records: `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// The parts of a request that say what it is about, as they came in.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// The version of the protocol.
    pub version: Version,
    /// The method, in its own case: methods are case-sensitive.
    pub method: &'a str,
    /// HTTP/1: the raw request-target. HTTP/2: the `:path`, which names no host, but has to be what its method allows.
    pub target: &'a [u8],
    /// HTTP/2: the `:authority` pseudo-header field. HTTP/1 has none, and it is not looked at.
    pub authority: Option<&'a [u8]>,
    /// The value of every `Host` field, in order, without the blanks around it.
    pub hosts: &'a [&'a [u8]],
    /// The server name of the TLS handshake.
    pub sni: Option<&'a Hostname>,
}

/// The names a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The one host the origin gets, whatever the spelling was.
    pub host: Hostname,
    /// The port beside it; from the place that decides, which is the request-target when it names a host
    /// (RFC 9112 §3.2.2), then `:authority`, then `Host`.
    pub port: Option<u16>,
    /// Every distinct canonical name: the host first, then the server name when it differs.
    pub names: SmallVec<[Hostname; 2]>,
    /// Every distinct spelling seen, raw: the deciding place first. Not bounded here.
    pub seen: SmallVec<[Vec<u8>; 2]>,
}

impl Identity {
    /// The text of the `Host` field that goes to the origin: the canonical name, and the port if one was given.
    #[must_use]
    pub fn authority(&self) -> String {
        self.port.map_or_else(|| self.host.to_string(), |port| format!("{}:{port}", self.host))
    }
}

/// One place that names a host.
struct Claim<'a> {
    place: Place,
    raw: &'a [u8],
    host: Hostname,
    port: Option<u16>,
}

impl<'a> Claim<'a> {
    fn read(place: Place, raw: &'a [u8]) -> Result<Self, IdentifyError> {
        let refused = |error| IdentifyError::Unreadable { place, error };
        let (host, port) = Hostname::parse_authority(raw).map_err(refused)?;
        Ok(Self { place, raw, host, port })
    }
}

/// Finds the one host of a request, and all names it is to be judged by.
///
/// Places have to agree on the canonical name only. Their ports may differ: a port tells no two subjects apart, and
/// the origin gets the port of the deciding place alone.
///
/// # Errors
/// When the request names no host, several, or one that is none. Each of them is answered with 400, the connection is
/// closed, and nothing is forwarded.
pub fn identify(parts: &RequestParts<'_>) -> Result<Identity, IdentifyError> {
    let claims = match parts.version {
        Version::Http10 | Version::Http11 => claims_of_http1(parts)?,
        Version::Http2 => claims_of_http2(parts)?,
    };
    let mut claims = claims.into_iter();
    let decided = claims.next().ok_or(IdentifyError::Missing)?;
    let mut seen: SmallVec<[Vec<u8>; 2]> = smallvec![decided.raw.to_vec()];
    for other in claims {
        if other.host != decided.host {
            let (one, two) = (decided.place, other.place);
            return Err(IdentifyError::Mismatch { one, host: decided.host, two, other: other.host });
        }
        note(&mut seen, other.raw);
    }
    let mut names: SmallVec<[Hostname; 2]> = smallvec![decided.host.clone()];
    if let Some(sni) = parts.sni {
        note(&mut seen, sni.as_str().as_bytes());
        if *sni != decided.host {
            names.push(sni.clone());
        }
    }
    Ok(Identity { host: decided.host, port: decided.port, names, seen })
}

/// HTTP/1: exactly one `Host`, and the host of the request-target, which decides, if it has one.
fn claims_of_http1<'a>(parts: &RequestParts<'a>) -> Result<SmallVec<[Claim<'a>; 2]>, IdentifyError> {
    let target = Target::parse(parts.method, parts.target)?;
    let field = the_host_field(parts.hosts)?.ok_or(IdentifyError::Missing)?;
    let field = Claim::read(Place::Host, field)?;
    let Some(authority) = target.authority() else {
        return Ok(smallvec![field]);
    };
    let named = Claim::read(Place::Target, authority)?;
    // RFC 9110 §9.3.6: there is no default port to tunnel to.
    if matches!(target, Target::Authority(_)) && named.port.is_none() {
        return Err(IdentifyError::TunnelWithoutPort);
    }
    Ok(smallvec![named, field])
}

/// HTTP/2: `:authority`, which decides, or a `host` field, or both.
fn claims_of_http2<'a>(parts: &RequestParts<'a>) -> Result<SmallVec<[Claim<'a>; 2]>, IdentifyError> {
    // RFC 9113 §8.3.1: an origin that speaks HTTP/1 would get a target that its method does not have.
    if parts.target == b"*" && parts.method != "OPTIONS" {
        return Err(IdentifyError::TargetForm);
    }
    let mut claims = SmallVec::new();
    if let Some(authority) = parts.authority {
        claims.push(Claim::read(Place::Authority, authority)?);
    }
    if let Some(field) = the_host_field(parts.hosts)? {
        claims.push(Claim::read(Place::Host, field)?);
    }
    Ok(claims)
}

/// The value of the only `Host` field. A second one is an error even if it is the same (RFC 9112 §3.2).
fn the_host_field<'a>(hosts: &[&'a [u8]]) -> Result<Option<&'a [u8]>, IdentifyError> {
    match hosts {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        [..] => Err(IdentifyError::Repeated { fields: hosts.len() }),
    }
}

/// Keeps a spelling that is not there yet.
fn note(seen: &mut SmallVec<[Vec<u8>; 2]>, raw: &[u8]) {
    if !seen.iter().any(|known| known == raw) {
        seen.push(raw.to_vec());
    }
}
