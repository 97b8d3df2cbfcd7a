//! `interdict load` at its bounds: it finds the rate of a server that is known, and it bears thousands of connections.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::crowd::is_soak;
use crate::harness::tools::{interdict, run};
use crate::harness::{CaseFile, Setup};

/// Answers so many requests a second and no more, one after the other, as a till serves a queue.
struct Till {
    address: SocketAddr,
}

/// When it is free for the next one.
type Free = Arc<Mutex<Instant>>;

impl Till {
    fn start(rate: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let free: Free = Arc::new(Mutex::new(Instant::now()));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let free = Arc::clone(&free);
                thread::spawn(move || serve(stream, &free, Duration::from_secs(1) / rate));
            }
        });
        Self { address }
    }
}

fn serve(mut stream: TcpStream, free: &Free, each: Duration) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
        let done = {
            let mut free = free.lock().unwrap();
            *free = (*free).max(Instant::now()) + each;
            *free
        };
        // What it takes to serve one: late as this may end, the next one's time is not later for it.
        thread::sleep(done.saturating_duration_since(Instant::now()));
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

#[test]
fn the_rate_of_a_server_that_is_known_is_found() {
    let till = Till::start(400);
    let target = till.address.to_string();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("report.json");
    let search = ["load", &target, "--allowed", "open.example", "--find-rate", "--bound", "p50=20ms"];
    let short = ["--rate", "100", "--duration", "1s", "--warm-up", "0s", "--connections", "100"];
    let json = ["--json", path.to_str().unwrap()];
    let output = interdict(search.iter().chain(&short).chain(&json));
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    let report: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let found = report["search"]["found"].as_f64().unwrap();
    // In a second, somewhat more than 400 are answered within the bound; a machine that is busy holds somewhat less.
    assert!((250.0..=425.0).contains(&found), "{found}: {}", output.stdout);
    let steps = report["search"]["steps"].as_array().unwrap();
    let held = |held: bool| {
        let of = steps.iter().filter(|step| step["held"] == held);
        of.map(|step| step["rate"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert!(held(true).contains(&100.0) && held(true).contains(&found), "{steps:?}");
    assert!(!held(false).is_empty() && held(false).iter().all(|rate| *rate > 250.0), "{steps:?}");
    assert_eq!(report["rate"].as_f64(), Some(found), "the last run is one at the rate that was found");
    assert_eq!(report["unsent"], 0);
    assert!(output.stdout.contains("highest rate within p50 = 20.0 ms"), "{}", output.stdout);
}

/// With `INTERDICT_SOAK=1` 8,000 connections for 20 seconds, otherwise 600 for two.
#[test]
fn several_threads_and_many_connections_miss_nothing_whatever_the_soft_limit_of_files() {
    let (connections, rate, seconds) = if is_soak() { ("8000", "8000", 20) } else { ("600", "600", 2) };
    let edge = Setup::new().case(CaseFile::new("TS-1", &["page.example"])).start();
    let path = edge.home().join("report.json");
    let target = edge.address().to_string();
    let (path, audit) = (path.display().to_string(), edge.audit_directory().display().to_string());
    let duration = format!("{seconds}s");
    // A shell with few files, as programs are often started.
    let few = ["-c", "ulimit -Sn 128; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_interdict")];
    let plan = ["load", &target, "--host", "page.example", "--threads", "3", "--connections", connections];
    let more =
        ["--rate", rate, "--duration", &duration, "--warm-up", "1s", "--json", &path, "--audit", &audit];
    let output = run("sh", few.iter().chain(&plan).chain(&more));
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    let report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let sent = rate.parse::<u64>().unwrap() * (seconds + 1);
    assert_eq!((&report["sent"], &report["unsent"]), (&sent.into(), &0.into()), "{}", output.stdout);
    assert_eq!((&report["threads"], &report["failures"]), (&3.into(), &serde_json::json!([])));
    assert_eq!(report["connections"].to_string(), connections);
    assert_eq!((&report["audit"]["ids"], &report["audit"]["missing"]), (&sent.into(), &0.into()));
}

#[test]
fn more_connections_than_there_may_be_files_are_refused_before_anything_is_sent() {
    let few = ["-c", "ulimit -n 128; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_interdict")];
    let plan = ["load", "127.0.0.1:1", "--host", "page.example", "--connections", "100"];
    let output = run("sh", few.iter().chain(&plan));
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    assert!(
        output.stderr.contains("100 connections take 164 open files and 128 are allowed"),
        "{}",
        output.stderr
    );
}
