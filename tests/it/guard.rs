//! Guard rails: a careless change is held back and an approved one goes through; what is no accident is not held.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::audit::{Record, of_kind};
use crate::harness::tools::{Output, interdict};
use crate::harness::{CaseFile, Edge, Origin, PolicyDir, Setup, wait_for, wait_until};

/// Hosts `n0.example` and so on.
fn hosts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("n{number}.example")).collect()
}

pub fn case_of(id: &str, range: std::ops::Range<usize>) -> CaseFile {
    let hosts = hosts(range);
    CaseFile::new(id, &hosts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn listed(id: &str) -> CaseFile {
    CaseFile::new(id, &[]).key("host_lists = [\"lists/l.txt\"]\non_bad_entry = \"skip\"")
}

/// What the edge says of the set it holds back.
#[track_caller]
pub fn held(edge: &Edge) -> Value {
    edge.status().0["held"].clone()
}

/// Changes the policy directory and waits until the change is held back; nothing else may have become of it.
#[track_caller]
pub fn hold(edge: &Edge, change: impl FnOnce(&PolicyDir)) -> Value {
    let before = edge.status();
    let earlier = before.0["held"]["digest"].clone();
    change(edge.policies());
    let held = wait_for("the set is held back", || {
        let held = held(edge);
        (!held.is_null() && held["digest"] != earlier).then_some(held)
    });
    assert_eq!(edge.status().revision(), before.revision());
    assert_eq!(edge.status().last_result(), "held");
    held
}

pub fn rails(held: &Value) -> Vec<&str> {
    held["findings"].as_array().unwrap().iter().map(|finding| finding["rail"].as_str().unwrap()).collect()
}

pub fn digest(held: &Value) -> String {
    held["digest"].as_str().unwrap().to_owned()
}

pub fn approve(edge: &Edge, digest: &str, more: &[&str]) -> Output {
    let config = edge.config();
    let fixed = ["approve", digest, "--config", config.to_str().unwrap()];
    interdict(fixed.iter().chain(more).copied())
}

/// Approves of what is held back, and it is in force at once.
#[track_caller]
pub fn approve_all(edge: &Edge, held: &Value) {
    let output = approve(edge, &digest(held), &[]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(edge.status().digest(), digest(held));
    assert!(self::held(edge).is_null());
}

pub fn rejections(records: &[Record]) -> Vec<&Record> {
    of_kind(records, "policy.rejected")
}

#[test]
fn a_set_that_frees_too_many_names_is_held_back_recorded_and_comes_with_approval() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("max_removed = 2");
    let edge = setup.case(case_of("a", 0..5)).start();
    let held = hold(&edge, |policies| policies.write(&case_of("a", 0..2)));
    assert_eq!(rails(&held), ["max-removed"]);
    assert_eq!((&held["findings"][0]["found"], &held["findings"][0]["limit"]), (&3.into(), &2.into()));
    assert_eq!(held["findings"][0]["first"][0], "n2.example");
    assert_eq!(held["findings"][0]["cases"][0], "a");
    edge.get("n4.example").assert_blocked(403);
    assert!(edge.admin("/metrics").text().contains("\ninterdict_policy_held 1\n"));

    let wrong = approve(&edge, &"0".repeat(64), &[]);
    assert_eq!(wrong.code, 1, "{}{}", wrong.stdout, wrong.stderr);
    assert!(wrong.stdout.contains("is held back"), "{}", wrong.stdout);
    assert_eq!(approve(&edge, "not-a-digest", &[]).code, 2);
    edge.get("n4.example").assert_blocked(403);

    approve_all(&edge, &held);
    edge.get("n4.example").assert_forwarded();
    edge.get("n1.example").assert_blocked(403);
    assert!(edge.admin("/metrics").text().contains("\ninterdict_policy_held 0\n"));
    let digest = digest(&held);
    let records = edge.finish();
    let rejected = rejections(&records);
    assert_eq!(rejected.len(), 1, "one hold, one record");
    assert_eq!((rejected[0].0["held"].as_bool(), rejected[0].text("digest")), (Some(true), digest.as_str()));
    assert_eq!(rejected[0].0["findings"][0]["rail"], "max-removed");
    let applied = of_kind(&records, "policy.applied");
    let by = applied.last().unwrap().texts("approved_by");
    assert!(by.len() == 1 && by[0].starts_with("uid "), "{by:?}");
    assert!(applied[0].texts("approved_by").is_empty());
}

#[test]
fn a_set_that_blocks_too_many_names_is_held_back_by_number_and_by_share() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("max_added = 20\nmax_added_percent = 30\nfloor = 20");
    let edge = setup.case(case_of("a", 0..20)).start();
    let by_share = hold(&edge, |policies| policies.write(&case_of("b", 20..27)));
    assert_eq!(rails(&by_share), ["max-added"]);
    assert!(by_share["findings"][0]["message"].as_str().unwrap().contains("35 %"), "{by_share}");
    let by_number = hold(&edge, |policies| policies.write(&case_of("b", 20..41)));
    assert_eq!(by_number["findings"][0]["limit"], 20);
    edge.get("n20.example").assert_forwarded();
    // What was approved is the second set, not the first.
    assert_eq!(approve(&edge, &digest(&by_share), &[]).code, 1);
    approve_all(&edge, &by_number);
    edge.get("n40.example").assert_blocked(403);
}

#[test]
fn a_case_on_protected_names_or_networks_is_refused_and_cannot_be_approved() {
    let origin = Origin::start();
    let protect = "protect = [\"www.operator.example\", \".control.example\", \"192.0.2.0/24\"]";
    let edge = Setup::new().origin(&origin).guard(protect).case(case_of("a", 0..1)).start();
    let bad = [
        CaseFile::new("bad", &["fine.example", ".operator.example"]),
        CaseFile::new("bad", &["api.control.example"]),
        CaseFile::new("bad", &["fine.example"]).key("origins = [\"192.0.2.7/32\"]"),
    ];
    for (number, case) in bad.iter().enumerate() {
        edge.policies().write(case);
        wait_until("the set is refused", || rejections(&edge.records()).len() > number);
        let refused = &rejections(&edge.records())[number].0.clone();
        assert_eq!(refused["findings"][0]["rail"], "protect", "{refused}");
        assert_eq!(refused["findings"][0]["cases"][0], "bad", "{refused}");
        assert!(refused["errors"][0].as_str().unwrap().starts_with("cases/bad.toml:"), "{refused}");
    }
    let status = edge.status();
    assert_eq!((status.last_result(), status.revision()), ("rejected", 1));
    let output = interdict(["check", "--config", edge.config().to_str().unwrap()]);
    assert_eq!(output.code, 1);
    assert!(
        output.stderr.contains("`192.0.2.0/24`, which is protected (guard rail `protect`)"),
        "{}",
        output.stderr
    );
    // With an exception it touches nothing that is protected.
    edge.change(|policies| {
        policies
            .write(&CaseFile::new("bad", &[".operator.example"]).key("except = [\"www.operator.example\"]"));
    });
    edge.get("shop.operator.example").assert_blocked(403);
    edge.get("www.operator.example").assert_forwarded();
}

#[test]
fn a_pattern_that_covers_a_public_suffix_is_refused_at_its_line_and_a_customer_of_it_is_not() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin);
    setup.policies().write_list("l.txt", "a.example\n");
    let edge = setup.case(listed("a")).start();
    edge.policies().write_list("l.txt", "a.example\n# all of it\n*.github.io\n");
    wait_until("the set is refused", || edge.status().last_result() == "rejected");
    let errors = edge.status().last_errors();
    assert!(errors.contains("lists/l.txt:3:1: error: `*.github.io`"), "{errors}");
    assert!(errors.contains("public-suffix"), "{errors}");
    edge.get("anyone.github.io").assert_forwarded();
    edge.change(|policies| policies.write_list("l.txt", "a.example\n.customer.github.io\ngithub.io\n"));
    edge.get("www.customer.github.io").assert_blocked(403);
    edge.get("github.io").assert_blocked(403);
    edge.get("anyone.github.io").assert_forwarded();
}

