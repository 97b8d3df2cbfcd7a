//! Rules come and go while the edge runs; a broken set changes nothing but the log.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use crate::harness::audit::{Record, of_kind, only};
use crate::harness::{CaseFile, Edge, Origin, PolicyDir, Setup, wait_until};

fn edge_with_one_case(origin: &Origin) -> Edge {
    Setup::new().origin(origin).case(CaseFile::new("first", &["first.example"])).start()
}

fn second() -> CaseFile {
    CaseFile::new("second", &["second.example"])
}

#[test]
fn a_new_case_file_is_in_force_without_being_asked() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    edge.get("second.example").assert_forwarded();
    let status = edge.change(|policies| policies.write(&second()));
    assert_eq!((status.revision(), status.cases(), status.last_result()), (2, 2, "applied"));
    edge.get("second.example").assert_blocked(403);
    edge.get("first.example").assert_blocked(403);
}

#[test]
fn a_case_file_written_in_place_is_noticed() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    edge.change(|policies| fs::write(policies.case_path("second"), second().toml()).unwrap());
    edge.get("second.example").assert_blocked(403);
}

#[test]
fn a_removed_case_file_ends_the_block() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    edge.change(|policies| policies.remove_case("first"));
    edge.get("first.example").assert_forwarded();
}

#[test]
fn a_renamed_case_file_changes_the_set_but_not_the_case() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    edge.change(|policies| {
        fs::rename(policies.case_path("first"), policies.case_path("renamed")).unwrap();
    });
    edge.get("first.example").assert_blocked(403);
}

#[test]
fn a_changed_list_is_noticed() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin);
    setup.policies().write_list("l.txt", "one.example\n");
    let edge = setup.case(CaseFile::new("listed", &[]).key("host_lists = [\"lists/l.txt\"]")).start();
    edge.get("two.example").assert_forwarded();
    edge.change(|policies| policies.write_list("l.txt", "one.example\ntwo.example\n"));
    edge.get("two.example").assert_blocked(403);
}

#[test]
fn a_directory_that_is_replaced_whole_is_noticed() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    let elsewhere = edge.home().join("checkout");
    PolicyDir::create(elsewhere.clone()).write(&second());
    edge.change(|policies| {
        fs::rename(policies.path().join("cases"), edge.home().join("old-cases")).unwrap();
        fs::rename(elsewhere.join("cases"), policies.path().join("cases")).unwrap();
    });
    edge.get("first.example").assert_forwarded();
    edge.get("second.example").assert_blocked(403);
    // The new directory is watched as the old one was.
    edge.change(|policies| policies.remove_case("second"));
    edge.get("second.example").assert_forwarded();
}

#[test]
fn a_hangup_reloads_and_an_unchanged_set_keeps_its_revision() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    edge.process().signal(Signal::HUP);
    wait_until("the reload is done", || edge.status().last_result() == "unchanged");
    assert_eq!(edge.status().revision(), 1);
    edge.get("first.example").assert_blocked(403);
}

#[test]
fn a_thousand_files_at_once_are_a_few_revisions_at_most() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    for number in 0..1000 {
        edge.policies().write(&CaseFile::new(&format!("n{number}"), &[&format!("n{number}.example")]));
    }
    wait_until("all cases are in force", || edge.status().cases() == 1001);
    edge.get("n0.example").assert_blocked(403);
    edge.get("n999.example").assert_blocked(403);
    assert!(edge.status().revision() < 100, "revision {}", edge.status().revision());
}

#[test]
fn an_edge_with_no_case_at_all_forwards_everything() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).start();
    edge.get("any.example").assert_forwarded();
    assert_eq!(edge.status().cases(), 0);
}

#[test]
fn a_revision_is_never_used_twice_whatever_restarts_happen() {
    let origin = Origin::start();
    let mut edge = edge_with_one_case(&origin);
    edge.change(|policies| policies.write(&second()));
    edge.restart();
    let after_restart = edge.status().revision();
    assert!(after_restart >= 2);
    edge.change(|policies| policies.remove_case("second"));
    edge.kill9();
    edge.start_again().unwrap();
    edge.change(|policies| policies.write(&second()));
    let records = edge.finish();
    let mut digests: Vec<(u64, String)> = of_kind(&records, "policy.applied")
        .iter()
        .map(|record| (record.number("revision"), record.text("digest").to_owned()))
        .collect();
    assert!(digests.is_sorted_by_key(|(revision, _)| *revision), "{digests:?}");
    digests.dedup();
    assert!(digests.windows(2).all(|pair| pair[0].0 < pair[1].0), "one revision, two sets: {digests:?}");
}

