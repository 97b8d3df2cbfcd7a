//! What the cache gives, what it keeps, and what it never keeps.

use std::thread;

use crate::harness::{Canned, Edge, Latch, Origin, Response, Setup, wait_for, wait_until};

const TABLE: &str = "[cache]\nlock_timeout = \"60s\"";

fn edge(origin: &Origin) -> Edge {
    Setup::new().origin(origin).table(TABLE).start()
}

#[track_caller]
fn get(edge: &Edge, host: &str, path: &str) -> Response {
    edge.connect().get(host, path).expect("an answer")
}

/// A request with further lines in its head.
#[track_caller]
fn ask(edge: &Edge, path: &str, lines: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
    edge.send(request).expect("an answer")
}

#[track_caller]
fn assert_hit(response: &Response) {
    let status = response.field("cache-status").unwrap_or_default();
    assert!(status.starts_with("interdict; hit"), "{status}");
    assert!(response.field("age").is_some(), "{:?}", response.fields);
}

#[track_caller]
fn assert_status(response: &Response, status: &str) {
    assert_eq!(response.field("cache-status"), Some(status), "{:?}", response.fields);
}

/// Answers with these `Cache-Control`s or fields are fetched each time.
#[track_caller]
fn assert_not_kept(answer: Canned, request_lines: &str) {
    let origin = Origin::start();
    origin.answers("/", answer);
    let edge = edge(&origin);
    for count in 1..=3 {
        let response = ask(&edge, "/", request_lines);
        assert_eq!(response.text(), format!("/ of a.example #{count}"), "{:?}", response.fields);
    }
    assert_eq!(edge.status().cache("objects"), 0);
}

#[test]
fn an_answer_is_given_again_until_it_is_too_old() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=1"));
    let edge = edge(&origin);
    assert_status(&get(&edge, "a.example", "/"), "interdict; fwd=uri-miss; stored");
    let first = wait_for("it is given again", || {
        // On a busy machine the second is over before the next request.
        let response = get(&edge, "a.example", "/");
        response.field("cache-status")?.starts_with("interdict; hit").then_some(response)
    });
    assert_hit(&first);
    assert!(first.text().starts_with("/ of a.example #"));
    let asked = origin.asked_for("/");
    wait_until("it is fetched again", || {
        get(&edge, "a.example", "/");
        origin.asked_for("/") > asked
    });
}

#[test]
fn that_there_is_nothing_is_an_answer_too() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60").status(404));
    let edge = edge(&origin);
    get(&edge, "a.example", "/");
    let second = get(&edge, "a.example", "/");
    assert_hit(&second);
    assert_eq!((second.status, second.text().as_str()), (404, "/ of a.example #1"));
}

#[test]
fn without_a_cache_table_nothing_is_kept() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60"));
    let edge = Setup::new().origin(&origin).start();
    get(&edge, "a.example", "/");
    let second = get(&edge, "a.example", "/");
    assert_eq!((second.text().as_str(), second.field("cache-status")), ("/ of a.example #2", None));
}

#[test]
fn a_route_may_be_left_out() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60"));
    let table = format!(
        "[[route]]\nhosts = [\"a.example\"]\norigins = [\"{}\"]\ncache = false\n{TABLE}",
        origin.address()
    );
    let edge = Setup::new().table(&table).start();
    for _ in 0..2 {
        assert_status(&get(&edge, "a.example", "/"), "interdict; fwd=bypass");
    }
    assert_eq!(origin.asked_for("/"), 2);
}

#[test]
fn two_hosts_with_one_path_are_two_objects_and_two_spellings_of_a_host_are_one() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60"));
    let edge = edge(&origin);
    assert_eq!(get(&edge, "a.example", "/").text(), "/ of a.example #1");
    assert_eq!(get(&edge, "b.example", "/").text(), "/ of b.example #2");
    for spelling in ["a.example", "A.Example", "a.example.", "a.example:80"] {
        let response = get(&edge, spelling, "/");
        assert_hit(&response);
        assert_eq!(response.text(), "/ of a.example #1", "{spelling}");
    }
    let over_h2 = edge.connect_h2().get("a.example", "/").unwrap();
    assert_hit(&over_h2);
    assert_eq!(over_h2.text(), "/ of a.example #1");
    assert_eq!(get(&edge, "a.example:81", "/").text(), "/ of a.example:81 #3");
}

#[test]
fn a_query_is_part_of_what_is_asked_for() {
    let origin = Origin::start();
    for target in ["/?a", "/?b"] {
        origin.answers(target, Canned::new("max-age=60"));
    }
    let edge = edge(&origin);
    assert_eq!(get(&edge, "a.example", "/?a").text(), "/?a of a.example #1");
    assert_eq!(get(&edge, "a.example", "/?b").text(), "/?b of a.example #1");
}

