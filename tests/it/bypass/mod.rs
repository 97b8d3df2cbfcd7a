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

use self::ways::{ALLOWED, BLOCKED, NAMES, Outcome, Way, ways};
use crate::harness::audit::{Record, of_kind};
use crate::harness::stream::{Ended, Fields, exchange};
use crate::harness::tls::{Authority, Wire};
use crate::harness::{CaseFile, Client, Edge, Origin, PATIENCE, Setup};

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
        for carrier in CARRIERS {
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
