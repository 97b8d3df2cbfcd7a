//! Connections below HTTP: deadlines, bounds, pipelining, and clients that leave early.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

const BLOCKED: &str = "blocked.example";

fn edge(origin: &Origin, limits: &str) -> Edge {
    Setup::new()
        .origin(origin)
        .case(CaseFile::new("page", &[BLOCKED]))
        .table(&format!("[limits]\n{limits}"))
        .start()
}

#[test]
fn a_head_that_never_ends_is_cut_at_one_deadline_however_steadily_it_comes() {
    let origin = Origin::start();
    let edge = edge(&origin, "header_timeout = \"300ms\"");
    let mut client = edge.connect();
    let began = Instant::now();
    client.send("GET / HTTP/1.1\r\n");
    // A byte every few milliseconds would never meet a limit per read.
    while began.elapsed() < Duration::from_millis(600) {
        client.send("x");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(client.response().unwrap().status, 408);
    client.assert_closed();
    origin.assert_untouched();
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let origin = Origin::start();
    let edge = edge(&origin, "idle_timeout = \"200ms\"");
    let mut client = edge.connect();
    client.get("allowed.example", "/").unwrap().assert_forwarded();
    client.assert_closed();
    edge.connect().assert_closed();
}

#[test]
fn a_head_over_its_bound_is_refused_before_it_ends() {
    let origin = Origin::start();
    let edge = edge(&origin, "head_bytes = 1024");
    let mut client = edge.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: {BLOCKED}\r\nX: {}", "x".repeat(2000)));
    assert_eq!(client.response().unwrap().status, 431);
    client.assert_closed();
    let many = "X: y\r\n".repeat(150);
    let answer = edge.send(format!("GET / HTTP/1.1\r\nHost: {BLOCKED}\r\n{many}\r\n"));
    assert_eq!(answer.unwrap().status, 431);
    origin.assert_untouched();
}

#[test]
fn pipelined_requests_wait_for_their_own_verdict() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    let mut client = edge.connect();
    let post = "POST /echo HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 5\r\n\r\nhello";
    let free = "GET / HTTP/1.1\r\nHost: allowed.example\r\n\r\n";
    let blocked = format!("GET / HTTP/1.1\r\nHost: {BLOCKED}\r\n\r\n");
    client.send([post, &blocked, free, &blocked].concat());
    assert_eq!(client.response().unwrap().assert_forwarded().text(), "hello");
    client.response().unwrap().assert_blocked(403);
    client.response().unwrap().assert_forwarded();
    client.response().unwrap().assert_blocked(403);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn content_that_looks_like_a_request_is_content() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    let inner = format!("GET / HTTP/1.1\r\nHost: {BLOCKED}\r\n\r\n");
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: {}\r\n\r\n", inner.len());
    let mut client = edge.connect();
    let answer = client.send(format!("{head}{inner}")).response().unwrap();
    assert_eq!(answer.assert_forwarded().text(), inner);
    client.get("allowed.example", "/").unwrap().assert_forwarded();
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a_client_that_has_closed_its_sending_side_gets_its_answer() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    for (host, status) in [("allowed.example", 200), (BLOCKED, 403)] {
        let mut client = edge.connect();
        client.send(format!("GET /slow/2 HTTP/1.1\r\nHost: {host}\r\n\r\n")).end_sending();
        assert_eq!(client.response().unwrap().status, status, "{host}");
        client.assert_closed();
    }
}

#[test]
fn a_stopping_edge_closes_idle_connections_and_ends_at_once() {
    let origin = Origin::start();
    let mut edge = edge(&origin, "stop_grace = \"20s\"");
    let mut idle = edge.connect();
    idle.get("allowed.example", "/").unwrap().assert_forwarded();
    let began = Instant::now();
    edge.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "it waited {:?}", began.elapsed());
    idle.assert_closed();
}

#[test]
fn a_line_end_too_many_after_a_body_is_no_request() {
    let origin = Origin::start();
    let edge = edge(&origin, "header_timeout = \"100ms\"\nidle_timeout = \"400ms\"");
    let mut client = edge.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 2\r\n\r\nhi\r\n");
    client.response().unwrap().assert_forwarded();
    // Neither a 408 that the client would take for its next answer, nor anything else.
    client.assert_closed();
}

#[test]
fn a_client_that_takes_none_of_its_answers_is_let_go() {
    let origin = Origin::start();
    let edge = edge(&origin, "client_timeout = \"300ms\"");
    let flood = format!("HEAD / HTTP/1.1\r\nHost: {BLOCKED}\r\n\r\n").repeat(1000);
    let mut client = edge.connect();
    client.send_until_full(flood.as_bytes());
    let connections = || edge.admin("/status").json()["connections"].as_u64().unwrap();
    wait_until("the edge gives the connection up", || connections() == 0);
    drop(client);
}

#[test]
fn an_upgrade_that_is_not_passed_on_keeps_what_comes_after_it_for_later() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    let mut client = edge.connect();
    let upgrade = "GET / HTTP/1.1\r\nHost: allowed.example\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
    let blocked = format!("GET / HTTP/1.1\r\nHost: {BLOCKED}\r\n\r\n");
    client.send(format!("{upgrade}{blocked}"));
    client.response().unwrap().assert_forwarded();
    client.response().unwrap().assert_blocked(403);
    let request = origin.only_request();
    assert!(request.field("upgrade").is_empty() && request.field("http2-settings").is_empty());
}

#[test]
fn a_target_with_strange_characters_is_refused_by_the_edge_itself() {
    let origin = Origin::start();
    let edge = edge(&origin, "");
    for target in ["/<", "/a`b", "/?\"", "/>"] {
        let answer = edge.send(format!("GET {target} HTTP/1.1\r\nHost: allowed.example\r\n\r\n")).unwrap();
        assert_eq!((answer.status, answer.field("server")), (400, None), "{target}");
    }
    origin.assert_untouched();
}

#[test]
fn a_stopping_edge_serves_the_request_it_has_begun() {
    let origin = Origin::start();
    let mut edge = edge(&origin, "stop_grace = \"20s\"");
    let mut client = edge.connect();
    client.send("GET /slow/50 HTTP/1.1\r\nHost: allowed.example\r\n\r\n");
    wait_until("the origin has it", || !origin.requests().is_empty());
    std::thread::scope(|scope| {
        let answer = scope.spawn(move || client.response().unwrap().body.len());
        edge.stop();
        assert_eq!(answer.join().unwrap(), 50 * 8);
    });
}

#[test]
fn the_edge_opens_as_many_files_as_it_may_and_says_when_those_are_too_few() {
    let origin = Origin::start();
    let mut edge = edge(&origin, "connections = 5000");
    edge.stop();
    // Started by a shell that has lowered the limits, the soft one far below the hard one.
    let mut process = Command::new("sh")
        .args(["-c", "ulimit -Sn 100 && ulimit -Hn 900 && exec \"$0\" run --config \"$1\""])
        .arg(crate::harness::process::BINARY)
        .arg(edge.config())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap() == "ready"));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let numbers: Vec<&str> = open_files.split_whitespace().collect();
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), rustix::process::Signal::TERM)
        .unwrap();
    let output = process.wait_with_output().unwrap();
    edge.note_start();
    assert_eq!(numbers[..2], ["900", "900"], "{limits}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("fewer files") && stderr.contains("wanted=15200"), "{stderr}");
}
