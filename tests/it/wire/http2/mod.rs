//! HTTP/2 to the letter: the cases of `tests/cases/wire/frames`, sent frame by frame to a real edge.
//!
//! The cases are those of h2spec, written anew, and some more. They run against a host that is forwarded and one that is
//! blocked, in cleartext and over TLS. Where h2spec is content with any GOAWAY before a close, these cases look at its code.

mod contrary;
pub mod hpack;
pub mod link;
mod notation;
mod run;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use self::contrary::Manner;
use self::link::Link;
use self::notation::{Accepted, Case, Step};
use self::run::About;
use crate::harness::tls::{Authority, Wire};
use crate::harness::{CaseFile, Edge, Origin, PATIENCE, Setup};

/// As long as the other: the cases count octets of header blocks.
const ALLOWED: &str = "allowed.example";
const BLOCKED: &str = "blocked.example";

/// The time for one case. Generous: all of them together take a second or two.
const BOUND: Duration = Duration::from_secs(10);

/// How many connections at a time.
const AT_A_TIME: usize = 32;

/// How many cases h2spec 2.6 has in each of its groups: 147 in all.
const H2SPEC: [(&str, usize); 49] = [
    ("generic/1", 1),
    ("generic/2", 5),
    ("generic/3.1", 3),
    ("generic/3.2", 3),
    ("generic/3.3", 5),
    ("generic/3.4", 1),
    ("generic/3.5", 1),
    ("generic/3.7", 1),
    ("generic/3.8", 1),
    ("generic/3.9", 2),
    ("generic/3.10", 2),
    ("generic/4", 4),
    ("generic/5", 15),
    ("hpack/2.3.3", 2),
    ("hpack/4.2", 1),
    ("hpack/5.2", 3),
    ("hpack/6.1", 1),
    ("hpack/6.3", 1),
    ("http2/3.5", 2),
    ("http2/4.1", 3),
    ("http2/4.2", 3),
    ("http2/4.3", 3),
    ("http2/5.1", 13),
    ("http2/5.1.1", 2),
    ("http2/5.1.2", 1),
    ("http2/5.3.1", 2),
    ("http2/5.4.1", 2),
    ("http2/5.5", 2),
    ("http2/6.1", 3),
    ("http2/6.2", 4),
    ("http2/6.3", 2),
    ("http2/6.4", 3),
    ("http2/6.5", 3),
    ("http2/6.5.2", 5),
    ("http2/6.5.3", 2),
    ("http2/6.7", 4),
    ("http2/6.8", 1),
    ("http2/6.9", 3),
    ("http2/6.9.1", 3),
    ("http2/6.9.2", 3),
    ("http2/6.10", 6),
    ("http2/7", 2),
    ("http2/8.1", 1),
    ("http2/8.1.2", 1),
    ("http2/8.1.2.1", 4),
    ("http2/8.1.2.2", 2),
    ("http2/8.1.2.3", 7),
    ("http2/8.1.2.6", 2),
    ("http2/8.2", 1),
];

/// What came of each of these cases, on a connection of its own from `connect`.
fn run_all(
    cases: &[Case],
    about: About,
    patience: Duration,
    connect: impl Fn() -> Wire + Sync,
) -> Vec<(&str, Result<(), String>)> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut link = Link::over(connect(), patience);
                    let result = run::run(case, &mut link, about);
                    results.lock().unwrap().push((case.name.as_str(), result));
                }
            });
        }
    });
    results.into_inner().unwrap()
}

