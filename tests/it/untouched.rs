//! A long log that nobody touched is found sound: no false alarm, whatever its size.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use interdict::audit::{
    Audit, ClientPrivacy, Enforcement, Event, Kind, Options, Period, Pseudonyms, RequestFacts, VerifyOptions,
    verify,
};
use interdict::clock::SystemClock;

use crate::harness::wait_until;

/// Processes that write the log one after the other.
const PROCESSES: u64 = 5;
/// Records that may wait to be sealed: far below what the journal holds, so that none is missed.
const BACKLOG: u64 = 200_000;

/// 100,000, or with `INTERDICT_SOAK=1` five million.
fn records() -> u64 {
    let is_soak = std::env::var_os("INTERDICT_SOAK").is_some_and(|value| value == "1");
    if is_soak { 5_000_000 } else { 100_000 }
}

/// The records of one process; their texts differ in length and content.
fn write(home: &Path, process: u64, count: u64) {
    let keys = Pseudonyms { keys: home.join("client.key"), period: Period::default() };
    let options = Options {
        client: ClientPrivacy::Pseudonym(keys),
        segment_bytes: 8 * 1024 * 1024,
        ..Options::new(home.join("audit"), "ams-1")
    };
    let (audit, recovery) = Audit::open(options, Arc::new(SystemClock)).unwrap();
    assert!(recovery.problems.is_empty(), "{:?}", recovery.problems);
    for number in 0..count {
        record(&audit, process, number);
        if number % 1_000 == 0 {
            wait_until("the sealer follows", || {
                let counters = audit.counters();
                counters.decided.saturating_sub(counters.seq.saturating_sub(process * count)) < BACKLOG
            });
        }
    }
    audit.close().unwrap();
    assert_eq!(audit.counters().gap, 0);
}

fn record(audit: &Audit, process: u64, number: u64) {
    let host = format!("h{}.example", number % 997);
    let path = format!("/{}/{}", "p".repeat((number % 120) as usize), number * 31 % 65_537);
    let agent = format!("agent \"{}\"\t\u{2028}{process}", number % 41);
    let client = Ipv4Addr::from((number as u32).wrapping_mul(0x9e37_79b1));
    let receipt = audit
        .record(&Event {
            kind: Kind::RequestBlocked,
            revision: number / 10_000 + 1,
            enforcement: Some(Enforcement {
                case: if number.is_multiple_of(3) { "TS-2026-0147" } else { "AB-2026-0012" },
                customer: "cust-20931",
                basis: "abuse",
                action: "page",
                status: Some(403),
                matched: ".example",
                also: &[],
            }),
            request: Some(RequestFacts {
                host: &host,
                names: &[host.as_bytes()],
                method: "GET",
                path: path.as_bytes(),
                client: IpAddr::V4(client),
                listener: "127.0.0.1:8080",
                protocol: "HTTP/1.1",
                tls: None,
                user_agent: Some(agent.as_bytes()),
                upstream: None,
            }),
            detail: None,
        })
        .wait();
    assert!(receipt.is_recorded());
}

#[test]
fn a_long_log_that_nobody_touched_is_sound() {
    let home = tempfile::tempdir().unwrap();
    let each = records() / PROCESSES;
    for process in 0..PROCESSES {
        write(home.path(), process, each);
    }
    let report = verify(&home.path().join("audit"), &VerifyOptions::default(), &|_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.records, report.processes, report.epochs.len()), (each * PROCESSES, PROCESSES, 1));
}
