//! One event is one line, whatever bytes a client sends.

use std::fs;

use crate::harness::audit::{of_kind, only};
use crate::harness::{CaseFile, Edge, Origin, Setup, http2, tools};

const BLOCKED: &str = "blocked.example";

fn start(origin: &Origin) -> Edge {
    Setup::new().origin(origin).case(CaseFile::new("page", &[BLOCKED])).start()
}

/// What ends a line, moves the cursor or hides in a terminal.
fn is_hostile(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Every line of this text is an object and shows nothing hostile; returns how many there are.
#[track_caller]
fn assert_lines(bytes: &[u8]) -> usize {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    for line in text.split_terminator('\n') {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value.is_object(), "{line}");
        assert!(!line.chars().any(is_hostile), "{line:?}");
    }
    text.split_terminator('\n').count()
}

/// The lines of the log as they are exported, and as they are on the disk after the end.
fn assert_log(mut edge: Edge) {
    let directory = edge.audit_directory();
    let output = tools::interdict(["audit", "export", "--directory", directory.to_str().unwrap()]);
    let exported = assert_lines(output.stdout.as_bytes());
    assert!(edge.records().len() >= exported);
    edge.stop();
    let records = edge.records().len();
    let entries = fs::read_dir(directory.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let plain = entries.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    let on_disk: usize = plain.map(|path| assert_lines(&fs::read(path).unwrap())).sum();
    assert_eq!(on_disk, records, "one segment, and a line for each record");
}

/// Bytes that a careless log would pass on.
const HOSTILE: &[&[u8]] = &[
    b"\n{\"kind\":\"forged\"}\n",
    b"a\rb",
    b"\r\n\r\n",
    b"\x1b[2J\x1b]0;owned\x07",
    b"\xff\xfe\xc3(",
    b"\xed\xa0\x80",
    "\u{2028}\u{2029}\u{85}".as_bytes(),
    "\u{202e}gpj.exe\u{feff}".as_bytes(),
    b"\0",
    b"\x7f\x08\x0b\x0c",
    b"\",\"kind\":\"forged\",\"x\":\"\\",
];

#[test]
fn a_hostile_path_or_user_agent_stays_on_its_line() {
    let origin = Origin::start();
    let edge = start(&origin);
    let mut blocked = 0;
    for hostile in HOSTILE {
        let path = [b"GET /", *hostile, b" HTTP/1.1\r\nHost: blocked.example\r\n\r\n"].concat();
        let user_agent =
            [b"GET / HTTP/1.1\r\nHost: blocked.example\r\nUser-Agent: x", *hostile, b"\r\n\r\n"].concat();
        for request in [path, user_agent] {
            let response = edge.connect().about(BLOCKED).send(request).response();
            blocked += usize::from(response.is_some_and(|response| response.enforcement_id().is_some()));
        }
        let fields: [(&[u8], &[u8]); 5] = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", BLOCKED.as_bytes()),
            (b":path", &[b"/", *hostile].concat()),
            (b"user-agent", hostile),
        ];
        // Answered or not: what counts is the log.
        let _ending = http2::raw(edge.address(), &fields);
    }
    let records = edge.records();
    let recorded = of_kind(&records, "request.blocked").len();
    assert!(blocked >= HOSTILE.len() / 2 && recorded >= blocked, "{blocked} blocked, {recorded} recorded");
    assert!(of_kind(&records, "forged").is_empty());
    println!("{blocked} of {} hostile requests over HTTP/1.1 were taken", 2 * HOSTILE.len());
    assert_log(edge);
}

#[test]
fn bytes_that_are_no_text_are_shown_as_what_they_are() {
    let origin = Origin::start();
    let edge = start(&origin);
    let request =
        b"GET /a\xe2\x80\xa8b HTTP/1.1\r\nHost: blocked.example\r\nUser-Agent: \xfe\xe2\x80\xa9\\\r\n\r\n";
    edge.send(request).unwrap().assert_blocked(403);
    let records = edge.records();
    let record = only(&records, "request.blocked");
    assert_eq!(record.text("path"), "/a\u{2028}b");
    assert_eq!(record.text("user_agent"), "\\xfe\u{2029}\\x5c");
    assert_log(edge);
}

#[test]
fn a_user_agent_of_64_kib_is_refused_or_cut_and_takes_one_line() {
    let origin = Origin::start();
    let edge = start(&origin);
    for length in [256, 1024, 6 * 1024, 64 * 1024] {
        for byte in [b"a" as &[u8], b"\xff", "\u{2028}".as_bytes()] {
            let user_agent = byte.repeat(length / byte.len());
            let head = b"GET / HTTP/1.1\r\nHost: blocked.example\r\nUser-Agent: ".as_slice();
            let request = [head, &user_agent, b"\r\n\r\n"].concat();
            let response = edge.connect().about(BLOCKED).send(request).response();
            if let Some(response) = response {
                assert!((400..500).contains(&response.status), "{}", response.status);
                assert!(length > 6 * 1024 || response.enforcement_id().is_some(), "{length}: {response:?}");
            }
        }
    }
    let records = edge.records();
    let blocked = of_kind(&records, "request.blocked");
    assert!(blocked.len() >= 9, "{} blocked", blocked.len());
    assert!(blocked.iter().all(|record| record.text("user_agent").chars().count() < 4096));
    assert!(blocked.iter().filter(|record| record.text("user_agent").ends_with('…')).count() >= 3);
    assert_log(edge);
}
