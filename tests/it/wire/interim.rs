//! Clients that wait to be told to go on (RFC 9110 §10.1.1), and what else is said before an answer (§15.2).

use std::net::TcpListener;

use super::house::{ALLOWED, PAGE, REFUSED, edge};
use super::http2::hpack;
use super::http2::link::{DATA, FIRST_FLAG, HEADERS, Link, RST_STREAM, frame};
use crate::harness::audit::{of_kind, only};
use crate::harness::secure::Secure;
use crate::harness::{Canned, CaseFile, Edge, Origin, PATIENCE, Setup, wait_until};

const END_HEADERS: u8 = 4;

/// The head of a request whose client waits with its content of four octets.
fn waiting(version: &str, path: &str, host: &str) -> String {
    format!("POST {path} {version}\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
}

/// The same over HTTP/2, without its content.
fn waiting_http2(client: &mut Link, host: &str) {
    let fields = [
        (":method", "POST"),
        (":path", "/echo"),
        (":scheme", "http"),
        (":authority", host),
        ("expect", "100-continue"),
        ("content-length", "4"),
    ];
    let head: Vec<u8> =
        fields.iter().flat_map(|(name, value)| hpack::field(name, value.as_bytes())).collect();
    client.send(&frame(HEADERS, END_HEADERS, 1, &head));
}

/// An edge whose origin speaks HTTP/2.
fn before(origin: &Secure) -> Edge {
    let route = format!("[[route]]\nhosts = [\"*\"]\norigins = [\"{}\"]\nhttp2 = true", origin.address());
    Setup::new().table(&route).case(CaseFile::new("page", &[PAGE])).start()
}

#[test]
fn who_waits_to_be_told_to_go_on_is_told_by_the_origin() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    client.send(waiting("HTTP/1.1", "/echo", ALLOWED));
    client.read_some(b"HTTP/1.1 100 Continue\r\n".len());
    let response = client.send("test").response().unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "test"));
    assert_eq!(response.interim, [100]);
    assert_eq!(response.interim_fields, [("from".to_owned(), "origin".to_owned())]);
    client.get(ALLOWED, "/after").unwrap().assert_forwarded();
    assert_eq!(origin.requests()[0].field("expect"), ["100-continue"]);
}

#[test]
fn an_origin_that_wants_no_content_says_so_and_gets_none() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    let response = client.send(waiting("HTTP/1.1", "/unwanted", ALLOWED)).response().unwrap();
    assert_eq!((response.status, response.interim.len()), (413, 0));
    assert!(response.field("origin").is_some());
    // What the client sends now could be its content or its next request.
    client.send(format!("GET /next HTTP/1.1\r\nHost: {PAGE}\r\n\r\n"));
    assert!(client.closes_within(PATIENCE));
    let request = origin.only_request();
    assert!(request.line().starts_with("POST /unwanted ") && request.body.is_empty(), "{request:?}");
}

#[test]
fn who_waits_to_be_told_to_go_on_and_is_blocked_gets_the_answer_of_the_case_at_once() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    let response = client.about(PAGE).send(waiting("HTTP/1.1", "/echo", PAGE)).response().unwrap();
    response.assert_blocked(403);
    assert_eq!(response.interim.len(), 0);
    // Of this nobody knows whether it is content: it is no request, least of all one that is let through.
    client.send(format!("GET /next HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"));
    assert!(client.closes_within(PATIENCE));
    assert!(edge.send(waiting("HTTP/1.1", "/echo", REFUSED)).is_none());
    for (host, kind) in [(PAGE, HEADERS), (REFUSED, RST_STREAM)] {
        let mut client = Link::begun(edge.address());
        waiting_http2(&mut client, host);
        let reply = client.reply();
        assert!(reply.kind == kind && (kind != HEADERS || hpack::has_status(&reply.payload, 403)), "{reply}");
    }
    origin.assert_untouched();
    let records = edge.finish();
    let blocked = of_kind(&records, "request.blocked");
    let hosts: Vec<_> = blocked.iter().map(|record| (record.text("host"), record.text("method"))).collect();
    assert_eq!(hosts, [(PAGE, "POST"), (REFUSED, "POST"), (PAGE, "POST"), (REFUSED, "POST")]);
}

#[test]
fn a_host_that_is_blocked_while_its_client_waits_to_be_told_to_go_on_gets_its_page() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let edge = Setup::new().route(&["*"], &[&silent.local_addr().unwrap().to_string()]).start();
    let mut client = edge.connect();
    client.about(ALLOWED).send(waiting("HTTP/1.1", "/echo", ALLOWED));
    let (_origin, _) = silent.accept().unwrap();
    edge.change(|policies| policies.write(&CaseFile::new("late", &[ALLOWED])));
    let response = client.response().unwrap();
    response.assert_blocked(403);
    assert_eq!(response.interim.len(), 0);
    client.send("test");
    assert!(client.closes_within(PATIENCE));
    let records = edge.finish();
    only(&records, "connection.cut");
    assert_eq!(only(&records, "request.blocked").text("host"), ALLOWED);
}

