//! The harness on trial: its client and origin understand each other, and its audit check finds what it should.

use serde_json::json;

use super::audit::{Log, Record, check};
use super::ledger::{Ledger, Seen};
use super::{Client, Origin};

fn connect(origin: &Origin) -> Client {
    Client::connect(origin.address(), Ledger::default()).unwrap()
}

#[test]
fn the_client_reads_plain_chunked_and_upgraded_answers_of_the_origin() {
    let origin = Origin::start();
    let mut client = connect(&origin);
    assert_eq!(client.get("a.example", "/x").unwrap().assert_forwarded().text(), "GET /x a.example\n");
    assert_eq!(client.get("a.example", "/slow/3").unwrap().assert_forwarded().body.len(), 24);
    let post = "POST /echo HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(client.send(post).response().unwrap().text(), "hello");
    let upgrade = "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(client.send(upgrade).response().unwrap().status, 101);
    assert_eq!(client.send("ping").read_exact(4).unwrap(), b"ping");
    assert_eq!((origin.connections(), origin.requests().len()), (1, 4));
    assert_eq!(origin.requests()[2].body, b"hello");
}

#[test]
fn the_client_tells_a_close_from_an_answer() {
    let origin = Origin::start();
    let mut client = connect(&origin);
    let last = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    client.send(last).response().unwrap().assert_forwarded();
    client.assert_closed();
    assert!(client.response().is_none());
}

/// The id of a process's event.
fn id(ordinal: u64) -> String {
    format!("0190d3a2-0000-7000-8000-{ordinal:02x}00000000aa")
}

fn record(seq: u64, kind: &str) -> Record {
    Record(json!({
        "id": id(seq),
        "seq": seq,
        "time": "2026-01-05T09:00:00.000000Z",
        "kind": kind,
        "host": "a.example",
    }))
}

fn good_log() -> Vec<Record> {
    let kinds = ["edge.started", "policy.applied", "request.blocked", "edge.stopped"];
    (1..).zip(kinds).map(|(seq, kind)| record(seq, kind)).collect()
}

fn seen(record: &Record, host: &str) -> Seen {
    Seen { id: record.text("id").to_owned(), host: Some(host.to_owned()) }
}

fn passes(records: &[Record], seen: &[Seen]) -> bool {
    let log = Log { records, starts: 1, stopped_gracefully: true };
    std::panic::catch_unwind(|| check(&log, seen)).is_ok()
}

#[test]
fn the_audit_check_finds_holes_repeats_strangers_and_wrong_hosts() {
    let good = good_log();
    let block = seen(&good[2], "a.example");
    assert!(passes(&good, std::slice::from_ref(&block)));

    let changed = |change: fn(&mut Vec<Record>)| {
        let mut log = good_log();
        change(&mut log);
        passes(&log, std::slice::from_ref(&block))
    };
    assert!(!changed(|log| drop(log.remove(1))), "a hole");
    assert!(!changed(|log| log.swap(1, 2)), "out of order");
    assert!(!changed(|log| log[1].0["id"] = log[2].0["id"].clone()), "an id twice");
    assert!(!changed(|log| log[2].0["kind"] = json!("request.shadowed")), "the wrong kind");
    assert!(
        !changed(|log| log[2].0["id"] = json!("0190d3a2-0000-7000-8000-999999999999")),
        "a block without a record"
    );
    assert!(!changed(|log| log[3].0["id"] = json!(id(5))), "an event that nobody owns up to");
    assert!(!changed(|log| drop(log.pop())), "no stop");
    assert!(!changed(|log| log[2].0["time"] = json!("2026-01-05T09:00:00.000Z")), "milliseconds");

    assert!(!passes(&good, &[block.clone(), block.clone()]), "one id for two answers");
    assert!(!passes(&good, &[seen(&good[2], "b.example")]), "the wrong host");
}

#[test]
fn the_audit_check_forgives_no_more_than_a_gap_owns_up_to() {
    let mut log = good_log();
    let mut gap = record(4, "audit.gap");
    gap.0["missed"] = json!(1);
    gap.0["id"] = json!(id(5));
    log.insert(3, gap);
    log[4] = record(5, "edge.stopped");
    log[4].0["id"] = json!(id(6));
    let stranger = |n: u8| Seen { id: format!("0190d3a2-0000-7000-8000-99999999999{n}"), host: None };
    assert!(passes(&log, &[stranger(1)]));
    assert!(!passes(&log, &[stranger(1), stranger(2)]));
}
