//! Every way of naming a blocked host, over every wire, for every action: the origin sees nothing, and the record has all
//! names.
//!
//! The ways are a table, the cells are computed: a way times HTTP/1.1, HTTP/2 in cleartext, and both over TLS, times `page`
//! and `refuse`. Each cell says by its `User-Agent` which one it is, so that its record can be found.

mod ways;

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use self::ways::{ALLOWED, BLOCKED, Outcome, Way, ways};
use crate::harness::audit::{Record, of_kind};
use crate::harness::stream::{Ended, Fields, exchange};
use crate::harness::tls::{Authority, Wire};
use crate::harness::{CaseFile, Client, Edge, Origin, PATIENCE, Setup};

/// The names of the case.
const NAMES: [&str; 7] = [
    BLOCKED,
    "xn--bcher-kva.example",
    "under_score.example",
    "192.0.2.7",
    "[2001:db8::7]",
    ".suffix.example",
    "*.below.example",
];

/// What carries the requests.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Carrier {
    Http1,
    Http2,
    TlsHttp1,
    TlsHttp2,
}

const CARRIERS: [Carrier; 4] = [Carrier::Http1, Carrier::Http2, Carrier::TlsHttp1, Carrier::TlsHttp2];

impl Carrier {
    fn is_tls(self) -> bool {
        matches!(self, Self::TlsHttp1 | Self::TlsHttp2)
    }

    fn is_http1(self) -> bool {
        matches!(self, Self::Http1 | Self::TlsHttp1)
    }
}

/// An edge with all names in one case, and an origin that should stay alone.
struct House {
    edge: Edge,
    origin: Origin,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl House {
    fn new(refuses: bool) -> Self {
        let (authority, origin) = (Authority::new(), Origin::start());
        let case = CaseFile::new("all", &NAMES);
        let setup = Setup::new().origin(&origin).case(if refuses { case.refuse() } else { case });
        let names = [BLOCKED, ALLOWED, "xn--bcher-kva.example"];
        authority.issue(&setup.home().join("certs"), "all", &names);
        let table = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }";
        let edge = setup.table(table).start();
        let config = |alpn| Arc::new(authority.client(&[alpn]));
        Self { edge, origin, http1: config("http/1.1"), http2: config("h2") }
    }

    /// A connection for HTTP/1, unless the server name is refused.
    fn http1(&self, carrier: Carrier, sni: &str) -> Option<Client> {
        match carrier.is_tls() {
            true => self.edge.connect_tls(&self.http1, sni).ok(),
            false => Some(self.edge.connect()),
        }
    }

    /// The same for HTTP/2.
    fn http2(&self, carrier: Carrier, sni: &str) -> Option<Wire> {
        let address = if carrier.is_tls() { self.edge.tls_address() } else { self.edge.address() };
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match carrier.is_tls() {
            true => Wire::tls(stream, Arc::clone(&self.http2), sni).ok(),
            false => Some(Wire::Plain(stream)),
        }
    }
}

/// What a client saw.
#[derive(Debug, PartialEq)]
enum Saw {
    NoHandshake,
    Page,
    Nothing,
    Status(u16),
    AnswerAndNoClose(u16),
}

fn ask_http1(house: &House, carrier: Carrier, way: &Way, head: &str, cell: &str) -> Saw {
    let Some(mut client) = house.http1(carrier, way.sni) else { return Saw::NoHandshake };
    let end = if head.ends_with("\r\n") { "\r\n" } else { "\n" };
    match client.send(format!("{head}User-Agent: {cell}{end}{end}")).response() {
        None => Saw::Nothing,
        Some(answer) if answer.status == 403 && answer.enforcement_id().is_some() => Saw::Page,
        Some(answer) if client.closes_within(Duration::from_secs(5)) => Saw::Status(answer.status),
        Some(answer) => Saw::AnswerAndNoClose(answer.status),
    }
}

fn ask_http2(house: &House, carrier: Carrier, way: &Way, fields: &[(String, String)], cell: &str) -> Saw {
    let Some(mut wire) = house.http2(carrier, way.sni) else { return Saw::NoHandshake };
    let bytes = |text: &str| text.as_bytes().to_vec();
    let mut fields: Fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
    fields.push((bytes("user-agent"), bytes(cell)));
    match exchange(&mut wire, &fields, &[]) {
        Ended::Answered(answer) if answer.status == 403 => Saw::Page,
        Ended::Answered(answer) => Saw::Status(answer.status),
        Ended::Reset => Saw::Nothing,
        Ended::Closed => Saw::Status(400),
    }
}

