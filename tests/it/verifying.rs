//! `audit verify` of a log that an edge writes to, and of a copy made meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::crowd::is_soak;
use crate::harness::load::Load;
use crate::harness::process::BINARY;
use crate::harness::tools::{Output, run};
use crate::harness::{CaseFile, Edge, Setup, wait_until};
use crate::tidy::root;

/// How often a log is verified while it moves.
fn turns() -> usize {
    if is_soak() { 60 } else { 8 }
}

/// An edge that closes a segment every hundred records or so.
fn edge() -> Edge {
    Setup::new().case(CaseFile::new("site", &["site.example"])).audit("segment_bytes = 65536").start()
}

/// Load that has closed some segments already and closes more.
fn load(edge: &Edge) -> Load {
    // One client alone: sealing has to keep up on a busy machine.
    let load = Load::start(edge.address(), &edge.ledger(), 1, &["site.example"]);
    wait_for_closed(edge, 3);
    load
}

/// Compressing stands back behind whatever else a busy machine does: one segment after the other is waited for.
fn wait_for_closed(edge: &Edge, count: usize) {
    for count in 1..=count {
        wait_until("a segment is closed and compressed", || closed(edge).len() >= count);
    }
}

fn closed(edge: &Edge) -> Vec<PathBuf> {
    let names = fs::read_dir(edge.audit_directory().join("segments")).unwrap();
    let names = names.map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|extension| extension == "zst")).collect()
}

fn verify(edge: &Edge) -> Output {
    edge.command(&["audit", "verify"])
}

#[test]
fn a_sound_log_is_never_said_to_be_damaged_while_segments_are_closed() {
    let edge = edge();
    let load = load(&edge);
    let before = closed(&edge).len();
    for turn in 0..turns() {
        load.wait_for_answers(100);
        let verified = verify(&edge);
        assert_eq!(verified.code, 0, "turn {turn}: {verified:?}");
        assert!(!verified.stdout.contains("ids have no record"), "turn {turn}: {verified:?}");
    }
    // Each has some 130 records; that they were compressed as well may take a moment.
    wait_for_closed(&edge, before + 4);
    load.finish();
}

#[test]
fn one_flipped_bit_is_always_found_while_segments_are_closed() {
    let edge = edge();
    let load = load(&edge);
    let name = format!("segments/{:020}.jsonl.zst", 1);
    let path = edge.audit_directory().join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    for turn in 0..turns() {
        load.wait_for_answers(100);
        let verified = verify(&edge);
        assert_eq!(verified.code, 1, "turn {turn}: {verified:?}");
        let findings = verified.stdout.lines().take_while(|line| !line.starts_with("epoch "));
        assert!(findings.clone().any(|line| line.starts_with(&name)), "turn {turn}: {verified:?}");
        // What cannot be read has no ids either.
        let is_due = |line: &str| line.starts_with(&name) || line.contains("ids have no record");
        assert!(findings.clone().all(is_due), "turn {turn}: {verified:?}");
    }
    load.finish();
    edge.end_unchecked();
}

#[test]
fn ids_of_pruned_segments_are_told_as_such_when_the_log_is_verified() {
    let mut edge = edge();
    load(&edge).finish();
    assert_eq!(edge.command(&["audit", "prune", "--older-than", "0s"]).code, 0);
    edge.kill9();
    let verified = verify(&edge);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(verified.stdout.contains("they may be in pruned segments"), "{verified:?}");
    assert!(!verified.stdout.contains("gap records"), "{verified:?}");
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    edge.end_unchecked();
}

#[test]
fn a_folder_in_the_place_of_an_index_is_a_finding_when_the_log_is_verified() {
    let mut edge = edge();
    load(&edge).finish();
    edge.kill9();
    let index = edge.audit_directory().join(format!("segments/{:020}.idx", 1));
    fs::remove_file(&index).unwrap();
    fs::create_dir(&index).unwrap();
    let verified = verify(&edge);
    assert_eq!(verified.code, 1, "{verified:?}");
    assert!(verified.stdout.contains("00001.idx: it cannot be read: Is a directory"), "{verified:?}");
    assert!(verified.stdout.trim_end().ends_with(": 1 finding"), "the rest is verified: {verified:?}");
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    edge.end_unchecked();
}

/// The backup script of docs/deploy.md, with everything on this machine and below `target`.
fn script(edge: &Edge, target: &Path) -> String {
    let text = fs::read_to_string(root().join("docs/deploy.md")).unwrap();
    let block = text.split("```").find(|block| block.contains("interdict-backup")).unwrap();
    let target = target.to_str().unwrap();
    for folder in ["keys", "checkpoints"] {
        fs::create_dir_all(format!("{target}/srv/{folder}")).unwrap();
    }
    let host = String::from_utf8(std::process::Command::new("hostname").output().unwrap().stdout).unwrap();
    let key = edge.audit_directory().join("log.pub");
    fs::copy(key, format!("{target}/srv/keys/{}.pub", host.trim())).unwrap();
    [
        ("sh\n", ""),
        ("/var/log/interdict/audit", edge.audit_directory().to_str().unwrap()),
        ("/etc/interdict/", &format!("{}/policies/", edge.home().display())),
        ("ssh backup ", ""),
        ("backup:", ""),
        ("witness:", ""),
        ("/srv/", &format!("{target}/srv/")),
        ("interdict audit verify", &format!("{BINARY} audit verify")),
    ]
    .iter()
    .enumerate()
    .fold(block.to_owned(), |text, (at, (from, to))| {
        assert!(text.contains(from), "the script has `{from}`");
        if at == 0 { text.replacen(from, to, 1) } else { text.replace(from, to) }
    })
}

#[test]
fn a_copy_made_by_the_backup_script_under_load_verifies_each_time() {
    let edge = edge();
    let load = load(&edge);
    let target = tempfile::TempDir::new().unwrap();
    let script = script(&edge, target.path());
    for turn in 0..turns().div_ceil(2) {
        load.wait_for_answers(100);
        let made = run("sh", ["-c", &script]);
        assert_eq!(made.code, 0, "turn {turn}: {made:?}");
        assert!(made.stdout.contains("all is as it was signed"), "turn {turn}: {made:?}");
    }
    load.finish();
    let checkpoints = fs::read_dir(target.path().join("srv/checkpoints")).unwrap().count();
    assert_eq!(checkpoints, 2, "the newest checkpoint and the key");
    let kept = run("find", [target.path().to_str().unwrap(), "-name", "log.key"]);
    assert_eq!(kept.stdout, "", "the private key stays where it is");
    assert!(!edge.audit_directory().join(".still").exists());
    edge.end_unchecked();
}
