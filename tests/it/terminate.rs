//! `interdict terminate`: in force and on record when it ends, or nothing has changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::audit::{Record, of_kind};
use crate::harness::tools::Output;
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

pub const PLAIN: [&str; 9] = [
    "terminate",
    "--json",
    "--customer",
    "cust-1",
    "--basis",
    "terms-of-service",
    "--decided-by",
    "j.doe",
    "--id",
];

/// `terminate` of one host, with further arguments.
pub fn terminate(edge: &Edge, id: &str, host: &str, more: &[&str]) -> Output {
    edge.command(&[&PLAIN[..], &[id, "--host", host], more].concat())
}

#[track_caller]
pub fn answer(output: &Output, code: i32) -> Value {
    assert_eq!(output.code, code, "{output:?}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} in {output:?}"))
}

pub fn edge(origin: &Origin) -> Edge {
    Setup::new().origin(origin).case(CaseFile::new("first", &["first.example"])).start()
}

pub fn record<'r>(records: &'r [Record], id: &Value) -> &'r Record {
    records.iter().find(|record| record.0["id"] == *id).unwrap_or_else(|| panic!("no record {id}"))
}

#[test]
fn a_terminated_customer_is_blocked_when_the_command_ends_and_the_record_says_who_did_it() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.get("new.example").assert_forwarded();
    let told = answer(&terminate(&edge, "TS-1", "new.example", &[]), 0);
    edge.get("new.example").assert_blocked(403);
    assert_eq!(
        (&told["result"], &told["case"], &told["revision"]),
        (&"enforced".into(), &"TS-1".into(), &2.into())
    );
    assert!(told["milliseconds"].as_f64().unwrap() > 0.0);
    assert_eq!(edge.policies().names("cases"), ["TS-1.toml", "first.toml"], "and nothing beside it");
    let records = edge.finish();
    let applied = record(&records, &told["event"]);
    assert_eq!((applied.kind(), applied.number("revision")), ("policy.applied", 2));
    let change = &applied.0["changes"][0];
    assert_eq!((&change["command"], &change["case"]), (&"terminate".into(), &"TS-1".into()));
    assert_eq!(change["uid"], rustix::process::getuid().as_raw());
    assert!(change["operator"].as_str().is_some_and(|name| !name.is_empty()), "{change}");
    assert_eq!(of_kind(&records, "policy.applied").len(), 2, "one swap, one record");
}

const STATEMENT: &str = "He said \"no\".\nid = \"other\" \\ and 'so' on \u{1F512}";

/// A command line with every flag.
const FLAGS: [&[&str]; 8] = [
    &["terminate", "--json", "--id", "CO-7", "--customer", "cust \"7\"", "--basis", "court-order"],
    &[
        "--host",
        ".a.example",
        "--host",
        "b.example",
        "--host-list",
        "lists/l.txt",
        "--origin",
        "203.0.113.0/24",
    ],
    &["--except", "help.a.example", "--status", "451", "--statement", STATEMENT, "--summary", "inside"],
    &["--decided-by", "j.doe", "--decided-by", "a.roe", "--decided", "2026-11-20T22:15:00Z"],
    &[
        "--expires",
        "2099-01-01T00:00:00Z",
        "--review",
        "2098-01-01",
        "--page",
        "urgent",
        "--authority",
        "Court",
    ],
    &["--reference", "12 O 345/26", "--url", "https://example.org/orders/345"],
    &["--territory", "127.0.0.0/8", "--mode", "enforce", "--action", "page"],
    &["--on-bad-entry", "skip", "--edge", "none-*", "--edge", "*"],
];

