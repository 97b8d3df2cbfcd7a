//! `interdict load` ended early, and beside people who edit its case files: nobody's work is lost, its own neither.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::process::BINARY;
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

const MARK: &str = "# touched by `interdict load`";

/// A run under way.
struct Running {
    child: Child,
    report: PathBuf,
}

impl Running {
    fn start(home: &Path, target: &str, more: &[&str]) -> Self {
        let report = home.join("report.json");
        let child = Command::new(BINARY)
            .args(["load", target, "--warm-up", "0s", "--rate", "200", "--connections", "4", "--json"])
            .arg(&report)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, report }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How it ended, what it said, and its report.
    #[track_caller]
    fn end(self, code: i32) -> (String, Value) {
        let output = self.child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}{complained}");
        (said, serde_json::from_slice(&fs::read(self.report).unwrap()).unwrap())
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// An edge with a page for two hosts in two cases.
fn edge(origin: &Origin) -> Edge {
    let case = |id, host| CaseFile::new(id, &[host]);
    Setup::new().case(case("TS-1", "one.example")).case(case("TS-2", "two.example")).origin(origin).start()
}

fn swapping<'a>(policies: &'a str, config: &'a str) -> Vec<&'a str> {
    vec!["--policies", policies, "--config", config, "--reload-every", "100ms"]
}

#[test]
fn a_run_that_is_told_to_stop_puts_policies_right_and_reports() {
    let origin = Origin::start();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let edge = edge(&origin);
        let case = edge.policies().case_path("TS-1");
        let before = fs::read_to_string(&case).unwrap();
        let (policies, config) = (text(edge.policies().path()), text(&edge.config()));
        let html = text(&edge.home().join("report.html"));
        let mut more = swapping(&policies, &config);
        more.extend(["--duration", "60s", "--html", &html]);
        let run = Running::start(&edge.home(), &edge.address().to_string(), &more);
        wait_until("the case is touched", || fs::read_to_string(&case).unwrap().contains(MARK));
        run.signal(signal);
        let (said, report) = run.end(1);
        assert!(said.contains("INTERRUPTED"), "{said}");
        assert_eq!((&report["interrupted"], &report["failures"]), (&true.into(), &serde_json::json!([])));
        let audit = &report["audit"];
        assert_eq!((&audit["ids"], &audit["missing"]), (&report["sent"], &0.into()), "{said}");
        assert!(report["sent"].as_u64().unwrap() > 0 && report["unsent"].as_u64().unwrap() < 20, "{said}");
        assert!(report["duration_s"].as_f64().unwrap() < 60.0);
        assert_eq!(fs::read_to_string(&case).unwrap(), before);
        assert_eq!(edge.policies().names("cases"), ["TS-1.toml", "TS-2.toml"], "no draft is left");
        assert!(fs::read_to_string(html).unwrap().contains("INTERRUPTED"));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // Takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = tempfile::tempdir().unwrap();
    let target = silent.local_addr().unwrap().to_string();
    let more = ["--allowed", "open.example", "--duration", "60s", "--timeout", "60s"];
    let mut run = Running::start(home.path(), &target, &more);
    let (mut connection, _) = silent.accept().unwrap();
    // A request is there: it was told what to do at signals before.
    std::io::Read::read_exact(&mut connection, &mut [0; 1]).unwrap();
    run.signal(Signal::TERM);
    let mut stderr = std::io::BufReader::new(run.child.stderr.take().unwrap());
    let mut said = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut said).unwrap();
    assert!(said.contains("a second signal ends it at once"), "{said}");
    assert!(run.child.try_wait().unwrap().is_none(), "it waits for its answers");
    run.signal(Signal::TERM);
    assert_eq!(run.child.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn what_others_write_to_case_files_meanwhile_stays() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let [first, second] = ["TS-1", "TS-2"].map(|id| edge.policies().case_path(id));
    let (policies, config) = (text(edge.policies().path()), text(&edge.config()));
    let mut more = swapping(&policies, &config);
    more.extend(["--duration", "60s"]);
    let run = Running::start(&edge.home(), &edge.address().to_string(), &more);
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    wait_until("the case is touched", || read(&first).contains(MARK));
    // An editor that read the case with the mark in it, and puts its own in its place.
    edge.policies().write_case("TS-1", &format!("# an operator's line\n{}", read(&first)));
    wait_until("it loses the mark", || !read(&first).contains(MARK));
    assert!(read(&first).starts_with("# an operator's line\n"));
    wait_until("it is touched again", || read(&first).contains(MARK));
    // Ended, as `reinstate` does it; the other one is next.
    let ended = edge.policies().path().join("ended");
    fs::create_dir_all(&ended).unwrap();
    fs::rename(&first, ended.join("TS-1.toml")).unwrap();
    wait_until("the other case is touched", || read(&second).contains(MARK));
    run.signal(Signal::INT);
    run.end(1);
    assert!(!first.exists(), "a case that was ended is not put in force again");
    assert!(read(&ended.join("TS-1.toml")).starts_with("# an operator's line\n"));
    for left in [ended.join("TS-1.toml"), second] {
        assert!(!read(&left).contains(MARK), "{}", left.display());
    }
}

#[test]
fn a_reload_that_fails_is_told_and_is_not_right() {
    let origin = Origin::start();
    let mut edge = edge(&origin);
    let config = text(&edge.config());
    edge.stop();
    let target = origin.address().to_string();
    let log = text(&edge.audit_directory());
    let more = ["--allowed", "open.example", "--duration", "1s", "--reload-every", "300ms"];
    let more: Vec<&str> = more.iter().copied().chain(["--config", &config, "--audit", &log]).collect();
    let (said, report) = Running::start(&edge.home(), &target, &more).end(1);
    assert_eq!((&report["swaps"][0]["failed"], &report["failures"]), (&true.into(), &serde_json::json!([])));
    assert!(said.contains("policies: FAILED: ") && said.contains("NOT everything was right"), "{said}");
}

#[test]
fn a_log_that_cannot_be_read_after_the_run_costs_no_report() {
    let origin = Origin::start();
    let mut edge = edge(&origin);
    edge.stop();
    let (log, moved) = (edge.home().join("log"), edge.home().join("moved"));
    fs::create_dir(&log).unwrap();
    for part in fs::read_dir(edge.audit_directory()).unwrap() {
        let part = part.unwrap().path();
        if part.is_dir() {
            fs::create_dir(log.join(part.file_name().unwrap())).unwrap();
        }
    }
    let more = ["--allowed", "open.example", "--duration", "1s", "--audit", &text(&log)];
    let run = Running::start(&edge.home(), &origin.address().to_string(), &more);
    wait_until("the first request came", || !origin.requests().is_empty());
    fs::rename(&log, &moved).unwrap();
    let (said, report) = run.end(3);
    assert!(said.contains("the log could NOT be asked"), "{said}");
    assert!(report["audit_problem"].is_string() && report["sent"] == 200, "{report}");
}
