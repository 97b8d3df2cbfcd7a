//! Thousands of connections at a time, half of them on a host that gets blocked.
//!
//! A tenth of the size, or with `INTERDICT_SOAK=1` all of it: 2,000 WebSockets and 200 downloads.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::harness::audit::{Record, of_kind};
use crate::harness::crowd::{Spread, is_soak, raise_open_files};
use crate::harness::streams::{Carries, Fate, StreamOrigin, Streams};
use crate::harness::{CaseFile, Edge, Setup, wait_until};

const DOOMED: &str = "doomed.example";
const SPARED: &str = "spared.example";

/// From the moment the new rules are in force to silence.
const SOON: Duration = Duration::from_secs(1);

/// Blocks the doomed host, and says when its case file began to be written.
fn block(edge: &Edge) -> Timestamp {
    let began = Timestamp::now();
    edge.change(|policies| policies.write(&CaseFile::new("doom", &[DOOMED])));
    began
}

/// When the second revision came into force: its record is written a moment before.
fn swapped(records: &[Record]) -> Timestamp {
    let applied = of_kind(records, "policy.applied");
    let record = applied.iter().find(|record| record.number("revision") == 2).expect("the second revision");
    record.text("time").parse().unwrap()
}

fn since(moment: Timestamp, ends: &[Timestamp]) -> Spread {
    let after = |end: &Timestamp| end.duration_since(moment).max(SignedDuration::ZERO).unsigned_abs();
    Spread::of(ends.iter().map(after))
}

/// The ends of the doomed; fails when one of the spared was touched, or anything was wrong with any.
#[track_caller]
fn ends(fates: &[Fate]) -> Vec<Timestamp> {
    let mut ends = Vec::new();
    for fate in fates {
        match (&fate.ended, fate.host) {
            (Some(Ok(end)), DOOMED) => ends.push(*end),
            (None, SPARED) => {}
            _ => panic!("{fate:?}"),
        }
    }
    ends
}

#[test]
fn of_thousands_of_connections_those_of_a_blocked_host_fall_silent_and_no_other_is_touched() {
    let (sockets, downloads) = if is_soak() { (1000, 100) } else { (100, 10) };
    let half = sockets + downloads;
    raise_open_files(6 * half as u64 + 200);
    let origin = StreamOrigin::start();
    let edge = Setup::new().route(&["*"], &[&origin.address().to_string()]).start();
    let kinds = [DOOMED, SPARED]
        .map(|host| [(host, Carries::WebSocket, sockets), (host, Carries::Download, downloads)]);
    let streams = Streams::open(edge.address(), kinds.as_flattened());
    wait_until("all connections carry something", || streams.under_way() == 2 * half);

    let changed = block(&edge);
    wait_until("the doomed are silent", || streams.silent() >= half);
    wait_until("their origin has noticed", || origin.open() == half);
    origin.let_go();
    let fates = streams.finish();
    let ends = ends(&fates);
    assert_eq!((fates.len(), ends.len()), (2 * half, half));

    let records = edge.finish();
    assert_one_record_each(&records, &fates);
    let from_swap = since(swapped(&records), &ends);
    println!("{half} of {} connections cut; from the swap to silence: {from_swap}", 2 * half);
    println!("from the change of the policy directory to silence: {}", since(changed, &ends));
    assert!(from_swap.most() < SOON, "{from_swap}");
}

/// Each connection of the doomed host has one record, and nothing else has any.
#[track_caller]
fn assert_one_record_each(records: &[Record], fates: &[Fate]) {
    let mut expected = BTreeMap::new();
    for fate in fates.iter().filter(|fate| fate.host == DOOMED) {
        expected.insert(fate.path.as_str(), 1);
    }
    let mut found = BTreeMap::new();
    for cut in of_kind(records, "connection.cut") {
        assert_eq!((cut.text("host"), cut.text("case")), (DOOMED, "doom"), "{}", cut.0);
        *found.entry(cut.text("path")).or_insert(0) += 1;
    }
    assert_eq!(found, expected);
}
