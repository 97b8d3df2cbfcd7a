//! Reading the log as an auditor would, and the check at the end of every test.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use interdict::audit::{EventId, Nonce};
use serde_json::Value;

use super::ledger::Seen;
use super::tools;

/// One record of the log.
#[derive(Debug, Clone)]
pub struct Record(pub Value);

impl Record {
    /// The text of a field; empty when it is absent.
    pub fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number of a field.
    #[track_caller]
    pub fn number(&self, field: &str) -> u64 {
        self.0.get(field).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number {field} in {}", self.0))
    }

    /// A list of texts; empty when it is absent.
    pub fn texts(&self, field: &str) -> Vec<&str> {
        let list = self.0.get(field).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The kind of event.
    pub fn kind(&self) -> &str {
        self.text("kind")
    }
}

/// The records of one kind.
pub fn of_kind<'r>(records: &'r [Record], kind: &str) -> Vec<&'r Record> {
    records.iter().filter(|record| record.kind() == kind).collect()
}

/// The one record of this kind; fails when there are none or several.
#[track_caller]
pub fn only<'r>(records: &'r [Record], kind: &str) -> &'r Record {
    let found = of_kind(records, kind);
    assert_eq!(found.len(), 1, "records of kind {kind}: {found:?}");
    found[0]
}

/// All records of a log, in order, through `interdict audit export`.
#[track_caller]
pub fn export(directory: &Path) -> Vec<Record> {
    let output = tools::interdict(["audit", "export", "--directory", directory.to_str().unwrap()]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in `{line}`"));
    output.stdout.lines().map(|line| Record(parse(line))).collect()
}

/// A whole log, and what is known of the edge that wrote it.
pub struct Log<'r> {
    /// All records in order.
    pub records: &'r [Record],
    /// How often the edge was started.
    pub starts: usize,
    /// Whether its last end was a graceful one.
    pub stopped_gracefully: bool,
}

/// `interdict audit verify` finds nothing wrong.
#[track_caller]
pub fn assert_verifies(directory: &Path) {
    let output = tools::interdict(["audit", "verify", "--directory", directory.to_str().unwrap()]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
}

/// Holds a log against the promise: numbered without holes, ids unique and as many as gap records say, framed by start
/// and stop, and every block a client saw is in it exactly once under the right host. Blocks may be absent only as far
/// as a gap record owns up.
#[track_caller]
pub fn check(log: &Log<'_>, seen: &[Seen]) {
    let mut by_id = HashMap::new();
    for (index, record) in log.records.iter().enumerate() {
        assert_eq!(record.number("seq"), index as u64 + 1, "a hole or a repeat in seq: {}", record.0);
        assert_time(record.text("time"));
        let id = record.text("id");
        assert_eq!(id.len(), 36, "not a UUID: {}", record.0);
        assert!(by_id.insert(id, record).is_none(), "the id {id} is there twice");
    }
    check_frame(log);
    check_ordinals(log.records);
    check_blocks(log, seen, &by_id);
}

#[track_caller]
fn check_frame(log: &Log<'_>) {
    assert_eq!(of_kind(log.records, "edge.started").len(), log.starts, "one edge.started a start");
    assert_eq!(log.records.first().map(Record::kind), Some("edge.started"));
    if log.stopped_gracefully {
        assert_eq!(log.records.last().map(Record::kind), Some("edge.stopped"));
    }
}

/// The ids alone tell that nothing is missing: a process that stopped in order has as many holes among its ordinals as
/// its gap records count. One that was killed may have counted less than it missed, never more.
#[track_caller]
fn check_ordinals(records: &[Record]) {
    let mut processes: HashMap<Nonce, (BTreeSet<u64>, u64, u64)> = HashMap::new();
    let mut stopped = HashSet::new();
    for record in records {
        let id: EventId = record.text("id").parse().unwrap();
        let (ordinals, missed, through) = processes.entry(id.nonce()).or_default();
        assert!(ordinals.insert(id.ordinal()), "an ordinal is there twice: {}", record.0);
        match record.kind() {
            "audit.gap" => {
                *missed += record.number("missed");
                *through = record.0["through"].as_u64().unwrap_or(0).max(*through);
            }
            "edge.stopped" => drop(stopped.insert(id.nonce())),
            _ => {}
        }
    }
    for (nonce, (ordinals, missed, through)) in processes {
        let holes = through.max(*ordinals.last().unwrap()) - ordinals.len() as u64;
        if stopped.contains(&nonce) {
            assert_eq!(holes, missed, "the holes of process {nonce}, and what its gap records count");
        }
        assert!(missed <= holes, "{holes} holes of process {nonce}, and gap records count {missed}");
    }
}

#[track_caller]
fn check_blocks(log: &Log<'_>, seen: &[Seen], by_id: &HashMap<&str, &Record>) {
    let mut absent = Vec::new();
    let mut once = HashMap::new();
    for block in seen {
        assert!(once.insert(block.id.as_str(), ()).is_none(), "two answers carried the id {}", block.id);
        let Some(record) = by_id.get(block.id.as_str()) else {
            absent.push(&block.id);
            continue;
        };
        assert!(
            matches!(record.kind(), "request.blocked" | "upstream.refused"),
            "an answer carried the id of {}",
            record.0
        );
        if let Some(host) = &block.host {
            assert_eq!(record.text("host"), host, "{}", record.0);
        }
    }
    let missed: u64 = of_kind(log.records, "audit.gap").iter().map(|gap| gap.number("missed")).sum();
    assert!(
        absent.len() as u64 <= missed,
        "{} blocks without a record, {missed} owned up: {absent:?}",
        absent.len()
    );
}

/// RFC 3339, UTC, exactly six digits of a second.
#[track_caller]
fn assert_time(text: &str) {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "the time `{text}`");
}
