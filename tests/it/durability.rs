//! What the log promises when the process dies or the disk is full.

use std::fs;
use std::time::Duration;

use crate::harness::audit::of_kind;
use crate::harness::disk::SmallDisk;
use crate::harness::load::Load;
use crate::harness::{CaseFile, Origin, Setup, tools, wait_until};

const BLOCKED: &str = "blocked.example";

/// How often an edge is killed: `INTERDICT_KILLS`, or twenty times.
fn rounds() -> usize {
    std::env::var("INTERDICT_KILLS").map_or(20, |kills| kills.parse().expect("INTERDICT_KILLS is a number"))
}

/// A random delay: the standard library's hasher is seeded by the system.
fn random_delay() -> Duration {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = std::hash::RandomState::new().build_hasher().finish();
    Duration::from_micros(random % 120_000)
}

/// Kills an edge again and again under load, while its clients note every id they were given.
fn kill_under_load(acknowledge: &str) {
    let origin = Origin::start();
    let mut edge = Setup::new()
        .origin(&origin)
        .audit("segment_bytes = 65536")
        .audit(&format!("acknowledge = \"{acknowledge}\""))
        .case(CaseFile::new("page", &[BLOCKED]))
        .start();
    let rounds = rounds();
    for round in 0..rounds {
        let load = Load::start(edge.address(), &edge.ledger(), 4, &[BLOCKED, BLOCKED, "allowed.example"]);
        load.wait_for_answers(1);
        // Not a wait for something to happen: the moment of death is meant to be random.
        std::thread::sleep(random_delay());
        edge.kill9();
        let answers = load.finish().len();
        edge.start_again()
            .unwrap_or_else(|ended| panic!("round {round}: {}\n{}", ended.status, ended.stderr));
        assert!(answers > 0, "round {round} had no load");
    }
    let held = edge.ledger().seen().len();
    // The checker compares every id, and verifies; here only that there was something to compare.
    let records = edge.finish();
    let recorded = of_kind(&records, "request.blocked").len();
    println!("{held} ids held, {recorded} recorded, {rounds} kills");
    assert!(held >= rounds && recorded >= held);
    // An answer that was cut off by the kill may be recorded and not held: at most one a connection and round.
    assert!(recorded - held <= 4 * rounds, "{recorded} recorded, {held} held");
    assert!(of_kind(&records, "audit.gap").is_empty());
}

#[test]
fn after_every_kill_each_id_a_client_holds_is_in_the_log_once() {
    kill_under_load("process");
}

#[test]
fn after_every_kill_each_id_a_client_holds_is_in_the_log_once_when_the_disk_acknowledges() {
    kill_under_load("disk");
}

#[test]
fn a_log_that_a_killed_edge_left_can_be_read_before_any_restart() {
    let origin = Origin::start();
    let mut edge = Setup::new().origin(&origin).case(CaseFile::new("page", &[BLOCKED])).start();
    edge.get(BLOCKED).assert_blocked(403);
    edge.kill9();
    assert_eq!(of_kind(&edge.finish(), "request.blocked").len(), 1);
}

#[test]
fn segments_rotate_by_size_and_the_log_stays_one() {
    let origin = Origin::start();
    let edge = Setup::new()
        .origin(&origin)
        .audit("segment_bytes = 65536")
        .case(CaseFile::new("page", &[BLOCKED]))
        .start();
    let counts = tools::h2load(edge.address(), BLOCKED, 3000, true);
    assert_eq!(counts.blocked, 3000);
    let segments = edge.audit_directory().join("segments");
    wait_until("several segments are sealed", || fs::read_dir(&segments).unwrap().count() > 3);
    assert_eq!(of_kind(&edge.finish(), "request.blocked").len(), 3000);
}

#[test]
fn two_edges_never_write_into_one_log() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("page", &[BLOCKED])).start();
    let config = edge.config();
    let second = tools::interdict(["run", "--config", config.to_str().unwrap()]);
    assert!(matches!(second.code, 2 | 3), "{second:?}");
    assert!(second.stderr.contains("audit") || second.stderr.contains("state"), "{}", second.stderr);
    edge.get(BLOCKED).assert_blocked(403);
}

#[test]
fn on_a_full_disk_blocks_go_on_and_every_missed_record_is_counted() {
    let origin = Origin::start();
    let setup =
        Setup::new().origin(&origin).audit("segment_bytes = 65536").case(CaseFile::new("page", &[BLOCKED]));
    let Some(disk) = SmallDisk::mount(setup.home(), "audit", "4m") else { return };
    let edge = setup.start();
    edge.get(BLOCKED).assert_blocked(403);
    disk.fill();
    let mut client = edge.connect();
    let mut answers = 1;
    wait_until("records are missed", || {
        client.get(BLOCKED, "/").unwrap().assert_blocked(403);
        answers += 1;
        edge.status().audit().gap >= 100
    });
    assert!(!edge.status().audit().writing);
    client.get("allowed.example", "/").unwrap().assert_forwarded();
    let missed = edge.status().audit().gap;
    disk.empty();
    wait_until("writing works again", || edge.status().audit().writing);
    client.get(BLOCKED, "/").unwrap().assert_blocked(403);
    answers += 1;

    let records = edge.finish();
    drop(disk);
    let gaps = of_kind(&records, "audit.gap");
    let owned_up: u64 = gaps.iter().map(|gap| gap.number("missed")).sum();
    let recorded = of_kind(&records, "request.blocked").len() as u64;
    assert_eq!(owned_up, missed, "{gaps:?}");
    assert_eq!(recorded + owned_up, answers, "{gaps:?}");
    for gap in gaps {
        let counts = gap.0["counts"].as_array().unwrap();
        let total: u64 = counts.iter().filter_map(|count| count["count"].as_u64()).sum();
        assert_eq!(total, gap.number("missed"), "{}", gap.0);
        assert!(counts.iter().all(|count| count["case"] == "page"), "{}", gap.0);
    }
}