#[test]
fn a_list_that_shrinks_empties_grows_or_breaks_is_held_back_and_comes_with_approval() {
    let origin = Origin::start();
    let lines = |range| hosts(range).join("\n") + "\n";
    let broken = lines(0..15) + &"$0/\n".repeat(16);
    let steps: [(&str, String, &[&str]); 4] = [
        ("shrinks", lines(0..9), &["list-shrunk"]),
        ("grows", lines(0..100), &["list-grew"]),
        ("breaks", broken, &["list-unparsable"]),
        ("empties", "$0/\n".repeat(20), &["list-emptied", "list-unparsable"]),
    ];
    for (what, text, expected) in steps {
        let setup = Setup::new()
            .origin(&origin)
            .guard("floor = 10\nmax_added_percent = 10_000\nmax_removed_percent = 100");
        setup.policies().write_list("l.txt", &lines(0..20));
        let edge = setup.case(listed("a")).start();
        let held = hold(&edge, |policies| policies.write_list("l.txt", &text));
        assert_eq!(rails(&held), expected, "a list that {what}");
        assert_eq!(held["findings"][0]["first"][0], "lists/l.txt");
        edge.get("n19.example").assert_blocked(403);
        edge.get("n50.example").assert_forwarded();
        approve_all(&edge, &held);
        let last = edge.get("n19.example");
        if what == "grows" {
            last.assert_blocked(403)
        } else {
            last.assert_forwarded()
        };
    }
}

