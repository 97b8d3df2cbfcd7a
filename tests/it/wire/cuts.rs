//! Whatever is under way for a host that gets blocked, over every wire: it ends within a second, each on record once, and
//! the same of another host goes on.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::http2::hpack;
use super::http2::link::{DATA, Event, FIRST_FLAG, Frame, HEADERS, Link, RST_STREAM, frame};
use crate::harness::audit::{Record, of_kind};
use crate::harness::secure::Secure;
use crate::harness::tls::{Authority, Wire};
use crate::harness::{Canned, CaseFile, Client, Edge, Latch, Origin, PATIENCE, Setup, wait_until};

const DOOMED: &str = "doomed.example";
const SPARED: &str = "spared.example";
/// Those of them that have an origin for gRPC.
const DOOMED_CALLS: &str = "doomed.rpc.example";
const SPARED_CALLS: &str = "spared.rpc.example";
/// A server name of nobody's, as on a connection that several hosts share.
const SHARED: &str = "shared.example";

/// From the moment a revision is in force to silence.
const SOON: Duration = Duration::from_secs(1);
const HALF: usize = 10_000;
const END_HEADERS: u8 = 4;

/// What can be under way. The path tells which it was.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    WebSocket,
    Download,
    Events,
    Upload,
    Waiting,
    Idle,
    Call,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::WebSocket => "/chat",
            Self::Download => "/download",
            Self::Events => "/events",
            Self::Upload => "/echo",
            Self::Waiting => "/waits",
            Self::Idle => "/",
            Self::Call => "/stream",
        }
    }

    /// Octets of content that its client has when it is cut; nothing for one that gets the page.
    fn had(self) -> Option<u64> {
        match self {
            Self::WebSocket | Self::Call => Some(4),
            Self::Download => Some(HALF as u64),
            Self::Events => Some(b"data: 1\n\n".len() as u64),
            Self::Idle => None,
            Self::Upload | Self::Waiting => Some(0),
        }
    }

    fn gets_the_page(self) -> bool {
        matches!(self, Self::Upload | Self::Waiting)
    }
}

/// An edge with all of it, and one case that is of no concern to anybody here.
struct House {
    edge: Edge,
    origin: Origin,
    _calls: Secure,
    /// Lets what is under way come to its end.
    latch: Latch,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl House {
    fn new() -> Self {
        let (authority, origin, calls, latch) =
            (Authority::new(), Origin::start(), Secure::cleartext(), Latch::default());
        let canned = || Canned::new("no-store");
        origin.answers("/download", canned().body(vec![b'x'; 2 * HALF]).held_by(&latch));
        let events = canned().field("Content-Type", "text/event-stream").body("data: 1\n\ndata: 2\n\n");
        origin.answers("/events", events.chunked().held_by(&latch));
        origin.answers("/waits", canned().body("late").begun_by(&latch));
        let setup = Setup::new().case(CaseFile::new("other", &["other.example"])).origin(&origin);
        authority.issue(&setup.home().join("certs"), "all", &[DOOMED, SPARED, SHARED]);
        let route = format!("hosts = [\"*.rpc.example\"]\norigins = [\"{}\"]\nhttp2 = true", calls.address());
        let edge = setup
            .table(&format!("[[route]]\n{route}"))
            .table("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }")
            .start();
        let config = |alpn| Arc::new(authority.client(&[alpn]));
        Self { edge, origin, _calls: calls, latch, http1: config("http/1.1"), http2: config("h2") }
    }

    /// Takes a case away, which frees a host of nobody here, and blocks the doomed.
    fn block(&self) -> Instant {
        self.edge.change(|policies| policies.remove_case("other"));
        self.edge.change(|policies| policies.write(&CaseFile::new("doom", &[DOOMED, DOOMED_CALLS])));
        Instant::now()
    }

    /// Frees the doomed, and lets everything end that is left.
    fn relent(&self) {
        self.edge.change(|policies| policies.remove_case("doom"));
        self.latch.open();
    }
}

/// Fails unless there is one record for each of these cuts, and a page for those that were promised one.
#[track_caller]
fn assert_on_record(records: &[Record], kinds: &[Kind], wires: usize) {
    let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
    for kind in kinds {
        *expected.entry((if *kind == Kind::Idle { "" } else { kind.path() }, kind.had())).or_insert(0) +=
            wires;
    }
    for cut in of_kind(records, "connection.cut") {
        assert!(
            [DOOMED, DOOMED_CALLS].contains(&cut.text("host")) && cut.text("case") == "doom",
            "{}",
            cut.0
        );
        assert!(cut.number("age_ms") < 60_000, "{}", cut.0);
        let is_idle = cut.0["idle"] == true;
        let had = (!is_idle).then(|| cut.number("bytes_sent"));
        *found.entry((if is_idle { "" } else { cut.text("path") }, had)).or_insert(0) += 1;
    }
    assert_eq!(found, expected);
    let pages = kinds.iter().filter(|kind| kind.gets_the_page()).count() * wires;
    assert_eq!(of_kind(records, "request.blocked").len(), pages);
}

mod http1 {
    use super::*;

