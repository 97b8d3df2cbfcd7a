//! What is held back stays so: over a restart, and for an edge that is being succeeded.

use jiff::{SignedDuration, Timestamp};

use crate::guard::{approve_all, case_of, held, hold, rails};
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

#[test]
fn a_set_that_is_held_back_for_its_traffic_stays_so_over_a_restart() {
    let origin = Origin::start();
    let mut edge =
        Setup::new().origin(&origin).guard("max_blocked_requests_percent = 25\nfloor = 20").start();
    for _ in 0..40 {
        edge.get("busy.example").assert_forwarded();
    }
    let before = hold(&edge, |policies| policies.write(&CaseFile::new("much", &["busy.example"])));
    assert_eq!(rails(&before), ["blast-radius-requests"]);
    // The next process has seen no request: what the one before found is not forgotten for that.
    for _ in 0..2 {
        edge.restart();
        let after = held(&edge);
        assert_eq!((&after["digest"], &after["since"]), (&before["digest"], &before["since"]));
        assert_eq!((rails(&after), edge.status().last_result()), (rails(&before), "held"));
        edge.get("busy.example").assert_forwarded();
    }
    approve_all(&edge, &before);
    edge.get("busy.example").assert_blocked(403);
}

#[test]
fn a_case_that_would_block_much_of_the_traffic_is_held_back_whenever_it_begins() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).guard("max_blocked_requests_percent = 25\nfloor = 20").start();
    for _ in 0..40 {
        edge.get("busy.example").assert_forwarded();
    }
    let in_hours = |hours| Timestamp::now() + SignedDuration::from_hours(hours);
    let much = || CaseFile::new("much", &["busy.example"]);
    let held = hold(&edge, |policies| policies.write(&much().effective(in_hours(48))));
    assert_eq!(rails(&held), ["blast-radius-requests"]);
    // Neither does it slip by as one of several, nor behind one that begins at once.
    let held = hold(&edge, |policies| {
        policies.write(&CaseFile::new("first", &["first.example"]));
        policies.write(&CaseFile::new("second", &["second.example"]).effective(in_hours(1)));
        policies.write(&much().effective(in_hours(2)));
    });
    assert_eq!(rails(&held), ["blast-radius-requests"]);
    // One that is over before it can block anything stays aside.
    edge.change(|policies| policies.write(&much().effective(in_hours(-2)).expires(in_hours(-1))));
    edge.get("busy.example").assert_forwarded();
}

/// How often the edge and the process before it have said this.
fn said(edge: &Edge, words: &str) -> usize {
    edge.process().stderr().lines().filter(|line| line.contains(words)).count()
}

#[test]
fn an_edge_that_drains_takes_no_older_set_that_lies_in_the_directory_again() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("max_removed = 0").case(case_of("a", 0..1));
    let mut edge = setup.table("[limits]\nstop_grace = \"60s\"").start();
    let mut kept = edge.connect();
    kept.about("free.example").send("GET /slow/600 HTTP/1.1\r\nHost: free.example\r\n\r\n");
    wait_until("the download has begun", || origin.requests().len() == 1);
    edge.begin_upgrade();
    // Two sets of the successor, which the one before follows.
    for (revision, hosts) in [(2, 0..2), (3, 0..3)] {
        edge.change(|policies| policies.write(&case_of("a", hosts)));
        let both = format!("policy set in force revision={revision} ");
        wait_until("both have it in force", || said(&edge, &both) == 2);
    }
    // The set of revision 2 lies there again: the successor holds it back, and so does the one before.
    let unchanged = said(&edge, "policy set unchanged");
    let held = hold(&edge, |policies| policies.write(&case_of("a", 0..2)));
    assert_eq!(rails(&held), ["max-removed"]);
    wait_until("the one before has looked at it", || said(&edge, "policy set unchanged") > unchanged);
    assert_eq!(kept.response().unwrap().body.len(), 600 * 8);
    let answer = kept.get("n2.example", "/").expect("an idle connection is heard once more");
    answer.assert_blocked(403);
    assert_eq!(answer.field("connection"), Some("close"), "it was the process before that answered");
    edge.process_mut().wait_for_those_before();
    let records = edge.finish();
    let blocks = crate::harness::audit::of_kind(&records, "request.blocked");
    assert!(blocks.iter().all(|block| block.number("revision") == 3), "{blocks:?}");
}
