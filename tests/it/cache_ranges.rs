//! Ranges of what the cache does not have: what an origin is asked for, and how much of it.

use crate::harness::{Canned, Edge, Latch, Origin, Response, Setup};

fn edge(origin: &Origin) -> Edge {
    Setup::new().origin(origin).table("[cache]\nobject_bytes = 1024").start()
}

/// A request with a `Range`.
#[track_caller]
fn ask(edge: &Edge, method: &str, path: &str, range: &str) -> Response {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\nRange: {range}\r\n\r\n");
    let mut client = edge.connect();
    client.send(request);
    let response = if method == "HEAD" { client.response_to_head() } else { client.response() };
    response.expect("an answer")
}

#[test]
fn a_range_that_is_not_worth_the_whole_goes_to_the_origin_as_it_is() {
    for range in
        ["bytes=1024-", "bytes=299999999-", "bytes=-3", "bytes=0-0,5-6", "bytes=99999999999999999999-5"]
    {
        let origin = Origin::start();
        let part = Canned::new("max-age=60").status(206).field("Content-Range", "bytes 7-9/10").body("789");
        origin.answers("/", part);
        let edge = edge(&origin);
        for count in 1..=2 {
            let response = ask(&edge, "GET", "/", range);
            assert_eq!((response.status, response.text().as_str()), (206, "789"), "{range}");
            assert_eq!(response.field("cache-status"), Some("interdict; fwd=miss"));
            assert_eq!(origin.asked_for("/"), count);
            assert_eq!(origin.requests().last().unwrap().field("range"), [range]);
        }
        assert_eq!(edge.status().cache("objects"), 0);
    }
}

#[test]
fn any_other_range_has_the_whole_fetched_and_is_cut_from_it() {
    for range in ["bytes=2-5", "bytes=999-", "bytes=0-"] {
        let origin = Origin::start();
        origin.answers("/", Canned::new("max-age=60").body("0123456789".repeat(100)));
        let edge = edge(&origin);
        for _ in 0..2 {
            assert_eq!(ask(&edge, "GET", "/", range).status, 206, "{range}");
        }
        assert!(origin.only_request().field("range").is_empty());
    }
}

#[test]
fn what_is_there_and_stale_is_asked_after_whatever_range_is_wanted() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("no-cache").field("ETag", "\"one\"").body("0123456789"));
    let edge = edge(&origin);
    edge.connect().get("a.example", "/").unwrap();
    let response = ask(&edge, "GET", "/", "bytes=-3");
    assert_eq!((response.status, response.text().as_str()), (206, "789"));
    let request = origin.requests().pop().unwrap();
    assert_eq!(request.field("if-none-match"), ["\"one\""]);
    assert!(request.field("range").is_empty());
}

#[test]
fn a_range_of_what_is_there_is_given_from_it_wherever_it_begins() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60").body("0123456789"));
    let edge = edge(&origin);
    edge.connect().get("a.example", "/").unwrap();
    let answers = ["bytes=-3", "bytes=0-0,5-6", "bytes=5000-"].map(|range| ask(&edge, "GET", "/", range));
    assert_eq!(answers.each_ref().map(|answer| answer.status), [206, 206, 416]);
    assert_eq!(answers[0].text(), "789");
    assert_eq!(origin.asked_for("/"), 1);
}

#[test]
fn a_range_is_for_get_alone() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60").body("0123456789"));
    let edge = edge(&origin);
    let head = |range| {
        let response = ask(&edge, "HEAD", "/", range);
        assert_eq!((response.status, response.field("content-length")), (200, Some("10")), "{range}");
        assert_eq!(response.field("content-range"), None);
    };
    head("bytes=2-5");
    assert!(origin.only_request().field("range").is_empty());
    edge.connect().get("a.example", "/").unwrap();
    head("bytes=2-5");
    head("bytes=50-");
    assert_eq!(origin.asked_for("/"), 2);
}

#[test]
fn a_range_over_http_2_ends_when_it_is_given_and_not_with_the_object() {
    let (origin, latch) = (Origin::start(), Latch::default());
    origin.answers("/", Canned::new("no-store").body(vec![b'x'; 4 << 20]).held_by(&latch));
    let edge = edge(&origin);
    let mut client = edge.connect_h2();
    let request = http::Request::get("http://a.example/").header("range", "bytes=1-2").body(()).unwrap();
    let response = client.request(request, None).unwrap();
    assert_eq!((response.status, response.text().as_str()), (206, "xx"));
    assert_eq!(response.field("content-range"), Some("bytes 1-2/4194304"));
    client.get("a.example", "/other").unwrap().assert_forwarded();
    assert!(!edge.process().stderr().contains("Fail to proxy"), "{}", edge.process().stderr());
    latch.open();
}
