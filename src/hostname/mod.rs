//! The identity of a host: every spelling of a name becomes one [`Hostname`].
//!
//! Parsing is the only way to get one, and no other module reads names. Letter case, one trailing dot, U-label or
//! A-label, full-width letters, digits and dots, and the many texts of one IPv6 address do not tell two hosts apart;
//! what cannot be read in exactly one way is an error, never a guess.

mod address;
mod authority;
mod error;
mod parse;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use error::HostnameError;

/// The most octets a name may have in its canonical text, without a trailing dot (RFC 1035 §2.3.4).
pub const MAX_NAME_OCTETS: usize = 253;

/// The most octets one label of a name may have in its canonical text (RFC 1035 §2.3.4).
pub const MAX_LABEL_OCTETS: usize = 63;

/// The most octets of a text that is looked at. Every spelling of a name that fits [`MAX_NAME_OCTETS`], decomposed
/// letters included, fits in here with room to spare; beyond it only padding that UTS 46 ignores is left.
pub const MAX_INPUT_OCTETS: usize = 4096;

/// A DNS name or an IP literal in its canonical text.
///
/// A name is the result of UTS 46 non-transitional `ToASCII`: lower case, A-labels, no trailing dot, 1 to 253 octets,
/// labels of 1 to 63 octets made of letters, digits, hyphens (in any place, as browsers take them) and underscores.
/// An IPv4 address is its dotted quad; an IPv6 address is RFC 5952 text in brackets, `[2001:db8::1]`; an IPv4-mapped
/// IPv6 address is the IPv4 address. Parsing what is displayed gives the same value.
///
/// A clone shares the text. Equality, order and hash are those of the text, so maps can be asked with a `&str`.
///
/// ```
/// use interdict::hostname::Hostname;
///
/// let host = Hostname::parse("Bücher。Example.")?;
/// assert_eq!(host.as_str(), "xn--bcher-kva.example");
/// assert_eq!(host, Hostname::parse("XN--BCHER-KVA.example")?);
/// # Ok::<(), interdict::hostname::HostnameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Arc<str>);

impl Hostname {
    /// Reads a name or an IP literal; an IPv6 address may stand in brackets or without. No port, no userinfo, no
    /// surrounding blanks.
    ///
    /// # Errors
    /// When the text is no host, or software would read it in different ways: `a%2eb`, `010.0.0.1`, `1.2.3`.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        parse::host(text)
    }

    /// Reads the same as [`Hostname::parse`] from octets off the wire, which have to be UTF-8.
    ///
    /// # Errors
    /// As [`Hostname::parse`], and when the octets are not UTF-8.
    pub fn parse_bytes(text: &[u8]) -> Result<Self, HostnameError> {
        parse::host(parse::utf8(text)?)
    }

    /// Reads `host [ ":" port ]` (RFC 9110 §7.2), the text of a `Host` field or an `:authority`.
    ///
    /// An IPv6 address has to stand in brackets here. The port of `a.example:` is empty, which RFC 3986 §3.2.3 allows
    /// and which means the same as none.
    ///
    /// # Errors
    /// When the host is none or empty, there is userinfo, or the port is no number up to 65535.
    pub fn parse_authority(text: &[u8]) -> Result<(Self, Option<u16>), HostnameError> {
        authority::parse(parse::utf8(text)?)
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, when the host is an IP literal.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        if let Some(bracketed) = self.0.strip_prefix('[') {
            return bracketed.strip_suffix(']')?.parse().ok();
        }
        // Only an address ends in a digit-only label, so a name is rarely looked at twice.
        self.0.ends_with(|last: char| last.is_ascii_digit()).then(|| self.0.parse().ok())?
    }

    /// The name itself, then each parent, down to the last label. An IP literal has no parents.
    pub fn suffixes(&self) -> impl Iterator<Item = &str> {
        let is_address = self.ip().is_some();
        std::iter::successors(Some(self.as_str()), move |name| {
            let dot = if is_address { None } else { memchr::memchr(b'.', name.as_bytes()) };
            dot.and_then(|dot| name.get(dot + 1..))
        })
    }

    /// The two parts of a name such as `0.0.0.0a.example`, which nothing forbids and nobody registers: a line of a
    /// hosts file that lost its blank. Only the addresses that such files point to are looked for.
    #[must_use]
    pub fn glued_address(&self) -> Option<(Ipv4Addr, &str)> {
        let sinks = [("0.0.0.0", Ipv4Addr::UNSPECIFIED), ("127.0.0.1", Ipv4Addr::LOCALHOST)];
        sinks.into_iter().find_map(|(text, address)| {
            let rest = self.0.strip_prefix(text)?;
            rest.starts_with(|first: char| first.is_ascii_alphabetic()).then_some((address, rest))
        })
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        Self::parse(text)
    }
}

impl AsRef<str> for Hostname {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Hostname {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
