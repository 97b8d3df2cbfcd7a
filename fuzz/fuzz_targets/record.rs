//! One event is one line whatever is in it.

#![no_main]

use std::net::IpAddr;

use interdict::audit::{Enforcement, Event, Kind, RequestFacts, line_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8], &str, u64)| {
    let (path, user_agent, word, seq) = input;
    let event = Event {
        kind: Kind::RequestBlocked,
        revision: seq,
        enforcement: Some(Enforcement {
            case: word,
            customer: word,
            basis: "abuse",
            action: "page",
            status: Some(403),
            matched: word,
            also: &[word],
        }),
        request: Some(RequestFacts {
            host: word,
            names: &[path, user_agent],
            method: word,
            path,
            client: IpAddr::from([192, 0, 2, 1]),
            listener: "127.0.0.1:8080",
            protocol: "HTTP/1.1",
            tls: None,
            user_agent: Some(user_agent),
            upstream: None,
        }),
        detail: None,
    };
    let id = "01930000-0000-7000-8000-000000000000".parse().expect("a valid id");
    let line = line_of(&event, word, id, seq, jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert!(line.ends_with(b"\n") && line.len() < 128 * 1024);
    let value: serde_json::Value = serde_json::from_slice(&line).expect("a line is JSON");
    assert_eq!(value["kind"], "request.blocked");
});
