//! What a case leaves of the cache: nothing, and nothing comes back.

use std::thread;

use jiff::{SignedDuration, Timestamp};

use crate::harness::audit::of_kind;
use crate::harness::tools::interdict;
use crate::harness::{Canned, CaseFile, Client, Edge, Latch, Origin, Response, Setup, wait_for, wait_until};

fn edge(origin: &Origin) -> Edge {
    Setup::new().origin(origin).table("[cache]").start()
}

/// An origin whose start page may be kept for ten minutes.
fn origin() -> Origin {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=600"));
    origin
}

/// A route to origins that are tried in this order, and a cache.
fn in_order(origins: &[String]) -> String {
    format!("[[route]]\nhosts = [\"*\"]\norigins = {origins:?}\nbalance = \"in-order\"\n\n[cache]")
}

#[track_caller]
fn assert_hit(response: &Response) {
    let status = response.field("cache-status").unwrap_or_default();
    assert!(status.starts_with("interdict; hit"), "{status}");
}

/// The first answer that the cache had a say in, and how many came before it: as long as no pass is made for new rules,
/// the origin answers, and nothing is kept.
fn looked_up(edge: &Edge, host: &str) -> (Response, usize) {
    let mut passed_by = 0;
    let response = wait_for("a pass is made for the rules", || {
        let response = edge.get(host);
        let is_looked_up = response.field("cache-status") != Some("interdict; fwd=bypass");
        passed_by += usize::from(!is_looked_up);
        is_looked_up.then_some(response)
    });
    (response, passed_by)
}

#[track_caller]
fn is_purged(edge: &Edge, objects: u64) {
    wait_until("the cache is purged", || edge.status().cache("objects") == objects);
}

#[test]
fn a_blocked_host_gets_its_page_at_once_although_its_pages_are_in_the_cache() {
    let origin = origin();
    let edge = edge(&origin);
    for host in ["a.example", "b.example"] {
        edge.get(host);
        assert_hit(&edge.get(host));
    }
    edge.change(|policies| policies.write(&CaseFile::new("one", &["a.example"])));
    edge.get("a.example").assert_blocked(403);
    edge.connect_h2().get("a.example", "/").unwrap().assert_blocked(403);
    is_purged(&edge, 1);
    assert_eq!(edge.status().cache("purged"), 1);
    // The other host's objects are where they were.
    assert_hit(&edge.get("b.example"));
    assert_eq!(origin.asked_for("/"), 2);
}

#[test]
fn a_page_that_is_blocked_carries_nothing_of_the_cache() {
    let origin = origin();
    let edge =
        Setup::new().origin(&origin).table("[cache]").case(CaseFile::new("one", &["a.example"])).start();
    let page = edge.get("a.example");
    page.assert_blocked(403);
    assert_eq!(page.field("cache-status"), None);
    assert_eq!(edge.status().cache("objects"), 0);
    origin.assert_untouched();
}

#[test]
fn nothing_comes_back_after_a_reinstatement() {
    let origin = origin();
    let edge = edge(&origin);
    assert_eq!(edge.get("a.example").text(), "/ of a.example #1");
    edge.change(|policies| policies.write(&CaseFile::new("one", &[".a.example"])));
    edge.get("a.example").assert_blocked(403);
    edge.change(|policies| policies.remove_case("one"));
    assert_eq!(edge.get("a.example").text(), "/ of a.example #2");
    // And the cache works for it as before.
    wait_until("it is kept again", || {
        edge.get("a.example").field("cache-status").is_some_and(|status| status.contains("hit"))
    });
}

#[test]
fn nothing_comes_back_however_fast_the_reinstatement_is() {
    let origin = origin();
    let edge = edge(&origin);
    for _ in 0..10 {
        edge.get("a.example");
        let stored = edge.get("a.example").text();
        // Nobody asks in between, and nobody waits for a purge.
        edge.change(|policies| policies.write(&CaseFile::new("one", &["a.example"])));
        edge.change(|policies| policies.remove_case("one"));
        assert_ne!(edge.get("a.example").text(), stored);
    }
}

#[test]
fn a_case_that_starts_and_ends_by_itself_leaves_nothing_either() {
    let origin = origin();
    let edge = edge(&origin);
    edge.get("a.example");
    let (start, end) = (SignedDuration::from_millis(1000), SignedDuration::from_millis(2000));
    let now = Timestamp::now();
    let case = CaseFile::new("one", &["a.example"]).effective(now + start).expires(now + end);
    edge.change(|policies| policies.write(&case));
    wait_until("the case is in force", || edge.get("a.example").status == 403);
    let after = wait_for("the case has ended", || {
        let response = edge.get("a.example");
        (response.status == 200).then_some(response)
    });
    assert_eq!(after.text(), format!("/ of a.example #{}", origin.asked_for("/")));
    assert!(origin.asked_for("/") >= 2);
}

/// Asks for `/` as whoever is exempt, and is not cut when the case comes.
fn slowly(edge: &Edge) -> thread::JoinHandle<Response> {
    let mut client = edge.connect();
    thread::spawn(move || client.get("a.example", "/").unwrap())
}

#[test]
fn a_fetch_that_was_under_way_during_a_block_does_not_come_back() {
    let origin = Origin::start();
    let latch = Latch::default();
    origin.answers("/", Canned::new("max-age=600").held_by(&latch));
    let edge = edge(&origin);
    let client = slowly(&edge);
    wait_until("the origin is asked", || origin.asked_for("/") == 1);
    let exempt = "[[exempt]]\nclients = [\"127.0.0.1/32\"]\nreason = \"evidence\"";
    edge.change(|policies| policies.write(&CaseFile::new("one", &["a.example"]).table(exempt)));
    edge.change(|policies| policies.remove_case("one"));
    latch.open();
    assert_eq!(client.join().unwrap().text(), "/ of a.example #1");
    assert_eq!(edge.get("a.example").text(), "/ of a.example #2");
}

