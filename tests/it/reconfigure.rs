//! `edge.toml` read anew: what changes without a new process, and what is refused.

use std::fs;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::tools::interdict;
use crate::harness::{CaseFile, Client, Edge, Origin, Setup, wait_until};

/// Changes the file and asks for a reload. Returns the exit code and the answer.
fn reconfigure(edge: &Edge, from: &str, to: &str) -> (i32, Value) {
    let text = fs::read_to_string(edge.config()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(edge.config(), text.replacen(from, to, 1)).unwrap();
    ask(edge)
}

/// Asks by a copy of the file that the command can read, whatever is in the edge's own.
fn ask(edge: &Edge) -> (i32, Value) {
    let copy = edge.home().join("command.toml");
    fs::write(&copy, "[[listen]]\naddress = \"127.0.0.1:0\"\n").unwrap();
    let output = interdict(["reload", "--config", copy.to_str().unwrap()]);
    (output.code, serde_json::from_str(&output.stdout).unwrap())
}

fn origin_of(edge: &Edge) -> String {
    edge.get("free.example").field("origin").unwrap().to_owned()
}

fn edge(origin: &Origin) -> Edge {
    let limits = "[limits]\nhead_bytes = 4096\nstop_grace = \"5s\"";
    Setup::new().origin(origin).case(CaseFile::new("TS-1", &["blocked.example"])).table(limits).start()
}

#[test]
fn routes_change_for_the_next_request_and_one_under_way_keeps_its_own() {
    let (first, second) = (Origin::named("first", "127.0.0.1:0"), Origin::named("second", "127.0.0.1:0"));
    let edge = edge(&first);
    assert_eq!(origin_of(&edge), "first");
    let (address, ledger) = (edge.address(), edge.ledger());
    let download = thread::spawn(move || {
        let mut client = Client::connect(address, ledger).unwrap();
        client.get("free.example", "/slow/40").unwrap()
    });
    wait_until("the download has begun", || first.requests().len() == 2);
    let (code, answer) = reconfigure(&edge, &first.address().to_string(), &second.address().to_string());
    assert_eq!((code, &answer["config"]["result"]), (0, &"applied".into()), "{answer}");
    assert_eq!(origin_of(&edge), "second");
    let download = download.join().unwrap();
    assert_eq!((download.field("origin"), download.body.len()), (Some("first"), 40 * 8));
    let shown = edge.status().0["origins"].to_string();
    assert!(shown.contains(&second.address().to_string()), "{shown}");
    assert_eq!(ask(&edge).1["config"]["result"], "unchanged");
    edge.get("blocked.example").assert_blocked(403);
}

#[test]
fn a_hangup_reads_the_configuration_as_the_command_does() {
    let (first, second) = (Origin::named("first", "127.0.0.1:0"), Origin::named("second", "127.0.0.1:0"));
    let edge = edge(&first);
    let text = fs::read_to_string(edge.config()).unwrap();
    let text = text.replace(&first.address().to_string(), &second.address().to_string());
    fs::write(edge.config(), text).unwrap();
    edge.process().signal(Signal::HUP);
    wait_until("the other origin serves", || origin_of(&edge) == "second");
}

#[test]
fn limits_change_for_what_comes_next() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let long = format!("GET / HTTP/1.1\r\nHost: free.example\r\nlong: {}\r\n\r\n", "x".repeat(6000));
    let mut kept = edge.connect();
    kept.get("free.example", "/").unwrap().assert_forwarded();
    assert_eq!(edge.send(&long).unwrap().status, 431);
    let (code, answer) = reconfigure(&edge, "head_bytes = 4096", "head_bytes = 16384");
    assert_eq!(code, 0, "{answer}");
    edge.send(&long).unwrap().assert_forwarded();
    kept.send(&long).response().unwrap().assert_forwarded();
}

#[test]
fn a_file_with_an_error_changes_nothing_and_policies_are_read_all_the_same() {
    let (first, second) = (Origin::named("first", "127.0.0.1:0"), Origin::named("second", "127.0.0.1:0"));
    let edge = edge(&first);
    edge.policies().write(&CaseFile::new("TS-2", &["second.example"]));
    let from = format!("\"{}\"]", first.address());
    let to = format!("\"{}\"]\norigin = 1", second.address());
    let (code, answer) = reconfigure(&edge, &from, &to);
    assert_eq!((code, &answer["config"]["result"]), (1, &"rejected".into()), "{answer}");
    assert!(answer["config"]["errors"].to_string().contains("edge.toml:"), "{answer}");
    assert_eq!(origin_of(&edge), "first");
    edge.get("second.example").assert_blocked(403);
    wait_until("the edge says so", || edge.process().stderr().contains("the one in use stays"));
}