/// Whether the client of a cell saw what it should.
fn is_right(saw: &Saw, outcome: &Outcome, refuses_sni: bool, refuses: bool, http1: bool) -> bool {
    match (saw, outcome) {
        (Saw::NoHandshake, _) => refuses_sni,
        _ if refuses_sni => false,
        (Saw::Page, Outcome::Blocked { .. }) => !refuses,
        (Saw::Nothing, Outcome::Blocked { .. }) => refuses,
        (Saw::Status(400), Outcome::Unclear) => true,
        // A stream whose fields are malformed is reset by the library below.
        (Saw::Nothing, Outcome::Unclear) => !http1,
        _ => false,
    }
}

/// What is wrong with the record of a blocked cell, if anything is.
fn wrong_record(
    record: &Record,
    host: &str,
    names: &[&str],
    carrier: Carrier,
    refuses: bool,
) -> Option<String> {
    let action = if refuses { "refuse" } else { "page" };
    let protocol = if carrier.is_http1() { "HTTP/1" } else { "HTTP/2" };
    let tls = if carrier.is_tls() { "TLSv1.3" } else { "" };
    let right = record.text("host") == host
        && record.texts("names") == names
        && record.text("action") == action
        && record.text("case") == "all"
        && record.text("protocol").starts_with(protocol)
        && record.text("tls") == tls;
    (!right).then(|| format!("{} where host {host} and names {names:?} should be", record.0))
}

fn check_all_ways(refuses: bool) {
    let house = House::new(refuses);
    let ways = ways();
    let mut cells = Vec::new();
    let mut wrong = Vec::new();
    for way in &ways {
        for carrier in CARRIERS.into_iter().filter(|carrier| carrier.is_tls() || !way.only_tls) {
            let cell = format!("cell-{}", cells.len());
            let (saw, outcome) = match (carrier.is_http1(), &way.h1, &way.h2) {
                (true, Some((head, outcome)), _) => (ask_http1(&house, carrier, way, head, &cell), outcome),
                (false, _, Some((fields, outcome))) => {
                    (ask_http2(&house, carrier, way, fields, &cell), outcome)
                }
                _ => continue,
            };
            let refuses_sni = refuses && carrier.is_tls() && way.sni != ALLOWED;
            if !is_right(&saw, outcome, refuses_sni, refuses, carrier.is_http1()) {
                wrong.push(format!("{} over {carrier:?}: {saw:?}", way.what));
            }
            cells.push((way, carrier, outcome, refuses_sni));
        }
    }
    assert!(wrong.is_empty(), "{} cells went wrong:\n{}", wrong.len(), wrong.join("\n"));
    house.origin.assert_untouched();
    let records = house.edge.finish();
    check_records(&records, &cells, refuses);
}

type Cell<'w> = (&'w Way, Carrier, &'w Outcome, bool);

