//! Who a client is, and how much one client may take: proxies in front, connections, rates, slowness.

use std::time::{Duration, Instant};

use http::Request;

use crate::floods::rejected;
use crate::harness::audit::Record;
use crate::harness::{CaseFile, Client, Origin, Setup, wait_until};

const BLOCKED: &str = "blocked.example";
const CASE: &str = "page";

fn setup(origin: &Origin) -> Setup {
    Setup::new().origin(origin).case(CaseFile::new(CASE, &[BLOCKED]))
}

fn request(host: &str, field: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n{field}\r\n")
}

/// The clients of all blocked requests, in order.
fn blocked_clients(records: &[Record]) -> Vec<String> {
    let blocked = records.iter().filter(|record| record.kind() == "request.blocked");
    blocked.map(|record| record.text("client").to_owned()).collect()
}

/// A header of version 2 that names an IPv4 client, or speaks for the proxy itself.
fn version_2(command: u8, client: [u8; 4]) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    [&signature[..], &[0x20 | command, 0x11, 0, 12], &client, &[10, 0, 0, 1, 0x12, 0x34, 1, 187]].concat()
}

#[test]
fn the_proxy_protocol_names_the_client_in_both_versions() {
    let origin = Origin::start();
    let edge = setup(&origin).listen("proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]").start();
    let get = request(BLOCKED, "");
    let headers = [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        version_2(1, [198, 51, 100, 9]),
        version_2(0, [198, 51, 100, 9]),
    ];
    for header in headers {
        let mut client = edge.connect();
        // The header in two pieces, its second with the request.
        client.send(&header[..10]);
        client.send([&header[10..], get.as_bytes()].concat());
        client.response().unwrap().assert_blocked(403);
        client.send(&get).response().unwrap().assert_blocked(403);
    }
    let clients = blocked_clients(&edge.finish());
    let expected = ["192.0.2.7", "2001:db8::7", "127.0.0.1", "198.51.100.9", "127.0.0.1"];
    assert_eq!(clients, expected.iter().flat_map(|client| [*client, *client]).collect::<Vec<_>>());
    origin.assert_untouched();
}

#[test]
fn a_proxy_protocol_header_is_taken_from_nobody_else_and_must_be_one() {
    let origin = Origin::start();
    let edge = setup(&origin)
        .listen("proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]")
        .table("[limits]\nheader_timeout = \"300ms\"")
        .start();
    let header = "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n";
    let mut stranger = edge.connect_from([127, 0, 0, 2]);
    stranger.send(format!("{header}{}", request("allowed.example", "")));
    assert!(closed(&mut stranger));
    let mut plain = edge.connect();
    plain.send(request("allowed.example", ""));
    assert!(closed(&mut plain));
    let mut slow = edge.connect();
    slow.send("PROXY TCP4 192");
    assert!(closed(&mut slow));
    wait_until("all three are counted", || {
        ["untrusted-proxy", "proxy-protocol", "slow"].iter().all(|reason| rejected(&edge, reason) == 1)
    });
    origin.assert_untouched();
}

/// Whether the edge closes without an answer; unread bytes make that a reset.
fn closed(client: &mut Client) -> bool {
    !matches!(client.try_response(false), Ok(Some(_)))
}

#[test]
fn a_client_in_a_header_counts_only_when_a_trusted_proxy_names_it() {
    let origin = Origin::start();
    let exempt = "[[exempt]]\nclients = [\"192.0.2.0/24\"]\nreason = \"evidence preservation\"";
    let edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new(CASE, &[BLOCKED]).table(exempt))
        .listen("client_header = \"X-Forwarded-For\"\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]")
        .start();
    // The proxy's word: the exempt client is let through, another is not, whatever that one wrote itself.
    let ask = |client: &mut Client, field: &str| client.send(request(BLOCKED, field)).response().unwrap();
    let mut proxy = edge.connect();
    ask(&mut proxy, "X-Forwarded-For: 192.0.2.7, 10.0.0.3\r\n").assert_forwarded();
    ask(&mut proxy, "X-Forwarded-For: 192.0.2.7, 198.51.100.9\r\n").assert_blocked(403);
    ask(&mut proxy, "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 198.51.100.10\r\n").assert_blocked(403);
    ask(&mut proxy, "X-Forwarded-For: 192.0.2.7, nonsense\r\n").assert_blocked(403);
    ask(&mut proxy, "").assert_blocked(403);
    // A stranger's word is none.
    let mut stranger = edge.connect_from([127, 0, 0, 2]);
    ask(&mut stranger, "X-Forwarded-For: 192.0.2.7\r\n").assert_blocked(403);
    // HTTP/2 is no other.
    let mut http2 = edge.connect_h2();
    let mut two = |from: &str| {
        let head = Request::get(format!("http://{BLOCKED}/")).header("x-forwarded-for", from);
        http2.request(head.body(()).unwrap(), None).unwrap()
    };
    two("192.0.2.8").assert_forwarded();
    two("192.0.2.8, 198.51.100.11").assert_blocked(403);
    let records = edge.finish();
    let expected = ["198.51.100.9", "198.51.100.10", "127.0.0.1", "127.0.0.1", "127.0.0.2", "198.51.100.11"];
    assert_eq!(blocked_clients(&records), expected);
    let exempted = records.iter().filter(|record| record.kind() == "request.exempted");
    assert_eq!(exempted.map(|record| record.text("client")).collect::<Vec<_>>(), ["192.0.2.7", "192.0.2.8"]);
}