#[test]
fn no_termination_waits_for_somebody_to_mend_a_route() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let text = fs::read_to_string(edge.config()).unwrap();
    fs::write(edge.config(), text.replace("[[route]]", "[[route]]\norigin = 1")).unwrap();
    let case = ["--id", "TS-9", "--customer", "c", "--basis", "abuse", "--host", "ninth.example"];
    let output = edge.command(&[&["terminate"][..], &case].concat());
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("origin") && output.stderr.contains("`[policy]` is used"), "{output:?}");
    edge.get("ninth.example").assert_blocked(403);
    for (arguments, code) in [
        (&["status"][..], 0),
        (&["history"], 0),
        // There are differences.
        (&["diff", "revision:1", "revision:2"], 1),
    ] {
        let output = edge.command(arguments);
        assert!(output.code == code && !output.stdout.is_empty(), "{output:?}");
        assert!(output.stderr.contains("`[policy]` is used"), "{output:?}");
    }
    let output = edge.command(&["reinstate", "TS-9", "--reason", "appeal"]);
    assert_eq!(output.code, 0, "{output:?}");
    edge.get("ninth.example").assert_forwarded();
    // Where the policies are is not guessed.
    let broken = text.replace("[[route]]", "[[route]]\norigin = 1").replace("[policy]", "[polcy]");
    fs::write(edge.config(), broken).unwrap();
    let case = ["--id", "TS-10", "--customer", "c", "--basis", "abuse", "--host", "tenth.example"];
    let output = edge.command(&[&["terminate"][..], &case].concat());
    assert!(output.code == 2 && output.stderr.contains("polcy"), "{output:?}");
    assert!(output.stderr.contains("nothing was changed"), "{output:?}");
    assert!(!edge.policies().case_path("TS-10").exists());
    fs::write(edge.config(), text).unwrap();
}

#[test]
fn what_takes_another_process_is_refused_with_everything_beside_it() {
    let (first, second) = (Origin::named("first", "127.0.0.1:0"), Origin::named("second", "127.0.0.1:0"));
    let mut edge = edge(&first);
    let changed = first.address().to_string();
    for (from, to, what) in [
        ("edge = \"edge-under-test\"", "edge = \"another\"", "`edge`"),
        ("edge = \"edge-under-test\"", "threads = 1\nedge = \"edge-under-test\"", "`threads`"),
        ("[policy]", "[[listen]]\naddress = \"127.0.0.1:0\"\n[policy]", "`[[listen]]`"),
        ("state = \"state\"", "state = \"elsewhere\"", "`[policy]`"),
        ("directory = \"audit\"", "directory = \"elsewhere\"", "`[audit]`"),
        ("stop_grace = \"5s\"", "stop_grace = \"6s\"", "`stop_grace`"),
    ] {
        let good = fs::read_to_string(edge.config()).unwrap();
        fs::write(edge.config(), good.replace(&changed, &second.address().to_string())).unwrap();
        let (code, answer) = reconfigure(&edge, from, to);
        assert_eq!(code, 1, "{what}: {answer}");
        let errors = answer["config"]["errors"].to_string();
        assert!(errors.contains(what) && errors.contains("interdict upgrade"), "{errors}");
        assert_eq!(origin_of(&edge), "first", "{what}");
        fs::write(edge.config(), good).unwrap();
    }
    // An upgrade takes it up.
    let good = fs::read_to_string(edge.config()).unwrap();
    fs::write(
        edge.config(),
        good.replace(&changed, &second.address().to_string()).replace("\"5s\"", "\"6s\""),
    )
    .unwrap();
    edge.upgrade();
    assert_eq!(origin_of(&edge), "second");
}

#[test]
fn so_many_threads_serve_requests_as_the_configuration_says() {
    let (origin, count) = (Origin::start(), |edge: &Edge| {
        let tasks =
            fs::read_dir(format!("/proc/{}/task", edge.process().pid().as_raw_nonzero())).unwrap().flatten();
        let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        // The service that requests come in on gives its threads its name.
        names.filter(|name| name.trim() == "edge").count()
    });
    for threads in [1, 5] {
        let edge = Setup::new().origin(&origin).top(&format!("threads = {threads}")).start();
        edge.get("free.example").assert_forwarded();
        assert_eq!(count(&edge), threads);
    }
}