#[test]
fn an_answer_for_one_reader_is_never_kept() {
    for control in ["no-store", "private, max-age=60", "no-cache"] {
        assert_not_kept(Canned::new(control), "");
    }
    assert_not_kept(Canned::new("max-age=60").field("Set-Cookie", "session=1"), "");
    assert_not_kept(Canned::new("max-age=60").field("Vary", "*"), "");
    assert_not_kept(Canned::new("max-age=60"), "Authorization: Basic YTpi\r\n");
}

#[test]
fn an_answer_that_others_have_is_not_given_to_credentials_unless_it_is_for_all() {
    let origin = Origin::start();
    origin.answers("/own", Canned::new("max-age=60"));
    origin.answers("/all", Canned::new("public, max-age=60"));
    let edge = edge(&origin);
    let credentials = "Authorization: Basic YTpi\r\n";
    for (path, second) in [("/own", 2), ("/all", 1)] {
        ask(&edge, path, "");
        assert_eq!(ask(&edge, path, credentials).text(), format!("{path} of a.example #{second}"));
        // What one client got for its credentials is not what the next gets without.
        assert_eq!(ask(&edge, path, "").text(), format!("{path} of a.example #1"));
    }
}

#[test]
fn what_a_client_says_of_caches_changes_nothing() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60"));
    let edge = edge(&origin);
    let says = |control: &str| ask(&edge, "/", &format!("Cache-Control: {control}\r\n"));
    says("no-store");
    for control in ["no-cache", "max-age=0", "no-store", "only-if-cached"] {
        assert_hit(&says(control));
    }
    assert_hit(&ask(&edge, "/", "Pragma: no-cache\r\n"));
}

#[test]
fn each_variant_is_an_object_of_its_own() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60").field("Vary", "X-Tier"));
    let edge = edge(&origin);
    let of = |tier: &str| ask(&edge, "/", &format!("X-Tier: {tier}\r\nX-Other: {tier}\r\n"));
    assert_eq!(of("gold").text(), "/ of a.example #1");
    assert_status(&of("lead"), "interdict; fwd=vary-miss; stored");
    for (tier, count) in [("gold", 1), ("lead", 2), ("gold", 1)] {
        let response = of(tier);
        assert_hit(&response);
        assert_eq!(response.text(), format!("/ of a.example #{count}"), "{tier}");
    }
    assert_eq!(ask(&edge, "/", "").text(), "/ of a.example #3");
}

#[test]
fn of_two_times_that_an_answer_is_fresh_for_the_shorter_counts() {
    for controls in
        [["max-age=0", "max-age=60"], ["max-age=60", "max-age=0"], ["max-age=60", "s-maxage=60, s-maxage=0"]]
    {
        let origin = Origin::start();
        origin.answers("/", Canned::new(controls[0]).field("Cache-Control", controls[1]).body("x"));
        let edge = edge(&origin);
        for count in 1..=2 {
            get(&edge, "a.example", "/");
            assert_eq!(origin.asked_for("/"), count, "{controls:?}");
        }
    }
}

#[test]
fn ranges_come_from_the_whole_object() {
    for answer in [Canned::new("max-age=60"), Canned::new("max-age=60").chunked()] {
        let origin = Origin::start();
        origin.answers("/", answer.body("0123456789"));
        let edge = edge(&origin);
        assert_eq!(ask(&edge, "/", "").text(), "0123456789");
        for (range, part, field) in
            [("2-5", "2345", "bytes 2-5/10"), ("-3", "789", "bytes 7-9/10"), ("8-", "89", "bytes 8-9/10")]
        {
            let response = ask(&edge, "/", &format!("Range: bytes={range}\r\n"));
            assert_eq!((response.status, response.text().as_str()), (206, part));
            assert_eq!(response.field("content-range"), Some(field));
            assert_hit(&response);
        }
        assert_eq!(ask(&edge, "/", "Range: bytes=10-\r\n").status, 416);
        assert_eq!(origin.asked_for("/"), 1);
    }
}

#[test]
fn a_range_of_what_is_not_there_fetches_and_keeps_the_whole() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60").body("0123456789"));
    let edge = edge(&origin);
    let part = ask(&edge, "/", "Range: bytes=2-5\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "2345"));
    assert_eq!(origin.only_request().field("range"), [""; 0]);
    let whole = ask(&edge, "/", "");
    assert_hit(&whole);
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
}

#[test]
fn a_head_request_is_answered_from_the_object_and_keeps_nothing_itself() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for number in 0..10 {
        let path = format!("/{number}");
        origin.answers(&path, Canned::new("max-age=60").body("0123456789"));
        let head = || {
            let mut client = edge.connect();
            client
                .send(format!("HEAD {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"))
                .response_to_head()
                .unwrap()
        };
        assert_status(&head(), "interdict; fwd=miss");
        assert!(origin.requests().last().unwrap().line().starts_with("HEAD "));
        assert_eq!(get(&edge, "a.example", &path).text(), "0123456789");
        let response = head();
        assert_hit(&response);
        assert_eq!((response.status, response.field("content-length")), (200, Some("10")));
        assert_eq!(origin.asked_for(&path), 2);
    }
}

