//! What is left when a log is closed: its size, and how fast all of it is verified.

use std::{collections::BTreeMap, fs, path::Path, time::Instant};

use interdict::audit::{VerifyOptions, verify};

use crate::measure::{judge, micros, process_cpu};

const SIZE_GOAL: f64 = 60.0;
const VERIFY_GOAL: f64 = 1e6;

/// Bytes of everything in the directory, by what it is.
pub(crate) fn size(what: &str, audit: &Path, records: u64) {
    let mut kinds = BTreeMap::new();
    add_up(audit, &mut kinds);
    // The segment that the next record goes into is never compressed, however long the log is.
    let open = kinds.remove("the open segment").unwrap_or(0);
    let closed = closed_records(audit).unwrap_or(records).max(1);
    let closed_bytes: u64 = kinds.values().sum();
    let each = closed_bytes as f64 / closed as f64;
    judge(
        &format!("bytes a record takes after sealing, {what}"),
        format!("{each:.1} bytes"),
        "< 60",
        each < SIZE_GOAL,
    );
    let parts = kinds.iter().map(|(kind, bytes)| format!("{kind} {:.2}", *bytes as f64 / closed as f64));
    println!("  of it, {}", parts.collect::<Vec<_>>().join(", "));
    println!(
        "  {:.1} bytes with the open segment, which holds {} of {records} records as plain text",
        (closed_bytes + open) as f64 / records as f64,
        records - closed.min(records)
    );
}

fn add_up(directory: &Path, kinds: &mut BTreeMap<&'static str, u64>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, facts) = (entry.path(), entry.metadata().unwrap());
        if facts.is_dir() {
            add_up(&path, kinds);
            continue;
        }
        let text = path.to_string_lossy();
        let kind = match text.rsplit('.').next().unwrap_or_default() {
            "zst" => "compressed lines",
            "idx" => "indexes",
            "jsonl" => "the open segment",
            _ if text.contains("/tile/") => "tiles",
            _ => "checkpoints, keys and the rest",
        };
        *kinds.entry(kind).or_default() += facts.len();
    }
}

/// Records before the open segment, whose name is the `seq` of its first.
fn closed_records(audit: &Path) -> Option<u64> {
    let names = fs::read_dir(audit.join("segments")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let open =
        names.filter_map(|name| name.strip_suffix(".jsonl").and_then(|first| first.parse::<u64>().ok()));
    open.max().map(|first| first - 1)
}

/// How fast the log is verified.
pub(crate) fn verified(audit: &Path, records: u64) {
    let (start, cpu) = (Instant::now(), process_cpu());
    let report = verify(audit, &VerifyOptions::default(), &|_, _| {}).unwrap();
    let (took, cpu) = (start.elapsed(), process_cpu() - cpu);
    assert!(report.is_sound(), "{:?}", report.findings);
    let rate = records as f64 / took.as_secs_f64();
    judge(
        "verify",
        format!("{rate:.0} records/s over {:.1} s", took.as_secs_f64()),
        "1,000,000/s",
        rate >= VERIFY_GOAL,
    );
    println!("  processor time: {:.2} µs a record", micros(cpu) / records as f64);
}
