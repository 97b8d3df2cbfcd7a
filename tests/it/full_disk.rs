//! A real full disk under load: blocks go on, the gap is exact, and allowed requests do not feel it.

use std::time::{Duration, Instant};

use crate::harness::audit::of_kind;
use crate::harness::disk::SmallDisk;
use crate::harness::load::{Load, Sample};
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

const BLOCKED: &str = "blocked.example";
const ALLOWED: &str = "allowed.example";

/// Blocked and allowed requests side by side, for a time; `tend` is called now and then.
fn traffic(edge: &Edge, time: Duration, tend: impl Fn()) -> Vec<Sample> {
    let blocked = Load::start(edge.address(), &edge.ledger(), 2, &[BLOCKED]);
    let allowed = Load::start(edge.address(), &edge.ledger(), 1, &[ALLOWED]);
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        tend();
        std::thread::sleep(Duration::from_millis(50));
    }
    blocked.finish().into_iter().chain(allowed.finish()).collect()
}

/// How many were blocked, and below what time 99 of 100 allowed ones were answered.
fn judge(samples: &[Sample]) -> (u64, Duration) {
    let mut blocked = 0;
    let mut times = Vec::new();
    for sample in samples {
        assert_eq!(sample.blocked(), sample.host == BLOCKED);
        if sample.blocked() {
            blocked += 1;
        } else {
            sample.response.as_ref().unwrap().assert_forwarded();
            times.push(Duration::try_from(sample.answered.duration_since(sample.sent)).unwrap());
        }
    }
    assert!(times.len() > 100, "{} allowed requests", times.len());
    times.sort_unstable();
    (blocked, times[times.len() * 99 / 100])
}

#[test]
fn under_load_a_full_disk_loses_no_count_and_slows_no_allowed_request() {
    let is_soak = std::env::var_os("INTERDICT_SOAK").is_some_and(|value| value == "1");
    let (before, while_full) = if is_soak { (10, 30) } else { (2, 3) };
    let origin = Origin::start();
    let setup =
        Setup::new().origin(&origin).audit("segment_bytes = 65536").case(CaseFile::new("page", &[BLOCKED]));
    let Some(disk) = SmallDisk::mount(setup.home(), "audit", "16m") else { return };
    let edge = setup.start();
    let (mut answers, p99_before) = judge(&traffic(&edge, Duration::from_secs(before), || ()));
    assert_eq!(edge.status().audit().gap, 0, "the disk is large enough for what comes before");

    disk.fill();
    let mut client = edge.connect();
    wait_until("the disk takes no more records", || {
        disk.fill();
        client.get(BLOCKED, "/").unwrap().assert_blocked(403);
        answers += 1;
        edge.status().audit().gap > 0
    });
    // Whatever becomes free is taken at once.
    let (blocked, p99_full) = judge(&traffic(&edge, Duration::from_secs(while_full), || disk.fill()));
    answers += blocked;
    let audit = edge.status().audit();
    assert!(audit.gap > 0 && audit.decided == audit.durable + audit.gap, "{audit:?}");
    println!("99 of 100 allowed requests: {p99_before:?} before, {p99_full:?} on a full disk");
    println!("{answers} blocks, {} of them missed", audit.gap);
    let bound = if is_soak { p99_before.mul_f64(1.2) } else { p99_before * 3 + Duration::from_millis(20) };
    assert!(p99_full <= bound, "{p99_full:?} on a full disk, {p99_before:?} before");

    disk.empty();
    wait_until("writing works again", || edge.status().audit().writing);
    client.get(BLOCKED, "/").unwrap().assert_blocked(403);
    answers += 1;
    let missed = edge.status().audit().gap;
    let records = edge.finish();
    drop(disk);
    let owned_up: u64 = of_kind(&records, "audit.gap").iter().map(|gap| gap.number("missed")).sum();
    assert_eq!(owned_up, missed);
    assert_eq!(of_kind(&records, "request.blocked").len() as u64 + owned_up, answers);
}
