//! Several origins: whose turn it is, who is well, what is tried again, and what no way leads to.

use std::time::{Duration, Instant};

use crate::harness::origin::dead_address;
use crate::harness::{CaseFile, Client, Edge, Origin, Setup, wait_until};

fn closes(networks: &[&str]) -> CaseFile {
    CaseFile::new("networks", &["customer.example"]).key(&format!("origins = {networks:?}"))
}

/// Who answered, for so many requests on connections of their own.
fn answers(edge: &Edge, count: usize) -> Vec<String> {
    let answered = |_| edge.get("shop.example").field("origin").unwrap_or("none").to_owned();
    (0..count).map(answered).collect()
}

fn share(answers: &[String], name: &str) -> usize {
    answers.iter().filter(|answer| *answer == name).count()
}

/// How many requests the edge has under way to all its origins.
fn under_way_at_origins(edge: &Edge) -> u64 {
    let status = edge.status().0;
    let origins = status["origins"].as_array().unwrap();
    origins.iter().map(|origin| origin["active"].as_u64().unwrap()).sum()
}

/// A request that is under way until the client is dropped.
fn under_way(edge: &Edge) -> Client {
    let mut client = edge.connect();
    client.send("GET /slow/1000 HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert!(client.read_exact(12).unwrap().starts_with(b"HTTP/1.1 200"));
    client
}

#[test]
fn origins_take_turns_as_often_as_their_weights_say() {
    let (heavy, light) = (Origin::named("heavy", "127.0.0.1:0"), Origin::named("light", "127.0.0.1:0"));
    let route = format!(
        "[[route]]\nhosts = [\"*\"]\norigins = [{{ address = \"{}\", weight = 3 }}, \"{}\"]",
        heavy.address(),
        light.address()
    );
    let edge = Setup::new().table(&route).start();
    let answers = answers(&edge, 12);
    assert_eq!((share(&answers, "heavy"), share(&answers, "light")), (9, 3), "{answers:?}");
}

#[test]
fn the_first_origin_gets_everything_in_order() {
    let (first, second) = (Origin::named("first", "127.0.0.1:0"), Origin::named("second", "127.0.0.1:0"));
    let edge = Setup::new().balanced(&[&first, &second], "balance = \"in-order\"").start();
    assert_eq!(share(&answers(&edge, 4), "first"), 4);
    second.assert_untouched();
}

#[test]
fn an_origin_with_a_request_under_way_is_left_for_one_without() {
    let (one, other) = (Origin::named("one", "127.0.0.1:0"), Origin::named("other", "127.0.0.1:0"));
    let edge = Setup::new().balanced(&[&one, &other], "balance = \"least-connections\"").start();
    let _busy = under_way(&edge);
    let busy = if one.requests().is_empty() { "other" } else { "one" };
    for _ in 0..5 {
        // A client has its answer before the origin is given back.
        wait_until("only the first request is under way", || under_way_at_origins(&edge) == 1);
        assert_eq!(share(&answers(&edge, 1), busy), 0);
    }
}

#[test]
fn a_consistent_hash_sends_a_host_to_one_origin_and_hosts_to_several() {
    let origins = ["a", "b", "c"].map(|name| Origin::named(name, "127.0.0.1:0"));
    let lines = "balance = \"consistent-hash\"\nhash = \"host\"";
    let edge = Setup::new().balanced(&origins.each_ref(), lines).start();
    let origin_of = |host: &str| edge.get(host).field("origin").unwrap().to_owned();
    let hosts: Vec<String> = (0..24).map(|number| format!("h{number}.example")).collect();
    let first: Vec<String> = hosts.iter().map(|host| origin_of(host)).collect();
    let second: Vec<String> = hosts.iter().map(|host| origin_of(&host.to_uppercase())).collect();
    assert_eq!(first, second);
    assert!(["a", "b", "c"].iter().all(|name| share(&first, name) > 0), "{first:?}");
}

#[test]
fn an_origin_takes_as_many_requests_at_a_time_as_it_may_and_the_rest_get_a_503() {
    let origin = Origin::start();
    let edge = Setup::new().balanced(&[&origin], "max_connections = 1").start();
    let busy = under_way(&edge);
    assert_eq!(edge.get("shop.example").status, 503);
    drop(busy);
    wait_until("the request under way has ended", || edge.get("shop.example").status == 200);
}

#[test]
fn a_request_that_may_do_something_twice_is_not_sent_twice() {
    let (dying, alive) = (Origin::named("dying", "127.0.0.1:0"), Origin::named("alive", "127.0.0.1:0"));
    let edge = Setup::new().balanced(&[&dying, &alive], "balance = \"in-order\"").start();
    for request in [
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc",
        "PATCH / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc",
        "PUT / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        assert_eq!(edge.send(request).expect("an answer").status, 502, "{request}");
    }
    assert_eq!(dying.requests().len(), 4);
    alive.assert_untouched();
}

#[test]
fn nor_is_it_over_http2_in_chunks_or_on_a_connection_that_was_used_before() {
    let (dying, alive) = (Origin::named("dying", "127.0.0.1:0"), Origin::named("alive", "127.0.0.1:0"));
    let edge = Setup::new().balanced(&[&dying, &alive], "balance = \"in-order\"").start();
    let chunked =
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(edge.send(chunked).expect("an answer").status, 502);
    let mut client = edge.connect_h2();
    for (body, count) in [(None, 2), (Some(&b"abc"[..]), 3)] {
        let post = http::Request::post("http://shop.example/").body(()).unwrap();
        assert_eq!(client.request(post, body).unwrap().status, 502);
        assert_eq!(dying.requests().len(), count);
    }
    alive.assert_untouched();

    // An origin that has closed a connection from the pool may have read the request before: nobody can tell.
    let first = Origin::named("first", "127.0.0.1:0");
    let edge = Setup::new().balanced(&[&first, &alive], "balance = \"in-order\"").start();
    edge.get("shop.example").assert_forwarded();
    // A client has its answer before the connection is back in the pool.
    wait_until("the request is over", || under_way_at_origins(&edge) == 0);
    let post = "POST /die HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(edge.send(post).expect("an answer").status, 502);
    assert_eq!((first.asked_for("/die"), first.connections()), (1, 1));
    alive.assert_untouched();
    // One that only asks goes on: on a connection of its own, and then to the next origin.
    assert_eq!(edge.connect().get("shop.example", "/die").unwrap().status, 502);
    assert_eq!((first.asked_for("/die"), alive.asked_for("/die") > 0), (2, true));
}

#[test]
fn a_request_that_only_asks_is_sent_to_the_next_origin() {
    let (dying, alive) = (Origin::named("dying", "127.0.0.1:0"), Origin::named("alive", "127.0.0.1:0"));
    let edge = Setup::new().balanced(&[&dying, &alive], "balance = \"in-order\"").start();
    edge.get("shop.example").assert_forwarded();
    edge.connect_h2().get("shop.example", "/").unwrap().assert_forwarded();
    assert_eq!((dying.requests().len(), alive.requests().len()), (2, 2));
    let metrics = edge.admin("/metrics").text();
    assert!(metrics.contains("interdict_upstream_retries_total 2"), "{metrics}");
}

#[test]
fn a_request_takes_no_more_attempts_than_its_route_allows() {
    let alive = Origin::start();
    let addresses = [dead_address().to_string(), dead_address().to_string(), alive.address().to_string()];
    let route =
        format!("[[route]]\nhosts = [\"*\"]\norigins = {addresses:?}\nbalance = \"in-order\"\nretries = 1");
    let edge = Setup::new().table(&route).start();
    assert_eq!(edge.get("shop.example").status, 502);
    alive.assert_untouched();
}

const HEALTH: &str =
    "health = { path = \"/healthz\", interval = \"20ms\", timeout = \"2s\", failures = 2, successes = 2 }";

#[test]
fn an_origin_that_fails_its_checks_gets_no_requests_until_it_passes_them_again() {
    let (one, other) = (Origin::named("one", "127.0.0.1:0"), Origin::named("other", "127.0.0.1:0"));
    let edge = Setup::new().balanced(&[&one, &other], HEALTH).start();
    let is_up = |at: usize| edge.status().0["origins"][at]["up"].as_bool();
    wait_until("both were asked", || one.checks() > 0 && other.checks() > 0);
    assert_eq!(share(&answers(&edge, 4), "one"), 2);
    one.set_unwell(true);
    wait_until("it is down", || is_up(0) == Some(false));
    assert_eq!(share(&answers(&edge, 4), "one"), 0);
    assert!(edge.admin("/metrics").text().contains("interdict_origins_down 1"));
    one.set_unwell(false);
    wait_until("it is up again", || is_up(0) == Some(true));
    assert_eq!(share(&answers(&edge, 4), "one"), 2);
}

#[test]
fn when_every_origin_fails_its_checks_each_is_tried() {
    let origin = Origin::start();
    origin.set_unwell(true);
    let edge = Setup::new().balanced(&[&origin], HEALTH).start();
    wait_until("it is down", || edge.status().0["origins"][0]["up"].as_bool() == Some(false));
    edge.get("shop.example").assert_forwarded();
}

#[test]
fn a_check_without_a_path_takes_a_connection_for_an_answer() {
    let alive = Origin::named("alive", "127.0.0.1:0");
    let addresses = [dead_address().to_string(), alive.address().to_string()];
    let route =
        format!("[[route]]\nhosts = [\"*\"]\norigins = {addresses:?}\nhealth = {{ interval = \"20ms\" }}");
    let edge = Setup::new().table(&route).start();
    wait_until("the dead one is down", || edge.status().0["origins"][0]["up"].as_bool() == Some(false));
    assert_eq!(edge.status().0["origins"][1]["up"].as_bool(), Some(true));
}

#[test]
fn a_closed_network_is_never_checked_not_even_for_one_territory() {
    let (closed, free) = (Origin::named("closed", "127.0.0.2:0"), Origin::named("free", "127.0.0.1:0"));
    let case = closes(&["127.0.0.2/32"]).by_court_order().table("territory = [\"198.51.100.0/24\"]");
    let edge = Setup::new().balanced(&[&closed, &free], HEALTH).case(case).start();
    wait_until("the other was asked often", || free.checks() > 10);
    closed.assert_untouched();
    // Not asked is not down: a client outside the territory is served by it.
    assert_eq!(edge.status().0["origins"][0]["up"].as_bool(), Some(true));
    assert_eq!(share(&answers(&edge, 2), "closed"), 1);
}

#[test]
fn the_unspecified_address_leads_into_no_closed_loopback() {
    let closed = Origin::named("closed", "127.0.0.1:0");
    let port = closed.address().port();
    for (address, network) in
        [("0.0.0.0", "127.0.0.0/8"), ("0.0.0.0", "0.0.0.0/32"), ("[::ffff:0.0.0.0]", "127.0.0.1/32")]
    {
        let route = format!("[[route]]\nhosts = [\"*\"]\norigins = [\"{address}:{port}\"]\n");
        let edge = Setup::new().table(&route).case(closes(&[network])).start();
        assert_eq!(edge.get("shop.example").status, 403, "{address} in {network}");
        closed.assert_untouched();
    }
}

#[test]
fn checks_stop_when_their_network_is_closed() {
    let (closed, free) = (Origin::named("closed", "127.0.0.2:0"), Origin::named("free", "127.0.0.1:0"));
    let edge = Setup::new().balanced(&[&closed, &free], HEALTH).start();
    wait_until("both were asked", || closed.checks() > 0 && free.checks() > 0);
    edge.change(|policies| policies.write(&closes(&["127.0.0.2/32"])));
    // A check that was under way at the swap ends with its connection.
    wait_until("no connection is open", || closed.open() == 0);
    let (connections, asked) = (closed.connections(), free.checks());
    wait_until("the other was asked often", || free.checks() > asked + 10);
    assert_eq!(closed.connections(), connections);
}

#[test]
fn a_pooled_connection_into_a_closed_network_is_gone_within_a_second() {
    let (closed, free) = (Origin::named("closed", "127.0.0.2:0"), Origin::named("free", "127.0.0.1:0"));
    let edge = Setup::new().balanced(&[&closed, &free], "").start();
    answers(&edge, 2);
    assert_eq!((closed.open(), free.open()), (1, 1), "one is kept for each");
    edge.change(|policies| policies.write(&closes(&["::ffff:127.0.0.2/128"])));
    let swapped = Instant::now();
    wait_until("it is closed", || closed.open() == 0);
    assert!(swapped.elapsed() < Duration::from_secs(1), "{:?}", swapped.elapsed());
    assert_eq!(free.open(), 1, "others are untouched");
    let metrics = edge.admin("/metrics").text();
    assert!(metrics.contains("interdict_upstream_cut_total 1"), "{metrics}");
}

#[test]
fn a_pooled_connection_ends_when_its_case_becomes_effective() {
    let origin = Origin::start();
    let start = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let case = closes(&["127.0.0.0/16"]).effective(start);
    let edge = Setup::new().balanced(&[&origin], "").case(case).start();
    edge.get("shop.example").assert_forwarded();
    assert_eq!(origin.open(), 1);
    wait_until("it is closed", || origin.open() == 0);
    let late = jiff::Timestamp::now().duration_since(start);
    assert!(late >= jiff::SignedDuration::ZERO && late < jiff::SignedDuration::from_secs(1), "{late:?}");
    edge.get("shop.example").assert_blocked(403);
}

#[test]
fn a_client_that_a_case_exempts_is_led_through_the_door_and_no_other() {
    let origin = Origin::start();
    let exempt = "[[exempt]]\nclients = [\"127.0.0.0/16\"]\nreason = \"evidence\"";
    let case = closes(&["127.0.0.0/16"]).table(exempt);
    let edge = Setup::new().balanced(&[&origin], "").case(case).start();
    edge.get("shop.example").assert_forwarded();
    assert_eq!(origin.open(), 1);
    // A change that is about something else does not end what the exempt client uses.
    edge.change(|policies| policies.write(&CaseFile::new("other", &["other.example"])));
    edge.get("shop.example").assert_forwarded();
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_origin_is_told_the_truth_about_the_client_and_nothing_the_client_says_of_itself() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).start();
    let lies = "GET / HTTP/1.1\r\nHost: SHOP.example.:8080\r\nX-Forwarded-For: 203.0.113.9\r\n\
                X_Forwarded_For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Host: other.example\r\nX-Real-IP: 203.0.113.9\r\nKeep-Alive: timeout=5\r\n\
                Connection: close, x-secret\r\nX-Secret: 1\r\nProxy-Authorization: Basic eA==\r\nTE: gzip\r\n\r\n";
    edge.send(lies).expect("an answer").assert_forwarded();
    let request = origin.only_request();
    let field = |name: &str| request.field(name).join(" | ");
    assert_eq!(field("host"), "shop.example:8080");
    assert_eq!(field("x-forwarded-for"), "127.0.0.1");
    assert_eq!(field("x-forwarded-proto"), "http");
    assert_eq!(field("x-forwarded-host"), "shop.example:8080");
    assert_eq!(field("forwarded"), "for=127.0.0.1;host=\"shop.example:8080\";proto=http");
    for gone in ["x_forwarded_for", "x-real-ip", "keep-alive", "x-secret", "proxy-authorization", "te"] {
        assert_eq!(field(gone), "", "{gone}");
    }
}

#[test]
fn a_route_has_its_own_patience() {
    let origin = Origin::start();
    let route = format!(
        "[[route]]\nhosts = [\"*\"]\norigins = [\"{}\"]\nretries = 0\nupstream_timeout = \"100ms\"",
        silent_address()
    );
    let patient = format!("[[route]]\nhosts = [\"patient.example\"]\norigins = [\"{}\"]", origin.address());
    let edge = Setup::new().table(&route).table(&patient).start();
    let began = Instant::now();
    assert_eq!(edge.get("shop.example").status, 504);
    assert!(began.elapsed() < Duration::from_secs(10));
    edge.get("patient.example").assert_forwarded();
}

/// An address that takes connections and never says a word.
fn silent_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Kept open, and read from, for as long as the test runs.
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).collect::<Vec<_>>());
    address
}