    const KINDS: [Kind; 6] =
        [Kind::WebSocket, Kind::Download, Kind::Events, Kind::Upload, Kind::Waiting, Kind::Idle];

    /// Gets one of them under way, as far as its client can tell.
    fn begin(client: &mut Client, host: &str, kind: Kind) {
        let path = kind.path();
        client.about(host);
        match kind {
            Kind::WebSocket => {
                let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
                client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n\r\n"));
                assert_eq!(client.response().unwrap().status, 101);
                assert_eq!(client.send("ping").read_exact(4).unwrap(), b"ping");
            }
            Kind::Upload => {
                client.send(format!(
                    "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n",
                    2 * HALF
                ));
                client.send(vec![b'x'; HALF]);
            }
            Kind::Idle => {
                client.get(host, path).unwrap().assert_forwarded();
            }
            _ => {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                match kind {
                    Kind::Download => client.read_past(&vec![b'x'; HALF]),
                    Kind::Events => client.read_past(b"data: 1\n\n"),
                    _ => {}
                }
            }
        }
    }

    /// What was spared comes to its end as if nothing had happened.
    fn end_well(client: &mut Client, kind: Kind) {
        match kind {
            Kind::WebSocket => assert_eq!(client.send("pong").read_exact(4).unwrap(), b"pong"),
            Kind::Upload => {
                let response = client.send(vec![b'x'; HALF]).response().unwrap();
                assert_eq!(response.assert_forwarded().body.len(), 2 * HALF);
            }
            Kind::Idle => {
                client.get(SPARED, "/again").unwrap().assert_forwarded();
            }
            _ => {
                let length = match kind {
                    Kind::Download => 2 * HALF,
                    Kind::Events => 18,
                    _ => "late".len(),
                };
                assert_eq!(client.response().unwrap().assert_forwarded().body.len(), length, "{kind:?}");
            }
        }
    }

    #[test]
    fn whatever_is_under_way_over_http_1_ends_when_its_host_is_blocked_and_all_else_goes_on() {
        let house = House::new();
        let connect = |is_tls: bool, host: &str| match is_tls {
            true => house.edge.connect_tls(&house.http1, host).unwrap(),
            false => house.edge.connect(),
        };
        let (mut doomed, mut spared) = (Vec::new(), Vec::new());
        for kind in KINDS {
            for is_tls in [false, true] {
                for (host, clients) in [(DOOMED, &mut doomed), (SPARED, &mut spared)] {
                    let mut client = connect(is_tls, host);
                    begin(&mut client, host, kind);
                    clients.push((kind, client));
                }
            }
        }
        wait_until("the origin has all of them", || house.origin.connections() >= 4 * (KINDS.len() - 1));
        let began = house.block();
        for (kind, client) in &mut doomed {
            if kind.gets_the_page() {
                client.response().unwrap().assert_blocked(403);
            } else {
                let left = SOON.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
                assert!(client.closes_within(left), "{kind:?}");
            }
        }
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        house.relent();
        for (kind, client) in &mut spared {
            end_well(client, *kind);
        }
        drop((doomed, spared));
        assert_on_record(&house.edge.finish(), &KINDS, 2);
    }
}

mod http2 {
    use super::*;

    const KINDS: [Kind; 5] = [Kind::Download, Kind::Events, Kind::Upload, Kind::Waiting, Kind::Call];

    /// What has come of a stream.
    #[derive(Debug, Default)]
    struct Stream {
        has_head: bool,
        is_page: bool,
        octets: usize,
        is_reset: bool,
        is_whole: bool,
    }

    /// One connection, with the streams of both hosts on it.
    struct Shared {
        link: Link,
        streams: BTreeMap<u32, Stream>,
    }

    impl Shared {
        fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
            self.link.send(&frame(kind, flags, stream, payload));
        }

