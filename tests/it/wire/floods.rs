//! HTTP/2 floods to their exact bounds: what is within is taken, what is beyond ends the connection, and it is counted.

use std::time::Duration;

use super::house::{ALLOWED, PAGE};
use super::http2::hpack;
use super::http2::link::{DATA, Event, FIRST_FLAG, HEADERS, Link, PING, RST_STREAM, SETTINGS, frame};
use crate::floods::rejected;
use crate::harness::{Canned, CaseFile, Edge, Latch, Origin, Setup, wait_until};

const END_HEADERS: u8 = 4;
const PRIORITY: u8 = 2;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;

/// Frames a second that the edge of these tests takes of most kinds, and resets a second.
const CONTROL: usize = 20;
const RESETS: usize = 4;
/// How many times that at once.
const BURST: usize = 4;

fn edge(origin: &Origin, limits: &str) -> Edge {
    let table = format!("[limits]\nhttp2_control_frames = {CONTROL}\nhttp2_resets = {RESETS}\n{limits}");
    Setup::new().origin(origin).case(CaseFile::new("page", &[PAGE])).table(&table).start()
}

fn get(host: &str) -> Vec<u8> {
    let fields = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", host)];
    fields.iter().flat_map(|(name, value)| hpack::field(name, value.as_bytes())).collect()
}

/// One kind of flood: what comes first, the frames of the flood, and how many of them are fine at once.
struct Flood {
    name: &'static str,
    first: Vec<u8>,
    next: Box<dyn Fn(usize) -> Vec<u8>>,
    fine: usize,
}

impl Flood {
    fn of(name: &'static str, fine: usize, next: impl Fn(usize) -> Vec<u8> + 'static) -> Self {
        Self { name, first: Vec::new(), next: Box::new(next), fine }
    }

    fn after(mut self, first: Vec<u8>) -> Self {
        self.first = first;
        self
    }

    fn frames(&self, range: std::ops::Range<usize>) -> Vec<u8> {
        range.flat_map(|index| (self.next)(index)).collect()
    }
}

/// The number of a stream that no flood before it has used.
fn stream(index: usize) -> u32 {
    2 * index as u32 + 3
}

fn floods() -> Vec<Flood> {
    let begun = |flags: u8| frame(HEADERS, flags, 1, &get(ALLOWED));
    vec![
        Flood::of("PING", CONTROL * BURST, |_| frame(PING, 0, 0, &[0; 8])),
        // Fifty, and the two that begin a connection count.
        Flood::of("SETTINGS", 48, |_| frame(SETTINGS, 0, 0, &[])),
        Flood::of("PRIORITY", CONTROL * BURST, |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7])),
        Flood::of("WINDOW_UPDATE", CONTROL * BURST, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        Flood::of("unknown frames", CONTROL * BURST, |_| frame(0x42, 0, 0, &[1, 2, 3])),
        Flood::of("empty DATA", CONTROL * BURST, |_| frame(DATA, 0, 1, &[])).after(begun(END_HEADERS)),
        Flood::of("rapid reset", RESETS * BURST, |index| {
            let head = frame(HEADERS, END_HEADERS | FIRST_FLAG, stream(index), &get(PAGE));
            [head, frame(RST_STREAM, 0, stream(index), &[0, 0, 0, 8])].concat()
        }),
    ]
}

/// Waits for the acknowledgement of a PING, or for the GOAWAY of a connection that is cut; the code of that.
fn cut(client: &mut Link) -> Option<u32> {
    loop {
        match client.next() {
            Event::Frame(frame) if frame.go_away() != u32::MAX => return Some(frame.go_away()),
            Event::Frame(frame) if frame.kind == PING && frame.payload == b"are you?" => return None,
            Event::Frame(_) => {}
            Event::Closed => return Some(u32::MAX),
            Event::Silence => panic!("neither served nor cut"),
        }
    }
}

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"are you?")
}