#[test]
fn a_block_of_much_of_the_last_hours_traffic_is_held_back_and_one_of_little_is_not() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).guard("max_blocked_requests_percent = 25\nfloor = 20").start();
    for number in 0..40 {
        edge.get(&format!("n{}.example", number % 20)).assert_forwarded();
        edge.get("busy.example").assert_forwarded();
    }
    // Twenty of eighty requests are 25 %.
    edge.change(|policies| policies.write(&case_of("little", 0..10)));
    let held = hold(&edge, |policies| policies.write(&CaseFile::new("much", &["busy.example"])));
    assert_eq!(rails(&held), ["blast-radius-requests"]);
    assert_eq!(held["findings"][0]["found"], 40);
    assert_eq!(held["findings"][0]["first"][0], "busy.example");
    edge.get("busy.example").assert_forwarded();
    // One that only watches blocks nothing.
    edge.change(|policies| policies.write(&CaseFile::new("much", &["busy.example"]).shadow()));
    let held = hold(&edge, |policies| policies.write(&CaseFile::new("much", &[".example"])));
    approve_all(&edge, &held);
    edge.get("busy.example").assert_blocked(403);
}

#[test]
fn a_block_of_many_routed_hosts_is_held_back() {
    let origin = Origin::start();
    let address = origin.address().to_string();
    let names: Vec<String> = (0..12).map(|number| format!("*.n{number}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let edge = Setup::new().route(&names, &[&address]).start();
    edge.change(|policies| {
        policies.write(&CaseFile::new("few", &[".n0.example", ".n1.example", ".n2.example"]))
    });
    let held = hold(&edge, |policies| policies.write(&CaseFile::new("many", &[".example"])));
    assert_eq!(rails(&held), ["blast-radius-routes"]);
    assert_eq!(held["findings"][0]["found"], 9);
    edge.get("a.n5.example").assert_forwarded();
    approve_all(&edge, &held);
    edge.get("a.n5.example").assert_blocked(403);
}

/// Makes a key, and returns its file and its public key.
#[track_caller]
pub fn key(home: &Path, name: &str) -> (PathBuf, String) {
    let path = home.join(format!("{name}.key"));
    let output = interdict(["policy", "keygen", "--name", name, "--out", path.to_str().unwrap()]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    (path, output.stdout.trim().to_owned())
}

#[test]
fn two_approvals_take_two_keys_and_outlive_a_restart() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).case(case_of("a", 0..5));
    let home = setup.home();
    let [(ann, ann_key), (bob, bob_key), (eve, _)] = ["ann", "bob", "eve"].map(|name| key(&home, name));
    let line = format!("max_removed = 2\napprovals = 2\nkeys = [\"{ann_key}\", \"{bob_key}\"]");
    let mut edge = setup.guard(&line).start();
    let held = hold(&edge, |policies| policies.write(&case_of("a", 0..1)));
    let digest = digest(&held);
    let with = |edge: &Edge, key: &Path| approve(edge, &digest, &["--key", key.to_str().unwrap()]);

    let unsigned = approve(&edge, &digest, &[]);
    assert_eq!(unsigned.code, 1);
    assert!(unsigned.stdout.contains("has to be signed"), "{}", unsigned.stdout);
    assert_eq!(with(&edge, &eve).code, 1, "a key that is not configured");
    let first = with(&edge, &ann);
    assert_eq!(
        (first.code, first.stdout.contains("\"noted\"")),
        (0, true),
        "{}{}",
        first.stdout,
        first.stderr
    );
    let again = with(&edge, &ann);
    assert_eq!((again.code, again.stdout.contains("approved already")), (1, true), "{}", again.stdout);

    edge.restart();
    assert_eq!(edge.status().last_result(), "held");
    assert_eq!(edge.status().0["held"]["approvals"][0]["by"], "ann");
    edge.get("n4.example").assert_blocked(403);
    let second = with(&edge, &bob);
    assert_eq!(second.code, 0, "{}{}", second.stdout, second.stderr);
    edge.get("n4.example").assert_forwarded();
    let records = edge.finish();
    let applied = of_kind(&records, "policy.applied");
    assert_eq!(applied.last().unwrap().texts("approved_by"), ["ann", "bob"]);
    assert!(rejections(&records).iter().all(|record| record.0["held"] == true));
}

#[test]
fn a_set_that_changes_after_its_approval_needs_another_one() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("max_removed = 2").case(case_of("a", 0..9));
    let edge = setup.start();
    let first = hold(&edge, |policies| policies.write(&case_of("a", 0..5)));
    let second = hold(&edge, |policies| policies.write(&case_of("a", 0..4)));
    assert_eq!(approve(&edge, &digest(&first), &[]).code, 1);
    edge.get("n8.example").assert_blocked(403);
    // Whoever takes the change back has nothing left to approve.
    edge.policies().write(&case_of("a", 0..9));
    wait_until("nothing is held back", || held(&edge).is_null());
    assert_eq!(approve(&edge, &digest(&second), &[]).code, 1);
    edge.get("n8.example").assert_blocked(403);
    assert_eq!(edge.status().revision(), 1);
}