/// What is wrong, how it is done to a directory, and a word the diagnostic must hold.
type Breakage = (&'static str, fn(&PolicyDir), &'static str);

/// Every way in which a policy directory breaks.
const BREAKAGES: &[Breakage] = &[
    ("a syntax error", |p| p.write_case("broken", "id = \"broken"), "broken.toml"),
    ("an unknown key", |p| p.write_case("broken", &second().key("hots = []").toml()), "hots"),
    ("a wrong type", |p| p.write_case("broken", &second().key("status = \"403\"").toml()), "status"),
    ("a duplicate id", |p| p.write_case("broken", &CaseFile::new("first", &["x.example"]).toml()), "first"),
    ("a bad name", |p| p.write_case("broken", &CaseFile::new("b", &["a..example"]).toml()), "a..example"),
    ("an empty file", |p| p.write_case("broken", ""), "broken.toml"),
    (
        "a missing list",
        |p| p.write_case("broken", &second().key("host_lists = [\"lists/no.txt\"]").toml()),
        "no.txt",
    ),
    ("invalid UTF-8", |p| fs::write(p.case_path("broken"), b"id = \"\xff\xfe\"").unwrap(), "broken.toml"),
    ("a directory in place of a file", replace_by_directory, "first.toml"),
    ("a symlink loop", loop_of_links, "broken.toml"),
    ("a link to nothing", |p| symlink("nowhere.toml", p.case_path("broken")).unwrap(), "broken.toml"),
    ("a file of 100 MB", hundred_megabytes, "broken.toml"),
    ("a fifo", fifo, "broken.toml"),
    // Permissions do not stop root; reading a process's memory from its start does.
    ("an unreadable file", |p| symlink("/proc/self/mem", p.case_path("broken")).unwrap(), "broken.toml"),
    ("a list with a bad entry", list_with_a_bad_entry, "l.txt"),
];

fn replace_by_directory(policies: &PolicyDir) {
    policies.remove_case("first");
    fs::create_dir(policies.case_path("first")).unwrap();
}

fn loop_of_links(policies: &PolicyDir) {
    symlink("broken.toml", policies.path().join("cases/other.toml")).unwrap();
    symlink("other.toml", policies.case_path("broken")).unwrap();
}

fn hundred_megabytes(policies: &PolicyDir) {
    let path = policies.case_path("broken");
    fs::write(&path, second().toml()).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(100 << 20).unwrap();
}

fn fifo(policies: &PolicyDir) {
    let path = policies.case_path("broken");
    assert_eq!(crate::harness::tools::run("mkfifo", [path.to_str().unwrap()]).code, 0);
}

fn list_with_a_bad_entry(policies: &PolicyDir) {
    policies.write_list("l.txt", "good.example\nhttp://bad.example/x\n");
    policies.write_case("broken", &second().key("host_lists = [\"lists/l.txt\"]").toml());
}

/// The rejection is everywhere it should be, and the set that ran still runs.
#[track_caller]
fn assert_rejected(edge: &Edge, what: &str, word: &str) {
    wait_until(what, || edge.status().last_result() == "rejected");
    let status = edge.status();
    assert_eq!(status.revision(), 1, "{what}");
    assert!(status.last_errors().contains(word), "{what}: no `{word}` in {}", status.last_errors());
    edge.get("first.example").assert_blocked(403);
    edge.get("second.example").assert_forwarded();
    wait_until("the log line is out", || edge.process().stderr().contains(word));
    let records = edge.records();
    let rejected: Vec<&Record> = of_kind(&records, "policy.rejected");
    let last = rejected.last().unwrap_or_else(|| panic!("{what}: no policy.rejected"));
    assert!(last.0["errors"].to_string().contains(word), "{what}: {}", last.0);
    assert!(last.number("error_count") >= 1, "{what}: {}", last.0);
}

