//! Tests of what origins are told.

use super::*;

/// An asker, and what it asks for.
#[derive(Clone, Copy)]
struct Asks {
    address: IpAddr,
    is_trusted: bool,
    https: bool,
    authority: &'static str,
}

const UNTRUSTED: Asks = Asks {
    address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    is_trusted: false,
    https: false,
    authority: "a.example",
};

fn prepared(fields: &[(&'static str, &str)], asks: &Asks) -> Vec<(String, String)> {
    prepared_with(fields, asks, &Told::default())
}

fn prepared_with(fields: &[(&'static str, &str)], asks: &Asks, told: &Told) -> Vec<(String, String)> {
    let mut request = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in fields {
        request.append_header(*name, *value).unwrap();
    }
    let (host, port) = Hostname::parse_authority(asks.authority.as_bytes()).unwrap();
    let names = smallvec::smallvec![host.clone()];
    let identity = Identity { host, port, names, seen: SmallVec::new() };
    let Asks { address, is_trusted, https, .. } = *asks;
    let asker = Asker { address, is_trusted, https, identity: &identity, told: Some(told) };
    prepare(&mut request, &asker).unwrap();
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
    assert_fields(&prepared(&chain, &Asks { is_trusted: true, ..UNTRUSTED }), &expected);
}

#[test]
fn a_chain_longer_than_any_honest_one_is_started_anew() {
    let long = "203.0.113.9, ".repeat(400) + "203.0.113.9";
    let found = prepared(&[("X-Forwarded-For", &long)], &Asks { is_trusted: true, ..UNTRUSTED });
    assert_fields(&found, &PLAIN);
}

#[test]
fn addresses_and_hosts_are_written_as_their_rfc_asks() {
    let six = Asks {
        address: "2001:db8::1".parse().unwrap(),
        https: true,
        authority: "[2001:db8::2]:8443",
        ..UNTRUSTED
    };
    let expected = "for=\"[2001:db8::1]\";host=\"[2001:db8::2]:8443\";proto=https";
    assert_eq!(prepared(&[], &six)[0].1, expected);
    let mapped = Asks { address: "::ffff:192.0.2.1".parse().unwrap(), ..UNTRUSTED };
    assert_fields(&prepared(&[], &mapped), &PLAIN);
}

#[test]
fn each_request_of_a_connection_tells_its_own_host() {
    let told = Told::default();
    let forwarded = |authority: &'static str| {
        let fields = prepared_with(&[], &Asks { authority, ..UNTRUSTED }, &told);
        fields.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(" ")
    };
    for authority in ["a.example", "a.example", "b.example", "b.example:8080", "b.example", "a.example:1"] {
        let host = if authority.contains(':') { format!("\"{authority}\"") } else { authority.to_owned() };
        let whole = format!("for=192.0.2.1;host={host};proto=http {authority} 192.0.2.1 {authority} http");
        assert_eq!(forwarded(authority), whole);
    }
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
