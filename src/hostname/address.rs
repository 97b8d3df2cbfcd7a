//! IP literals, and names that could be taken for one.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::excerpt;
use super::{Hostname, HostnameError};

/// Whether software that follows the WHATWG URL standard ("ends in a number") would read this name as an IPv4
/// address: its last label is all digits, or `0x` and hexadecimal digits.
pub(super) fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let Some(hexadecimal) = last.strip_prefix("0x") else {
        return !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    };
    hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads a name that ends in a number: four decimal numbers without leading zeros, or nothing at all.
///
/// `127.1`, `0x7f.1`, `2130706433` and `0177.0.0.1` are the loopback address to some software, and another address or
/// no address to others, so none of them is a host here.
pub(super) fn dotted_quad(name: &str) -> Result<Hostname, HostnameError> {
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Ok(Hostname(address.to_string().into()));
    }
    let is_decimal = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_padded = |label: &str| label.len() > 1 && label.starts_with('0');
    if is_decimal && name.split('.').any(is_padded) {
        return Err(HostnameError::LeadingZero { address: excerpt(name) });
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    Err(HostnameError::EndsInNumber { label: excerpt(last) })
}

/// Reads a text with a colon or an opening bracket: an IPv6 address, or else something that is no host.
pub(super) fn with_colon(text: &str) -> Result<Hostname, HostnameError> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let Ok(address) = bracketed.unwrap_or(text).parse::<Ipv6Addr>() else {
        return Err(blame(text));
    };
    let text = match address.to_ipv4_mapped() {
        Some(mapped) => mapped.to_string(),
        None => format!("[{address}]"),
    };
    Ok(Hostname(text.into()))
}

/// Says what a text with a colon or an opening bracket is, when it is no IPv6 address.
pub(super) fn blame(text: &str) -> HostnameError {
    // A line with a remark in it: the colon may be far behind the host.
    if let Some(character) = text.chars().find(|character| character.is_whitespace()) {
        return HostnameError::Character { character };
    }
    if let Some((_, rest)) = text.split_once("://") {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or_default() };
        return HostnameError::Url { host: excerpt(host) };
    }
    if text.contains('@') {
        return HostnameError::Userinfo;
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    if is_port
        && !host.is_empty()
        && text.contains(':')
        && (host.ends_with(']') || !host.contains([':', '[']))
    {
        return HostnameError::Port { host: excerpt(host) };
    }
    let is_address = |part: &str| part.trim_start_matches('[').parse::<Ipv6Addr>().is_ok();
    if text.split_once('%').is_some_and(|(before, _)| is_address(before)) {
        return HostnameError::Zone;
    }
    HostnameError::Ipv6 { text: excerpt(text) }
}
