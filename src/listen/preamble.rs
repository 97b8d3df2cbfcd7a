//! PROXY protocol, versions 1 and 2: who the client of a proxy in front is, told before anything else.
//!
//! Only the header is parsed by its crate, and only once all of it has come and its size is known to be within bounds.

use std::io;
use std::net::IpAddr;

use super::stream::EdgeStream;
use crate::limits;
use crate::network::canonical_ip;

/// Octets of the longest header of version 1, with its line end.
const V1_BYTES: usize = 107;
/// Octets of a header of version 2 before its addresses: the signature, version, family and length.
const V2_FIXED: usize = 16;

/// Why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
pub(super) enum PreambleError {
    #[error("the connection does not begin with a PROXY protocol header")]
    Malformed,
    #[error("the PROXY protocol header has more than {} octets", limits::PROXY_HEADER_BYTES)]
    TooLarge,
    #[error("the connection ended within its PROXY protocol header")]
    Cut,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A whole header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) octets: usize,
    /// Nobody: the proxy speaks for itself, or does not know.
    pub(super) client: Option<IpAddr>,
}

/// Takes the header off the connection. The client it names; `None` when the peer speaks for itself.
pub(super) async fn read(stream: &mut EdgeStream) -> Result<Option<IpAddr>, PreambleError> {
    loop {
        if let Some(header) = parse(stream.buffered())? {
            stream.take_off(header.octets);
            return Ok(header.client);
        }
        if stream.fill().await? == 0 {
            return Err(PreambleError::Cut);
        }
    }
}

/// The header at the start of `bytes`; `None` when it has not come in full.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, PreambleError> {
    let begins = |signature: &[u8]| {
        let common = bytes.len().min(signature.len());
        bytes.get(..common) == signature.get(..common)
    };
    if begins(ppp::v2::PROTOCOL_PREFIX) {
        version_2(bytes)
    } else if begins(b"PROXY ") {
        version_1(bytes)
    } else {
        Err(PreambleError::Malformed)
    }
}

fn version_1(bytes: &[u8]) -> Result<Option<Header>, PreambleError> {
    let start = bytes.get(..V1_BYTES).unwrap_or(bytes);
    let Some(end) = start.windows(2).position(|pair| pair == b"\r\n") else {
        return if start.len() < V1_BYTES { Ok(None) } else { Err(PreambleError::Malformed) };
    };
    let line = start.get(..end + 2).and_then(|line| std::str::from_utf8(line).ok());
    let line = line.filter(|line| line.is_ascii()).ok_or(PreambleError::Malformed)?;
    let header = ppp::v1::Header::try_from(line).map_err(|_| PreambleError::Malformed)?;
    let client = match header.addresses {
        ppp::v1::Addresses::Tcp4(addresses) => Some(IpAddr::V4(addresses.source_address)),
        ppp::v1::Addresses::Tcp6(addresses) => Some(IpAddr::V6(addresses.source_address)),
        ppp::v1::Addresses::Unknown => None,
    };
    Ok(Some(Header { octets: line.len(), client: client.map(canonical_ip) }))
}

fn version_2(bytes: &[u8]) -> Result<Option<Header>, PreambleError> {
    let Some([.., high, low]) = bytes.get(..V2_FIXED) else { return Ok(None) };
    let octets = V2_FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if octets > limits::PROXY_HEADER_BYTES {
        return Err(PreambleError::TooLarge);
    }
    let Some(whole) = bytes.get(..octets) else { return Ok(None) };
    let header = ppp::v2::Header::try_from(whole).map_err(|_| PreambleError::Malformed)?;
    let client = match (header.command, header.addresses) {
        (ppp::v2::Command::Proxy, ppp::v2::Addresses::IPv4(addresses)) => {
            Some(IpAddr::V4(addresses.source_address))
        }
        (ppp::v2::Command::Proxy, ppp::v2::Addresses::IPv6(addresses)) => {
            Some(IpAddr::V6(addresses.source_address))
        }
        _ => None,
    };
    Ok(Some(Header { octets, client: client.map(canonical_ip) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [ppp::v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, payload].concat()
    }

    fn named(bytes: &[u8]) -> Option<String> {
        parse(bytes).unwrap().unwrap().client.map(|client| client.to_string())
    }

    #[test]
    fn both_versions_name_the_client() {
        assert_eq!(named(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n").as_deref(), Some("192.0.2.7"));
        assert_eq!(named(b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n").as_deref(), Some("2001:db8::7"));
        assert_eq!(named(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n").as_deref(), Some("192.0.2.7"));
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        assert_eq!(named(&v2(1, 0x11, &four)).as_deref(), Some("192.0.2.7"));
        // With a type-length-value behind the addresses.
        assert_eq!(named(&v2(1, 0x11, &[&four[..], &[4, 0, 1, 0]].concat())).as_deref(), Some("192.0.2.7"));
        let mut six = [0; 36];
        six[..2].copy_from_slice(&[0x20, 1]);
        six[15] = 7;
        assert_eq!(named(&v2(1, 0x21, &six)).as_deref(), Some("2001::7"));
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        assert_eq!(named(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(named(b"PROXY UNKNOWN 192.0.2.7 10.0.0.1 1 2\r\n"), None);
        assert_eq!(named(&v2(0, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0, 1, 0, 2])), None);
        assert_eq!(named(&v2(0, 0, &[])), None);
        assert_eq!(named(&v2(1, 0, &[])), None);
        assert_eq!(named(&v2(1, 0x31, &[b'/'; 216])), None);
    }

    #[test]
    fn a_header_is_taken_off_exactly_wherever_reads_split_it() {
        let four = v2(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0, 1, 0, 2]);
        for header in [&b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"[..], &four] {
            let stream = [header, b"GET / HTTP/1.1\r\n"].concat();
            for length in 0..header.len() {
                assert!(parse(&stream[..length]).unwrap().is_none(), "after {length} octets");
            }
            assert_eq!(parse(&stream).unwrap().unwrap().octets, header.len());
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_certain() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(V1_BYTES));
        let bad: [&[u8]; 12] = [
            b"GET / HTTP/1.1\r\n",
            b"PROXX",
            b"PROXY TCP4 192.0.2.7\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 99999\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
            "PROXY UNKNOWN \u{e9}\r\n".as_bytes(),
            b"PROXY\0TCP4 \r\n",
            long.as_bytes(),
            &v2(2, 0x11, &[0; 12]),
            &v2(1, 0x11, &[0; 11]),
            &v2(1, 0x11, &[0; limits::PROXY_HEADER_BYTES]),
        ];
        for bytes in bad {
            assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        let mut other_version = v2(1, 0x11, &[0; 12]);
        other_version[12] = 0x31;
        assert!(parse(&other_version).is_err());
    }
}