#[test]
fn each_flood_is_taken_up_to_its_bound_and_cut_before_twice_that() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    for (count, flood) in (1..).zip(floods()) {
        let mut client = Link::begun(edge.address());
        // One less, for the PING that asks.
        client.send(&[flood.first.clone(), flood.frames(0..flood.fine - 1), ping()].concat());
        assert_eq!(cut(&mut client), None, "{} within the bound", flood.name);
        // Twice as many: time that passes makes some more of them fine, and so do acknowledgements that are sent.
        let mut client = Link::begun(edge.address());
        let beyond = flood.frames(0..2 * flood.fine);
        client.send(&[flood.first.clone(), beyond, ping()].concat());
        assert_eq!(cut(&mut client), Some(ENHANCE_YOUR_CALM), "{} beyond the bound", flood.name);
        wait_until("the flood is counted", || rejected(&edge, "http2-flood") == count);
    }
}

#[test]
fn a_header_block_in_more_pieces_than_its_bound_is_cut_and_one_in_fewer_is_a_request() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    let block = get(PAGE);
    let pieces = |count: usize| {
        let empty = frame(CONTINUATION, 0, 1, &[]).repeat(count);
        [frame(HEADERS, FIRST_FLAG, 1, &block), empty].concat()
    };
    let mut client = Link::begun(edge.address());
    client.send(&[pieces(4), frame(CONTINUATION, END_HEADERS, 1, &[])].concat());
    let reply = client.reply();
    assert!(hpack::has_status(&reply.payload, 403), "{reply}");
    let mut client = Link::begun(edge.address());
    client.send(&pieces(30));
    assert_eq!(cut(&mut client), Some(ENHANCE_YOUR_CALM));
    assert_eq!(rejected(&edge, "http2-flood"), 1);
    origin.assert_untouched();
}

#[test]
fn a_stream_more_than_a_connection_may_have_is_refused_and_the_others_are_served() {
    let (origin, latch) = (Origin::start(), Latch::default());
    origin.answers("/", Canned::new("no-store").body("late").begun_by(&latch));
    let edge = edge(&origin, "http2_streams = 3");
    let mut client = Link::begun(edge.address());
    assert_eq!(client.streams, Some(3), "what it says in its settings");
    let open = |stream| frame(HEADERS, END_HEADERS | FIRST_FLAG, stream, &get(ALLOWED));
    client.send(&[open(1), open(3), open(5), open(7)].concat());
    let reply = client.reply();
    assert_eq!((reply.kind, reply.stream, reply.number(0)), (RST_STREAM, 7, REFUSED_STREAM), "{reply}");
    wait_until("the others have come", || origin.connections() == 3);
    latch.open();
    for _ in 0..3 {
        let reply = client.reply();
        assert!(hpack::has_status(&reply.payload, 200), "{reply}");
    }
    assert_eq!(origin.requests().len(), 3);
}

/// A connection with a hundred unfinished requests, whose answers have no room.
fn bomb(edge: &Edge) -> Link {
    let mut block = get(PAGE);
    // A literal with incremental indexing, which becomes entry 62 of the table: RFC 7541 §6.2.1 and §6.1.
    block.extend([0x40, 1, b'x', 0]);
    block.resize(block.len() + 1900, 0x80 | 62);
    let mut client = Link::begun(edge.address());
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for index in 0..100 {
        client.send(&frame(HEADERS, END_HEADERS, 2 * index + 1, &block));
    }
    client
}

#[test]
fn header_bombs_one_after_the_other_take_no_more_memory_than_the_first() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    edge.connect_h2().get(PAGE, "/").unwrap().assert_blocked(403);
    let before = edge.process().resident_bytes();
    for round in 0..5 {
        let clients: Vec<Link> = (0..20).map(|_| bomb(&edge)).collect();
        let mut most = 0;
        for _ in 0..40 {
            most = most.max(edge.process().resident_bytes().saturating_sub(before));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(most < 40 * 1024 * 1024, "{most} octets more than before, in round {round}");
        drop(clients);
        let connections = || edge.admin("/status").json()["connections"].as_u64().unwrap();
        wait_until("the edge has let go of them", || connections() == 0);
    }
    edge.connect_h2().get(PAGE, "/").unwrap().assert_blocked(403);
    origin.assert_untouched();
}
