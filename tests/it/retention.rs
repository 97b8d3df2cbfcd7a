//! Holds, pruning and pseudonyms as an operator meets them, with an edge running and without one.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::harness::audit::{Record, of_kind, only};
use crate::harness::process::BINARY;
use crate::harness::tls::Authority;
use crate::harness::tools::{Output, interdict};
use crate::harness::{CaseFile, Edge, Setup, wait_for};

fn audit(edge: &Edge, arguments: &[&str]) -> Output {
    let config = edge.config();
    let fixed = ["--config", config.to_str().unwrap()];
    interdict(["audit"].iter().chain(arguments).copied().chain(fixed))
}

fn lines(output: &Output) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn pseudonymous() -> Edge {
    Setup::new().case(CaseFile::new("site", &[".site.example"])).audit("client = \"pseudonym\"").start()
}

/// A key of a period long ago.
fn old_key(edge: &Edge, label: &str) -> std::path::PathBuf {
    let path = edge.home().join("state/client.key").join(format!("{label}.key"));
    fs::write(&path, format!("{:032x}\n", 1)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn holds_are_placed_and_released_by_the_edge_that_runs_and_without_one() {
    let mut edge = pseudonymous();
    let place = ["hold", "place", "letter-1", "--case", "site", "--reason", "a letter of 23 November"];
    let placed = audit(&edge, &place);
    assert_eq!(placed.code, 0, "{placed:?}");
    let again = audit(&edge, &place);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("there is a hold `letter-1` already"), "{}", again.stderr);
    let listed = lines(&audit(&edge, &["hold", "list"]));
    assert_eq!(
        (listed.len(), &listed[0]["name"], &listed[0]["case"]),
        (1, &"letter-1".into(), &"site".into())
    );
    let hold = only(&edge.records(), "hold.placed").0["hold"].clone();
    assert_eq!(hold["reason"], "a letter of 23 November");

    edge.stop();
    let released = audit(&edge, &["hold", "release", "letter-1", "--reason", "the matter is closed"]);
    assert_eq!(released.code, 0, "{released:?}");
    let absent = audit(&edge, &["hold", "release", "letter-1", "--reason", "once more"]);
    assert_eq!(absent.code, 1, "{absent:?}");
    assert!(lines(&audit(&edge, &["hold", "list"])).is_empty());
    assert_eq!(only(&edge.records(), "hold.released").text("reason"), "the matter is closed");
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let edge = pseudonymous();
    for arguments in [
        &["hold", "place", "../x", "--reason", "r"][..],
        &["hold", "place", "x", "--reason", ""],
        &["hold", "place", "x", "--host", "a b", "--reason", "r"],
        &["hold", "place", "x", "--since", "yesterday", "--reason", "r"],
        &["hold", "place", "x"],
        &["prune"],
        &["prune", "--older-than", "90"],
        &["prune", "--max-size", "1GB"],
    ] {
        let output = audit(&edge, arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
    }
    assert!(of_kind(&edge.records(), "hold.placed").is_empty());
}

#[test]
fn a_key_is_destroyed_on_record_and_never_that_of_now() {
    let edge = pseudonymous();
    edge.get("site.example");
    let key = old_key(&edge, "2020-01");
    let rehearsal = audit(&edge, &["prune", "--keys-older-than", "30d", "--dry-run"]);
    assert_eq!(lines(&rehearsal)[0]["pruned"]["keys"], serde_json::json!(["2020-01"]), "{rehearsal:?}");
    assert!(key.exists() && of_kind(&edge.records(), "audit.pruned").is_empty());
    let pruned = audit(&edge, &["prune", "--keys-older-than", "0s"]);
    assert_eq!(lines(&pruned)[0]["pruned"]["keys"], serde_json::json!(["2020-01"]), "{pruned:?}");
    assert!(!key.exists());
    assert_eq!(only(&edge.records(), "audit.pruned").texts("keys"), ["2020-01"]);
    let revealed = audit(&edge, &["reveal"]);
    assert_eq!((revealed.code, &lines(&revealed)[0]["address"]), (0, &"127.0.0.1".into()), "{revealed:?}");
}

#[test]
fn reveal_leads_from_a_record_to_its_client_and_says_when_nobody_can() {
    let mut edge = pseudonymous();
    edge.get("site.example");
    edge.get("www.site.example");
    let records = edge.records();
    let blocked = of_kind(&records, "request.blocked");
    let pseudonyms: Vec<&str> = blocked.iter().map(|record| record.text("client")).collect();
    assert!(pseudonyms[0] == pseudonyms[1] && pseudonyms[0] != "127.0.0.1", "{pseudonyms:?}");

    let one = lines(&audit(&edge, &["reveal", "--id", blocked[1].text("id")]));
    assert_eq!((one.len(), &one[0]["id"]), (1, &blocked[1].0["id"]));
    assert_eq!((&one[0]["address"], &one[0]["client"]), (&"127.0.0.1".into(), &pseudonyms[1].into()));
    assert_eq!(audit(&edge, &["reveal", "--case", "other"]).code, 1, "nothing was found");
    let piped = reveal_from_pipe(&edge, blocked[0]);
    assert_eq!(lines(&piped)[0]["address"], "127.0.0.1", "{piped:?}");

    edge.stop();
    let keys = fs::read_dir(edge.home().join("state/client.key")).unwrap();
    let key =
        keys.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "key"));
    fs::remove_file(key.unwrap()).unwrap();
    let unknown = audit(&edge, &["reveal"]);
    assert_eq!(unknown.code, 1);
    let said = lines(&unknown);
    assert!(said[0]["unknown"].as_str().unwrap().contains("there is no key"), "{said:?}");
    assert_eq!(said[0].get("address"), None);
    let unchanged = edge.records().iter().zip(&records).all(|(after, before)| after.0 == before.0);
    assert!(unchanged, "a key that is gone changes no record");
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
}

