//! What commands do, and what is said of them, beside files that are being written for a long time.

use std::io::Write;

use crate::guard::{approve_all, case_of, hold};
use crate::harness::audit::{Record, of_kind};
use crate::harness::writing::while_written;
use crate::harness::{CaseFile, Origin, Setup, wait_until};
use crate::unfinished::{edge_with_lists, terminate};

#[test]
fn a_set_that_comes_early_is_not_said_to_be_what_others_wait_for() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let who =
        ["--customer", "c", "--basis", "abuse", "--host", "slow.example", "--host-list", "lists/new.txt"];
    std::thread::scope(|scope| {
        let mut slow = None;
        while_written(&edge.policies().path().join("lists/new.txt"), "new.example\n", || {
            slow = Some(scope.spawn(|| edge.command(&[&["terminate", "--id", "slow"][..], &who].concat())));
            wait_until("it waits", || {
                edge.status().0["last_reload"]["warnings"].to_string().contains("cases/slow.toml")
            });
            terminate(&edge, "T-1", "terminated.example");
            edge.get("slow.example").assert_forwarded();
        });
        let output = slow.unwrap().join().unwrap();
        assert_eq!((output.code, edge.get("new.example").status), (0, 403), "{output:?}");
    });
    let records = edge.finish();
    assert_eq!(times_named(&records, ["slow", "T-1"]), [1, 1], "{records:?}");
}

/// How often a set is said to have come into force for a command about each of these cases; never for two.
#[track_caller]
fn times_named<const N: usize>(records: &[Record], cases: [&str; N]) -> [usize; N] {
    let applied: Vec<String> =
        of_kind(records, "policy.applied").iter().map(|record| record.0["changes"].to_string()).collect();
    let names = |record: &&String, case: &str| record.contains(&format!("\"case\":\"{case}\""));
    let of_two = applied.iter().find(|record| cases.iter().filter(|case| names(record, case)).count() > 1);
    assert_eq!(of_two, None);
    cases.map(|case| applied.iter().filter(|record| names(record, case)).count())
}

#[test]
fn a_reinstatement_that_has_to_wait_is_named_by_the_set_that_carries_it_out() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    edge.change(|policies| policies.write(&CaseFile::new("other", &["other.example"])));
    std::thread::scope(|scope| {
        let mut reinstated = None;
        while_written(&edge.policies().path().join("lists/one.txt"), "one.example\n", || {
            // The name goes from one case to another, and the other's own name goes free: that has to wait.
            edge.policies().write(&CaseFile::new("other", &["first.example"]));
            wait_until("it is looked at", || edge.process().stderr().contains("is read when it is complete"));
            let reinstate = || edge.command(&["reinstate", "first", "--reason", "merged"]);
            reinstated = Some(scope.spawn(reinstate));
            wait_until("it waits", || {
                edge.status().0["last_reload"]["warnings"].to_string().contains("cases/first.toml")
            });
            terminate(&edge, "T-1", "terminated.example");
            edge.get("first.example").assert_blocked(403);
        });
        let output = reinstated.unwrap().join().unwrap();
        assert!(output.stdout.contains("first") && output.code != 3, "{output:?}");
    });
    edge.get("first.example").assert_blocked(403);
    edge.get("other.example").assert_forwarded();
    let records = edge.finish();
    assert_eq!(times_named(&records, ["first", "T-1"]), [1, 1], "{records:?}");
}

#[test]
fn an_approval_counts_beside_a_download() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("max_added = 3");
    setup.policies().write_list("one.txt", "one.example\n");
    let listed = CaseFile::new("listed", &[]).key("host_lists = [\"lists/one.txt\"]");
    let edge = setup.case(listed).start();
    let held = hold(&edge, |policies| policies.write(&case_of("wide", 0..5)));
    while_written(&edge.policies().path().join("lists/one.txt"), "one.example\ntwo.example\n", || {
        edge.get("n0.example").assert_forwarded();
        approve_all(&edge, &held);
        edge.get("n0.example").assert_blocked(403);
        edge.get("one.example").assert_blocked(403);
        edge.get("half.example").assert_forwarded();
    });
    wait_until("the whole list is in force", || edge.get("two.example").status == 403);
    edge.get("n0.example").assert_blocked(403);
}

#[test]
fn a_rollback_beside_a_download_is_in_force_at_once() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    edge.change(|policies| policies.write(&CaseFile::new("wrong", &["innocent.example"])));
    edge.get("innocent.example").assert_blocked(403);
    // It pauses: while pieces come, the command finds a directory that changes all the time, and says so.
    let mut writer = std::fs::File::create(edge.policies().path().join("lists/one.txt")).unwrap();
    writer.write_all(b"half.example\n").unwrap();
    let output = edge.command(&["rollback", "1"]);
    assert_eq!(output.code, 0, "{output:?}");
    edge.get("innocent.example").assert_forwarded();
    edge.get("one.example").assert_blocked(403);
    writer.write_all(b"three.example\n").unwrap();
    drop(writer);
    // What was being written has been replaced.
    edge.change(|policies| policies.write(&CaseFile::new("next", &["next.example"])));
    edge.get("one.example").assert_blocked(403);
    edge.get("three.example").assert_forwarded();
}