#[test]
fn a_client_that_has_what_is_not_there_is_told_so_and_holds_nobody_up() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for number in 0..10 {
        let path = format!("/{number}");
        origin.answers(&path, Canned::new("max-age=60").field("ETag", "\"one\"").body("0123456789"));
        assert_eq!(ask(&edge, &path, "If-None-Match: \"one\"\r\n").status, 304);
        assert_eq!(get(&edge, "a.example", &path).text(), "0123456789");
    }
}

#[test]
fn many_who_ask_at_once_are_one_request_to_the_origin() {
    let origin = Origin::start();
    let latch = Latch::default();
    origin.answers("/", Canned::new("max-age=60").held_by(&latch));
    let edge = edge(&origin);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = edge.connect();
            thread::spawn(move || client.get("a.example", "/").unwrap().text())
        })
        .collect();
    wait_until("all have asked", || {
        edge.admin("/metrics").text().contains("interdict_requests_allowed_total 20")
    });
    latch.open();
    for client in clients {
        assert_eq!(client.join().unwrap(), "/ of a.example #1");
    }
    assert_eq!(origin.asked_for("/"), 1);
}

#[test]
fn nobody_waits_for_an_answer_that_is_not_kept() {
    let origin = Origin::start();
    let latch = Latch::default();
    origin.answers("/", Canned::new("no-store").held_by(&latch));
    let edge = edge(&origin);
    let mut first = edge.connect();
    let waiting = thread::spawn(move || first.get("a.example", "/").unwrap().text());
    wait_until("the first is on its way", || origin.asked_for("/") == 1);
    let mut second = edge.connect();
    let other = thread::spawn(move || second.get("a.example", "/").unwrap().text());
    wait_until("the second does not wait for it", || origin.asked_for("/") == 2);
    latch.open();
    assert_eq!((waiting.join().unwrap().len(), other.join().unwrap().len()), (17, 17));
}

#[test]
fn a_stale_answer_is_given_while_it_is_fetched_anew() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=1, stale-while-revalidate=600"));
    let edge = edge(&origin);
    get(&edge, "a.example", "/");
    wait_until("the new answer is there", || {
        let response = get(&edge, "a.example", "/");
        // Nobody ever waits.
        assert_hit(&response);
        response.text() == "/ of a.example #2"
    });
    assert_eq!(origin.asked_for("/"), 2);
    let records = edge.finish();
    assert!(records.iter().all(|record| !record.kind().starts_with("request.")), "{records:?}");
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("no-cache").field("ETag", "\"one\""));
    let edge = edge(&origin);
    get(&edge, "a.example", "/");
    let second = get(&edge, "a.example", "/");
    assert_status(&second, "interdict; fwd=stale; fwd-status=304; stored");
    assert_eq!((second.status, second.text().as_str()), (200, "/ of a.example #1"));
    let requests = origin.requests();
    assert_eq!(requests.last().unwrap().field("if-none-match"), ["\"one\""]);
    let known = ask(&edge, "/", "If-None-Match: \"one\"\r\n");
    assert_eq!((known.status, known.body.len()), (304, 0));
}

#[test]
fn a_request_with_content_is_never_looked_up_and_its_content_is_no_request() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60"));
    let edge = edge(&origin);
    get(&edge, "a.example", "/");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let chunked = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    let framings = [
        (format!("Content-Length: {}", smuggled.len()), smuggled.to_owned()),
        ("Transfer-Encoding: chunked".to_owned(), chunked),
    ];
    for (framing, content) in framings {
        let mut client = edge.connect();
        let head = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n");
        let next = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        client.send(format!("{head}{content}{next}"));
        let first = client.response().unwrap();
        assert_status(&first, "interdict; fwd=request");
        assert_hit(&client.response().unwrap());
    }
    assert_eq!(origin.asked_for("/smuggled"), 0);
    // What the origin made of that content is not what others get.
    assert_eq!(get(&edge, "a.example", "/").text(), "/ of a.example #1");
}

#[test]
fn an_unsafe_method_takes_the_object_out() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60"));
    let edge = edge(&origin);
    get(&edge, "a.example", "/");
    let put = edge.send("DELETE / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    assert_status(&put, "interdict; fwd=method");
    assert_eq!(get(&edge, "a.example", "/").text(), "/ of a.example #3");
}

#[test]
fn an_upgrade_and_a_tunnel_never_meet_the_cache() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60"));
    let edge = edge(&origin);
    get(&edge, "a.example", "/");
    let lines = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(ask(&edge, "/", lines).status, 101);
    let tunnel = edge.send("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    assert_eq!(tunnel.status, 405);
}