#[test]
fn every_flag_arrives_in_the_case_and_text_cannot_leave_its_quotes() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.policies().write_list("l.txt", "listed.example\nother.example\nno name\n");
    edge.policies().write_page("urgent.html", "<p>{{ statement }}</p>");
    let output = edge.command(&FLAGS.concat());
    assert_eq!(answer(&output, 0)["result"], "enforced");
    for host in ["a.example", "x.a.example", "b.example", "listed.example"] {
        edge.get(host).assert_blocked(451);
    }
    edge.get("help.a.example").assert_forwarded();
    let page = edge
        .connect()
        .send("GET / HTTP/1.1\r\nHost: b.example\r\nAccept: text/html\r\n\r\n")
        .response()
        .unwrap();
    assert!(
        page.text().contains("and &#x27;so&#x27; on") || page.text().contains("and 'so' on"),
        "{}",
        page.text()
    );
    let text = fs::read_to_string(edge.policies().case_path("CO-7")).unwrap();
    let case: toml::Table = text.parse().unwrap();
    assert_eq!(case["statement"].as_str(), Some(STATEMENT));
    assert_eq!((case["id"].as_str(), case["customer"].as_str()), (Some("CO-7"), Some("cust \"7\"")));
    assert_eq!(case["decided"].as_datetime().unwrap().to_string(), "2026-11-20T22:15:00Z");
    assert_eq!(case["decided_by"].as_array().unwrap().len(), 2);
    assert_eq!(case["edges"].as_array().unwrap().len(), 2);
}

#[test]
fn a_case_for_other_edges_is_taken_up_and_blocks_nothing_here() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let told = answer(&terminate(&edge, "TS-1", "new.example", &["--edge", "none-*"]), 0);
    assert_eq!((&told["result"], &told["revision"]), (&"elsewhere".into(), &2.into()));
    edge.get("new.example").assert_forwarded();
    assert_eq!(edge.policies().names("cases"), ["TS-1.toml", "first.toml"]);
}

#[test]
fn a_case_that_the_guard_holds_back_comes_with_what_is_against_it_and_the_digest_to_approve_of() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).guard("max_added = 1").start();
    let output = terminate(&edge, "TS-1", "new.example", &["--host", "more.example"]);
    let told = answer(&output, 1);
    assert_eq!(told["result"], "held");
    let held = edge.status().0["held"].clone();
    assert!(!held.is_null());
    assert_eq!(told["held"], held);
    assert_ne!(told["held"]["digest"], told["digest"], "the latter is of the set in force");
    assert_eq!(told["held"]["findings"][0]["rail"], "max-added");
    assert!(told["errors"][0].as_str().unwrap().contains("max-added"), "{told}");
    let approve = format!("interdict approve {}", held["digest"].as_str().unwrap());
    assert!(output.stderr.contains(&approve) && output.stderr.contains("max-added"), "{output:?}");
    edge.get("new.example").assert_forwarded();
}

#[test]
fn what_a_case_file_may_not_say_is_told_and_nothing_is_written() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let wrong: [(&[&str], &str, &str); 9] = [
        (&["--host", "a..example"], "--host: ", "no host pattern"),
        (&["--status", "451"], "--status: ", "legal basis"),
        (&["--action", "pag"], "--action: ", "did you mean `page`"),
        (&["--host-list", "lists/none.txt"], "--host-list: ", "no list"),
        (&["--host-list", "../../etc/passwd"], "--host-list: ", "no path of a list"),
        (&["--page", "../x"], "--page: ", "no page name"),
        (&["--authority", "Court"], "--reference: ", "missing"),
        (&["--authority", "Court", "--reference", "1", "--url", "x"], "--url: ", "no absolute URL"),
        (&["--origin", "203.0.113.1/24"], "--origin: ", "below its mask"),
    ];
    for (arguments, flag, word) in wrong {
        let output = terminate(&edge, "TS-1", "new.example", arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
        // There is no file to look into.
        assert!(output.stderr.contains(word) && output.stderr.starts_with(flag), "{output:?}");
        assert!(!output.stderr.contains(".toml:"), "{output:?}");
    }
    for id in ["", "a/b", "../a", "ü", &"x".repeat(65)] {
        let output = terminate(&edge, id, "new.example", &[]);
        assert_eq!(output.code, 2, "{id}: {output:?}");
    }
    assert_eq!(edge.policies().names("cases"), ["first.toml"]);
    assert_eq!(edge.status().revision(), 1);
    edge.get("new.example").assert_forwarded();
}

