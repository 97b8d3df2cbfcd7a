//! Origins with TLS and HTTP/2; WebSocket and gRPC through to them.

use std::fs;
use std::net::TcpListener;
use std::thread;

use http::Request;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::harness::audit::of_kind;
use crate::harness::secure::Secure;
use crate::harness::tls::Authority;
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

/// An edge that sends everything to this origin, with these lines in its route, and trusts `authority` in `ca.pem`.
fn edge(origin: &Secure, authority: &Authority, lines: &str) -> Edge {
    let setup = Setup::new();
    fs::write(setup.home().join("ca.pem"), authority.root_pem()).unwrap();
    let address = origin.address().to_string();
    setup.table(&format!("[[route]]\nhosts = [\"*\"]\norigins = [\"{address}\"]\n{lines}")).start()
}

#[test]
fn an_origin_whose_certificate_is_right_is_asked_over_tls_by_its_name() {
    let authority = Authority::new();
    let origin = Secure::start(&authority, "origin.example");
    let edge = edge(&origin, &authority, "tls = { name = \"origin.example\", ca = \"ca.pem\" }");
    let mut client = edge.connect();
    for _ in 0..3 {
        client.get("shop.example", "/").expect("an answer").assert_forwarded();
    }
    let seen = origin.seen();
    assert_eq!(seen.names, [Some("origin.example".to_owned())], "one connection, used again");
    assert_eq!(seen.requests, ["h1 GET / HTTP/1.1"; 3]);
}

#[test]
fn without_a_name_of_its_own_an_origin_has_to_show_a_certificate_for_the_host_asked_for() {
    let authority = Authority::new();
    let origin = Secure::start(&authority, "shop.example");
    let edge = edge(&origin, &authority, "tls = { ca = \"ca.pem\" }");
    edge.get("SHOP.example.").assert_forwarded();
    assert_eq!(edge.get("other.example").status, 502);
    assert_eq!(origin.seen().requests.len(), 1);
}

#[test]
fn a_certificate_for_another_name_is_a_502_and_no_request() {
    let authority = Authority::new();
    let origin = Secure::start(&authority, "other.example");
    let edge = edge(&origin, &authority, "tls = { name = \"origin.example\", ca = \"ca.pem\" }");
    assert_eq!(edge.get("shop.example").status, 502);
    let seen = origin.seen();
    assert!(seen.connections > 0 && seen.requests.is_empty(), "{seen:?}");
    wait_until("the log says why", || edge.process().stderr().contains("certificate not valid for name"));
}

#[test]
fn a_certificate_that_nobody_trusted_signed_is_a_502_and_no_request() {
    let (trusted, unknown) = (Authority::new(), Authority::new());
    let origin = Secure::start(&unknown, "origin.example");
    let edge = edge(&origin, &trusted, "tls = { name = \"origin.example\", ca = \"ca.pem\" }");
    assert_eq!(edge.get("shop.example").status, 502);
    assert!(origin.seen().requests.is_empty());
    wait_until("the log says why", || edge.process().stderr().contains("UnknownIssuer"));
}

#[test]
fn without_a_ca_of_its_own_a_route_trusts_the_systems_and_not_this_one() {
    let authority = Authority::new();
    let origin = Secure::start(&authority, "origin.example");
    let edge = edge(&origin, &authority, "tls = { name = \"origin.example\" }");
    assert_eq!(edge.get("shop.example").status, 502);
    assert!(origin.seen().requests.is_empty());
}

#[test]
fn an_unverified_origin_is_asked_only_where_the_route_says_so() {
    let authority = Authority::new();
    let origin = Secure::start(&authority, "other.example");
    let edge = edge(&origin, &authority, "tls = { name = \"origin.example\", verify = false }");
    edge.get("shop.example").assert_forwarded();
}

