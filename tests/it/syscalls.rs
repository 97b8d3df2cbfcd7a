//! The real process killed in its system calls, and the calls made to fail, by `strace`.
//!
//! A fault is aimed at the n-th call of a thread. Which n are worth it is seen in one run without a fault: those whose
//! arguments name the log.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use interdict::audit::{self, Acknowledge, Audit, Kind};
use interdict::clock::SystemClock;
use tempfile::TempDir;

use crate::harness::audit::assert_verifies;
use crate::harness::recorder::{self, Said};

const CALLS: &[&str] =
    &["pwrite64", "fdatasync", "fsync", "rename", "unlink", "ftruncate", "fallocate", "mmap", "openat"];
/// Events of a run: some segments' worth.
const EVENTS: u32 = 120;

/// Faults tried for each call: a few, or with `INTERDICT_SOAK=1` all there are.
fn tries() -> usize {
    if std::env::var_os("INTERDICT_SOAK").is_some_and(|value| value == "1") { usize::MAX } else { 3 }
}

/// Whether processes can be traced here; says so when not.
fn can_trace() -> bool {
    let output = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    match output {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            println!("left out: strace: {}", String::from_utf8_lossy(&output.stderr).trim());
            false
        }
        Err(error) => {
            println!("left out: strace: {error}");
            false
        }
    }
}

/// A directory in memory, where that is to be had: thousands of syncs go faster.
fn place() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A log that a killed process has left, and how many blocks are in it.
struct Template {
    home: TempDir,
    blocks: usize,
}

impl Template {
    fn make() -> Self {
        let home = place();
        let log = home.path().join("audit");
        let recorder = recorder::Recorder::start(&log, false);
        recorder.wait_for_receipts(100);
        let receipts = recorder.kill().receipts.len();
        let blocks = blocks(&log).len();
        assert!(blocks >= receipts);
        Self { home, blocks }
    }

    fn copy(&self) -> TempDir {
        let copy = place();
        let status = Command::new("cp")
            .args(["-a", "--sparse=always"])
            .args([self.home.path().join("audit"), copy.path().join("audit")])
            .status();
        assert!(status.unwrap().success());
        copy
    }
}

/// The ids of blocks; fails when one is there twice.
fn blocks(log: &Path) -> HashSet<String> {
    let mut found = HashSet::new();
    for item in audit::records(log).unwrap() {
        let record = item.unwrap().unwrap();
        if record.fields().unwrap().get("kind").unwrap() == Kind::RequestBlocked.as_str() {
            assert!(found.insert(record.id.to_string()), "{} is in the log twice", record.id);
        }
    }
    found
}

/// A recorder under strace; returns what it said, and what strace wrote.
fn traced(home: &Path, inject: Option<&str>, acknowledge: Acknowledge) -> (Said, String) {
    let trace = home.join("trace");
    let calls = format!("trace={}", CALLS.join(","));
    let mut strace = vec!["strace", "-f", "-y", "-o", trace.to_str().unwrap(), "-e", &calls];
    strace.extend(inject.iter().flat_map(|inject| ["-e", inject]));
    let mut command = recorder::command(&strace, &home.join("audit"), Some(EVENTS), acknowledge);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let mut said = Said::default();
    String::from_utf8_lossy(&output.stdout).split_inclusive('\n').for_each(|line| said.hear(line));
    (said, fs::read_to_string(trace).unwrap())
}

/// The calls of a trace that name the log: which of their thread they are, thinned out to a few.
fn targets(trace: &str, log: &Path) -> Vec<(&'static str, usize)> {
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    let mut found: BTreeMap<&'static str, BTreeSet<usize>> = BTreeMap::new();
    let log = format!("{}/", log.display());
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, arguments)) = call.trim_start().split_once('(') else { continue };
        let Some(name) = CALLS.iter().find(|call| **call == name) else { continue };
        let count = counts.entry((thread, name)).or_default();
        *count += 1;
        if arguments.contains(&log) {
            found.entry(name).or_default().insert(*count);
        }
    }
    let thin = |(call, numbers): (_, BTreeSet<usize>)| {
        let wanted = tries().min(numbers.len());
        let numbers: Vec<usize> = numbers.into_iter().collect();
        (0..wanted).map(move |step| (call, numbers[step * numbers.len() / wanted])).collect::<Vec<_>>()
    };
    found.into_iter().flat_map(thin).collect()
}