fn check_records(records: &[Record], cells: &[Cell<'_>], refuses: bool) {
    let blocks = of_kind(records, "request.blocked");
    let by_cell: HashMap<&str, &Record> =
        blocks.iter().map(|record| (record.text("user_agent"), *record)).collect();
    assert_eq!(by_cell.len(), blocks.len(), "two records of one cell");
    let mut wrong = Vec::new();
    let (mut expected, mut handshakes) = (0, Vec::new());
    for (index, (way, carrier, outcome, refuses_sni)) in cells.iter().enumerate() {
        let record = by_cell.get(format!("cell-{index}").as_str());
        match outcome {
            _ if *refuses_sni => handshakes.push(way.sni),
            Outcome::Unclear => {}
            Outcome::Blocked { host, seen } => {
                expected += 1;
                let mut names: Vec<&str> = seen.iter().map(String::as_str).collect();
                if carrier.is_tls() && !names.contains(&way.sni) {
                    names.push(way.sni);
                }
                match record {
                    None => wrong.push(format!("{} over {carrier:?} has no record", way.what)),
                    Some(record) => wrong.extend(wrong_record(record, host, &names, *carrier, refuses)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} records are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(blocks.len(), expected, "records of what is not clear");
    let refused: Vec<_> =
        of_kind(records, "handshake.refused").iter().map(|r| (r.text("host"), r.texts("names"))).collect();
    let at_hello: Vec<_> = handshakes.into_iter().map(|sni| (sni, vec![sni])).collect();
    assert_eq!(refused, at_hello);
    println!("{} cells, {expected} blocked requests, {} handshakes refused", cells.len(), at_hello.len());
}

#[test]
fn every_way_of_naming_a_blocked_host_gets_the_page_over_every_wire() {
    check_all_ways(false);
}

#[test]
fn every_way_of_naming_a_blocked_host_is_refused_over_every_wire() {
    check_all_ways(true);
}

/// Places that name no host, whatever stands in them.
const NO_NAMES: [(&str, &str); 9] = [
    ("x-forwarded-host", BLOCKED),
    ("x_forwarded_host", BLOCKED),
    ("forwarded", "for=192.0.2.1;host=blocked.example"),
    ("x-host", BLOCKED),
    ("x-original-url", "http://blocked.example/"),
    ("via", "1.1 blocked.example"),
    ("referer", "http://blocked.example/"),
    ("origin", "http://blocked.example"),
    ("cookie", "host=blocked.example"),
];

#[test]
fn what_only_looks_like_a_name_blocks_nothing_and_tells_the_origin_nothing() {
    let house = House::new(false);
    for carrier in CARRIERS {
        for (name, value) in NO_NAMES {
            let saw = match carrier.is_http1() {
                true => {
                    let head = format!("GET / HTTP/1.1\r\nHost: {ALLOWED}\r\n{name}: {value}\r\n\r\n");
                    house.http1(carrier, ALLOWED).unwrap().send(head).response().unwrap().status
                }
                false => {
                    let mut wire = house.http2(carrier, ALLOWED).unwrap();
                    let fields = [
                        (":method", "GET"),
                        (":scheme", "http"),
                        (":path", "/"),
                        (":authority", ALLOWED),
                        (name, value),
                    ];
                    let fields =
                        fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
                    let Ended::Answered(answer) = exchange(&mut wire, &fields.to_vec(), &[]) else {
                        panic!("no answer over {carrier:?} with {name}");
                    };
                    answer.status
                }
            };
            assert_eq!(saw, 200, "over {carrier:?} with {name}");
        }
    }
    let requests = house.origin.requests();
    assert_eq!(requests.len(), CARRIERS.len() * NO_NAMES.len());
    for request in requests {
        for name in ["host", "x-forwarded-host"] {
            assert_eq!(request.field(name), [ALLOWED], "{}", request.head.escape_ascii());
        }
        let told = request.field("forwarded").join(", ") + &request.field("x_forwarded_host").join(", ");
        assert!(told.contains("host=allowed.example") && !told.contains(BLOCKED), "{told}");
    }
    assert!(of_kind(&house.edge.finish(), "request.blocked").is_empty());
}

#[test]
fn each_request_of_a_connection_is_judged_by_itself_whatever_came_before() {
    for refuses in [false, true] {
        let house = House::new(refuses);
        for carrier in CARRIERS.into_iter().filter(|carrier| carrier.is_http1()) {
            let mut client = house.http1(carrier, ALLOWED).unwrap();
            client.get(ALLOWED, "/first").unwrap().assert_forwarded();
            let answer = client.get(BLOCKED, "/second");
            assert_eq!(answer.as_ref().map(|answer| answer.status), (!refuses).then_some(403));
            // A refusal ends the connection.
            let mut client = if refuses { house.http1(carrier, ALLOWED).unwrap() } else { client };
            client.get(ALLOWED, "/third").unwrap().assert_forwarded();
        }
        let tls = house.edge.connect_tls_h2(&house.http2, ALLOWED);
        for mut client in [house.edge.connect_h2(), tls] {
            client.get(ALLOWED, "/first").unwrap().assert_forwarded();
            match client.get(BLOCKED, "/second") {
                Ok(answer) => assert!(!refuses && answer.status == 403, "{answer:?}"),
                Err(error) => assert!(refuses && error.is_reset(), "{error}"),
            }
            client.get(ALLOWED, "/third").unwrap().assert_forwarded();
        }
        let lines: Vec<_> = house.origin.requests().iter().map(|request| request.line()).collect();
        assert_eq!(lines, ["GET /first HTTP/1.1", "GET /third HTTP/1.1"].repeat(CARRIERS.len()));
        assert_eq!(of_kind(&house.edge.finish(), "request.blocked").len(), CARRIERS.len());
    }
}