/// Every case must pass.
#[track_caller]
fn check(cases: &[Case], about: About, connect: impl Fn() -> Wire + Sync) {
    let results = run_all(cases, about, BOUND, connect);
    assert_eq!(results.len(), cases.len());
    let wrong = results.into_iter().filter_map(|(name, result)| Some(format!("{name}: {}", result.err()?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn plain(address: SocketAddr) -> Wire {
    Wire::Plain(TcpStream::connect(address).unwrap())
}

fn edge(setup: Setup, origin: &Origin) -> Edge {
    setup.origin(origin).case(CaseFile::new("page", &[BLOCKED])).start()
}

const FORWARDED: About = About { host: ALLOWED, scheme: "http", status: 200 };

#[test]
fn the_edge_keeps_to_http_2_for_a_host_that_is_forwarded() {
    let origin = Origin::start();
    let edge = edge(Setup::new(), &origin);
    check(&notation::cases(), FORWARDED, || plain(edge.address()));
    assert!(origin.connections() > 0);
}

#[test]
fn the_edge_keeps_to_http_2_for_a_host_that_is_blocked() {
    let origin = Origin::start();
    let edge = edge(Setup::new(), &origin);
    let about = About { host: BLOCKED, scheme: "http", status: 403 };
    check(&notation::cases(), about, || plain(edge.address()));
    origin.assert_untouched();
}

#[test]
fn the_edge_keeps_to_http_2_over_tls() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let setup =
        Setup::new().table("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }");
    authority.issue(&setup.home().join("certs"), "site", &[ALLOWED]);
    let edge = edge(setup, &origin);
    let config = std::sync::Arc::new(authority.client(&["h2"]));
    check(&notation::cases(), About { scheme: "https", ..FORWARDED }, || {
        let stream = TcpStream::connect(edge.tls_address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Wire::tls(stream, std::sync::Arc::clone(&config), ALLOWED).unwrap()
    });
}

#[test]
fn every_case_of_h2spec_is_here_once() {
    let mut found: HashMap<String, Vec<usize>> = HashMap::new();
    for case in notation::cases() {
        if let Some((group, number)) = case.from.strip_prefix("h2spec ").and_then(|id| id.rsplit_once('/')) {
            found.entry(group.to_owned()).or_default().push(number.parse().unwrap());
        }
    }
    for (group, count) in H2SPEC {
        let mut numbers = found.remove(group).unwrap_or_default();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "{group}");
    }
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(H2SPEC.iter().map(|(_, count)| count).sum::<usize>(), 147);
}

/// The names of the cases that pass against a server of this manner.
fn passing(cases: &[Case], manner: Manner) -> Vec<&str> {
    let address = contrary::start(manner);
    let results = run_all(cases, FORWARDED, Duration::from_millis(300), || plain(address));
    results.into_iter().filter(|(_, result)| result.is_ok()).map(|(name, _)| name).collect()
}

#[test]
fn every_case_notices_a_server_that_says_nothing() {
    let cases = notation::cases();
    assert_eq!(passing(&cases, Manner::Mute), [""; 0]);
    // One that begins well does all that the two cases about beginnings ask for.
    let begins = |case: &Case| matches!(case.steps[..], [Step::Begin, ..]);
    let further: Vec<Case> = cases.into_iter().filter(begins).collect();
    assert!(further.len() > 140);
    assert_eq!(passing(&further, Manner::Silent), [""; 0]);
}

#[test]
fn every_case_notices_a_server_that_ends_connections_for_no_reason() {
    let cases = notation::cases();
    let mut passed = passing(&cases, Manner::Rude);
    // Some ask for nothing but a close, or are content with one after a ping; and two are over before anything is sent.
    let is_content = |case: &&Case| {
        let is_named = case.accepted.iter().any(|one| matches!(one, Accepted::GoAway(_)));
        let may_close = case.accepted.contains(&Accepted::Closed);
        (may_close && !is_named) || case.accepted.contains(&Accepted::Settings { ack: false })
    };
    let mut content: Vec<&str> = cases.iter().filter(is_content).map(|case| case.name.as_str()).collect();
    assert!(content.len() < 12, "{content:?}");
    passed.sort_unstable();
    content.sort_unstable();
    assert_eq!(passed, content);
}

/// Something else of the same kind, which the edge must not be found to do; nothing for a close.
fn altered(one: &Accepted) -> Option<Accepted> {
    const NO_CODE: u32 = 0x77;
    Some(match one {
        Accepted::Closed | Accepted::ClosedAfter(_) => return None,
        Accepted::GoAway(_) => Accepted::GoAway(vec![NO_CODE]),
        Accepted::Reset(on, _) => Accepted::Reset(*on, vec![NO_CODE]),
        Accepted::Settings { ack } => Accepted::Settings { ack: !ack },
        Accepted::Ping { .. } => Accepted::Ping { ack: true, data: Some(b"a secret".to_vec()) },
        Accepted::Data(on, None) => Accepted::Data(on + 2, None),
        Accepted::Data(on, Some(length)) => Accepted::Data(*on, Some(length + 1)),
        Accepted::Answer(on) | Accepted::Status(on, 403) => Accepted::Status(*on, 400),
        Accepted::Status(on, _) => Accepted::Status(*on, 403),
        Accepted::End(on) => Accepted::End(on + 2),
    })
}

#[test]
fn no_case_passes_when_something_else_is_expected_of_the_edge() {
    let origin = Origin::start();
    let edge = edge(Setup::new(), &origin);
    let mut cases = notation::cases();
    for case in &mut cases {
        case.accepted = case.accepted.iter().filter_map(altered).collect();
    }
    let results = run_all(&cases, FORWARDED, BOUND, || plain(edge.address()));
    let passed: Vec<&str> =
        results.iter().filter(|(_, result)| result.is_ok()).map(|(name, _)| *name).collect();
    assert_eq!((results.len(), passed), (cases.len(), Vec::new()));
    // They fail for what the edge does, and not because nothing came.
    for (name, result) in results {
        assert!(!result.unwrap_err().contains("in time"), "{name}");
    }
}