#[test]
fn an_id_or_a_file_that_is_there_is_not_touched() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin);
    setup.policies().write_case("named-otherwise", &CaseFile::new("TS-1", &["first.example"]).toml());
    let edge = setup.start();
    let output = terminate(&edge, "TS-1", "new.example", &[]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("TS-1"), "{output:?}");
    let before = fs::read(edge.policies().case_path("named-otherwise")).unwrap();
    let output = terminate(&edge, "named-otherwise", "new.example", &[]);
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(edge.policies().names("cases"), ["named-otherwise.toml"]);
    assert_eq!(fs::read(edge.policies().case_path("named-otherwise")).unwrap(), before);
    assert_eq!(edge.status().revision(), 1);
}

#[test]
fn a_set_that_the_edge_refuses_leaves_no_file() {
    let origin = Origin::start();
    let edge = edge(&origin);
    // The list has been cut to nothing since: this command does not read it, the edge does.
    edge.change(|policies| policies.write_list("empty.txt", "# nothing\n"));
    let output = terminate(&edge, "TS-1", "new.example", &["--host-list", "lists/empty.txt"]);
    let told = answer(&output, 1);
    assert_eq!(told["result"], "refused");
    assert!(output.stderr.contains("lists/empty.txt") && told["errors"][0].is_string(), "{output:?}");
    assert_eq!(edge.policies().names("cases"), ["first.toml"]);
    edge.get("new.example").assert_forwarded();
    edge.get("first.example").assert_blocked(403);
    wait_until("the edge is content again", || edge.status().last_result() == "unchanged");
    let records = edge.finish();
    let refused = record(&records, &told["event"]);
    assert_eq!((refused.kind(), &refused.0["changes"][0]["case"]), ("policy.rejected", &"TS-1".into()));
    assert_eq!(of_kind(&records, "policy.applied").len(), 2);
}

#[test]
fn a_case_for_later_says_from_when_on_it_is_in_force() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let at = Timestamp::now() + SignedDuration::from_hours(1);
    let output = terminate(&edge, "TS-1", "new.example", &["--effective", &at.to_string()]);
    let told = answer(&output, 0);
    assert_eq!(
        (&told["result"], told["effective"].as_str()),
        (&"scheduled".into(), Some(at.to_string().as_str()))
    );
    edge.get("new.example").assert_forwarded();
    let words = edge.command(&[
        "terminate",
        "--id",
        "TS-2",
        "--customer",
        "c",
        "--basis",
        "abuse",
        "--host",
        "n.example",
        "--effective",
        &at.to_string(),
    ]);
    assert_eq!(words.code, 0, "{words:?}");
    assert!(words.stdout.contains(&format!("in force from {at}")), "{words:?}");
}

#[test]
fn a_case_in_shadow_mode_is_said_to_be_watched() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let told = answer(&terminate(&edge, "TS-1", "new.example", &["--mode", "shadow"]), 0);
    assert_eq!(told["result"], "watched");
    edge.get("new.example").assert_forwarded();
}

#[test]
fn an_id_that_begins_with_a_dot_is_enforced_all_the_same() {
    let origin = Origin::start();
    let edge = edge(&origin);
    answer(&terminate(&edge, ".hidden", "new.example", &[]), 0);
    edge.get("new.example").assert_blocked(403);
    assert_eq!(edge.policies().names("cases"), ["_.hidden.toml", "first.toml"]);
}

