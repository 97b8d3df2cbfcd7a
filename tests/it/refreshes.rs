//! What the cache fetches anew in the background: judged by the facts of the request it is made for, and ended when a
//! case blocks it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::audit::of_kind;
use crate::harness::tls::Authority;
use crate::harness::{Canned, CaseFile, Client, Edge, Origin, Setup, wait_until};

/// Stale after a second, and then given while it is fetched anew.
fn stale() -> Canned {
    Canned::new("max-age=1, stale-while-revalidate=600")
}

/// An origin whose `/never` is in the edge's cache and which takes every further request for it without an answer.
fn silent_after(origin: &Origin, fill: impl FnOnce()) {
    origin.answers("/never", stale());
    fill();
    origin.falls_silent("/never");
}

/// Asks until a refresh is under way: the origin has been asked a second time.
fn begin_refresh(client: &mut Client, origin: &Origin, host: &str) {
    wait_until("it is fetched anew in the background", || {
        client.get(host, "/never").unwrap().assert_forwarded();
        origin.asked_for("/never") == 2
    });
}

/// The origin has nobody any more who waits for an answer, long before its silence ends anything.
#[track_caller]
fn assert_let_go(origin: &Origin, since: Instant) {
    wait_until("the origin is let go of", || origin.open() == 0);
    assert!(since.elapsed() < Duration::from_secs(10), "after {:?}", since.elapsed());
}

fn edge(origin: &Origin) -> Edge {
    Setup::new().origin(origin).table("[cache]").table("[limits]\nupstream_timeout = \"60s\"").start()
}

#[test]
fn a_refresh_of_a_host_that_is_blocked_meanwhile_ends_at_once_and_one_of_others_goes_on() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    silent_after(&origin, || drop(client.get("a.example", "/never")));
    begin_refresh(&mut client, &origin, "a.example");
    let open = origin.open();
    edge.change(|policies| policies.write(&CaseFile::new("other", &["other.example"])));
    assert_eq!(origin.open(), open, "it has nothing to do with it");
    let began = Instant::now();
    edge.change(|policies| policies.write(&CaseFile::new("one", &["a.example"])));
    assert_let_go(&origin, began);
    // What nobody waits for is no event.
    let records = edge.finish();
    assert!(
        of_kind(&records, "request.blocked").is_empty() && of_kind(&records, "upstream.refused").is_empty()
    );
    // The idle client connection that served the host alone is cut as ever.
    assert!(of_kind(&records, "connection.cut").iter().all(|cut| cut.0["idle"] == true));
}

#[test]
fn a_refresh_ends_when_the_server_name_of_its_connection_is_blocked() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let setup = Setup::new().origin(&origin);
    authority.issue(&setup.home().join("certs"), "site", &["sni.example", "b.example"]);
    let edge = setup
        .table("[cache]")
        .table("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }")
        .start();
    let config = Arc::new(authority.client(&["http/1.1"]));
    let mut client = edge.connect_tls(&config, "sni.example").unwrap();
    silent_after(&origin, || drop(client.get("b.example", "/never")));
    begin_refresh(&mut client, &origin, "b.example");
    let began = Instant::now();
    edge.change(|policies| policies.write(&CaseFile::new("one", &["sni.example"])));
    assert_let_go(&origin, began);
}

#[test]
fn a_refresh_ends_when_the_network_of_its_origin_is_closed() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    silent_after(&origin, || drop(client.get("a.example", "/never")));
    begin_refresh(&mut client, &origin, "a.example");
    let began = Instant::now();
    let case = CaseFile::new("one", &["customer.example"]).key("origins = [\"127.0.0.0/16\"]");
    edge.change(|policies| policies.write(&case));
    assert_let_go(&origin, began);
}

#[test]
fn a_refresh_is_judged_as_the_client_that_a_proxy_in_front_names() {
    let origin = Origin::start();
    origin.answers("/", stale());
    let exempt = "[[exempt]]\nclients = [\"192.0.2.7\"]\nreason = \"evidence\"";
    let edge = Setup::new()
        .origin(&origin)
        .listen("client_header = \"x-real-ip\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .table("[cache]")
        .case(CaseFile::new("one", &["a.example"]).table(exempt))
        .start();
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Real-IP: 192.0.2.7\r\n\r\n";
    wait_until("it is fetched anew in the background", || {
        edge.send(request).unwrap().text() == "/ of a.example #2"
    });
    // Whoever is not exempt has nothing of it.
    edge.get("a.example").assert_blocked(403);
}

#[test]
fn an_origin_is_told_of_a_refresh_what_it_is_told_of_the_request_it_is_made_for() {
    let origin = Origin::start();
    origin.answers("/", stale());
    let edge = Setup::new()
        .origin(&origin)
        .listen("proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]")
        .table("[cache]")
        .start();
    let preamble = "PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n";
    let request = format!("{preamble}GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    wait_until("it is fetched anew in the background", || {
        edge.send(&request).unwrap().assert_forwarded();
        origin.asked_for("/") == 2
    });
    let told: Vec<Vec<String>> =
        origin.requests().iter().map(|request| request.field("x-forwarded-for")).collect();
    assert_eq!(told, [["192.0.2.7"], ["192.0.2.7"]]);
}
