//! `interdict load` takes nothing for right that is not: servers that lose requests, give an id twice, or are not the ones
//! that the log tells of.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::tools::{Output, interdict};
use crate::harness::{CaseFile, Setup};

/// What a server does with a request, of which it gets the place on its connection, from 1.
type Manner = fn(usize) -> Deed;

enum Deed {
    /// Answers, and goes on.
    Answer(&'static str),
    /// Answers, and closes.
    Last(&'static str),
    /// Closes without a byte.
    Lose,
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const LAST_OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const BLOCKED: &str = "HTTP/1.1 451 Unavailable For Legal Reasons\r\n\
                       Enforcement-Id: 01930000-0000-7000-8000-000000000000\r\nContent-Length: 0\r\n\r\n";

/// Answers as it is told, and counts its connections.
struct Odd {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Odd {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(stream, manner));
            }
        });
        Self { address, connections }
    }
}

fn serve(mut stream: TcpStream, manner: Manner) {
    let mut buffer = [0; 4096];
    let mut place = 0;
    while stream.read(&mut buffer).is_ok_and(|octets| octets > 0) {
        place += 1;
        let (answer, is_last) = match manner(place) {
            Deed::Answer(answer) => (answer, false),
            Deed::Last(answer) => (answer, true),
            Deed::Lose => return,
        };
        if stream.write_all(answer.as_bytes()).is_err() || is_last {
            return;
        }
    }
}

/// A short run, what it said, and its report.
#[track_caller]
fn load(home: &Path, target: SocketAddr, more: &[&str], code: i32) -> (Output, Value) {
    let (target, json) = (target.to_string(), text(&home.join("report.json")));
    let short = ["load", &target, "--duration", "1s", "--warm-up", "0s", "--rate", "200"];
    let json = ["--connections", "4", "--json", &json];
    let output = interdict(short.iter().chain(&json).chain(more));
    assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
    (output, serde_json::from_slice(&fs::read(json[3]).unwrap()).unwrap())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_request_that_was_read_and_never_answered_is_a_failure() {
    let home = tempfile::tempdir().unwrap();
    let server = Odd::start(|place| if place == 5 { Deed::Lose } else { Deed::Answer(OK) });
    let (output, report) = load(home.path(), server.address, &["--allowed", "open.example"], 1);
    assert!(
        output.stdout.contains("connections that broke, first: closed without a byte"),
        "{}",
        output.stdout
    );
    let failed = report["failures"][0]["count"].as_u64().unwrap();
    assert!((30..=50).contains(&failed), "one of five: {failed}");
    assert!(output.stdout.contains("requests that failed are not in the percentiles"), "{}", output.stdout);
}

#[test]
fn a_server_that_closes_between_requests_as_it_may_loses_none() {
    let home = tempfile::tempdir().unwrap();
    // As nginx does at its `keepalive_requests`.
    let server = Odd::start(|place| if place == 5 { Deed::Last(LAST_OK) } else { Deed::Answer(OK) });
    let (_, report) = load(home.path(), server.address, &["--allowed", "open.example"], 0);
    assert_eq!(report["renewed"], 0);
    // Unannounced. On a machine that is busy one may cross a request, which is told as what it is.
    let server = Odd::start(|place| if place == 5 { Deed::Last(OK) } else { Deed::Answer(OK) });
    let (target, json) = (server.address.to_string(), text(&home.path().join("report.json")));
    let plan = ["load", &target, "--allowed", "open.example", "--duration", "1s", "--warm-up", "0s"];
    let output = interdict(plan.iter().chain(&["--rate", "200", "--connections", "4", "--json", &json]));
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let renewed = report["renewed"].as_u64().unwrap();
    assert!((20..=50).contains(&renewed), "{}", output.stdout);
    assert!(output.stdout.contains("had ended between requests and were made again"), "{}", output.stdout);
}

#[test]
fn an_id_that_comes_twice_is_found_without_a_log() {
    let home = tempfile::tempdir().unwrap();
    let server = Odd::start(|_| Deed::Answer(BLOCKED));
    let (output, report) = load(home.path(), server.address, &["--host", "page.example"], 1);
    assert_eq!(report["failures"][0]["count"], 199, "{}", output.stdout);
    assert!(output.stdout.contains("the same id in two answers"), "{}", output.stdout);
}

#[test]
fn refusals_of_other_runs_and_other_hosts_stand_for_none_of_this_one() {
    let refused = |id, host| CaseFile::new(id, &[host]).refuse();
    let edge =
        Setup::new().case(refused("TS-1", "gone.example")).case(refused("TS-2", "other.example")).start();
    let log = text(&edge.audit_directory());
    // On record, and over before the run that is asked about.
    load(&edge.home(), edge.address(), &["--refused", "gone.example", "--audit", &log], 0);
    let elsewhere = Odd::start(|_| Deed::Lose);
    let (output, report) = thread::scope(|scope| {
        let beside = edge.home().join("beside");
        fs::create_dir(&beside).unwrap();
        let address = edge.address();
        let beside = scope.spawn(move || load(&beside, address, &["--refused", "other.example"], 0));
        let asked = load(&edge.home(), elsewhere.address, &["--refused", "gone.example", "--audit", &log], 1);
        beside.join().unwrap();
        asked
    });
    let audit = &report["audit"];
    assert_eq!(
        (&audit["refusals"], &audit["refusal_records"]),
        (&200.into(), &0.into()),
        "{}",
        output.stdout
    );
}

#[test]
fn what_cannot_be_read_or_written_is_found_before_anything_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let server = Odd::start(|_| Deed::Answer(OK));
    let target = server.address.to_string();
    let (nowhere, json) = (text(&home.path().join("nowhere/x")), text(&home.path().join("report.json")));
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--audit", &nowhere], 3, "nowhere"),
        (&["--config", &nowhere], 2, "nowhere"),
        (&["--json", &nowhere], 3, "nowhere"),
        (&["--json", &json, "--html", &nowhere], 3, "nowhere"),
        (&["--json", &json, "--html", &json], 2, "are to write to one file"),
    ];
    for (arguments, code, words) in cases {
        let plan = ["load", &target, "--allowed", "open.example", "--duration", "1s"];
        let output = interdict(plan.iter().chain(arguments));
        assert_eq!(output.code, code, "{arguments:?}: {}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(words), "{arguments:?}: {}", output.stderr);
        assert_eq!(server.connections.load(Ordering::SeqCst), 0, "{arguments:?}");
        assert!(!Path::new(&json).exists(), "no empty report is left: {arguments:?}");
    }
}

