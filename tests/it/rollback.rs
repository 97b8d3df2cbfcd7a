//! `interdict history` and `interdict rollback`: back to what was, as a new revision.

use std::fs;

use interdict::policy::Digest;
use jiff::Timestamp;
use serde_json::Value;

use crate::harness::audit::of_kind;
use crate::harness::tools::Output;
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_for, wait_until};

#[track_caller]
fn answer(output: &Output, code: i32) -> Value {
    assert_eq!(output.code, code, "{output:?}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} in {output:?}"))
}

fn rollback(edge: &Edge, revision: u64, more: &[&str]) -> Output {
    edge.command(&[&["rollback", "--json", &revision.to_string()], more].concat())
}

/// The history, once the revision in force is in it: it is in force before it is kept.
fn history(edge: &Edge) -> Vec<Value> {
    let revision = edge.status().revision();
    wait_for("the revision in force is kept", || {
        let entries = history_now(edge);
        let newest = entries.last()?;
        (newest["revision"] == revision && (revision == 1 || newest["event"].is_string())).then_some(entries)
    })
}

fn history_now(edge: &Edge) -> Vec<Value> {
    let output = edge.command(&["history", "--json"]);
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Revision 1: `a` with a list. Revision 2: `a` with more in its list, and `b`. Revision 3: neither `a` nor its list.
fn edge_with_three(origin: &Origin) -> Edge {
    let listed = CaseFile::new("a", &["a.example"]).key("host_lists = [\"lists/sub/l.txt\"]");
    let setup = Setup::new().origin(origin).case(listed);
    fs::create_dir_all(setup.policies().path().join("lists/sub")).unwrap();
    setup.policies().write_list("sub/l.txt", "one.example\n");
    let edge = setup.start();
    edge.change(|policies| policies.write_list("sub/l.txt", "one.example\ntwo.example\n"));
    edge.change(|policies| {
        policies.write(&CaseFile::new("b", &["b.example"]));
        policies.remove_case("a");
        fs::remove_file(policies.path().join("lists/sub/l.txt")).unwrap();
    });
    edge
}

#[test]
fn a_rollback_is_a_new_revision_with_the_old_files_and_the_old_verdicts() {
    let origin = Origin::start();
    let edge = edge_with_three(&origin);
    edge.get("two.example").assert_forwarded();
    edge.get("b.example").assert_blocked(403);
    let before = history(&edge);
    let told = answer(&rollback(&edge, 2, &[]), 0);
    edge.get("two.example").assert_blocked(403);
    edge.get("a.example").assert_blocked(403);
    edge.get("b.example").assert_forwarded();
    assert_eq!((&told["result"], &told["revision"], &told["of"]), (&"in-force".into(), &4.into(), &2.into()));
    let second = before.iter().find(|entry| entry["revision"] == 2).unwrap();
    assert_eq!((edge.status().revision(), edge.status().digest()), (4, second["digest"].as_str().unwrap()));
    assert_eq!(edge.policies().names("cases"), ["a.toml"]);
    assert_eq!(edge.policies().names("lists/sub"), ["l.txt"]);
    // What it took out is not lost.
    let archive = edge.policies().names("ended");
    assert_eq!(archive.len(), 1, "{archive:?}");
    assert!(edge.policies().path().join("ended").join(&archive[0]).join("cases/b.toml").exists());
    let records = edge.finish();
    let applied = of_kind(&records, "policy.applied");
    assert_eq!(applied.iter().map(|record| record.number("revision")).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let change = &applied[3].0["changes"][0];
    assert_eq!((&change["command"], &change["reason"]), (&"rollback".into(), &"rollback of 2".into()));
    assert_eq!(applied[3].0["id"], told["event"]);
    assert!(of_kind(&records, "policy.rejected").is_empty(), "no half of it was read");
}

#[test]
fn the_history_says_what_each_revision_changed_and_who_did_it() {
    let origin = Origin::start();
    let edge = edge_with_three(&origin);
    let terminate =
        ["terminate", "--id", "TS-1", "--customer", "c", "--basis", "abuse", "--host", "t.example"];
    assert_eq!(edge.command(&terminate).code, 0);
    let entries = history(&edge);
    let numbers: Vec<_> = entries
        .iter()
        .map(|entry| (entry["revision"].as_u64().unwrap(), entry["cases"].as_u64().unwrap()))
        .collect();
    assert_eq!(numbers, [(1, 1), (2, 1), (3, 1), (4, 2)]);
    let names: Vec<_> = entries
        .iter()
        .map(|entry| (entry["names"]["added"].as_u64(), entry["names"]["removed"].as_u64()))
        .collect();
    assert_eq!(names, [(None, None), (Some(1), Some(0)), (Some(1), Some(3)), (Some(1), Some(0))]);
    assert_eq!(entries[3]["changes"][0]["case"], "TS-1");
    assert_eq!(entries[2]["changes"], serde_json::json!([]));
    let words = edge.command(&["history"]);
    assert!(words.stdout.lines().last().unwrap().contains("terminate TS-1"), "{words:?}");
    let records = edge.finish();
    let applied = of_kind(&records, "policy.applied");
    for entry in &entries[1..] {
        let record = applied.iter().find(|record| record.0["revision"] == entry["revision"]).unwrap();
        assert_eq!(record.0["id"], entry["event"]);
    }
}

#[test]
fn as_many_revisions_are_kept_as_is_asked_for() {
    let origin = Origin::start();
    let setup =
        Setup::new().origin(&origin).policy("keep_revisions = 2").case(CaseFile::new("a", &["a.example"]));
    let edge = setup.start();
    for number in 0..3 {
        let id = format!("c{number}");
        edge.change(|policies| policies.write(&CaseFile::new(&id, &[&format!("{id}.example")])));
    }
    // The set is kept after it is in force.
    let numbers =
        || history(&edge).iter().map(|entry| entry["revision"].as_u64().unwrap()).collect::<Vec<_>>();
    // What is too old is dropped after that.
    wait_until("the old ones are dropped", || numbers() == [3, 4]);
    let output = rollback(&edge, 1, &[]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("not kept"), "{output:?}");
    assert_eq!(edge.status().revision(), 4);
}

#[test]
fn a_dry_run_shows_the_files_and_changes_none() {
    let origin = Origin::start();
    let edge = edge_with_three(&origin);
    let told = answer(&rollback(&edge, 1, &["--dry-run"]), 0);
    assert_eq!(told["written"], serde_json::json!(["cases/a.toml", "lists/sub/l.txt"]));
    assert_eq!(told["taken_out"], serde_json::json!(["cases/b.toml"]));
    assert_eq!((&told["names"]["added"], &told["names"]["removed"]), (&2.into(), &1.into()));
    assert_eq!((edge.status().revision(), edge.policies().names("cases")), (3, vec!["b.toml".to_owned()]));
}

#[test]
fn a_rollback_to_what_is_in_force_is_no_new_revision() {
    let origin = Origin::start();
    let edge = edge_with_three(&origin);
    let told = answer(&rollback(&edge, 3, &[]), 0);
    assert_eq!(told["revision"], 3);
    assert_eq!(edge.status().revision(), 3);
}

#[test]
fn a_rollback_repairs_a_directory_that_the_edge_refuses() {
    let origin = Origin::start();
    let edge = edge_with_three(&origin);
    edge.policies().write_case("broken", "id = ");
    wait_until("the set is refused", || edge.status().last_result() == "rejected");
    let told = answer(&rollback(&edge, 1, &[]), 0);
    assert_eq!(told["revision"], 4);
    edge.get("one.example").assert_blocked(403);
    edge.get("two.example").assert_forwarded();
    assert_eq!(edge.policies().names("cases"), ["a.toml"]);
}

#[test]
fn a_rollback_that_was_cut_off_is_read_by_nobody_until_it_is_run_again() {
    let origin = Origin::start();
    let mut edge = edge_with_three(&origin);
    // As a command that was killed leaves it: the mark is up, and half of the files are in their place.
    fs::write(edge.policies().path().join("rollback.unfinished"), "").unwrap();
    edge.policies().remove_case("b");
    edge.policies().write(&CaseFile::new("half", &["half.example"]));
    wait_until("the set is refused", || edge.status().last_result() == "rejected");
    assert!(edge.status().last_errors().contains("rollback"), "{}", edge.status().last_errors());
    edge.get("b.example").assert_blocked(403);
    edge.get("half.example").assert_forwarded();
    assert_eq!(edge.command(&["check"]).code, 1);
    edge.kill9();
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    assert_eq!(edge.status().last_result(), "last-good");
    edge.get("b.example").assert_blocked(403);
    answer(&rollback(&edge, 3, &[]), 0);
    assert!(!edge.policies().path().join("rollback.unfinished").exists());
    edge.get("b.example").assert_blocked(403);
    edge.get("half.example").assert_forwarded();
    assert_eq!(edge.command(&["check"]).code, 0);
    edge.change(|policies| policies.write(&CaseFile::new("next", &["next.example"])));
    edge.get("next.example").assert_blocked(403);
}

#[test]
fn without_an_edge_the_directory_is_put_back_and_the_next_start_takes_it_up() {
    let origin = Origin::start();
    let mut edge = edge_with_three(&origin);
    edge.stop();
    assert_eq!(rollback(&edge, 1, &[]).code, 3);
    assert_eq!(rollback(&edge, 2, &["--offline"]).code, 0);
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    edge.get("two.example").assert_blocked(403);
    assert_eq!(edge.status().revision(), 4, "no number is used twice");
}

#[test]
fn a_set_that_the_disk_would_not_keep_is_kept_when_it_can() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).case(CaseFile::new("a", &["a.example"]));
    let edge = setup.start();
    let objects = edge.home().join("state/objects");
    let away = edge.home().join("state/objects.away");
    fs::rename(&objects, &away).unwrap();
    fs::write(&objects, "no directory").unwrap();
    edge.change(|policies| policies.write(&CaseFile::new("b", &["b.example"])));
    edge.get("b.example").assert_blocked(403);
    let kept =
        || history_now(&edge).iter().map(|entry| entry["revision"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(kept(), [1]);
    let stuck = Timestamp::now();
    fs::remove_file(&objects).unwrap();
    fs::rename(&away, &objects).unwrap();
    wait_until("it is kept", || kept() == [1, 2]);
    let entry = history(&edge)[1].clone();
    let output = rollback(&edge, 1, &[]);
    assert_eq!(output.code, 0, "{output:?}");
    // It is known by the moment at which it came into force, and not by the one at which the disk took it.
    let records = edge.finish();
    let applied =
        of_kind(&records, "policy.applied").into_iter().find(|record| record.0["id"] == entry["event"]);
    let [kept, told] = [entry["applied"].as_str().unwrap(), applied.unwrap().text("time")]
        .map(|time| time.parse::<Timestamp>().unwrap());
    assert!(kept <= told && told < stuck, "kept {kept}, recorded {told}, the disk was well after {stuck}");
}

#[test]
fn a_set_that_the_disk_would_not_keep_at_the_start_is_kept_when_it_can() {
    let origin = Origin::start();
    let mut edge = Setup::new().origin(&origin).case(CaseFile::new("a", &["a.example"])).start();
    edge.stop();
    edge.policies().write(&CaseFile::new("b", &["b.example"]));
    // The place of the new file is taken, and what is kept can be read.
    let file = fs::read(edge.policies().case_path("b")).unwrap();
    let taken = edge.home().join("state/objects").join(Digest::of(&file).to_string());
    fs::create_dir(&taken).unwrap();
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    edge.get("b.example").assert_blocked(403);
    let kept =
        || history_now(&edge).iter().map(|entry| entry["revision"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!((edge.status().revision(), kept()), (2, vec![1]));
    fs::remove_dir(&taken).unwrap();
    wait_until("it is kept", || kept() == [1, 2]);
}
