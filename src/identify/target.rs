//! The four forms of an HTTP/1 request-target (RFC 9112 §3.2).

use std::borrow::Cow;

use super::IdentifyError;

/// A request-target, cut into the part that names a host and the part that is for the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`, as it stands. `//a.example/` is a path too: no host is named there.
    Origin(&'a [u8]),
    /// `http://host:port/path?query`.
    Absolute {
        /// What stands between `//` and the path: not yet read, so it may hold anything.
        authority: &'a [u8],
        /// What follows: empty, or it begins with `/` or `?`.
        rest: &'a [u8],
    },
    /// `host:port`, of `CONNECT` alone.
    Authority(&'a [u8]),
    /// `*`, of `OPTIONS` alone.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Tells the form of a target. A `CONNECT` has the authority form only, and no other method has it.
    ///
    /// `http:/host`, `http:host` and `http:\\host`, which browsers repair, are errors here.
    ///
    /// # Errors
    /// When the target has none of the forms that `method` may have, or a scheme other than `http` and `https`.
    pub fn parse(method: &str, target: &'a [u8]) -> Result<Self, IdentifyError> {
        if method == "CONNECT" {
            return Ok(Self::Authority(target));
        }
        match target {
            [b'/', ..] => Ok(Self::Origin(target)),
            b"*" if method == "OPTIONS" => Ok(Self::Asterisk),
            _ => absolute(target),
        }
    }

    /// The part that names a host, if there is one.
    #[must_use]
    pub const fn authority(&self) -> Option<&'a [u8]> {
        match self {
            Self::Absolute { authority, .. } | Self::Authority(authority) => Some(authority),
            Self::Origin(_) | Self::Asterisk => None,
        }
    }

    /// The target to send to an origin, or nothing for `CONNECT`, which asks for a tunnel instead.
    ///
    /// An absolute form becomes its path and query, `/` when there is no path, and `*` for an `OPTIONS` without path
    /// and query (RFC 9112 §3.2.4). All others stay as they are.
    #[must_use]
    pub fn for_origin(&self, method: &str) -> Option<Cow<'a, [u8]>> {
        match *self {
            Self::Origin(target) => Some(Cow::Borrowed(target)),
            Self::Asterisk => Some(Cow::Borrowed(b"*")),
            Self::Authority(_) => None,
            Self::Absolute { rest: [], .. } if method == "OPTIONS" => Some(Cow::Borrowed(b"*")),
            Self::Absolute { rest: [], .. } => Some(Cow::Borrowed(b"/")),
            Self::Absolute { rest: rest @ [b'/', ..], .. } => Some(Cow::Borrowed(rest)),
            Self::Absolute { rest, .. } => Some(Cow::Owned([b"/", rest].concat())),
        }
    }
}

/// Reads the absolute form. A fragment is no part of a request-target, so a `#` is left in the authority, where it is
/// refused, or in the query, where it names no host.
fn absolute(target: &[u8]) -> Result<Target<'_>, IdentifyError> {
    let colon = target.iter().position(|&byte| byte == b':').ok_or(IdentifyError::TargetForm)?;
    let (scheme, rest) = target.split_at(colon);
    let rest = rest.strip_prefix(b"://").ok_or(IdentifyError::TargetForm)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(IdentifyError::Scheme);
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Ok(Target::Absolute { authority, rest })
}