#[test]
fn one_client_cannot_take_the_connections_of_others() {
    let origin = Origin::start();
    let edge = setup(&origin).table("[limits]\nconnections_per_network = 3\nconnections = 5").start();
    let open = |source| {
        let mut client = edge.connect_from(source);
        client.get("allowed.example", "/").unwrap().assert_forwarded();
        client
    };
    let mut first: Vec<Client> = (0..3).map(|_| open([127, 0, 0, 2])).collect();
    edge.connect_from([127, 0, 0, 2]).assert_closed();
    let others = [open([127, 0, 0, 3]), open([127, 0, 0, 4])];
    // Now the house is full for everyone.
    edge.connect_from([127, 0, 0, 5]).assert_closed();
    assert_eq!((rejected(&edge, "connections-per-network"), rejected(&edge, "connections")), (1, 1));
    drop(others);
    first.pop();
    let is_open = || {
        let mut client = edge.connect_from([127, 0, 0, 2]);
        client.send(request("allowed.example", ""));
        matches!(client.try_response(false), Ok(Some(answer)) if answer.status == 200)
    };
    wait_until("a place is free again", is_open);
}

#[test]
fn named_clients_are_counted_and_their_proxy_is_not() {
    let origin = Origin::start();
    let edge = setup(&origin)
        .listen("proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]")
        .table("[limits]\nconnections_per_network = 2")
        .start();
    let open = |last: u8| {
        let mut client = edge.connect();
        let header = version_2(1, [192, 0, 2, last]);
        client.send([header, request("allowed.example", "").into_bytes()].concat());
        let answered = matches!(client.try_response(false), Ok(Some(answer)) if answer.status == 200);
        (client, answered)
    };
    let kept: Vec<_> = [1, 1, 2, 2, 3, 3].into_iter().map(open).collect();
    assert!(kept.iter().all(|(_, answered)| *answered));
    assert!(!open(1).1, "a third connection of one client");
}

#[test]
fn who_asks_for_blocked_pages_too_often_gets_short_answers_and_whole_records() {
    let origin = Origin::start();
    let edge = setup(&origin).table("[limits]\nblocked_rate = 1").start();
    let mut client = edge.connect_from([127, 0, 0, 2]);
    let answers: Vec<_> = (0..50).map(|_| client.get(BLOCKED, "/").unwrap()).collect();
    let is_short = |answer: &&crate::harness::Response| answer.text().lines().count() == 1;
    for answer in &answers {
        answer.assert_blocked(403);
    }
    assert!(!is_short(&&answers[0]) && !is_short(&&answers[1]));
    let short = answers.iter().filter(is_short).count();
    assert!(short >= 20, "{short} of 50 were short");
    assert_eq!(answers[49].field("content-type"), Some("text/plain; charset=utf-8"));
    // Others are not in its bucket, and what is free has none.
    assert!(!is_short(&&edge.get(BLOCKED)));
    client.get("allowed.example", "/").unwrap().assert_forwarded();
    let records = edge.finish();
    assert_eq!(blocked_clients(&records).len(), 51);
}

#[test]
fn a_body_that_trickles_in_is_cut_and_a_slow_one_is_not() {
    let origin = Origin::start();
    let edge = setup(&origin).table("[limits]\nclient_timeout = \"400ms\"\nmin_rate = 500").start();
    let head = "POST /echo HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 5000\r\n\r\n";
    let mut client = edge.connect();
    client.send(head);
    let began = Instant::now();
    // Never silent for as long as the limit of a single read.
    while rejected(&edge, "slow-body") == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is taken without end");
        client.send("x");
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = client.try_response(false);
    assert!(!matches!(answer, Ok(Some(answer)) if answer.status != 408), "it got an answer");
    let mut honest = edge.connect();
    honest.send(head);
    for _ in 0..50 {
        honest.send([b'x'; 100]);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(honest.response().unwrap().assert_forwarded().body.len(), 5000);
}
