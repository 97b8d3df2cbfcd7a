//! Requests put together at random: on the fast path and on the full one the client gets the same answers, the connection
//! ends in the same place and the same is on record.

use interdict::listen::probe::{Conversation, Stage};
use interdict::rate::Rate;
use interdict::server::{Enforcement, Options};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use crate::wire::http2::hpack;
use crate::wire::http2::link::{DATA, HEADERS, PREFACE, SETTINGS, frame};

const CASES: [(&str, &str); 3] = [
    ("page", "hosts = [\"page.example\", \"*.wide.example\"]"),
    ("shut", "hosts = [\"shut.example\"]\naction = \"refuse\""),
    ("watched", "hosts = [\".watched.example\"]\nmode = \"shadow\""),
];

fn stage() -> (TempDir, Enforcement, Stage) {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir_all(at("policies/cases")).unwrap();
    for (id, lines) in CASES {
        let case = format!(
            "id = \"{id}\"\ncustomer = \"c\"\nbasis = \"abuse\"\ndecided = 2026-01-05T09:00:00Z\n\
             decided_by = [\"j.doe\"]\nsummary = \"s\"\nstatement = \"s\"\n{lines}\n"
        );
        std::fs::write(at(&format!("policies/cases/{id}.toml")), case).unwrap();
    }
    let options = Options::new("edge", at("policies"), at("state"), at("audit"));
    let enforcement = Enforcement::start(options).unwrap();
    let stage = Stage::new(enforcement.gate()).unwrap();
    (home, enforcement, stage)
}

/// Blocked requests that took the fast path so far.
fn on_the_fast_path(enforcement: &Enforcement) -> u64 {
    let text = String::from_utf8(enforcement.gate().metrics().text().unwrap()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("interdict_blocked_fast_total "));
    line.unwrap().parse().unwrap()
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(texts)
}

fn method() -> impl Strategy<Value = &'static str> {
    one_of(&["GET", "GET", "GET", "HEAD", "POST", "get", "OPTIONS", "CONNECT", "TRACE", "G@T", ""])
}

fn target() -> impl Strategy<Value = &'static str> {
    one_of(&[
        "/",
        "/a?b=c",
        "//x",
        "/%00",
        "/a\u{7f}",
        "/\u{e9}",
        "/#",
        "/\"<>^`{|}",
        "*",
        "",
        "http://page.example/x",
        "page.example:443",
        "a b",
    ])
}

fn version() -> impl Strategy<Value = &'static str> {
    one_of(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1"])
}

fn field() -> impl Strategy<Value = &'static str> {
    one_of(&[
        "Host: page.example",
        "Host: PAGE.example.:80",
        "Host: x.wide.example",
        "Host: shut.example",
        "Host: watched.example",
        "Host: free.example",
        "Host: page.example@free.example",
        "host:page.example",
        "Host : page.example",
        "Host:",
        "Accept: */*",
        "Accept: text/plain;q=1, text/html;q=0",
        "Accept: application/json",
        "Accept-Language: de",
        "User-Agent: one",
        "User-Agent: \u{e9}\t",
        "Connection: close",
        "Connection: keep-alive",
        "Connection: keep-alive, close",
        "Connection: Host",
        "Connection:",
        "Content-Type: application/grpc",
        "Content-Length: 0",
        "Content-Length: 3",
        "Content-Length: +0",
        "Transfer-Encoding: chunked",
        "Upgrade: websocket",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "Trailer: x",
        "TE: trailers",
        "Keep-Alive: timeout=1",
        "Proxy-Connection: close",
        "X: a\u{b}b",
        " folded: yes",
        "no colon",
        ": no name",
        "Cookie: a=b",
        "Forwarded: for=192.0.2.1",
    ])
}

fn line_end() -> impl Strategy<Value = &'static str> {
    one_of(&["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n"])
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let usual = one_of(&["Host: page.example", "Host: shut.example", "Host: a.wide.example", ""]);
    let content = one_of(&["", "", "", "abc", "3\r\nabc\r\n0\r\n\r\n", "\r\n"]);
    let parts = (method(), target(), version(), usual, vec(field(), 0..4), line_end(), content);
    parts.prop_map(|(method, target, version, usual, fields, end, content)| {
        let mut text = format!("{method} {target} {version}{end}");
        for field in std::iter::once(usual).filter(|usual| !usual.is_empty()).chain(fields) {
            text.push_str(field);
            text.push_str(end);
        }
        text.push_str(end);
        text.push_str(content);
        text.into_bytes()
    })
}

/// Requests of which nearly all may take the fast path.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    let parts = (one_of(&["GET", "HEAD"]), one_of(&["/", "/a?b=c", "//x"]), vec(field(), 0..4));
    parts.prop_map(|(method, target, fields)| {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{method} {target} HTTP/1.1\r\nHost: page.example\r\n{fields}\r\n").into_bytes()
    })
}