#[test]
fn what_becomes_of_one_output_is_nothing_to_the_other() {
    let home = tempfile::tempdir().unwrap();
    let server = Odd::start(|_| Deed::Answer(OK));
    let html = text(&home.path().join("report.html"));
    let target = server.address.to_string();
    let plan = ["load", &target, "--allowed", "open.example", "--duration", "1s", "--warm-up", "0s"];
    let output = interdict(plan.iter().chain(&["--json", "/dev/full", "--html", &html]));
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("/dev/full"), "{}", output.stderr);
    assert!(fs::read_to_string(html).unwrap().contains("<svg"));
}

#[test]
fn a_report_that_is_not_sound_is_no_good_comparison() {
    let home = tempfile::tempdir().unwrap();
    let server = Odd::start(|_| Deed::Answer(OK));
    let (_, sound) = load(home.path(), server.address, &["--allowed", "open.example"], 0);
    let log = serde_json::json!({
        "directory": "audit", "ids": 9, "missing": 7, "twice": 0, "examples": [], "refusals": 0,
        "refusal_records": 0, "gaps": 0
    });
    let search = serde_json::json!({
        "bound": { "quantile": 0.99, "most_us": 5000.0 }, "found": null, "steps": []
    });
    let (a, b) = (text(&home.path().join("report.json")), text(&home.path().join("b.json")));
    for (field, value, words) in
        [("audit", log, "7 missing"), ("search", search, ""), ("interrupted", true.into(), "")]
    {
        let mut unsound = sound.clone();
        unsound[field] = value;
        fs::write(&b, unsound.to_string()).unwrap();
        let output = interdict(["load", "compare", &a, &b]);
        assert_eq!(output.code, 1, "{field}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains("B: NOT everything was right"), "{field}: {}", output.stdout);
        let row = output.stdout.lines().find(|line| line.starts_with("in the log")).unwrap();
        assert!(row.contains("not asked") && row.contains(words), "{field}: {row}");
    }
}

#[test]
fn nothing_measured_is_shown_as_nothing_and_amounts_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let server = Odd::start(|_| Deed::Answer(OK));
    let more = ["--host", "page.example", "--duration", "1.5s", "--rate", "20"];
    let target = server.address.to_string();
    let json = text(&home.path().join("report.json"));
    let output = interdict(["load", &target, "--warm-up", "0s", "--json", &json].iter().chain(&more));
    let row = output.stdout.lines().find(|line| line.starts_with("all ")).unwrap();
    assert_eq!(row.split_whitespace().skip(1).collect::<Vec<_>>(), ["0", "-", "-", "-", "-", "-", "-", "-"]);
    assert!(output.stdout.contains("of 20 requests/s answered, 1.5 s,"), "{}", output.stdout);
    let help = interdict(["load", "--help"]).stdout;
    assert!(help.contains("Exit codes:") && help.contains("\n  3  "), "{help}");
}