/// What must hold after the next start, whatever happened before.
#[track_caller]
fn check(template: &Template, log: &Path, said: &Said, what: &str) {
    let (audit, recovery) = Audit::open(recorder::options(log), Arc::new(SystemClock)).unwrap();
    assert_eq!(recovery.new_epoch, None, "{what}: {:?}", recovery.problems);
    audit.close().unwrap();
    assert_eq!(fs::read_dir(log.join("epochs")).unwrap().count(), 1, "{what}: a new epoch");
    let found = blocks(log);
    for id in &said.receipts {
        assert!(found.contains(id), "{what}: {id} was acknowledged and is not in the log");
    }
    for id in &said.missed {
        assert!(!found.contains(id), "{what}: {id} was only counted and is in the log");
    }
    let known = template.blocks + said.receipts.len();
    assert!((known..=known + 1).contains(&found.len()), "{what}: {} found, {known} known", found.len());
    if let Some((_, durable, gap)) = said.closed {
        assert_eq!((durable as usize, gap as usize), (said.receipts.len(), said.missed.len()), "{what}");
        assert_eq!(audit::check(log).unwrap().missed, gap, "{what}");
    }
    assert_verifies(log);
}

/// One run for each target.
fn try_each(fault: &str, acknowledge: Acknowledge) {
    if !can_trace() {
        return;
    }
    let template = Template::make();
    let home = template.copy();
    let (said, trace) = traced(home.path(), None, acknowledge);
    assert_eq!(said.closed, Some((true, u64::from(EVENTS), 0)), "{said:?}");
    check(&template, &home.path().join("audit"), &said, "without a fault");
    let targets = targets(&trace, &home.path().join("audit"));
    let (mut ended, mut struck) = (0, 0);
    for (call, number) in &targets {
        let what = format!("{fault} at {call} {number}, {acknowledge:?}");
        let home = template.copy();
        let inject = format!("inject={call}:{fault}:when={number}");
        let (said, trace) = traced(home.path(), Some(&inject), acknowledge);
        let killed = trace.contains("killed by SIGKILL");
        assert!(
            killed || said.closed.is_some() || !said.opened || *call == "mmap",
            "{what}: {said:?}\n{trace}"
        );
        ended += usize::from(said.closed.is_none());
        struck += usize::from(killed || trace.contains("(INJECTED)"));
        check(&template, &home.path().join("audit"), &said, &what);
    }
    println!("{fault}, {acknowledge:?}: {} runs, {struck} struck, {ended} ended by it", targets.len());
    assert!(targets.len() >= 12 && struck * 2 > targets.len(), "{struck} of {} struck", targets.len());
}

#[test]
fn a_process_killed_at_a_system_call_loses_nothing_it_acknowledged() {
    try_each("signal=KILL", Acknowledge::Process);
}

#[test]
fn a_process_killed_at_a_system_call_loses_nothing_the_disk_acknowledged() {
    try_each("signal=KILL", Acknowledge::Disk);
}

#[test]
fn a_system_call_that_fails_with_eio_loses_and_miscounts_nothing() {
    try_each("error=EIO", Acknowledge::Process);
}

#[test]
fn a_system_call_that_fails_with_enospc_loses_and_miscounts_nothing() {
    try_each("error=ENOSPC", Acknowledge::Process);
}

#[test]
fn a_system_call_that_fails_while_the_disk_acknowledges_loses_and_miscounts_nothing() {
    try_each("error=EIO", Acknowledge::Disk);
}
