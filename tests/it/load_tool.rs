//! `interdict load`: it checks what comes back, holds it against the log, and counts from when a request was due.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::tls::Authority;
use crate::harness::tools::{Output, interdict};
use crate::harness::{Canned, CaseFile, Edge, Latch, Origin, Setup, wait_until};

/// A short run, and its report.
struct Load {
    arguments: Vec<String>,
    report: PathBuf,
}

impl Load {
    fn new(edge: &Edge, target: &str) -> Self {
        let report = edge.home().join("report.json");
        let arguments = ["load", target, "--duration", "1s", "--warm-up", "200ms", "--rate", "200", "--json"];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
        arguments.push(report.display().to_string());
        Self { arguments, report }
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    #[track_caller]
    fn run(&self, code: i32) -> (Output, Value) {
        let output = interdict(&self.arguments);
        assert_eq!(output.code, code, "{}\n{}", output.stdout, output.stderr);
        let report = fs::read(&self.report).unwrap();
        (output, serde_json::from_slice(&report).unwrap())
    }
}

/// An edge with a page for `page.example`, a refusal for `gone.example`, and an origin for all others.
fn edge(origin: &Origin) -> Setup {
    let page = CaseFile::new("TS-1", &["page.example", "*.pages.example"]);
    Setup::new().case(page).case(CaseFile::new("TS-2", &["gone.example"]).refuse()).origin(origin)
}

fn with_tls(setup: Setup) -> Edge {
    let certificates = setup.home().join("certs");
    Authority::new().issue(&certificates, "open", &["open.example"]);
    let certificates = certificates.display();
    setup
        .table(&format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificates = \"{certificates}\" }}"
        ))
        .start()
}