#[test]
fn a_directory_that_changed_while_the_edge_was_down_is_compared_with_the_last_good_set() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("max_removed = 2").case(case_of("a", 0..5));
    let mut edge = setup.start();
    edge.stop();
    edge.policies().write(&case_of("a", 0..1));
    let check = interdict(["check", "--config", edge.config().to_str().unwrap()]);
    assert_eq!(check.code, 0, "{}", check.stderr);
    assert!(check.stdout.contains("held back") && check.stdout.contains("max-removed: "), "{}", check.stdout);
    edge.start_again().unwrap();
    edge.get("n4.example").assert_blocked(403);
    let held = held(&edge);
    assert_eq!((rails(&held), edge.status().last_result()), (vec!["max-removed"], "held"));
    edge.restart();
    assert_eq!(self::held(&edge)["digest"], held["digest"]);
    approve_all(&edge, &held);
    edge.get("n4.example").assert_forwarded();
    edge.restart();
    edge.get("n4.example").assert_forwarded();
    edge.get("n0.example").assert_blocked(403);
}

#[test]
fn the_first_set_is_taken_whatever_its_size_but_not_with_a_protected_name() {
    let origin = Origin::start();
    let first = || Setup::new().origin(&origin).guard("max_added = 1\nprotect = [\"n3.example\"]");
    let edge = first().case(case_of("a", 10..30)).start();
    edge.get("n29.example").assert_blocked(403);
    drop(edge);
    let Err((_home, ended)) = first().case(case_of("a", 0..30)).try_start() else { panic!("it has started") };
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("`n3.example`, which is protected"), "{}", ended.stderr);
}

#[test]
fn a_name_that_is_protected_later_keeps_the_edge_on_its_last_good_set() {
    let origin = Origin::start();
    let mut edge = Setup::new().origin(&origin).case(case_of("a", 0..2)).start();
    edge.stop();
    let config = std::fs::read_to_string(edge.config()).unwrap();
    std::fs::write(edge.config(), config.replace("[guard]", "[guard]\nprotect = [\"n1.example\"]")).unwrap();
    edge.start_again().unwrap();
    assert_eq!(edge.status().last_result(), "last-good");
    edge.get("n0.example").assert_blocked(403);
    // It was never held against these rails: a change beside it makes it no better.
    edge.policies().write(&CaseFile::new("b", &["b.example"]));
    wait_until("the set is refused", || edge.status().last_result() == "rejected");
    edge.get("b.example").assert_forwarded();
    edge.change(|policies| policies.write(&case_of("a", 0..1)));
    edge.get("n1.example").assert_forwarded();
}

#[test]
fn daily_work_and_moves_within_the_set_are_not_held_back() {
    let origin = Origin::start();
    let strict =
        "max_added = 1\nmax_removed = 1\nmax_added_percent = 1\nmax_removed_percent = 1\nfloor = 500";
    let setup = Setup::new().origin(&origin).guard(strict);
    setup.policies().write_list("l.txt", &hosts(0..100).join("\n"));
    let edge = setup.case(listed("a")).case(case_of("b", 100..200)).start();
    // One name more, one less.
    edge.change(|policies| policies.write(&case_of("b", 100..201)));
    edge.change(|policies| policies.write(&case_of("b", 100..200)));
    // Another id, another file, another order, a list that becomes part of a case.
    edge.change(|policies| {
        policies.write(&case_of("c", 100..200));
        policies.remove_case("b");
    });
    let mut turned = hosts(0..100);
    turned.reverse();
    edge.change(|policies| policies.write_list("l.txt", &turned.join("\n")));
    edge.change(|policies| policies.write(&case_of("a", 0..100)));
    edge.get("n99.example").assert_blocked(403);
    let records = edge.finish();
    assert!(rejections(&records).iter().all(|record| record.0["held"] != true), "nothing was held back");
}
