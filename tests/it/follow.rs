//! The log read by others while it grows and after: `audit tail --follow`, zstd and jq.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::BINARY;
use crate::harness::{CaseFile, Edge, Origin, PATIENCE, Setup, wait_until};

const BLOCKED: &str = "blocked.example";

fn start(origin: &Origin) -> Edge {
    Setup::new().origin(origin).audit("segment_bytes = 65536").case(CaseFile::new("page", &[BLOCKED])).start()
}

fn closed_segments(edge: &Edge) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(edge.audit_directory().join("segments")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "idx")).collect()
}

/// Blocks until this many segments are closed.
fn close_segments(edge: &Edge, wanted: usize) {
    let mut client = edge.connect();
    wait_until("segments are closed", || {
        (0..20).for_each(|_| drop(client.get(BLOCKED, "/").unwrap()));
        closed_segments(edge).len() >= wanted
    });
}

/// A process that would follow for ever; it ends with the test, also with one that fails.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn tail_of(edge: &Edge) -> Child {
    Command::new(BINARY)
        .args(["audit", "tail", "--follow", "--lines", "1000", "--directory"])
        .arg(edge.audit_directory())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn tail_follows_a_live_edge_and_shows_each_record_once() {
    let origin = Origin::start();
    let mut edge = start(&origin);
    let mut tail = Following(tail_of(&edge));
    let (sender, shown) = mpsc::channel();
    let lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        lines.map_while(Result::ok).for_each(|line| sender.send(line).unwrap_or_default());
    });
    let seq_of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
    let mut ids = Vec::new();
    let mut take = |line: String| {
        assert_eq!(seq_of(&line), ids.len() as u64 + 1, "{line}");
        ids.push(serde_json::from_str::<Value>(&line).unwrap()["id"].as_str().unwrap().to_owned());
        ids.len()
    };
    // It is there from before the first segment is full until several are sealed and compressed.
    take(shown.recv_timeout(PATIENCE).unwrap());
    close_segments(&edge, 4);
    edge.stop();
    let records = edge.records();
    let mut count = 1;
    while count < records.len() {
        count = take(shown.recv_timeout(PATIENCE).unwrap());
    }
    // Nothing comes that was there before.
    assert!(shown.recv_timeout(Duration::from_millis(500)).is_err());
    drop(tail);
    reader.join().unwrap();
    assert!(records.iter().map(|record| record.text("id")).eq(ids));
}

#[test]
fn zstd_and_jq_find_in_a_closed_segment_what_its_index_says() {
    for program in ["zstd", "jq"] {
        if Command::new(program).arg("--version").output().is_err() {
            println!("left out: `{program}` is absent");
            return;
        }
    }
    let origin = Origin::start();
    let mut edge = start(&origin);
    close_segments(&edge, 3);
    edge.stop();
    for path in closed_segments(&edge) {
        let index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let output = Command::new("sh")
            .args(["-c", "zstd -dc \"$1\" | jq -r .seq", "sh"])
            .arg(path.with_extension("jsonl.zst"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let found: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        let (first, records) = (index["first_seq"].as_u64().unwrap(), index["records"].as_u64().unwrap());
        assert!(found.iter().copied().eq(first..first + records), "{}", path.display());
    }
}
