//! The fast path of a blocked request: the same octets, the same record and the same connection as on the full path.
//!
//! A `Trailer` field means nothing in a request without content, and sends it on the full path.

use std::sync::Arc;

use crate::harness::audit::{Record, of_kind};
use crate::harness::tls::Authority;
use crate::harness::{CaseFile, Client, Edge, Http2, Origin, Response, Setup};

const PAGE: &str = "page.example";
const SHUT: &str = "shut.example";
const OTHER: &str = "other.example";

fn setup(origin: &Origin) -> Setup {
    let page = CaseFile::new("page", &[PAGE, "*.wide.example"]);
    Setup::new().origin(origin).case(page).case(CaseFile::new("shut", &[SHUT]).refuse())
}

/// Heads that may take the fast path, and which host they name.
fn heads() -> Vec<(&'static str, String)> {
    let of = |host: &'static str, line: &str, more: &str| {
        (host, format!("{line} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"))
    };
    let browser = "User-Agent: Mozilla/5.0\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
                   Accept-Language: de-AT,de;q=0.9\r\nAccept-Encoding: gzip, br\r\nCookie: a=b\r\n\
                   Connection: keep-alive\r\n";
    vec![
        of(PAGE, "GET /", ""),
        of(PAGE, "GET /a/b?secret=1#frag", ""),
        of(PAGE, "GET /%20%00?q=%", "Accept: application/json\r\n"),
        of(PAGE, "GET //x/../y;p=1", "Accept: text/plain\r\n"),
        of(PAGE, "HEAD /", ""),
        of(PAGE, "HEAD /x", "Accept: application/problem+json\r\nConnection: Keep-Alive\r\n"),
        of(PAGE, "GET /", browser),
        of(PAGE, "GET /", "accept: TEXT/plain;q=0.1, text/html;q=0\r\nUSER-AGENT: \\\"\u{e9}\r\n"),
        of(PAGE, "GET /", "User-Agent: one\r\nUser-Agent: two\r\n"),
        of(PAGE, "GET /", "X-Forwarded-For: 192.0.2.9\r\nForwarded: for=192.0.2.9\r\n"),
        of(PAGE, "GET /", "Connection: close\r\n"),
        of(PAGE, "HEAD /", "Connection: CLOSE\r\n"),
        of(PAGE, "GET /", "Upgrade-Insecure-Requests: 1\r\nTE: trailers\r\n"),
        ("page.example", "GET / HTTP/1.1\r\nHost: PAGE.Example.:8080\r\n\r\n".to_owned()),
        of("a.wide.example", "GET /", ""),
        of(SHUT, "GET /", ""),
        of(SHUT, "HEAD /", "Connection: close\r\n"),
    ]
}

/// The same request, which has to take the full path.
fn full(head: &str) -> String {
    format!("{}Trailer: x\r\n\r\n", head.strip_suffix("\r\n").unwrap())
}

/// The answer, and whether the connection goes on: without what is new with every answer.
fn asked(client: &mut Client, host: &str, head: &str) -> (Option<Response>, bool) {
    client.about(host).send(head);
    let response = if head.starts_with("HEAD") { client.response_to_head() } else { client.response() };
    let plain = response.map(|mut response| {
        for (name, value) in &mut response.fields {
            if name == "enforcement-id" || name == "date" {
                assert!(!value.is_empty());
                value.clear();
            }
        }
        response
    });
    let goes_on = plain.as_ref().is_some_and(|response| response.field("connection") == Some("keep-alive"));
    if !goes_on {
        client.assert_closed();
    }
    (plain, goes_on)
}

fn fast_ones(edge: &Edge) -> usize {
    let metrics = edge.admin("/metrics").text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("interdict_blocked_fast_total "));
    line.unwrap().parse().unwrap()
}

