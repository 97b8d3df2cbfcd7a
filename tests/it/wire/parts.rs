//! Parts of a message beside its head and its content: interim responses (RFC 9110 §15.2) and trailers (§6.5).

use std::io::{Read, Write};
use std::net::TcpStream;

use super::house::{ALLOWED, PAGE, REFUSED, edge};
use super::http2::hpack;
use super::http2::link::{DATA, HEADERS, Link, RST_STREAM, frame};
use crate::harness::audit::{of_kind, only};
use crate::harness::secure::Secure;
use crate::harness::{Canned, CaseFile, Edge, Latch, Origin, PATIENCE, Setup, wait_until};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn head(method: &str, host: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", host)];
    fields.iter().flat_map(|(name, value)| hpack::field(name, value.as_bytes())).collect()
}

/// A request with content and trailers over HTTP/1.
fn posted(host: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nTrailer: x-late, host\r\n\r\n\
         4\r\ntest\r\n0\r\nx-late: yes\r\nhost: {ALLOWED}\r\n\r\n"
    )
}

/// The same over HTTP/2.
fn post(client: &mut Link, stream: u32, host: &str) {
    client.send(&frame(HEADERS, END_HEADERS, stream, &head("POST", host, "/")));
    client.send(&frame(DATA, 0, stream, b"test"));
    let trailers = [hpack::field("x-late", b"yes"), hpack::field("host", ALLOWED.as_bytes())].concat();
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers));
}

#[test]
fn a_blocked_request_with_trailers_gets_the_answer_of_its_case() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.connect().about(PAGE).send(posted(PAGE)).response().unwrap().assert_blocked(403);
    assert!(edge.send(posted(REFUSED)).is_none());
    let mut client = Link::begun(edge.address());
    post(&mut client, 1, PAGE);
    let reply = client.reply();
    assert!(reply.kind == HEADERS && hpack::has_status(&reply.payload, 403), "{reply}");
    // On a connection of its own, where nothing of the page is left to come.
    drop(client);
    let mut client = Link::begun(edge.address());
    post(&mut client, 1, REFUSED);
    assert_eq!(client.reply().kind, RST_STREAM);
    drop(client);
    origin.assert_untouched();
    let records = edge.finish();
    let hosts: Vec<&str> =
        of_kind(&records, "request.blocked").iter().map(|record| record.text("host")).collect();
    assert_eq!(hosts, [PAGE, REFUSED, PAGE, REFUSED]);
}

#[test]
fn trailers_of_a_request_stay_at_the_edge() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    client.send(posted(ALLOWED)).response().unwrap().assert_forwarded();
    client.get(PAGE, "/").unwrap().assert_blocked(403);
    let mut client = Link::begun(edge.address());
    post(&mut client, 1, ALLOWED);
    let reply = client.reply();
    assert!(hpack::has_status(&reply.payload, 200), "{reply}");
    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.body, b"4\r\ntest\r\n0\r\n\r\n", "{}", String::from_utf8_lossy(&request.body));
        assert_eq!(request.field("host"), [ALLOWED]);
        assert!(request.field("x-late").is_empty() && request.field("trailer").is_empty());
    }
}