#[test]
fn a_connection_that_one_route_did_not_verify_serves_no_route_that_does() {
    let authority = Authority::new();
    let origin = Secure::start(&authority, "other.example");
    let setup = Setup::new();
    fs::write(setup.home().join("ca.pem"), authority.root_pem()).unwrap();
    let route = |host: &str, tls: &str| {
        let address = origin.address();
        format!(
            "[[route]]\nhosts = [\"{host}\"]\norigins = [\"{address}\"]\ntls = {{ name = \"origin.example\", {tls} }}"
        )
    };
    let edge = setup
        .table(&route("lax.example", "verify = false"))
        .table(&route("strict.example", "ca = \"ca.pem\""))
        .start();
    edge.get("lax.example").assert_forwarded();
    assert_eq!(edge.get("strict.example").status, 502);
    assert_eq!(origin.seen().requests.len(), 1);
}

#[test]
fn an_origin_that_cannot_be_verified_is_passed_over_for_the_next() {
    let (trusted, unknown) = (Authority::new(), Authority::new());
    let (bad, good) = (Secure::start(&unknown, "origin.example"), Secure::start(&trusted, "origin.example"));
    let setup = Setup::new();
    fs::write(setup.home().join("ca.pem"), trusted.root_pem()).unwrap();
    let origins = [bad.address().to_string(), good.address().to_string()];
    let route = format!(
        "[[route]]\nhosts = [\"*\"]\norigins = {origins:?}\nbalance = \"in-order\"\n\
         tls = {{ name = \"origin.example\", ca = \"ca.pem\" }}"
    );
    let edge = setup.table(&route).start();
    // Not even a request with content was sent, so it may go on.
    let post = "POST /p HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n";
    edge.send(post).expect("an answer").assert_forwarded();
    assert!(bad.seen().requests.is_empty());
    assert_eq!(good.seen().requests, ["h1 POST /p HTTP/1.1"]);
}

#[test]
fn a_check_without_a_path_is_a_whole_handshake_with_an_origin_that_has_tls() {
    let (trusted, unknown) = (Authority::new(), Authority::new());
    let good = Secure::start(&trusted, "origin.example");
    let untrusted = Secure::start(&unknown, "origin.example");
    let cleartext = Origin::start();
    let setup = Setup::new();
    fs::write(setup.home().join("ca.pem"), trusted.root_pem()).unwrap();
    let addresses = [good.address(), untrusted.address(), cleartext.address()].map(|at| at.to_string());
    let route = format!(
        "[[route]]\nhosts = [\"*\"]\norigins = {addresses:?}\n\
         tls = {{ name = \"origin.example\", ca = \"ca.pem\" }}\n\
         health = {{ interval = \"20ms\", timeout = \"2s\", failures = 2, successes = 2 }}"
    );
    let edge = setup.table(&route).start();
    let is_up = |at: usize| edge.status().0["origins"][at]["up"].as_bool();
    wait_until("those without a certificate to trust are down", || {
        (is_up(1), is_up(2)) == (Some(false), Some(false))
    });
    wait_until("the other one was asked", || good.seen().names.len() > 2);
    assert_eq!(is_up(0), Some(true));
    let seen = good.seen();
    assert!(seen.requests.is_empty(), "a check without a path asks for nothing: {seen:?}");
    assert!(seen.names.iter().all(|name| name.as_deref() == Some("origin.example")), "{seen:?}");
}

#[test]
fn a_file_without_certificates_stops_the_start() {
    let setup = Setup::new();
    std::fs::write(setup.home().join("ca.pem"), "nothing\n").unwrap();
    let route = "[[route]]\nhosts = [\"*\"]\norigins = [\"127.0.0.1:1\"]\ntls = { ca = \"ca.pem\" }";
    let Err((_home, ended)) = setup.table(route).try_start() else { panic!("it started") };
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("there is no certificate in"), "{}", ended.stderr);
}