/// `audit reveal -`, with one record on standard input.
fn reveal_from_pipe(edge: &Edge, record: &Record) -> Output {
    let mut child = Command::new(BINARY)
        .args(["audit", "reveal", "-", "--config"])
        .arg(edge.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{}\n", record.0).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    Output { code: output.status.code().unwrap_or(-1), stdout, stderr: String::new() }
}

/// Blocks until there are `closed` closed segments, and says which segments there are.
fn fill(edge: &Edge, host: &str, closed: usize) -> Vec<String> {
    let indexes = |names: &[String]| names.iter().filter(|name| name.ends_with(".zst")).count();
    let before = indexes(&names_in(edge, "segments"));
    let mut client = edge.connect();
    // A segment of 64 KiB holds some 120 records; one more has to come before the last is closed.
    (0..200 * (closed + 1)).for_each(|_| drop(client.get(host, "/")));
    wait_for("segments are closed", || {
        let names = names_in(edge, "segments");
        (indexes(&names) >= before + closed).then_some(names)
    })
}

fn names_in(edge: &Edge, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(edge.audit_directory().join(folder)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_running_edge_prunes_segments_and_starts_again_without_them() {
    let setup = Setup::new().case(CaseFile::new("site", &["site.example"]));
    let mut edge = setup.audit("segment_bytes = 65536").start();
    fill(&edge, "site.example", 2);
    let reason = ["--case", "site", "--reason", "r"];
    assert_eq!(audit(&edge, &[&["hold", "place", "h"], &reason[..]].concat()).code, 0);
    let held = lines(&audit(&edge, &["prune", "--older-than", "0s"]));
    assert_eq!(held[0]["pruned"]["runs"].as_array().unwrap().len(), 0, "{held:?}");
    assert!(held[0]["pruned"]["held"].as_array().unwrap().len() >= 2, "{held:?}");
    assert_eq!(audit(&edge, &["hold", "release", "h", "--reason", "r"]).code, 0);

    let pruned = lines(&audit(&edge, &["prune", "--older-than", "0s"]));
    let run = &pruned[0]["pruned"]["runs"][0];
    assert!(run["first_seq"] == 1 && run["segments"].as_u64().unwrap() >= 2, "{pruned:?}");
    assert!(!names_in(&edge, "segments").contains(&format!("{:020}.idx", 1)));
    assert!(names_in(&edge, "pruned").contains(&format!("{:020}.idx", 1)));
    // The log goes on after a restart, and the start finds nothing to complain about.
    edge.kill9();
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    edge.get("site.example");
    assert_sound(&mut edge, run["last_seq"].as_u64().unwrap() + 1);
    edge.end_unchecked();
}

/// The start had nothing to complain about, the log is read from this record on, and what remains verifies.
#[track_caller]
fn assert_sound(edge: &mut Edge, first: u64) {
    let said = edge.process().stderr();
    assert!(!said.contains("not as it was left"), "{said}");
    assert_eq!(edge.records()[0].number("seq"), first);
    edge.kill9();
    let verified = audit(edge, &["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
}

#[test]
fn a_hold_by_host_keeps_what_named_the_host_in_the_handshake_alone() {
    let authority = Authority::new();
    let setup = Setup::new().case(CaseFile::new("one", &["forum.example"])).audit("segment_bytes = 65536");
    let certs = setup.home().join("certs");
    authority.issue(&certs, "all", &["forum.example"]);
    let table = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }";
    let mut edge = setup.case(CaseFile::new("two", &["two.example"])).table(table).start();
    let config = Arc::new(authority.client(&["http/1.1"]));
    let mut client = edge.connect_tls(&config, "forum.example").unwrap();
    client.get("any.example", "/evidence").unwrap().assert_blocked(403);
    drop(client);
    fill(&edge, "two.example", 4);
    for host in ["forum.example", "any.example"] {
        let found = lines(&audit(&edge, &["search", "--host", host]));
        assert_eq!((found.len(), &found[0]["path"]), (1, &"/evidence".into()), "{host}: {found:?}");
        assert_eq!(
            (&found[0]["host"], &found[0]["matched"]),
            (&"any.example".into(), &"forum.example".into())
        );
    }
    let place = ["hold", "place", "h", "--host", "forum.example", "--reason", "evidence"];
    assert_eq!(audit(&edge, &place).code, 0);
    let pruned = lines(&audit(&edge, &["prune", "--older-than", "0s"]));
    assert_eq!(pruned[0]["pruned"]["held"], serde_json::json!([1]), "{pruned:?}");
    assert!(pruned[0]["pruned"]["runs"][0]["first_seq"].as_u64().unwrap() > 1, "{pruned:?}");
    let found = audit(&edge, &["search", "--host", "forum.example", "--count"]);
    assert_eq!((found.stdout.as_str(), found.code, found.stderr.as_str()), ("1\n", 0, ""), "{found:?}");
    edge.kill9();
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    assert_sound(&mut edge, 1);
    edge.end_unchecked();
}

#[test]
fn segments_between_others_can_go_and_the_log_is_as_sound_as_before() {
    let one = CaseFile::new("one", &["one.example"]);
    let setup = Setup::new().case(one).case(CaseFile::new("two", &["two.example"]));
    let mut edge = setup.audit("segment_bytes = 65536").start();
    fill(&edge, "one.example", 1);
    fill(&edge, "two.example", 4);
    assert_eq!(audit(&edge, &["hold", "place", "h", "--case", "one", "--reason", "r"]).code, 0);
    let pruned = lines(&audit(&edge, &["prune", "--max-size", "0B"]));
    assert_eq!(pruned[0]["pruned"]["held"][0], 1, "{pruned:?}");
    assert!(pruned[0]["pruned"]["runs"][0]["first_seq"].as_u64().unwrap() > 1, "{pruned:?}");
    edge.kill9();
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    assert_sound(&mut edge, 1);
    edge.end_unchecked();
}

#[test]
fn a_log_by_itself_is_held_and_pruned_by_its_directory_and_one_in_use_is_not() {
    let mut edge = pseudonymous();
    edge.get("site.example");
    let directory = edge.audit_directory();
    let on = |arguments: &[&str]| {
        let fixed = ["--directory", directory.to_str().unwrap()];
        interdict(["audit"].iter().chain(arguments).copied().chain(fixed))
    };
    let place = ["hold", "place", "letter-2", "--reason", "a letter"];
    let refused = on(&place);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("in use") && refused.stderr.contains("--config"), "{refused:?}");
    assert!(lines(&on(&["hold", "list"])).is_empty());
    edge.stop();

    assert_eq!(on(&place).code, 0);
    assert_eq!(lines(&on(&["hold", "list"]))[0]["name"], "letter-2");
    let placed = only(&edge.records(), "hold.placed").0.clone();
    assert_eq!(placed["edge"], "edge-under-test", "of the newest record");
    let kept = on(&["prune", "--max-size", "1KiB"]);
    assert_eq!((kept.code, &lines(&kept)[0]["pruned"]["runs"]), (0, &serde_json::json!([])), "{kept:?}");
    let released = on(&["hold", "release", "letter-2", "--reason", "closed", "--edge", "by-hand"]);
    assert_eq!(released.code, 0, "{released:?}");
    assert_eq!(only(&edge.records(), "hold.released").text("edge"), "by-hand");

    let key = old_key(&edge, "2020-01");
    let unsaid = on(&["prune", "--keys-older-than", "30d"]);
    assert_eq!(unsaid.code, 2, "{unsaid:?}");
    assert!(unsaid.stderr.contains("--keys"), "{unsaid:?}");
    let keys = edge.home().join("state/client.key");
    let pruned = on(&["prune", "--keys-older-than", "30d", "--keys", keys.to_str().unwrap()]);
    assert_eq!(pruned.code, 0, "{pruned:?}");
    assert!(!key.exists());
    // `edge.toml` is nowhere near.
    let away = Command::new(BINARY)
        .args(["audit", "reveal", "--directory", directory.to_str().unwrap()])
        .current_dir(edge.home().join("policies"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&away.stderr);
    assert_eq!(away.status.code(), Some(2), "{said}");
    assert!(said.contains("--keys DIR"), "{said}");
    let revealed = on(&["reveal", "--keys", keys.to_str().unwrap()]);
    assert_eq!(lines(&revealed)[0]["address"], "127.0.0.1", "{revealed:?}");
    let nowhere = interdict(["audit", "hold", "list", "--directory", "/nowhere/at/all"]);
    assert_eq!(nowhere.code, 3, "{nowhere:?}");
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
}