#[test]
fn a_case_for_some_clients_purges_what_they_would_be_given() {
    let origin = origin();
    let edge = edge(&origin);
    edge.get("a.example");
    let elsewhere =
        CaseFile::new("one", &["a.example"]).by_court_order().table("territory = [\"192.0.2.0/24\"]");
    edge.change(|policies| policies.write(&elsewhere));
    is_purged(&edge, 0);
    assert_eq!(edge.get("a.example").text(), "/ of a.example #2");
}

#[test]
fn a_case_in_shadow_purges_nothing_and_is_recorded_once_a_request() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=1, stale-while-revalidate=600"));
    let edge = edge(&origin);
    let case = CaseFile::new("one", &["a.example"]).key("origins = [\"127.0.0.0/16\"]").shadow();
    edge.change(|policies| policies.write(&case));
    let (first, passed_by) = looked_up(&edge, "a.example");
    let fetched = passed_by + 1;
    assert_eq!(first.text(), format!("/ of a.example #{fetched}"));
    wait_until("it is kept", || edge.status().cache("objects") == 1);
    let mut asked = fetched;
    wait_until("it was fetched anew in the background", || {
        asked += 1;
        edge.get("a.example").text() == format!("/ of a.example #{}", fetched + 1)
    });
    assert_eq!(edge.status().cache("purged"), 0);
    // Once a request for the host, once for the origin that the first ones had to ask, never for one no client made.
    assert_eq!(of_kind(&edge.finish(), "request.shadowed").len(), asked + fetched);
}

#[test]
fn what_came_from_an_origin_is_not_given_once_its_network_is_closed() {
    let (first, second) = (Origin::named("first", "127.0.0.2:0"), Origin::named("second", "127.0.0.1:0"));
    for origin in [&first, &second] {
        origin.answers("/", Canned::new("max-age=600"));
    }
    let addresses = [first.address().to_string(), second.address().to_string()];
    let edge = Setup::new().table(&in_order(&addresses)).start();
    assert_eq!(edge.get("a.example").field("origin"), Some("first"));
    let closed = CaseFile::new("net", &["customer.example"]).key("origins = [\"127.0.0.2/32\"]");
    edge.change(|policies| policies.write(&closed));
    is_purged(&edge, 0);
    assert_eq!(edge.get("a.example").field("origin"), Some("second"));
    wait_until("the other origin's answer is kept", || edge.status().cache("objects") == 1);
    edge.change(|policies| policies.remove_case("net"));
    // What the first one said before is gone; the second one's answer stands.
    let (after, passed_by) = looked_up(&edge, "a.example");
    assert_hit(&after);
    assert_eq!((after.field("origin"), first.asked_for("/")), (Some("second"), 1 + passed_by));
}

#[test]
fn what_an_exempt_client_fetched_from_a_closed_network_is_given_to_no_other() {
    let (first, second) = (Origin::named("first", "127.0.0.2:0"), Origin::named("second", "127.0.0.1:0"));
    for origin in [&first, &second] {
        origin.answers("/", Canned::new("max-age=600"));
    }
    let addresses = [first.address().to_string(), second.address().to_string()];
    let closed = CaseFile::new("net", &["customer.example"])
        .key("origins = [\"127.0.0.2/32\"]")
        .table("[[exempt]]\nclients = [\"127.0.0.1/32\"]\nreason = \"evidence\"");
    let edge = Setup::new().table(&in_order(&addresses)).case(closed).start();
    assert_eq!(edge.get("a.example").field("origin"), Some("first"));
    assert_hit(&edge.get("a.example"));
    let mut other = Client::connect_from([127, 0, 0, 9], edge.address(), edge.ledger()).unwrap();
    assert_eq!(other.get("a.example", "/").unwrap().field("origin"), Some("second"));
}

#[test]
fn an_operator_takes_a_host_out_and_is_told_how_much_it_was() {
    let origin = origin();
    origin.answers("/other", Canned::new("max-age=600"));
    let edge = edge(&origin);
    let config = edge.config();
    let purge = |host: &str| interdict(["cache", "purge", host, "--config", config.to_str().unwrap()]);
    for host in ["a.example", "x.a.example", "b.example"] {
        edge.get(host);
    }
    edge.connect().get("a.example", "/other");
    wait_until("all is stored", || edge.status().cache("objects") == 4);
    let output = purge("A.example.");
    assert_eq!(output.code, 0, "{output:?}");
    let said: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(said["objects"], 2);
    assert!(said["bytes"].as_u64().is_some_and(|bytes| bytes > 1000), "{said}");
    assert_eq!(edge.get("a.example").text(), "/ of a.example #4");
    assert_hit(&edge.get("x.a.example"));
    assert!(purge(".a.example").stdout.contains("\"objects\":2"));
    assert_hit(&edge.get("b.example"));
    assert_eq!(purge("a..example").code, 2);
}

#[test]
fn an_edge_without_a_cache_says_so() {
    let edge = Setup::new().start();
    let config = edge.config();
    let output = interdict(["cache", "purge", "a.example", "--config", config.to_str().unwrap()]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("no cache"), "{output:?}");
}
