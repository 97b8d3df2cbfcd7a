//! What of a head passes: the fields of one connection (RFC 9110 §7.6.1), versions, and what frames an answer.

use super::house::{ALLOWED, PAGE, edge};
use super::parts::exchange;
use crate::harness::secure::Secure;
use crate::harness::{Canned, Client, Edge, Latch, Origin, Response, Setup, wait_until};

const FORGED: &str = "01934f2e-9d1a-7cc0-8123-456789abcdef";

/// An edge before an origin that speaks nothing but HTTP/2.
fn before(origin: &Secure) -> Edge {
    let route = format!("[[route]]\nhosts = [\"*\"]\norigins = [\"{}\"]\nhttp2 = true", origin.address());
    Setup::new().table(&route).start()
}

/// The same request in both protocols.
#[track_caller]
fn both(edge: &Edge, path: &str) -> [Response; 2] {
    [edge.connect().get(ALLOWED, path).unwrap(), edge.connect_h2().get(ALLOWED, path).unwrap()]
}

#[test]
fn cookies_that_come_in_pieces_reach_the_origin_as_one_field() {
    let crumbs = || {
        let request = http::Request::get(format!("http://{ALLOWED}/"));
        let request = request.header("cookie", "a=1").header("cookie", "b=2; c=3").header("cookie", "d=4");
        request.body(()).unwrap()
    };
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.connect_h2().request(crumbs(), None).unwrap().assert_forwarded();
    let lines =
        format!("GET / HTTP/1.1\r\nHost: {ALLOWED}\r\nCookie: a=1\r\nCookie: b=2; c=3\r\ncookie: d=4\r\n");
    edge.send(format!("{lines}\r\n")).unwrap().assert_forwarded();
    edge.send(format!("GET / HTTP/1.1\r\nHost: {ALLOWED}\r\nCookie: one=1\r\n\r\n")).unwrap();
    let cookies: Vec<Vec<String>> = origin.requests().iter().map(|request| request.field("cookie")).collect();
    assert_eq!(cookies, [["a=1; b=2; c=3; d=4"], ["a=1; b=2; c=3; d=4"], ["one=1"]]);
    let secure = Secure::cleartext();
    before(&secure).connect_h2().request(crumbs(), None).unwrap().assert_forwarded();
    let seen = secure.seen();
    let cookies: Vec<&[u8]> = seen.fields.get_all("cookie").iter().map(|value| value.as_bytes()).collect();
    assert_eq!(cookies, [b"a=1; b=2; c=3; d=4"]);
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_the_content_ends_with_the_connection() {
    let origin = Origin::start();
    origin.answers("/chunks", Canned::new("no-store").body("0123456789").chunked());
    origin.answers("/end", Canned::exactly("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789"));
    origin.answers("/length", Canned::new("no-store").body("0123456789"));
    origin.answers("/kept", Canned::new("max-age=60").body("0123456789").chunked());
    let edge = Setup::new().origin(&origin).table("[cache]").start();
    for path in ["/chunks", "/end", "/kept", "/kept"] {
        // The object has a length, which is as good as an end.
        let options: &[&str] = if path == "/kept" { &[""] } else { &["", "Connection: keep-alive\r\n"] };
        for option in options {
            let text = exchange(&edge, &format!("GET {path} HTTP/1.0\r\nHost: {ALLOWED}\r\n{option}\r\n"));
            let (head, content) = text.split_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            assert!(!head.contains("transfer-encoding") && !head.contains("keep-alive"), "{path}: {head}");
            assert_eq!(content, "0123456789", "{path}");
        }
    }
    let mut client = edge.connect();
    for _ in 0..2 {
        let request = format!("GET /length HTTP/1.0\r\nHost: {ALLOWED}\r\nConnection: keep-alive\r\n\r\n");
        let response = client.send(request).response().unwrap();
        assert_eq!(
            (response.text().as_str(), response.field("connection")),
            ("0123456789", Some("keep-alive"))
        );
    }
    let chunked = both(&edge, "/chunks");
    assert_eq!(chunked[0].field("transfer-encoding"), Some("chunked"), "HTTP/1.1 knows it");
    assert_eq!(chunked.map(|response| response.text()), ["0123456789"; 2]);
}

#[test]
fn nor_does_it_before_an_origin_of_http_2() {
    let origin = Secure::cleartext();
    let edge = before(&origin);
    for option in ["", "Connection: keep-alive\r\n"] {
        let text = exchange(&edge, &format!("GET / HTTP/1.0\r\nHost: {ALLOWED}\r\n{option}\r\n"));
        let (head, content) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
        assert!(head.contains("Connection: close"), "{head}");
        assert_eq!(content, "ok");
    }
}

#[test]
fn fields_of_the_connection_to_the_origin_stay_at_the_edge() {
    let origin = Origin::start();
    let answer =
        Canned::new("no-store").body("x").interim(103, "Connection: x-early\r\nX-Early: 1\r\nLink: </a>");
    let answer = answer
        .field("Connection", "x-hop, Content-Length, keep-alive,")
        .field("Connection", "X-Other")
        .field("X-Hop", "1")
        .field("X-Other", "1")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("Proxy-Authenticate", "Basic")
        .field("Proxy-Authentication-Info", "x")
        .field("TE", "trailers")
        .field("Upgrade", "h2c")
        .field("X-Stays", "1");
    origin.answers("/", answer);
    let edge = edge(&origin);
    for response in both(&edge, "/") {
        for name in [
            "x-hop",
            "x-other",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "proxy-authentication-info",
            "te",
            "upgrade",
        ] {
            assert_eq!(response.field(name), None, "{:?}", response.fields);
        }
        assert_eq!((response.field("x-stays"), response.field("content-length")), (Some("1"), Some("1")));
        assert_eq!(response.text(), "x");
        if !response.interim.is_empty() {
            assert_eq!(response.interim_fields, [("link".to_owned(), "</a>".to_owned())]);
        }
    }
}

#[test]
fn what_belongs_to_a_switch_of_protocols_passes() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
    let response =
        client.send(format!("GET / HTTP/1.1\r\nHost: {ALLOWED}\r\n{upgrade}\r\n\r\n")).response().unwrap();
    assert_eq!(response.status, 101);
    assert_eq!(response.field("upgrade"), Some("websocket"));
    assert!(response.field("connection").unwrap().eq_ignore_ascii_case("upgrade"));
    assert_eq!(client.send("there and back").read_exact(14).unwrap(), b"there and back");
}

