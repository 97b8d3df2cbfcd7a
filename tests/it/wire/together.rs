//! Answers to streams of one HTTP/2 connection that come together, which go out together.

use std::net::TcpStream;
use std::sync::Arc;

use super::http2::hpack;
use super::http2::link::{DATA, Event, HEADERS, Link, frame};
use crate::harness::audit::of_kind;
use crate::harness::records::Records;
use crate::harness::tls::{Authority, Wire};
use crate::harness::{CaseFile, PATIENCE, Setup};

const BLOCKED: &str = "blocked.example";
const WINDOW_UPDATE: u8 = 8;
/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 5;
/// The most that one record holds (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;

/// Asks for the blocked host on each of these streams at once, and reads all answers; says how many octets they took.
fn ask(link: &mut Link, streams: impl Iterator<Item = u32>) -> usize {
    let fields = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", BLOCKED)];
    let head: Vec<u8> =
        fields.iter().flat_map(|(name, value)| hpack::field(name, value.as_bytes())).collect();
    let mut open: Vec<u32> = streams.collect();
    let asked: Vec<u8> = open.iter().flat_map(|stream| frame(HEADERS, WHOLE, *stream, &head)).collect();
    assert!(asked.len() < RECORD, "they come together");
    link.send(&asked);
    let mut octets = 0;
    while !open.is_empty() {
        let Event::Frame(frame) = link.next() else { panic!("{} answers are missing", open.len()) };
        octets += 9 + frame.payload.len();
        let is_answer = matches!(frame.kind, HEADERS | DATA) && open.contains(&frame.stream);
        assert!(is_answer, "{frame}");
        if frame.has_first_flag() {
            open.retain(|stream| *stream != frame.stream);
        }
    }
    octets
}

#[test]
fn answers_that_come_together_share_records_and_one_alone_waits_for_nobody() {
    let authority = Authority::new();
    let setup =
        Setup::new().table("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }");
    authority.issue(&setup.home().join("certs"), "site", &[BLOCKED]);
    let edge = setup.case(CaseFile::new("page", &[BLOCKED])).start();
    let records = Records::of(edge.tls_address());
    let stream = TcpStream::connect(records.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let wire = Wire::tls(stream, Arc::new(authority.client(&["h2"])), BLOCKED).unwrap();
    let mut link = Link::over(wire, PATIENCE);
    link.begin().unwrap();
    // Room for all of the answers.
    link.send(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes()));
    let mut next = 1;
    for count in [50, 1, 50, 1, 1] {
        let before = records.count();
        let octets = ask(&mut link, (0..count).map(|index| next + 2 * index));
        next += 2 * count;
        let (took, least) = (records.count() - before, octets.div_ceil(RECORD));
        // Whatever else the scheduler has to do may part them once or twice, and never by answers.
        assert!(took <= least + 4, "{count} answers of {octets} octets took {took} records");
    }
    drop(link);
    assert_eq!(of_kind(&edge.finish(), "request.blocked").len(), next as usize / 2);
}