fn http(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

#[test]
fn a_mix_is_checked_and_held_against_the_log_while_policies_swap() {
    let origin = Origin::start();
    let edge = edge(&origin).start();
    let case = edge.policies().case_path("TS-1");
    let before = fs::read_to_string(&case).unwrap();
    let page = edge.home().join("report.html");
    let load = Load::new(&edge, &http(edge.address())).with(&[
        "--policies",
        &text(edge.policies().path()),
        "--allowed",
        "open.example",
        "--config",
        &text(&edge.config()),
        "--reload-every",
        "300ms",
        "--html",
        &text(&page),
    ]);
    let (output, report) = load.run(0);
    assert_eq!(report["sent"], 240, "{}", output.stdout);
    assert_eq!(report["failures"], serde_json::json!([]));
    let width = |line: &str| line.chars().count();
    let heading = output.stdout.lines().find(|line| line.contains("p50")).unwrap();
    assert!(heading.ends_with(" max"), "{}", output.stdout);
    for row in ["all ", "blocked ", "refused ", "allowed "] {
        let line = output.stdout.lines().find(|line| line.starts_with(row)).unwrap();
        assert_eq!(width(line), width(heading), "{}", output.stdout);
    }
    for part in ["blocked", "refused", "allowed"] {
        assert!(report[part]["count"].as_u64().unwrap() > 20, "{part}: {}", output.stdout);
    }
    let audit = &report["audit"];
    assert_eq!((&audit["missing"], &audit["twice"]), (&0.into(), &0.into()), "{audit}");
    assert!(audit["ids"].as_u64().unwrap() > 40, "{audit}");
    assert_eq!(audit["refusals"], audit["refusal_records"]);
    let swaps = report["swaps"].as_array().unwrap();
    assert!(swaps.iter().any(|swap| swap["result"] == "applied"), "{swaps:?}");
    assert_eq!(fs::read_to_string(&case).unwrap(), before, "the case file is what it was");
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<svg").count(), 3);
    for resource in ["<script", "<link", "src=", "url(", "@import"] {
        assert!(!page.contains(resource), "the page asks for {resource}");
    }
}

#[test]
fn a_host_that_is_not_blocked_as_it_should_be_is_a_failure() {
    let origin = Origin::start();
    let edge = edge(&origin).start();
    let target = http(edge.address());
    let (output, report) = Load::new(&edge, &target).with(&["--host", "open.example"]).run(1);
    assert_eq!(report["failures"][0]["count"], 240);
    assert!(output.stdout.contains("blocked hosts answered without an enforcement-id"), "{}", output.stdout);
    let (output, _) = Load::new(&edge, &target).with(&["--allowed", "page.example"]).run(1);
    assert!(output.stdout.contains("allowed hosts blocked"), "{}", output.stdout);
    let (output, _) = Load::new(&edge, &target).with(&["--refused", "page.example"]).run(1);
    assert!(output.stdout.contains("refused hosts answered"), "{}", output.stdout);
}

#[test]
fn an_id_that_the_log_does_not_have_is_a_failure() {
    let origin = Origin::start();
    let (asked, other) = (edge(&origin).start(), edge(&origin).start());
    let other_log = text(&other.audit_directory());
    let load =
        Load::new(&asked, &http(asked.address())).with(&["--host", "page.example", "--audit", &other_log]);
    let (output, report) = load.run(1);
    assert_eq!(report["audit"]["missing"], report["audit"]["ids"], "{}", output.stdout);
    assert_eq!(report["failures"], serde_json::json!([]));
    // Without a log there is nothing to hold against, which is neither yes nor no.
    let nowhere = text(&asked.home().join("nowhere"));
    let output = interdict([
        "load",
        &http(asked.address()),
        "--host",
        "page.example",
        "--duration",
        "1s",
        "--audit",
        &nowhere,
    ]);
    assert_eq!(output.code, 3, "{}", output.stderr);
}

#[test]
fn nobody_who_answers_is_a_failure_with_a_line_of_its_own() {
    let edge = Setup::new().start();
    let (output, _) = Load::new(&edge, "127.0.0.1:1").with(&["--host", "page.example"]).run(1);
    assert!(output.stdout.contains("connections that could not be made"), "{}", output.stdout);
}

#[test]
fn http2_is_checked_as_http1_is() {
    let origin = Origin::start();
    let edge = edge(&origin).start();
    let load = Load::new(&edge, &http(edge.address())).with(&["--protocol", "h2", "--connections", "2"]);
    let load = load.with(&["--policies", &text(edge.policies().path()), "--allowed", "open.example"]);
    let (output, report) = load.with(&["--audit", &text(&edge.audit_directory())]).run(0);
    for part in ["blocked", "refused", "allowed"] {
        assert!(report[part]["count"].as_u64().unwrap() > 20, "{part}: {}", output.stdout);
    }
}

#[test]
fn tls_is_spoken_whoever_signed_the_certificate() {
    let origin = Origin::start();
    let edge = with_tls(edge(&origin));
    let target = format!("https://{}", edge.tls_address());
    for protocol in ["tls-h1", "tls-h2"] {
        let load = Load::new(&edge, &target).with(&["--protocol", protocol, "--connections", "4"]);
        let load = load.with(&["--host", "page.example", "--allowed", "open.example"]);
        let (output, report) = load.with(&["--audit", &text(&edge.audit_directory())]).run(0);
        assert!(report["audit"]["ids"].as_u64().unwrap() > 50, "{protocol}: {}", output.stdout);
    }
}

#[test]
fn a_refused_handshake_is_told_from_one_that_goes_on() {
    let origin = Origin::start();
    let edge = with_tls(edge(&origin));
    let target = format!("https://{}", edge.tls_address());
    let load = |host| Load::new(&edge, &target).with(&["--protocol", "handshake", "--host", host]);
    let (_, report) = load("gone.example").with(&["--audit", &text(&edge.audit_directory())]).run(0);
    assert_eq!(report["audit"]["refusals"], 240);
    assert_eq!(report["audit"]["refusal_records"], 240);
    let (output, _) = load("open.example").run(1);
    assert!(output.stdout.contains("refused hosts answered"), "{}", output.stdout);
}

#[test]
fn two_reports_are_compared() {
    let origin = Origin::start();
    let edge = edge(&origin).start();
    let load = Load::new(&edge, &http(edge.address())).with(&["--host", "page.example"]);
    load.run(0);
    let again = edge.home().join("again.json");
    fs::copy(&load.report, &again).unwrap();
    let compare = |more: &[&str]| {
        let (a, b) = (text(&load.report), text(&again));
        interdict(["load", "compare", &a, &b].into_iter().chain(more.iter().copied()))
    };
    let output = compare(&["--at-most", "p99=1.01"]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("blocked p99.9") && output.stdout.contains("1.00 ×"), "{}", output.stdout);
    assert_eq!(compare(&["--at-most", "p99=0.5"]).code, 1);
    fs::write(&again, "{}").unwrap();
    let output = compare(&[]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("again.json` is no report"), "{}", output.stderr);
}

#[test]
fn a_bound_that_no_rate_holds_is_a_no() {
    let edge = Setup::new().case(CaseFile::new("TS-1", &["page.example"])).start();
    let target = http(edge.address());
    let short = ["--host", "page.example", "--rate", "4", "--duration", "1s", "--warm-up", "0s"];
    let search = ["load", &target, "--find-rate", "--bound", "p50=1us"];
    let output = interdict(search.iter().chain(&short));
    assert_eq!(output.code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("no rate was found within p50 = 1.00 µs"), "{}", output.stdout);
}

#[test]
fn only_this_machine_is_a_target_and_plans_are_bounded() {
    for (arguments, words) in [
        (&["192.0.2.1:80", "--host", "page.example"][..], "is not this machine"),
        (&["127.0.0.1:1"], "no hosts: name them"),
        (&["127.0.0.1:1", "--host", "a.example", "--blocked", "50%"], "name some with --allowed"),
        (&["127.0.0.1:1", "--host", "a.example", "--rate", "1000k", "--duration", "30m"], "in one run"),
        (&["127.0.0.1:1", "--host", "a.example", "--connections", "0"], "--connections has to be 1 to"),
        (&["https://127.0.0.1:1", "--host", "a.example", "--protocol", "h2"], "does not fit the scheme"),
        (&["127.0.0.1:1", "--host", "a..example"], "is no host"),
        (&["127.0.0.1:1", "--host", "a.example", "--reload-every", "1s"], "needs --policies"),
        (&["127.0.0.1:1", "--host", "a.example", "--path", "x"], "is no path: it starts with `/`"),
        (&["127.0.0.1:1", "--host", "a.example", "--refused", "a.example"], "two different things"),
        (&["127.0.0.1:1", "--host", "a.example", "--allowed", "A.example"], "two different things"),
    ] {
        let output = interdict(["load"].iter().chain(arguments));
        assert_eq!(output.code, 2, "{arguments:?}: {}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(words), "{arguments:?}: {}", output.stderr);
    }
}

#[test]
fn while_an_origin_stalls_latencies_count_from_when_requests_were_due() {
    let (origin, latch) = (Origin::start(), Latch::default());
    origin.answers("/", Canned::new("no-store").body("late").held_by(&latch));
    let edge = edge(&origin).start();
    let load =
        Load::new(&edge, &http(edge.address())).with(&["--allowed", "open.example", "--connections", "4"]);
    let (_, report) = thread::scope(|scope| {
        let run = scope.spawn(|| load.run(0));
        wait_until("the first request waits", || !origin.requests().is_empty());
        // How long the stall is, which is what is measured.
        thread::sleep(Duration::from_millis(900));
        latch.open();
        run.join().unwrap()
    });
    let slow: u64 = report["all"]["histogram_ns"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|bucket| bucket[0].as_u64().unwrap() > 300_000_000)
        .map(|bucket| bucket[1].as_u64().unwrap())
        .sum();
    // A hundred and more were due meanwhile; a loop that waits for its answers would have seen no more than four.
    assert!(slow > 50, "{slow} slow answers: {}", report["all"]["percentiles"]);
    assert!(report["all"]["max_us"].as_f64().unwrap() > 600_000.0, "{}", report["all"]["max_us"]);
    assert_eq!(report["sent"].as_u64().unwrap() + report["unsent"].as_u64().unwrap(), 240);
}