#[test]
fn without_an_edge_the_file_is_written_and_nobody_is_said_to_enforce_it() {
    let origin = Origin::start();
    let mut edge = edge(&origin);
    edge.stop();
    let output = terminate(&edge, "TS-1", "one.example", &[]);
    assert_eq!(answer(&output, 3)["result"], "offline");
    assert!(output.stderr.contains("nobody enforces it"), "{output:?}");
    assert_eq!(answer(&terminate(&edge, "TS-2", "two.example", &["--offline"]), 0)["result"], "offline");
    // Nobody else checks the whole set before the next start.
    edge.policies().write_list("empty.txt", "# nothing\n");
    let output = terminate(&edge, "TS-3", "three.example", &["--offline", "--host-list", "lists/empty.txt"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("lists/empty.txt"), "{output:?}");
    let output = terminate(&edge, "first", "three.example", &["--offline"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(edge.policies().names("cases"), ["TS-1.toml", "TS-2.toml", "first.toml"]);
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    edge.get("one.example").assert_blocked(403);
    edge.get("two.example").assert_blocked(403);
}

#[test]
fn what_an_edge_that_does_not_answer_was_told_it_takes_up_when_it_listens_again() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.process().signal(Signal::STOP);
    let output = terminate(&edge, "TS-1", "one.example", &["--timeout", "1"]);
    assert_eq!(answer(&output, 3)["result"], "unknown");
    assert!(output.stderr.contains("no answer in time"), "{output:?}");
    // What nobody could take up is not written.
    let output = terminate(&edge, "first", "two.example", &["--timeout", "1"]);
    assert_eq!(output.code, 1, "{output:?}");
    let ended = edge.command(&["reinstate", "first", "--reason", "appeal", "--timeout", "1", "--json"]);
    assert_eq!(answer(&ended, 3)["result"], "unknown");
    let back = edge.command(&["rollback", "1", "--timeout", "1"]);
    assert!(back.code == 3 && back.stderr.contains("nothing was changed"), "{back:?}");
    assert_eq!(edge.policies().names("cases"), ["TS-1.toml"]);
    edge.process().signal(Signal::CONT);
    wait_until("it has taken both up", || edge.get("first.example").status == 200);
    edge.get("one.example").assert_blocked(403);
}

#[test]
fn a_dry_run_shows_the_case_and_what_would_change_and_writes_nothing() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let told = answer(&terminate(&edge, "TS-1", ".first.example", &["--action", "refuse", "--dry-run"]), 0);
    assert!(told["toml"].as_str().unwrap().contains("action = \"refuse\""), "{told}");
    assert_eq!((&told["names"]["added"], &told["names"]["removed"]), (&1.into(), &0.into()));
    let turn = &told["hosts"][0];
    assert_eq!((&turn["before"]["verdict"], &turn["before"]["case"]), (&"block".into(), &"first".into()));
    // The exact pattern of the other case still goes first.
    assert_eq!((&turn["after"]["case"], &turn["after"]["also"][0]), (&"first".into(), &"TS-1".into()));
    let words = edge.command(&[
        "terminate",
        "--dry-run",
        "--id",
        "TS-1",
        "--customer",
        "c",
        "--basis",
        "abuse",
        "--host",
        "new.example",
    ]);
    assert_eq!(words.code, 0, "{words:?}");
    for word in
        ["hosts = [\"new.example\"]", "1 name would be added", "allow", "block", "nothing was written"]
    {
        assert!(words.stdout.contains(word), "no `{word}` in {}", words.stdout);
    }
    assert_eq!(edge.policies().names("cases"), ["first.toml"]);
    assert_eq!(edge.status().revision(), 1);
    // What is wrong shows in a dry run as well.
    assert_eq!(terminate(&edge, "TS-1", "a..b", &["--dry-run"]).code, 2);
}

#[test]
fn a_directory_that_cannot_be_written_is_an_io_error_that_names_the_file() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let cases = edge.policies().path().join("cases");
    if rustix::process::getuid().is_root() {
        // Root writes wherever it likes: a file in the place of the directory stops it, too.
        fs::rename(&cases, edge.home().join("away")).unwrap();
        fs::write(&cases, "").unwrap();
    } else {
        fs::set_permissions(&cases, fs::Permissions::from_mode(0o500)).unwrap();
    }
    let output = terminate(&edge, "TS-1", "new.example", &[]);
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("TS-1.toml"), "{output:?}");
    edge.get("first.example").assert_blocked(403);
}
