//! `host [ ":" port ]`, as it stands in a `Host` field, an `:authority` or an absolute-form target.

use super::error::excerpt;
use super::{Hostname, HostnameError, address, parse};

/// Reads a host and, when there is one, its port.
pub(super) fn parse(text: &str) -> Result<(Hostname, Option<u16>), HostnameError> {
    if text.contains("://") || text.contains('@') {
        return Err(address::blame(text));
    }
    let (host, port) = split(text)?;
    if host.is_empty() {
        return Err(HostnameError::Empty);
    }
    let port = port.map_or(Ok(None), number)?;
    Ok((parse::host(host)?, port))
}

/// Cuts at the colon that separates the port, which is never one inside an IPv6 address.
fn split(text: &str) -> Result<(&str, Option<&str>), HostnameError> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or_else(|| HostnameError::Ipv6 { text: excerpt(text) })?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(HostnameError::Ipv6 { text: excerpt(text) }),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        // In `2001:db8::1:80` nobody can tell the port from the address.
        Some((_, rest)) if rest.contains(':') => Err(HostnameError::Unbracketed { text: excerpt(text) }),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

/// Reads `*DIGIT` (RFC 3986 §3.2.3); an empty port is none. Leading zeros are legal and mean nothing.
fn number(port: &str) -> Result<Option<u16>, HostnameError> {
    if port.is_empty() {
        return Ok(None);
    }
    // The standard library would take a plus sign.
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if is_number => Ok(Some(number)),
        _ => Err(HostnameError::BadPort { port: excerpt(port) }),
    }
}