#[test]
fn http2_is_spoken_to_an_origin_that_offers_it_and_its_authority_is_the_canonical_name() {
    let authority = Authority::new();
    let origin = Secure::start(&authority, "origin.example");
    let lines = "http2 = true\ntls = { name = \"origin.example\", ca = \"ca.pem\" }";
    let edge = edge(&origin, &authority, lines);
    edge.get("SHOP.example.").assert_forwarded();
    edge.connect_h2().get("shop.example", "/2").unwrap().assert_forwarded();
    let seen = origin.seen();
    assert_eq!(seen.requests, ["h2 GET https://shop.example/", "h2 GET https://shop.example/2"]);
    assert_eq!(seen.connections, 1);
}

#[test]
fn http2_without_tls_is_taken_for_granted() {
    let origin = Secure::cleartext();
    let edge = edge(&origin, &Authority::new(), "http2 = true");
    edge.get("shop.example").assert_forwarded();
    assert_eq!(origin.seen().requests, ["h2 GET http://shop.example/"]);
}

#[test]
fn no_http2_connection_leads_into_a_network_that_was_closed_since() {
    let origin = Secure::cleartext();
    let edge = edge(&origin, &Authority::new(), "http2 = true");
    edge.get("shop.example").assert_forwarded();
    let case = CaseFile::new("networks", &["customer.example"]).key("origins = [\"127.0.0.0/16\"]");
    edge.change(|policies| policies.write(&case));
    edge.get("shop.example").assert_blocked(403);
    assert_eq!(origin.seen().requests.len(), 1);
    assert_eq!(of_kind(&edge.finish(), "upstream.refused").len(), 1);
}

#[test]
fn grpc_goes_through_with_its_content_and_its_trailers() {
    let origin = Secure::cleartext();
    let edge = edge(&origin, &Authority::new(), "http2 = true");
    let request = Request::post("http://shop.example/pkg.Service/Call")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("proxy-authorization", "Basic eA==");
    let message = b"\0\0\0\0\x03abc";
    let response = edge.connect_h2().request(request.body(()).unwrap(), Some(message)).unwrap();
    response.assert_forwarded();
    assert_eq!(response.body, message);
    assert_eq!(response.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    let fields = origin.seen().fields;
    assert_eq!(fields.get("te").map(|value| value.as_bytes()), Some(&b"trailers"[..]));
    assert!(!fields.contains_key("proxy-authorization"));
    assert_eq!(fields.get("x-forwarded-for").map(|value| value.as_bytes()), Some(&b"127.0.0.1"[..]));
}

/// A real WebSocket server that gives every message back.
fn web_socket_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Ok(mut socket) = tungstenite::accept(stream) else { continue };
            while let Ok(message) = socket.read() {
                if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                    break;
                }
            }
        }
    });
    address
}

fn speak_through(edge: &Edge) {
    let stream = std::net::TcpStream::connect(edge.address()).unwrap();
    let (mut socket, response) = tungstenite::client("ws://chat.example/room", stream).unwrap();
    assert_eq!(response.status(), 101);
    for length in [1, 126, 70_000] {
        let message = Message::binary(vec![7u8; length]);
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    socket.close(None).unwrap();
    // The other side's close, and then the end of the connection.
    while socket.read().is_ok() {}
}

#[test]
fn a_web_socket_goes_through() {
    let origin = web_socket_server();
    let edge = Setup::new().route(&["*"], &[&origin.to_string()]).start();
    speak_through(&edge);
}

#[test]
fn a_web_socket_is_opened_in_http_1_where_the_route_speaks_http2() {
    let origin = web_socket_server();
    let route = format!("[[route]]\nhosts = [\"*\"]\norigins = [\"{origin}\"]\nhttp2 = true");
    let edge = Setup::new().table(&route).start();
    speak_through(&edge);
}

#[test]
fn an_origin_in_cleartext_is_not_asked_in_http2_unless_the_route_says_so() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).start();
    edge.connect_h2().get("shop.example", "/").unwrap().assert_forwarded();
    assert_eq!(origin.only_request().line(), "GET / HTTP/1.1");
}
