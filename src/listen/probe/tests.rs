//! The properties that the fuzzer looks at as well, on bytes that are nearly right.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use rustls::pki_types::ServerName;

use super::*;
use crate::limits;

/// The bytes in pieces that end at these places.
fn split<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn octets(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

/// One of `seeds` with some octets changed, put in and taken out, and something behind it.
fn nearly(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0u8..4, prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n')]);
    (prop::sample::select(seeds), vec(change, 0..4), vec(any::<u8>(), 0..40)).prop_map(
        |(mut bytes, changes, behind)| {
            for (at, what, octet) in changes {
                let at = at.index(bytes.len());
                match what {
                    0 => bytes[at] = octet,
                    1 => bytes.insert(at, octet),
                    2 => bytes.truncate(at.max(1)),
                    _ => drop(bytes.remove(at.min(bytes.len() - 1))),
                }
                if bytes.is_empty() {
                    bytes.push(octet);
                }
            }
            bytes.extend(behind);
            bytes
        },
    )
}

fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// The same message in records of so many octets (RFC 8446 §5.1).
fn in_records(hello: &[u8], octets: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1, 0, part.len() as u8], part].concat();
    hello[5..].chunks(octets).flat_map(record).collect()
}

fn hellos() -> Vec<Vec<u8>> {
    let plain = hello("Shop.Example");
    vec![in_records(&plain, 20), in_records(&plain, 200), hello("192.0.2.1"), plain]
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let second = |family: u8, payload: &[u8]| {
        let length = (payload.len() as u16).to_be_bytes();
        [ppp::v2::PROTOCOL_PREFIX, &[0x21, family], &length, payload].concat()
    };
    vec![
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        second(0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0, 1, 0, 2]),
        second(0x21, &[0x20; 36]),
        second(0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0, 1, 0, 2, 4, 0, 1, 0]),
    ]
}

fn heads() -> Vec<Vec<u8>> {
    [
        "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "\r\n\r\nPOST /x?y HTTP/1.1\nhost:a.example\nContent-Length: 5\n\nhello",
        "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nHOST: b.example\r\n\r\n",
        "GET / HTTP/1.0\r\nX-Host: a\r\nTransfer-Encoding: chunked\r\n Host: folded\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PRI * HTTP/1.1\r\n\r\n",
    ]
    .map(|head| head.as_bytes().to_vec())
    .to_vec()
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let frame = (0u8..11, any::<u8>(), vec(any::<u8>(), 0..20)).prop_map(|(kind, flags, payload)| {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1], &payload[..]].concat()
    });
    vec(frame, 0..60)
        .prop_map(|frames| [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frames.concat()].concat())
}

/// The `Host` fields of a head, read line by line.
fn hosts_line_by_line(head: &[u8]) -> Vec<Vec<u8>> {
    let text = head.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let fields = text.skip_while(|line| line.is_empty()).skip(1).take_while(|line| !line.is_empty());
    let named = fields.filter_map(|line| {
        let colon = line.iter().position(|octet| *octet == b':')?;
        line[..colon].eq_ignore_ascii_case(b"host").then(|| line[colon + 1..].trim_ascii().to_vec())
    });
    named.collect()
}

/// How many RST_STREAM are in the bytes of a connection.
fn resets(bytes: &[u8]) -> usize {
    let (mut rest, mut count) = (bytes.get(24..).unwrap_or_default(), 0);
    while let Some(head) = rest.get(..9) {
        count += usize::from(head[3] == 3);
        let length = usize::from(head[1]) << 8 | usize::from(head[2]) | usize::from(head[0]) << 16;
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    count
}

proptest! {
    #[test]
    fn a_client_hello_has_one_name_however_it_is_split(
        bytes in nearly(hellos()), cuts in vec(any::<usize>(), 0..4)
    ) {
        let whole = client_hello([&bytes[..]]);
        prop_assert_eq!(&client_hello(split(&bytes, &cuts)), &whole);
        prop_assert_eq!(&client_hello(octets(&bytes)), &whole);
        if let Reading::Read(Some(name)) = whole {
            let canonical = crate::hostname::Hostname::parse(&name).unwrap();
            prop_assert_eq!(canonical.as_str(), name);
        }
    }

    #[test]
    fn a_proxy_header_names_one_client_however_it_is_split(
        bytes in nearly(proxy_headers()), cuts in vec(any::<usize>(), 0..4)
    ) {
        let whole = proxy_header([&bytes[..]]);
        prop_assert_eq!(&proxy_header(split(&bytes, &cuts)), &whole);
        prop_assert_eq!(&proxy_header(octets(&bytes)), &whole);
        if let Reading::Read((octets, _)) = whole {
            prop_assert!(octets <= bytes.len() && octets <= limits::PROXY_HEADER_BYTES);
            // What is behind a header has no part in it.
            prop_assert_eq!(&proxy_header([&bytes[..octets]]), &whole);
        }
    }

    #[test]
    fn a_head_is_one_request_about_the_same_hosts_however_it_is_split(
        bytes in nearly(heads()), cuts in vec(any::<usize>(), 0..4), max in 24usize..200
    ) {
        let whole = head([&bytes[..]], max);
        prop_assert_eq!(&head(split(&bytes, &cuts), max), &whole);
        prop_assert_eq!(&head(octets(&bytes), max), &whole);
        if let Reading::Read(Some(seen)) = whole {
            prop_assert!(seen.octets <= max && seen.octets <= bytes.len());
            prop_assert_eq!(hosts_line_by_line(&bytes[..seen.octets]), seen.hosts);
        }
    }

    #[test]
    fn a_flood_is_the_same_flood_however_it_is_split(
        bytes in frames(), cuts in vec(any::<usize>(), 0..4), rate in 1u32..4
    ) {
        let whole = flood([&bytes[..]], rate);
        prop_assert_eq!(flood(split(&bytes, &cuts), rate), whole);
        prop_assert_eq!(flood(octets(&bytes), rate), whole);
        let most = rate as usize * limits::HTTP2_BURST_SECONDS as usize;
        match whole {
            None => prop_assert!(resets(&bytes) <= most),
            Some("RST_STREAM") => prop_assert!(resets(&bytes) > most),
            Some(_) => {}
        }
    }
}

#[test]
fn the_seeds_are_read_as_what_they_are() {
    let name = || Some("shop.example".to_owned());
    let names: Vec<_> = hellos().iter().map(|bytes| client_hello([&bytes[..]])).collect();
    assert_eq!(names, [name(), name(), None, name()].map(Reading::Read));
    for bytes in proxy_headers() {
        assert!(matches!(proxy_header([&bytes[..]]), Reading::Read((octets, _)) if octets == bytes.len()));
    }
    let read = heads().iter().filter(|bytes| matches!(head([&bytes[..]], 200), Reading::Read(_))).count();
    assert_eq!(read, 5, "all but the one with a folded line");
}
