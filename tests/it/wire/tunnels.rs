//! Tunnels: `CONNECT` in both protocols (RFC 9110 §9.3.6, RFC 9113 §8.5), and extended `CONNECT` (RFC 8441).

use http::{Method, Request};

use super::house::{ALLOWED, PAGE, REFUSED, edge};
use super::http2::hpack;
use super::http2::link::{HEADERS, Link, RST_STREAM, frame};
use crate::harness::audit::{of_kind, only};
use crate::harness::{Edge, Origin};

/// The setting that offers extended `CONNECT` (RFC 8441 §3).
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
const PROTOCOL_ERROR: u32 = 1;

fn connect(host: &str) -> String {
    format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n")
}

fn tunnel(authority: &str) -> Request<()> {
    Request::builder().method(Method::CONNECT).uri(authority).body(()).unwrap()
}

/// What the records of blocked requests say.
#[track_caller]
fn assert_blocked(edge: Edge, expected: &[(&str, &str)]) {
    let records = edge.finish();
    let blocked = of_kind(&records, "request.blocked");
    let said: Vec<(&str, &str)> =
        blocked.iter().map(|record| (record.text("host"), record.text("method"))).collect();
    assert_eq!(said, expected);
    for record in blocked.iter().filter(|record| record.text("method") == "CONNECT") {
        assert_eq!(record.texts("names"), [format!("{}:443", record.text("host"))]);
    }
}

#[test]
fn a_tunnel_to_a_blocked_host_gets_the_answer_of_its_case_over_http_1() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.connect().about(PAGE).send(connect(PAGE)).response().unwrap().assert_blocked(403);
    assert!(edge.send(connect(REFUSED)).is_none());
    // What a client that does not wait sends into the tunnel is no request.
    let eager = format!("{}GET / HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n", connect(PAGE));
    let mut client = edge.connect();
    client.about(PAGE).send(eager).response().unwrap().assert_blocked(403);
    client.assert_closed();
    origin.assert_untouched();
    assert_blocked(edge, &[(PAGE, "CONNECT"), (REFUSED, "CONNECT"), (PAGE, "CONNECT")]);
}

#[test]
fn a_tunnel_to_a_blocked_host_gets_the_answer_of_its_case_over_http_2() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect_h2();
    client.request(tunnel("page.example:443"), None).unwrap().assert_blocked(403);
    assert!(client.request(tunnel("refused.example:443"), None).unwrap_err().is_reset());
    client.request(tunnel("page.example:443"), Some(b"\x16\x03\x01")).unwrap().assert_blocked(403);
    drop(client);
    origin.assert_untouched();
    assert_blocked(edge, &[(PAGE, "CONNECT"), (REFUSED, "CONNECT"), (PAGE, "CONNECT")]);
}

#[test]
fn a_tunnel_to_any_other_host_is_not_made() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    let eager = format!("{}GET / HTTP/1.1\r\nHost: {PAGE}\r\n\r\n", connect(ALLOWED));
    assert_eq!(client.send(eager).response().unwrap().status, 405);
    client.assert_closed();
    let mut client = edge.connect_h2();
    let response = client.request(tunnel("allowed.example:443"), Some(b"\x16\x03\x01")).unwrap();
    assert_eq!((response.status, response.enforcement_id()), (405, None));
    client.get(PAGE, "/").unwrap().assert_blocked(403);
    drop(client);
    origin.assert_untouched();
    assert_blocked(edge, &[(PAGE, "GET")]);
}

#[test]
fn a_tunnel_that_names_two_hosts_is_refused() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for (target, host) in [(ALLOWED, PAGE), (PAGE, ALLOWED), (ALLOWED, REFUSED)] {
        let request = format!("CONNECT {target}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
        assert_eq!(edge.send(request).unwrap().status, 400, "{target} and {host}");
        let fields: &[(&[u8], &[u8])] = &[
            (b":method", b"CONNECT"),
            (b":authority", &[target.as_bytes(), b":443"].concat()),
            (b"host", host.as_bytes()),
        ];
        let mut client = Link::begun(edge.address());
        client.send(&frame(HEADERS, 4, 1, &block(fields)));
        let reply = client.reply();
        let is_refused = match reply.kind {
            RST_STREAM => reply.number(0) == PROTOCOL_ERROR,
            _ => hpack::has_status(&reply.payload, 400),
        };
        assert!(is_refused, "{target} and {host}: {reply}");
    }
    origin.assert_untouched();
    assert_blocked(edge, &[]);
}

fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| hpack::field(std::str::from_utf8(name).unwrap(), value)).collect()
}

#[test]
fn another_protocol_inside_http_2_is_not_offered_and_reaches_nobody() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = Link::begun(edge.address());
    assert!(!client.settings.contains(&ENABLE_CONNECT_PROTOCOL), "{:?}", client.settings);
    let asked = [PAGE, REFUSED, ALLOWED]
        .into_iter()
        .flat_map(|host| ["websocket", "connect-udp"].map(|to| (host, to)));
    for (index, (host, protocol)) in (0..).zip(asked) {
        let stream = 2 * index + 1;
        let fields: &[(&[u8], &[u8])] = &[
            (b":method", b"CONNECT"),
            (b":protocol", protocol.as_bytes()),
            (b":scheme", b"http"),
            (b":path", b"/chat"),
            (b":authority", host.as_bytes()),
        ];
        client.send(&frame(HEADERS, 4, stream, &block(fields)));
        let reply = client.reply();
        let received = (reply.kind, reply.stream, reply.number(0));
        assert_eq!(received, (RST_STREAM, stream, PROTOCOL_ERROR), "{host}: {reply}");
    }
    // It was no request, so there is no record of one; the next is.
    drop(client);
    edge.connect_h2().get(PAGE, "/").unwrap().assert_blocked(403);
    origin.assert_untouched();
    let records = edge.finish();
    assert_eq!(only(&records, "request.blocked").text("method"), "GET");
}