/// All octets of the answer to a request over HTTP/1 after which the connection ends.
#[track_caller]
pub(super) fn exchange(edge: &Edge, request: &str) -> String {
    let mut client = TcpStream::connect(edge.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn trailers_of_an_answer_from_an_http_1_origin_stay_at_the_edge() {
    let origin = Origin::start();
    origin.answers("/late", Canned::new("no-store").body("0123456789").trailer("x-late", "yes"));
    let edge = edge(&origin);
    let request = format!("GET /late HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n\r\n");
    let text = exchange(&edge, &request);
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n0\r\n\r\n"), "{text}");
    assert!(text.contains("01234") && !text.contains("x-late"), "{text}");
    let mut client = edge.connect_h2();
    let response = client.get(ALLOWED, "/late").unwrap();
    assert_eq!((response.text().as_str(), response.trailers.len()), ("0123456789", 0));
    // The connection to the origin is at its next request, not in the middle of the last answer.
    client.get(ALLOWED, "/after").unwrap().assert_forwarded();
}

#[test]
fn between_an_http_2_origin_and_its_client_trailers_pass_on_the_way_back_alone() {
    let origin = Secure::cleartext();
    let route = format!("[[route]]\nhosts = [\"*\"]\norigins = [\"{}\"]\nhttp2 = true", origin.address());
    let edge = Setup::new().table(&route).start();
    let mut client = Link::begun(edge.address());
    post(&mut client, 1, ALLOWED);
    let reply = client.reply();
    assert!(hpack::has_status(&reply.payload, 200), "{reply}");
    drop(client);
    let seen = origin.seen();
    assert_eq!((seen.requests.len(), seen.trailers.len()), (1, 0), "{seen:?}");
    // This origin sends trailers after gRPC. A client of HTTP/1 has no use for them, and gets the content alone.
    let call = format!(
        "POST /pkg.Service/Call HTTP/1.1\r\nHost: {ALLOWED}\r\nContent-Type: application/grpc\r\n\
         Content-Length: 3\r\nConnection: close\r\n\r\nabc"
    );
    let text = exchange(&edge, &call);
    assert!(
        text.contains("abc") && text.ends_with("\r\n0\r\n\r\n") && !text.contains("grpc-status"),
        "{text}"
    );
    let request = http::Request::post(format!("http://{ALLOWED}/pkg.Service/Call"));
    let request = request.header("content-type", "application/grpc").body(()).unwrap();
    let response = edge.connect_h2().request(request, Some(b"abc")).unwrap();
    assert_eq!(response.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
}

/// An origin that sends hints for `/hints` and goes on when the latch is open.
fn hinting(canned: Canned) -> (Origin, Latch) {
    let (origin, latch) = (Origin::start(), Latch::default());
    origin.answers("/hints", canned.after_hints("</a.css>; rel=preload", &latch));
    (origin, latch)
}

#[test]
fn early_hints_reach_a_client_of_http_1_and_are_left_out_in_http_2() {
    let (origin, latch) = hinting(Canned::new("no-store").body("late"));
    latch.open();
    let edge = edge(&origin);
    let mut client = edge.connect();
    let response = client.get(ALLOWED, "/hints").unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "late"));
    assert_eq!(response.interim, [103]);
    let expecting = format!("POST /echo HTTP/1.1\r\nHost: {ALLOWED}\r\nExpect: 100-continue\r\n");
    let response = client.send(format!("{expecting}Content-Length: 4\r\n\r\ntest")).response().unwrap();
    assert_eq!((response.text().as_str(), response.interim), ("test", vec![100]));
    client.get(ALLOWED, "/after").unwrap().assert_forwarded();
    let mut client = Link::begun(edge.address());
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", ALLOWED, "/hints")));
    let reply = client.reply();
    assert!(reply.kind == HEADERS && hpack::has_status(&reply.payload, 200), "{reply}");
}

#[test]
fn a_host_that_is_blocked_after_its_early_hints_gets_its_page() {
    for is_http2 in [false, true] {
        let (origin, latch) = hinting(Canned::new("no-store").body("late"));
        let edge = edge(&origin);
        let mut client = edge.connect();
        let mut other = edge.connect_h2();
        if is_http2 {
            let request = http::Request::get(format!("http://{ALLOWED}/hints")).body(()).unwrap();
            let pending = other.open(request, None).unwrap();
            other.work_until("the origin is asked", || origin.asked_for("/hints") == 1);
            edge.change(|policies| policies.write(&CaseFile::new("late", &[ALLOWED])));
            other.finish(pending).unwrap().assert_blocked(403);
        } else {
            client.about(ALLOWED).send(format!("GET /hints HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"));
            client.read_some(b"HTTP/1.1 103".len());
            edge.change(|policies| policies.write(&CaseFile::new("late", &[ALLOWED])));
            let response = client.response().unwrap();
            response.assert_blocked(403);
            assert_eq!(response.interim, [103]);
        }
        latch.open();
        drop((client, other));
        let records = edge.finish();
        only(&records, "connection.cut");
        assert_eq!(only(&records, "request.blocked").text("host"), ALLOWED);
    }
}

#[test]
fn an_origin_that_is_gone_after_its_early_hints_is_a_bad_gateway() {
    let (origin, latch) = hinting(Canned::new("no-store").without_end());
    latch.open();
    let edge = edge(&origin);
    let response = edge.connect().get(ALLOWED, "/hints").unwrap();
    assert_eq!((response.status, response.interim), (502, vec![103]));
    assert_eq!(edge.connect_h2().get(ALLOWED, "/hints").unwrap().status, 502);
    wait_until("every request has ended", || origin.open() == 0);
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_a_bad_gateway() {
    let origin = Origin::start();
    origin.answers("/switch", Canned::new("no-store").status(101).body("HTTP/1.1 200 OK"));
    let edge = edge(&origin);
    assert_eq!(edge.connect().get(ALLOWED, "/switch").unwrap().status, 502);
    assert_eq!(edge.connect_h2().get(ALLOWED, "/switch").unwrap().status, 502);
}