/// Compares both paths of every head on connections that `connect` makes; both begin with an answered request or with
/// none.
#[track_caller]
fn compare(edge: Edge, origin: &Origin, connect: impl Fn(&Edge, &str) -> Client) {
    let mut on_fast = 0;
    for (host, head) in heads() {
        for is_first in [true, false] {
            let [fast, slow] = [head.clone(), full(&head)].map(|head| {
                let mut client = connect(&edge, host);
                if !is_first && host != SHUT {
                    client.get(host, "/before").unwrap().assert_blocked(403);
                    on_fast += 1;
                }
                let (response, goes_on) = asked(&mut client, host, &head);
                if goes_on {
                    client.get(host, "/after").unwrap().assert_blocked(403);
                    on_fast += 1;
                }
                (response.map(|response| format!("{response:?}")), goes_on)
            });
            on_fast += 1;
            assert_eq!(fast, slow, "{head}");
        }
    }
    assert_eq!(fast_ones(&edge), on_fast, "each request took the path it was meant to");
    origin.assert_untouched();
    let records = edge.finish();
    let blocked = of_kind(&records, "request.blocked");
    let told: Vec<&Record> =
        blocked.into_iter().filter(|record| !matches!(record.text("path"), "/before" | "/after")).collect();
    same_in_pairs(&told, heads().len() * 4);
}

#[test]
fn both_paths_give_the_same_octets_and_the_same_record_in_cleartext() {
    let origin = Origin::start();
    compare(setup(&origin).start(), &origin, |edge, _| edge.connect());
}

#[test]
fn both_paths_give_the_same_octets_and_the_same_record_over_tls() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let setup = setup(&origin);
    authority.issue(&setup.home().join("certs"), "all", &[OTHER]);
    let setup = setup.table("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }");
    let config = Arc::new(authority.client(&["http/1.1"]));
    // The handshake for a name that is refused ends before there is a request: it is made for another one.
    compare(setup.start(), &origin, |edge, _| edge.connect_tls(&config, OTHER).unwrap());
}

#[test]
fn pipelined_requests_are_answered_in_their_order_whatever_path_each_takes() {
    let origin = Origin::start();
    let edge = setup(&origin).start();
    let mut client = edge.connect();
    let get = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let full = format!("DELETE /d HTTP/1.1\r\nHost: {PAGE}\r\n\r\n");
    let all = [get(PAGE, "/a"), get(PAGE, "/b"), get("free.example", "/c"), full, get(PAGE, "/e")].concat();
    client.about(PAGE).send(all);
    for _ in 0..2 {
        client.response().unwrap().assert_blocked(403);
    }
    client.response().unwrap().assert_forwarded();
    for _ in 0..2 {
        client.response().unwrap().assert_blocked(403);
    }
    // The head that is not whole keeps no answer back, and a refusal ends the connection behind the answers before it.
    client.send([get(PAGE, "/f"), get(PAGE, "/g"), "GET / HT".to_owned()].concat());
    for _ in 0..2 {
        client.response().unwrap().assert_blocked(403);
    }
    client.send(format!("TP/1.1\r\nHost: {PAGE}\r\n\r\n{}{}", get(SHUT, "/h"), get(PAGE, "/i")));
    client.response().unwrap().assert_blocked(403);
    client.assert_closed();
    assert_eq!(fast_ones(&edge), 7, "and the refusal");
    let records = edge.finish();
    let paths: Vec<_> =
        of_kind(&records, "request.blocked").iter().map(|record| record.text("path").to_owned()).collect();
    assert_eq!(paths, ["/a", "/b", "/d", "/e", "/f", "/g", "/", "/h"]);
    assert_eq!(origin.only_request().line(), "GET /c HTTP/1.1");
}

#[test]
fn a_flood_of_pipelined_requests_is_answered_whole_and_each_is_on_record() {
    let origin = Origin::start();
    let edge = setup(&origin).start();
    let mut client = edge.connect();
    client.about(PAGE);
    // More than the answers that wait for one another, and more than a socket takes.
    let (rounds, each) = (10, 200);
    let many = format!("GET / HTTP/1.1\r\nHost: {PAGE}\r\n\r\n").repeat(each);
    for _ in 0..rounds {
        client.send(&many);
        for _ in 0..each {
            client.response().unwrap().assert_blocked(403);
        }
    }
    assert_eq!(fast_ones(&edge), rounds * each);
    assert_eq!(of_kind(&edge.finish(), "request.blocked").len(), rounds * each);
}