#[test]
fn a_broken_set_leaves_the_running_one_alone_and_a_restart_runs_on_the_last_good() {
    let origin = Origin::start();
    for (what, break_it, word) in BREAKAGES {
        println!("{what}");
        let mut edge = edge_with_one_case(&origin);
        break_it(edge.policies());
        assert_rejected(&edge, what, word);
        edge.restart();
        let status = edge.status();
        assert_eq!((status.last_result(), status.cases(), status.revision()), ("last-good", 1, 1), "{what}");
        edge.get("first.example").assert_blocked(403);
        edge.get("second.example").assert_forwarded();
    }
}

#[test]
fn a_policy_directory_that_vanishes_is_no_empty_set() {
    let origin = Origin::start();
    let mut edge = edge_with_one_case(&origin);
    fs::rename(edge.policies().path(), edge.home().join("gone")).unwrap();
    edge.process().signal(Signal::HUP);
    wait_until("the loss is noticed", || edge.status().last_result() == "rejected");
    edge.get("first.example").assert_blocked(403);
    edge.restart();
    assert_eq!(edge.status().last_result(), "last-good");
    edge.get("first.example").assert_blocked(403);
}

#[test]
fn a_cases_directory_that_vanishes_is_no_empty_set() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    fs::rename(edge.policies().path().join("cases"), edge.home().join("gone")).unwrap();
    wait_until("the loss is noticed", || edge.status().last_result() == "rejected");
    edge.get("first.example").assert_blocked(403);
}

#[test]
fn all_errors_of_a_set_are_reported_at_once() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    edge.policies().write_case("broken", &second().key("hots = []\nstatus = 200\nmode = \"watch\"").toml());
    wait_until("the set is rejected", || edge.status().last_result() == "rejected");
    let errors = edge.status().last_errors();
    for word in ["hots", "200", "watch"] {
        assert!(errors.contains(word), "no `{word}` in {errors}");
    }
}

#[test]
fn a_repaired_set_comes_into_force() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    edge.policies().write_case("second", "broken");
    wait_until("the set is rejected", || edge.status().last_result() == "rejected");
    edge.change(|policies| policies.write(&second()));
    assert_eq!(edge.status().last_result(), "applied");
    edge.get("second.example").assert_blocked(403);
}

#[test]
fn an_edge_with_neither_a_good_set_nor_a_last_good_one_refuses_to_start() {
    for (what, break_it, word) in BREAKAGES {
        let setup = Setup::new().case(CaseFile::new("first", &["first.example"]));
        break_it(setup.policies());
        let Err((_, ended)) = setup.try_start() else { panic!("it started with {what}") };
        assert_eq!(ended.status.code(), Some(2), "{what}: {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{what}: {}", ended.stderr);
    }
}

#[test]
fn an_applied_set_is_recorded_with_its_digest_and_size() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    let status = edge.status();
    let records = edge.finish();
    let applied = only(&records, "policy.applied");
    assert_eq!(applied.text("digest"), status.digest());
    assert_eq!(status.digest().len(), 64);
    assert_eq!((applied.number("revision"), applied.number("cases"), applied.number("hosts")), (1, 1, 1));
}

#[test]
fn the_metrics_say_what_the_status_says() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    edge.get("first.example").assert_blocked(403);
    edge.get("allowed.example").assert_forwarded();
    let response = edge.admin("/metrics");
    assert_eq!(response.status, 200);
    let metrics = response.text();
    let case_line =
        metrics.lines().find(|line| line.contains("case=\"first\"")).unwrap_or_else(|| panic!("{metrics}"));
    assert!(case_line.ends_with(" 1"), "{case_line}");
    for word in ["revision", "reload", "audit", "_bucket"] {
        assert!(
            metrics.lines().any(|line| line.starts_with("interdict_") && line.contains(word)),
            "{word}: {metrics}"
        );
    }
}

#[test]
fn a_start_that_fails_leaves_a_log_that_says_so() {
    let origin = Origin::start();
    let mut edge = edge_with_one_case(&origin);
    edge.stop();
    let config = fs::read_to_string(edge.config()).unwrap();
    let broken = config.replace("[admin]\n", "[admin]\ntoken_file = \"absent\"\n");
    fs::write(edge.config(), broken).unwrap();
    let ended = edge.start_again().unwrap_err();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    edge.note_start();
    let kinds: Vec<String> = edge.records().iter().map(|record| record.kind().to_owned()).collect();
    assert_eq!(kinds.last().map(String::as_str), Some("edge.stopped"), "{kinds:?}");
    assert!(!edge.home().join("state/control.sock").exists());
    fs::write(edge.config(), config).unwrap();
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
}