#[test]
fn only_the_edge_names_an_enforcement() {
    let origin = Origin::start();
    let canned =
        |control| Canned::new(control).field("Enforcement-Id", FORGED).field("enforcement-id", FORGED);
    origin.answers("/", canned("no-store").interim(103, &format!("Enforcement-Id: {FORGED}")));
    origin.answers("/kept", canned("max-age=60"));
    let edge = Setup::new().origin(&origin).table("[cache]").start();
    for path in ["/", "/kept", "/kept"] {
        for response in both(&edge, path) {
            response.assert_forwarded();
            assert!(response.interim_fields.iter().all(|(name, _)| name != "enforcement-id"));
        }
    }
    assert_eq!(origin.asked_for("/kept"), 1);
    // This origin sends one in its trailers.
    let call = http::Request::post(format!("http://{ALLOWED}/pkg.Service/Call"));
    let call = call.header("content-type", "application/grpc").body(()).unwrap();
    let response = before(&Secure::cleartext()).connect_h2().request(call, Some(b"abc")).unwrap();
    assert_eq!(response.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
}

#[test]
fn an_answer_is_passed_on_in_the_version_of_the_edge() {
    let origin = Origin::start();
    let answer = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    origin.answers("/", Canned::exactly(answer));
    let edge = edge(&origin);
    let text = exchange(&edge, &format!("GET / HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n\r\n"));
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nok"), "{text}");
}

#[test]
fn an_answer_that_can_have_no_content_has_no_length_of_it() {
    let origin = Origin::start();
    for (path, framing) in [("/length", "Content-Length: 5"), ("/chunked", "Transfer-Encoding: chunked")] {
        let answer = format!("HTTP/1.1 204 No Content\r\norigin: x\r\n{framing}\r\n\r\n");
        origin.answers(path, Canned::exactly(answer));
    }
    let edge = edge(&origin);
    let mut client = edge.connect();
    for path in ["/length", "/chunked"] {
        let response = client.get(ALLOWED, path).unwrap();
        assert_eq!((response.status, response.field("origin")), (204, Some("x")));
        let framing = [response.field("content-length"), response.field("transfer-encoding")];
        assert_eq!(framing, [None, None]);
        // The connection stands at its next request.
        client.get(PAGE, "/").unwrap().assert_blocked(403);
        let response = edge.connect_h2().get(ALLOWED, path).unwrap();
        assert_eq!((response.status, response.field("content-length")), (204, None));
    }
}

/// A request whose answer has not begun, and an idle connection, which goes once a stop has begun.
struct Parting {
    client: Client,
    idle: Client,
    latch: Latch,
}

impl Parting {
    fn begin() -> (Edge, Self) {
        let (origin, latch) = (Origin::start(), Latch::default());
        origin.answers("/late", Canned::new("no-store").body("late").begun_by(&latch));
        let edge = Setup::new().origin(&origin).table("[limits]\nstop_grace = \"30s\"").start();
        let (mut client, mut idle) = (edge.connect(), edge.connect());
        client.send(format!("GET /late HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"));
        wait_until("the origin has it", || origin.asked_for("/late") > 0);
        idle.get(ALLOWED, "/").unwrap().assert_forwarded();
        (edge, Self { client, idle, latch })
    }

    #[track_caller]
    fn end(mut self) {
        self.idle.assert_closed();
        self.latch.open();
        let response = self.client.response().unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "late"));
        assert_eq!(response.field("connection"), Some("close"), "{:?}", response.fields);
        self.client.assert_closed();
    }
}

#[test]
fn an_answer_that_begins_after_the_stop_says_close_and_ends_the_connection() {
    let (mut edge, parting) = Parting::begin();
    std::thread::scope(|scope| {
        scope.spawn(|| parting.end());
        edge.stop();
    });
}

#[test]
fn so_does_one_that_begins_after_another_process_took_over() {
    let (mut edge, parting) = Parting::begin();
    edge.begin_upgrade();
    parting.end();
    edge.process_mut().wait_for_those_before();
}