/// Asks over HTTP/2; a length that is told sends the request on the full path.
fn asked_over_http2(client: &mut Http2, method: &str, uri: &str, fields: &[(&str, &str)]) -> Option<String> {
    let mut head = http::Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
    for (name, value) in fields {
        head = head.header(*name, *value);
    }
    let mut response = client.request(head.body(()).unwrap(), None).ok()?;
    for (name, value) in &mut response.fields {
        if name == "enforcement-id" || name == "date" {
            value.clear();
        }
    }
    Some(format!("{response:?}"))
}

#[test]
fn both_paths_give_the_same_answer_and_the_same_record_over_http2() {
    let origin = Origin::start();
    let edge = setup(&origin).start();
    type Fields = &'static [(&'static str, &'static str)];
    let table: [(&str, String, Fields); 9] = [
        ("GET", format!("http://{PAGE}/"), &[]),
        ("GET", format!("http://{PAGE}:8080/a?secret=1"), &[("accept", "application/json")]),
        (
            "GET",
            "http://PAGE.example./%20".to_owned(),
            &[("accept", "text/html;q=0"), ("accept", "text/plain")],
        ),
        ("HEAD", format!("http://{PAGE}/"), &[("accept-language", "de")]),
        (
            "GET",
            format!("http://{PAGE}/"),
            &[("user-agent", "one"), ("user-agent", "two"), ("te", "trailers")],
        ),
        ("GET", format!("http://{PAGE}/"), &[("x-forwarded-for", "192.0.2.9"), ("cookie", "a=b")]),
        ("GET", "http://a.wide.example/".to_owned(), &[]),
        ("GET", format!("http://{SHUT}/"), &[]),
        ("HEAD", format!("http://{SHUT}/"), &[]),
    ];
    let mut client = edge.connect_h2();
    for (method, uri, fields) in &table {
        let fast = asked_over_http2(&mut client, method, uri, fields);
        let before = fast_ones(&edge);
        let full = [*fields, &[("content-length", "0")]].concat();
        let full = asked_over_http2(&mut client, method, uri, &full);
        assert_eq!(fast, full, "{method} {uri} {fields:?}");
        assert_eq!(fast_ones(&edge), before, "the full path");
    }
    assert_eq!(fast_ones(&edge), table.len());
    drop(client);
    origin.assert_untouched();
    same_in_pairs(&of_kind(&edge.finish(), "request.blocked"), table.len() * 2);
}

#[test]
fn over_http2_what_has_content_or_is_a_call_goes_the_full_path() {
    let origin = Origin::start();
    let edge = setup(&origin).start();
    let mut client = edge.connect_h2();
    let head = |method: &str| http::Request::builder().method(method).uri(format!("http://{PAGE}/"));
    let mut ask = |head: http::request::Builder, content: Option<&[u8]>| {
        client.request(head.body(()).unwrap(), content).unwrap()
    };
    for method in ["GET", "HEAD"] {
        ask(head(method), Some(b"content of no said length")).assert_blocked(403);
    }
    ask(head("GET").header("content-length", "3"), Some(b"abc")).assert_blocked(403);
    for method in ["POST", "DELETE", "OPTIONS"] {
        ask(head(method), None).assert_blocked(403);
    }
    // Its status is in the head: a client of gRPC knows no page.
    let called = ask(head("GET").header("content-type", "application/grpc"), None);
    assert_eq!((called.status, called.field("grpc-status").is_some()), (200, true), "{called:?}");
    assert_eq!(fast_ones(&edge), 0);
    ask(head("GET"), None).assert_blocked(403);
    assert_eq!(fast_ones(&edge), 1);
    drop(client);
    origin.assert_untouched();
    assert_eq!(of_kind(&edge.finish(), "request.blocked").len(), 8);
}

/// Two records for each of several requests, which say the same.
#[track_caller]
fn same_in_pairs(records: &[&Record], count: usize) {
    assert_eq!(records.len(), count);
    for pair in records.chunks(2) {
        let [fast, full] = [pair[0], pair[1]].map(|record| {
            let mut fields = record.0.clone();
            for own in ["id", "seq", "time"] {
                assert!(fields.as_object_mut().unwrap().remove(own).is_some());
            }
            fields
        });
        assert_eq!(fast, full);
    }
}
