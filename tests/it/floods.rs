//! Clients that cost more than they spend: HTTP/2 floods, header bombs.

use std::time::Duration;

use http::Request;

use crate::harness::http2::Frames;
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_for};

const BLOCKED: &str = "blocked.example";

fn edge(origin: &Origin, limits: &str) -> Edge {
    Setup::new()
        .origin(origin)
        .case(CaseFile::new("page", &[BLOCKED]))
        .table(&format!("[limits]\n{limits}"))
        .start()
}

/// How often the edge has refused something for this reason.
pub fn rejected(edge: &Edge, reason: &str) -> u64 {
    let label = format!("interdict_requests_rejected_total{{reason=\"{reason}\"}} ");
    let text = edge.admin("/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(&label)?.parse().ok()).unwrap_or(0)
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// An HPACK block (RFC 7541) for `GET / http://authority`.
fn get(authority: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x84, 0x86, 0x01, authority.len() as u8];
    block.extend_from_slice(authority.as_bytes());
    block
}

#[test]
fn each_kind_of_cheap_frame_is_cut_soon_and_counted() {
    let origin = Origin::start();
    let edge = edge(&origin, "http2_control_frames = 50\nhttp2_resets = 20");
    let floods: [(u8, u8, u32, &[u8]); 6] = [
        (PING, 0, 0, &[0; 8]),
        (SETTINGS, 0, 0, &[]),
        (PRIORITY, 0, 1, &[0, 0, 0, 0, 7]),
        (WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        (0x42, 0, 0, &[1, 2, 3]),
        (SETTINGS, 0, 0, &[0, 4, 0, 0, 0xFF, 0xFF]),
    ];
    for (count, (kind, flags, stream, payload)) in (1..).zip(floods) {
        let mut client = Frames::connect(edge.address());
        let sent = client.flood(10_000, |client, _| client.frame(kind, flags, stream, payload));
        assert!(sent < 10_000, "frames of type {kind} were taken without end");
        wait_for("the flood is counted", || (rejected(&edge, "http2-flood") == count).then_some(()));
    }
    origin.assert_untouched();
}

#[test]
fn a_rapid_reset_is_cut_and_leaves_the_origin_in_peace() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    let mut client = Frames::connect(edge.address());
    let block = get("allowed.example");
    let sent = client.flood(20_000, |client, index| {
        let stream = 2 * index + 1;
        client.frame(HEADERS, END_HEADERS | 1, stream, &block);
        client.frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    });
    assert!(sent < 20_000);
    wait_for("the flood is counted", || (rejected(&edge, "http2-flood") == 1).then_some(()));
    assert!(origin.requests().len() <= 250, "{} requests came through", origin.requests().len());
}

#[test]
fn a_header_block_without_end_is_cut() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    let mut client = Frames::connect(edge.address());
    client.frame(HEADERS, 0, 1, &get(BLOCKED));
    let sent = client.flood(10_000, |client, _| client.frame(CONTINUATION, 0, 1, &[]));
    assert!(sent < 10_000);
    wait_for("the flood is counted", || (rejected(&edge, "http2-flood") == 1).then_some(()));
    origin.assert_untouched();
}

#[test]
fn empty_pieces_of_a_body_and_streams_that_the_edge_must_reset_are_cut() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    let mut client = Frames::connect(edge.address());
    client.frame(HEADERS, END_HEADERS, 1, &get("allowed.example"));
    let sent = client.flood(20_000, |client, _| client.frame(DATA, 0, 1, &[]));
    assert!(sent < 20_000, "empty DATA");
    wait_for("the flood is counted", || (rejected(&edge, "http2-flood") == 1).then_some(()));

    // CVE-2025-8671, "MadeYouReset": a window beyond its bound makes the edge reset the stream (RFC 9113 §6.9.1).
    let mut client = Frames::connect(edge.address());
    let sent = client.flood(5_000, |client, index| {
        let stream = 2 * index + 1;
        client.frame(HEADERS, END_HEADERS | 1, stream, &get("allowed.example"));
        client.frame(WINDOW_UPDATE, 0, stream, &[0x7F, 0xFF, 0xFF, 0xFF]);
    });
    assert!(sent < 5_000, "streams reset by the edge");
    wait_for("the flood is counted", || (rejected(&edge, "http2-flood") == 2).then_some(()));
    assert!(origin.requests().len() <= 250, "{} requests came through", origin.requests().len());
}

