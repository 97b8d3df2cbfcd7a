//! The client that proxies in front name in a header field: `X-Forwarded-For`, `Forwarded` (RFC 7239) or one of their
//! own. Pure.
//!
//! Each proxy writes behind what it was sent, so only what stands to the right was written by somebody who is trusted;
//! everything is read from there, and a client cannot hide behind what it wrote itself.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderName;

use crate::limits;
use crate::network::{Networks, canonical_ip};

/// The field, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHeader {
    name: HeaderName,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `192.0.2.1, 198.51.100.2`
    List,
    /// `for=192.0.2.1;proto=https, for="[2001:db8::1]:4711"`
    Forwarded,
    /// One field with one address, put there anew by the proxy.
    One,
}

impl ClientHeader {
    /// The field of this name.
    #[must_use]
    pub fn new(name: HeaderName) -> Self {
        let form = match name.as_str() {
            "x-forwarded-for" => Form::List,
            "forwarded" => Form::Forwarded,
            _ => Form::One,
        };
        Self { name, form }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The rightmost address in `values` that is no trusted proxy's, or the leftmost when all are. `None` when there is
    /// none, or what stands in its place is no address.
    pub(super) fn client<'v>(
        &self,
        values: impl DoubleEndedIterator<Item = &'v [u8]>,
        trusted: &Networks,
    ) -> Option<IpAddr> {
        let mut values = values.rev();
        if self.form == Form::One {
            let only = values.next()?;
            return if values.next().is_none() { address(only) } else { None };
        }
        let mut client = None;
        for (count, element) in values.flat_map(FromTheRight::elements).enumerate() {
            let element = element.trim_ascii();
            if element.is_empty() {
                // Nothing between two commas is allowed (RFC 9110 §5.6.1).
                continue;
            }
            let node = if self.form == Form::Forwarded { for_parameter(element)? } else { element };
            let address = address(node)?;
            client = Some(address);
            if !trusted.contains(address) {
                return client;
            }
            if count >= limits::FORWARDED_ELEMENTS {
                return None;
            }
        }
        client
    }
}

/// The parts of a text between separators that are not in quotes, from the right.
///
/// Quotes are counted from the right too: one that a client left open spoils only what the client wrote.
struct FromTheRight<'t> {
    rest: Option<&'t [u8]>,
    separator: u8,
}

impl<'t> FromTheRight<'t> {
    fn elements(text: &'t [u8]) -> Self {
        Self { rest: Some(text), separator: b',' }
    }

    fn parameters(text: &'t [u8]) -> Self {
        Self { rest: Some(text), separator: b';' }
    }
}

impl<'t> Iterator for FromTheRight<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        let rest = self.rest.take()?;
        let mut quoted = false;
        for (at, octet) in rest.iter().enumerate().rev() {
            quoted ^= *octet == b'"';
            if *octet == self.separator && !quoted {
                self.rest = rest.get(..at);
                return rest.get(at + 1..);
            }
        }
        Some(rest)
    }
}

/// The value of `for` in one element of `Forwarded`, without its quotes.
fn for_parameter(element: &[u8]) -> Option<&[u8]> {
    let mut found = FromTheRight::parameters(element).filter_map(|parameter| {
        let parameter = parameter.trim_ascii();
        let (name, value) = (parameter.get(..4)?, parameter.get(4..)?);
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    });
    let value = found.next()?;
    if found.next().is_some() {
        return None;
    }
    Some(match value.strip_prefix(b"\"") {
        Some(open) => open.strip_suffix(b"\"")?,
        None => value,
    })
}

/// An address with or without a port, an IPv6 one with or without brackets.
fn address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?.trim_ascii();
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare().or_else(with_port).or_else(in_brackets).map(canonical_ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, values: &[&str]) -> Option<String> {
        let trusted: Networks =
            ["10.0.0.0/8", "2001:db8:ffff::/48"].iter().map(|net| net.parse().unwrap()).collect();
        let header = ClientHeader::new(name.parse().unwrap());
        let found = header.client(values.iter().map(|value| value.as_bytes()), &trusted);
        found.map(|address| address.to_string())
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_client() {
        let table: [(&[&str], Option<&str>); 16] = [
            (&["192.0.2.1"], Some("192.0.2.1")),
            (&["192.0.2.1, 198.51.100.2"], Some("198.51.100.2")),
            (&["192.0.2.1", "198.51.100.2"], Some("198.51.100.2")),
            (&["192.0.2.1, 10.0.0.1, 10.0.0.2"], Some("192.0.2.1")),
            (&["192.0.2.1,,10.0.0.1 ,"], Some("192.0.2.1")),
            (&["10.0.0.1, 10.0.0.2"], Some("10.0.0.1")),
            (&["192.0.2.1:4711"], Some("192.0.2.1")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["[2001:db8::1]"], Some("2001:db8::1")),
            (&["[2001:db8::1]:80"], Some("2001:db8::1")),
            (&["::ffff:192.0.2.1"], Some("192.0.2.1")),
            (&["\"192.0.2.9, 192.0.2.1"], Some("192.0.2.1")),
            (&["192.0.2.1, unknown"], None),
            (&["192.0.2.1, unknown, 10.0.0.1"], None),
            (&[" "], None),
            (&[], None),
        ];
        for (values, expected) in table {
            assert_eq!(client("X-Forwarded-For", values).as_deref(), expected, "{values:?}");
        }
        let long = "10.0.0.1, ".repeat(limits::FORWARDED_ELEMENTS + 2);
        assert_eq!(client("x-forwarded-for", &[&format!("192.0.2.1, {long}")]), None);
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        let table: [(&[&str], Option<&str>); 13] = [
            (&["for=192.0.2.43"], Some("192.0.2.43")),
            (&["For=\"[2001:db8:cafe::17]:4711\""], Some("2001:db8:cafe::17")),
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"], Some("192.0.2.60")),
            (&["by=10.0.0.1 ; FOR=192.0.2.60"], Some("192.0.2.60")),
            (&["for=192.0.2.43, for=198.51.100.17;by=10.0.0.9"], Some("198.51.100.17")),
            (&["for=192.0.2.43", "for=10.0.0.1"], Some("192.0.2.43")),
            (&["for=192.0.2.43, for=\"10.0.0.1:80\";host=\"a,b;for=1.1.1.1\""], Some("192.0.2.43")),
            (&["for=\"192.0.2.9, for=192.0.2.1"], Some("192.0.2.1")),
            (&["for=_hidden"], None),
            (&["for=unknown, for=10.0.0.1"], None),
            (&["for=192.0.2.1;for=192.0.2.2"], None),
            (&["proto=http"], None),
            (&["192.0.2.1"], None),
        ];
        for (values, expected) in table {
            assert_eq!(client("forwarded", values).as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn any_other_field_holds_one_address() {
        let table: [(&[&str], Option<&str>); 5] = [
            (&["192.0.2.1"], Some("192.0.2.1")),
            (&["10.0.0.1"], Some("10.0.0.1")),
            (&["192.0.2.1, 192.0.2.2"], None),
            (&["192.0.2.1", "192.0.2.2"], None),
            (&["a.example"], None),
        ];
        for (values, expected) in table {
            assert_eq!(client("x-real-ip", values).as_deref(), expected, "{values:?}");
        }
    }
}