        /// Gets one of them under way.
        fn begin(&mut self, stream: u32, host: &str, kind: Kind) {
            let is_content = matches!(kind, Kind::Upload | Kind::Call);
            let mut fields = vec![
                (":method", if is_content { "POST" } else { "GET" }),
                (":path", kind.path()),
                (":scheme", "http"),
                (":authority", host),
            ];
            let length = (2 * HALF).to_string();
            if kind == Kind::Upload {
                fields.push(("content-length", &length));
            }
            if kind == Kind::Call {
                fields.extend([("content-type", "application/grpc"), ("te", "trailers")]);
            }
            let head: Vec<u8> =
                fields.iter().flat_map(|(name, value)| hpack::field(name, value.as_bytes())).collect();
            self.send(HEADERS, END_HEADERS | if is_content { 0 } else { FIRST_FLAG }, stream, &head);
            match kind {
                Kind::Upload => self.send(DATA, 0, stream, &vec![b'x'; HALF]),
                Kind::Call => self.send(DATA, 0, stream, b"ping"),
                _ => {}
            }
            self.streams.insert(stream, Stream::default());
            let had = kind.had().unwrap_or_default() as usize;
            self.read_until("the answer has begun", |streams| streams[&stream].octets == had);
        }

        fn read_until(&mut self, what: &str, is_so: impl Fn(&BTreeMap<u32, Stream>) -> bool) {
            while !is_so(&self.streams) {
                match self.link.next() {
                    Event::Frame(frame) => self.note(&frame),
                    Event::Closed => panic!("closed before {what}: {:?}", self.streams),
                    Event::Silence => panic!("silent before {what}: {:?}", self.streams),
                }
            }
        }

        fn note(&mut self, frame: &Frame) {
            let Some(stream) = self.streams.get_mut(&frame.stream) else { return };
            match frame.kind {
                RST_STREAM => stream.is_reset = true,
                // Not 200: what else there is has an entry in the table of the connection after the first time.
                HEADERS if !stream.has_head => {
                    (stream.has_head, stream.is_page) = (true, !hpack::has_status(&frame.payload, 200));
                }
                HEADERS => {}
                DATA => stream.octets += frame.payload.len(),
                _ => return,
            }
            stream.is_whole |= frame.kind != RST_STREAM && frame.has_first_flag();
        }
    }

    fn about(kind: Kind, calls: &'static str, other: &'static str) -> &'static str {
        if kind == Kind::Call { calls } else { other }
    }

    #[test]
    fn whatever_is_under_way_over_http_2_ends_when_its_host_is_blocked_and_its_siblings_go_on() {
        let house = House::new();
        let wires: [fn(&House) -> Wire; 2] = [
            |house| Wire::Plain(TcpStream::connect(house.edge.address()).unwrap()),
            |house| {
                let stream = TcpStream::connect(house.edge.tls_address()).unwrap();
                Wire::tls(stream, Arc::clone(&house.http2), SHARED).unwrap()
            },
        ];
        let mut clients = Vec::new();
        for wire in wires {
            let mut link = Link::over(wire(&house), PATIENCE);
            link.begin().unwrap();
            let mut client = Shared { link, streams: BTreeMap::new() };
            for (stream, kind) in (1..).step_by(4).zip(KINDS) {
                client.begin(stream, about(kind, DOOMED_CALLS, DOOMED), kind);
                client.begin(stream + 2, about(kind, SPARED_CALLS, SPARED), kind);
            }
            clients.push(client);
        }
        wait_until("the origin has all of them", || house.origin.connections() == 4 * (KINDS.len() - 1));
        let began = house.block();
        let doomed = || (1..).step_by(4).zip(KINDS);
        for client in &mut clients {
            client.read_until("the doomed have ended", |streams| {
                doomed().all(|(stream, _)| streams[&stream].is_reset || streams[&stream].is_whole)
            });
            for (stream, kind) in doomed() {
                let ended = &client.streams[&stream];
                assert_eq!(ended.is_page && ended.is_whole, kind.gets_the_page(), "{kind:?}: {ended:?}");
                assert!(kind.gets_the_page() || ended.is_reset && !ended.is_whole, "{kind:?}: {ended:?}");
            }
        }
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        house.relent();
        let spared = || (3..).step_by(4).zip(KINDS);
        for client in &mut clients {
            for (stream, kind) in spared() {
                match kind {
                    Kind::Upload => client.send(DATA, FIRST_FLAG, stream, &vec![b'x'; HALF]),
                    Kind::Call => client.send(DATA, FIRST_FLAG, stream, b"pong"),
                    _ => {}
                }
            }
            client.read_until("the spared have ended", |streams| {
                spared().all(|(stream, _)| streams[&stream].is_whole)
            });
            let octets: Vec<usize> = spared().map(|(stream, _)| client.streams[&stream].octets).collect();
            assert_eq!(octets, [2 * HALF, 18, 2 * HALF, 4, 8]);
            assert!(spared().all(|(stream, _)| !client.streams[&stream].is_page));
        }
        drop(clients);
        assert_on_record(&house.edge.finish(), &KINDS, 2);
    }
}