#[test]
fn a_client_that_means_well_is_served_however_much_it_asks() {
    let origin = Origin::start();
    let edge = edge(&origin, "http2_control_frames = 50\nhttp2_resets = 1");
    let mut client = edge.connect_h2();
    for round in 0..1000 {
        let (host, status) = if round % 2 == 0 { ("allowed.example", 200) } else { (BLOCKED, 403) };
        assert_eq!(client.get(host, "/").unwrap().status, status, "round {round}");
        client.ping();
    }
    let body = vec![b'x'; 3_000_000];
    let post = Request::post("http://allowed.example/echo").header("content-length", body.len());
    let post = post.body(()).unwrap();
    assert_eq!(client.request(post, Some(&body)).unwrap().body.len(), body.len());
    assert_eq!(rejected(&edge, "http2-flood"), 0);
}

#[test]
fn too_many_header_fields_are_refused_in_both_protocols() {
    let origin = Origin::start();
    let edge = edge(&origin, "header_fields = 20");
    let fields = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let one =
        |count| edge.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", fields(count))).unwrap();
    one(19).assert_forwarded();
    assert_eq!(one(20).status, 431);
    let mut client = edge.connect_h2();
    let mut two = |count: usize| {
        let head =
            (0..count).fold(Request::get("http://a.example/"), |head, n| head.header(format!("x-{n}"), "y"));
        client.request(head.body(()).unwrap(), None).unwrap()
    };
    two(20).assert_forwarded();
    assert_eq!(two(21).status, 431);
    assert_eq!(rejected(&edge, "head-too-large"), 2);
}

/// A connection with a hundred unfinished requests of so many fields.
fn bomb(edge: &Edge, fields: usize) -> Frames {
    let mut block = get(BLOCKED);
    // A literal with incremental indexing, which becomes entry 62 of the table.
    block.extend([0x40, 1, b'x', 0]);
    block.resize(block.len() + fields, 0x80 | 62);
    let mut client = Frames::connect(edge.address());
    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    for stream in 0..100 {
        client.frame(HEADERS, END_HEADERS, 2 * stream + 1, &block);
    }
    client
}

/// How many octets of memory an edge takes for twenty such connections.
fn memory_of_bombs(fields: usize) -> u64 {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    // As a client would, so that what is set up once is not counted.
    edge.connect_h2().get(BLOCKED, "/").unwrap().assert_blocked(403);
    let before = edge.process().resident_bytes();
    let clients: Vec<Frames> = (0..20).map(|_| bomb(&edge, fields)).collect();
    let mut most = 0;
    for _ in 0..100 {
        most = most.max(edge.process().resident_bytes().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(5));
    }
    edge.connect_h2().get(BLOCKED, "/").unwrap().assert_blocked(403);
    drop(clients);
    origin.assert_untouched();
    most
}

#[test]
fn a_header_bomb_takes_no_memory() {
    // References of one octet each to a field `x` without a value (RFC 7541 §6.1), a hundred streams on each of twenty
    // connections: 3.7 MiB that stock Pingora makes 605 MB of.
    let most = memory_of_bombs(1900);
    assert!(most < 16 * 1024 * 1024, "{most} octets more than before");
}

#[test]
fn a_header_bomb_below_the_limit_of_the_list_is_let_go_of_at_once() {
    // Each list fits, and is refused for the number of its fields: what the client holds open is not kept.
    let most = memory_of_bombs(450);
    assert!(most < 32 * 1024 * 1024, "{most} octets more than before");
}