/// Pingora does not hear what an origin of HTTP/2 says before its answer, so the edge says it.
#[test]
fn who_waits_to_be_told_to_go_on_before_an_origin_of_http_2_is_told_by_the_edge() {
    let origin = Secure::cleartext();
    let edge = before(&origin);
    let mut client = edge.connect();
    client.send(waiting("HTTP/1.1", "/", ALLOWED));
    client.read_some(b"HTTP/1.1 100 Continue\r\n".len());
    let response = client.send("test").response().unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(response.interim, [100]);
    let seen = origin.seen();
    assert_eq!((seen.requests.len(), seen.fields.contains_key("expect")), (1, false), "{seen:?}");
    assert_eq!(seen.fields["content-length"], "4");
    let blocked = client.about(PAGE).send(waiting("HTTP/1.1", "/", PAGE)).response().unwrap();
    blocked.assert_blocked(403);
    assert_eq!(blocked.interim.len(), 0);
    // Nobody is told who did not ask.
    let request = format!("POST / HTTP/1.1\r\nHost: {ALLOWED}\r\nContent-Length: 4\r\n\r\ntest");
    assert_eq!(edge.connect().send(request).response().unwrap().interim.len(), 0);
    assert_eq!(origin.seen().requests.len(), 2);
}

#[test]
fn over_http_2_nobody_is_told_to_go_on_and_content_that_comes_all_the_same_goes_through() {
    let (origin, other) = (Origin::start(), Secure::cleartext());
    let first = edge(&origin);
    let mut client = Link::begun(first.address());
    waiting_http2(&mut client, ALLOWED);
    wait_until("the origin has said that it may go on", || origin.connections() == 1);
    client.send(&frame(DATA, FIRST_FLAG, 1, b"test"));
    let reply = client.reply();
    assert!(hpack::has_status(&reply.payload, 200), "{reply}");
    let request = origin.only_request();
    assert_eq!((request.body.as_slice(), request.field("expect").len()), (&b"test"[..], 1));

    let second = before(&other);
    let mut client = Link::begun(second.address());
    waiting_http2(&mut client, ALLOWED);
    wait_until("the origin has said that it may go on", || other.seen().requests.len() == 1);
    client.send(&frame(DATA, FIRST_FLAG, 1, b"test"));
    let reply = client.reply();
    assert!(hpack::has_status(&reply.payload, 200), "{reply}");
}

#[test]
fn a_client_of_http_1_0_gets_no_interim_response_and_is_not_told_to_go_on() {
    let (origin, other) = (Origin::start(), Secure::cleartext());
    origin
        .answers("/hints", Canned::new("no-store").body("late").interim(103, "Link: </a.css>; rel=preload"));
    let first = edge(&origin);
    let hints = format!("GET /hints HTTP/1.0\r\nHost: {ALLOWED}\r\n\r\n");
    let response = first.connect().send(hints).response().unwrap();
    assert_eq!((response.text().as_str(), response.interim.len()), ("late", 0));
    for edge in [&first, &before(&other)] {
        let request = waiting("HTTP/1.0", "/echo", ALLOWED);
        let response = edge.connect().send(request).send("test").response().unwrap();
        assert_eq!((response.status, response.interim.len()), (200, 0));
    }
    let echoed = &origin.requests()[1];
    assert_eq!((echoed.body.as_slice(), echoed.field("expect").len()), (&b"test"[..], 0));
    assert!(!other.seen().fields.contains_key("expect"));
}

#[test]
fn several_interim_responses_come_in_their_order_and_whole() {
    let origin = Origin::start();
    let canned = Canned::new("no-store").body("late").interim(102, "X-Step: 1");
    origin.answers("/steps", canned.interim(103, "Link: </a.css>; rel=preload").interim(103, "X-Step: 3"));
    let edge = edge(&origin);
    let mut client = edge.connect();
    for _ in 0..2 {
        let response = client.get(ALLOWED, "/steps").unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "late"));
        assert_eq!(response.interim, [102, 103, 103]);
        let fields: Vec<_> =
            response.interim_fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(fields, [("x-step", "1"), ("link", "</a.css>; rel=preload"), ("x-step", "3")]);
        assert_eq!((response.field("link"), response.field("x-step")), (None, None));
    }
    let response = edge.connect_h2().get(ALLOWED, "/steps").unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "late"));
}

#[test]
fn interim_responses_of_an_origin_of_http_2_are_left_out_in_both_protocols() {
    let origin = Secure::cleartext();
    let edge = before(&origin);
    let response = edge.connect().get(ALLOWED, "/hints").unwrap();
    assert_eq!((response.status, response.text().as_str(), response.interim.len()), (200, "ok", 0));
    let mut client = Link::begun(edge.address());
    let fields = [(":method", "GET"), (":path", "/hints"), (":scheme", "http"), (":authority", ALLOWED)];
    let head: Vec<u8> =
        fields.iter().flat_map(|(name, value)| hpack::field(name, value.as_bytes())).collect();
    client.send(&frame(HEADERS, END_HEADERS | FIRST_FLAG, 1, &head));
    let reply = client.reply();
    assert!(hpack::has_status(&reply.payload, 200), "{reply}");
    assert_eq!(origin.seen().requests.len(), 2);
}

#[test]
fn an_interim_response_is_not_kept_in_the_cache() {
    let origin = Origin::start();
    let canned = Canned::new("max-age=600").body("kept").interim(103, "Link: </a.css>; rel=preload");
    origin.answers("/kept", canned);
    let edge = Setup::new().origin(&origin).table("[cache]").start();
    let mut client = edge.connect();
    let first = client.get(ALLOWED, "/kept").unwrap();
    assert_eq!((first.text().as_str(), first.interim.as_slice()), ("kept", &[103][..]));
    let second = client.get(ALLOWED, "/kept").unwrap();
    assert_eq!((second.status, second.text().as_str(), second.interim.len()), (200, "kept", 0));
    assert_eq!((second.field("link"), origin.asked_for("/kept")), (None, 1));
}