#[test]
fn whatever_is_asked_both_paths_answer_and_record_the_same() {
    let (_home, enforcement, stage) = stage();
    let cases =
        if std::env::var_os("INTERDICT_SOAK").is_some_and(|value| value == "1") { 100_000 } else { 3_000 };
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let (mut blocked, mut differs) = (0, 0);
    let requests = vec(prop_oneof![request(), plain()], 1..5);
    let compared = runner.run(&requests, |requests| {
        let bytes = requests.concat();
        let (fast, full) = stage.both(&bytes);
        let asked = String::from_utf8_lossy(&bytes);
        prop_assert!(fast == full, "{asked:?}\nfast: {fast:#?}\nfull: {full:#?}");
        Ok(())
    });
    compared.unwrap_or_else(|error| panic!("{error}"));
    // The comparison sees something: answers and records of blocked requests, and what another request would change.
    for (one, other) in [("/", "/x"), ("/", "/")] {
        let of = |path: &str| {
            let head = format!("GET {path} HTTP/1.1\r\nHost: page.example\r\n\r\n");
            stage.both(head.as_bytes()).0
        };
        let (one, other): (Conversation, Conversation) = (of(one), of(other));
        blocked += usize::from(one.recorded == 1 && one.answers.contains("403") && one.last.is_some());
        differs += usize::from(one != other);
    }
    assert_eq!((blocked, differs), (2, 1));
    // And it compares two paths: what may take the fast one does so on one side, and never on the other.
    for (fast, count) in [(true, 10), (false, 0)] {
        let before = on_the_fast_path(&enforcement);
        stage.drive(b"GET / HTTP/1.1\r\nHost: page.example\r\n\r\n", 10, fast);
        assert_eq!(on_the_fast_path(&enforcement) - before, count);
    }
}

/// The octets of an HTTP/2 connection with one request of so much content, and END_STREAM at its end.
fn http2(method: &str, host: &str, content: &[u8]) -> Vec<u8> {
    let fields = [(":method", method), (":path", "/"), (":scheme", "http"), (":authority", host)];
    let head: Vec<u8> =
        fields.iter().flat_map(|(name, value)| hpack::field(name, value.as_bytes())).collect();
    let end = u8::from(content.is_empty());
    let data = if content.is_empty() { Vec::new() } else { frame(DATA, 1, 1, content) };
    [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 4 | end, 1, &head), &data].concat()
}

/// Whom a flood may be in the way of: nobody who is answered by a case, on whichever path that is.
#[test]
fn nobody_who_is_blocked_counts_as_somebody_whom_a_flood_is_in_the_way_of() {
    let (_home, enforcement, stage) = stage();
    let post = |host| format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc").into_bytes();
    let get = |host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    let before = on_the_fast_path(&enforcement);
    for host in ["page.example", "shut.example"] {
        for asked in [post(host), http2("POST", host, b"abc")] {
            let (fast, full) = stage.both(&asked);
            assert_eq!((fast.recorded, full.recorded), (1, 1), "{host}: {fast:?}");
            assert!(!fast.others && !full.others, "{host}: {fast:?}");
        }
        assert_eq!(on_the_fast_path(&enforcement), before, "a POST goes the full path");
    }
    for asked in [get("page.example"), http2("GET", "page.example", b"")] {
        let (fast, full) = stage.both(&asked);
        assert!(fast.recorded == 1 && !fast.others && !full.others, "{fast:?}");
    }
    assert_eq!(on_the_fast_path(&enforcement), before + 2);
    for host in ["free.example", "watched.example"] {
        for asked in [post(host), get(host), http2("POST", host, b"abc"), http2("GET", host, b"")] {
            let (fast, full) = stage.both(&asked);
            assert!(fast.others && full.others, "{host}: {fast:?}");
        }
    }
    // One among many is enough, wherever it stands.
    let mixed = [get("page.example"), get("free.example"), post("page.example")].concat();
    let (fast, full) = stage.both(&mixed);
    assert!(fast.others && full.others, "{fast:?}");
}

#[test]
fn a_flood_passes_the_turnstile_while_others_are_there_and_only_then() {
    let (_home, enforcement, stage) = stage();
    let get = |host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    let (other, http1) = (get("free.example"), get("page.example").repeat(20));
    let fields = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "page.example")];
    let head: Vec<u8> =
        fields.iter().flat_map(|(name, value)| hpack::field(name, value.as_bytes())).collect();
    let streams = (0..20).flat_map(|index| frame(HEADERS, 5, 1 + 2 * index, &head));
    let http2: Vec<u8> = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat().into_iter().chain(streams).collect();
    stage.drive(&other, 1, true);
    stage.drive(&http1, 1, true);
    stage.drive(&http2, 1, true);
    assert_eq!(stage.passes(), 0, "nobody asks more often than they get whole answers");
    enforcement.gate().limit_whole_answers(Rate::new(1, 5));
    for asked in [&http1, &http2] {
        let before = stage.passes();
        stage.drive(asked, 1, true);
        let passes = stage.passes() - before;
        // Some seconds may pass on a busy machine, and some requests be in time.
        assert!((10..=20).contains(&passes), "{passes}");
    }
    // Whoever comes after that is asked for anew.
    let (fast, _) = stage.both(&get("page.example"));
    assert!(fast.others, "of before");
    let before = stage.passes();
    stage.drive(&http1, 1, true);
    stage.drive(&http2, 1, true);
    assert_eq!(stage.passes(), before, "nobody else is there");
}
