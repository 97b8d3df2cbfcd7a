//! The way to the origins, and the networks no way leads into.

use crate::harness::audit::{of_kind, only};
use crate::harness::origin::dead_address;
use crate::harness::{CaseFile, Edge, Origin, Setup};

/// A case about a customer's networks; its own hostname is never asked for.
fn closed_networks(networks: &[&str]) -> CaseFile {
    CaseFile::new("networks", &["customer.example"]).key(&format!("origins = {networks:?}"))
}

#[test]
fn a_host_goes_where_its_route_says_and_the_most_specific_route_wins() {
    let (wide, narrow) = (Origin::named("wide", "127.0.0.1:0"), Origin::named("narrow", "127.0.0.1:0"));
    let edge = Setup::new()
        .route(&["*"], &[&wide.address().to_string()])
        .route(&["shop.example", ".static.example"], &[&narrow.address().to_string()])
        .start();
    let origin_of = |host| edge.get(host).field("origin").map(str::to_owned);
    assert_eq!(origin_of("other.example").as_deref(), Some("wide"));
    assert_eq!(origin_of("shop.example").as_deref(), Some("narrow"));
    assert_eq!(origin_of("SHOP.example.").as_deref(), Some("narrow"));
    assert_eq!(origin_of("a.static.example").as_deref(), Some("narrow"));
}

#[test]
fn a_host_without_a_route_gets_an_answer_of_our_own() {
    let origin = Origin::start();
    let edge = Setup::new().route(&["shop.example"], &[&origin.address().to_string()]).start();
    let response = edge.get("other.example");
    assert!(matches!(response.status, 404 | 421 | 502), "{}", response.status);
    assert_eq!(response.enforcement_id(), None);
    origin.assert_untouched();
}

#[test]
fn a_dead_origin_is_passed_over_for_the_next() {
    let alive = Origin::start();
    let addresses = [dead_address().to_string(), dead_address().to_string(), alive.address().to_string()];
    let edge = Setup::new().route(&["*"], &addresses.each_ref().map(String::as_str)).start();
    for _ in 0..5 {
        edge.get("shop.example").assert_forwarded();
    }
}

#[test]
fn no_origin_at_all_is_a_502() {
    let edge = Setup::new().route(&["*"], &[&dead_address().to_string()]).start();
    let response = edge.get("shop.example");
    assert_eq!(response.status, 502);
    assert_eq!(response.enforcement_id(), None);
}

#[test]
fn the_name_of_an_origin_is_resolved() {
    let origin = Origin::start();
    let edge = Setup::new().route(&["*"], &[&format!("localhost:{}", origin.address().port())]).start();
    edge.get("shop.example").assert_forwarded();
}

#[test]
fn an_origin_name_that_does_not_resolve_is_passed_over() {
    let origin = Origin::start();
    let edge =
        Setup::new().route(&["*"], &["no-such-name.invalid:80", &origin.address().to_string()]).start();
    edge.get("shop.example").assert_forwarded();
}

#[test]
fn an_origin_over_ip_version_6_is_reached() {
    let origin = Origin::named("six", "[::1]:0");
    let edge = Setup::new().route(&["*"], &[&origin.address().to_string()]).start();
    edge.get("shop.example").assert_forwarded();
}

/// The request was answered as the case says, was recorded, and no connection was made.
#[track_caller]
fn assert_refused_upstream(edge: Edge, origin: &Origin) {
    let response =
        edge.connect().about("shop.example").send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").response();
    response.expect("a page").assert_blocked(403);
    edge.connect_h2().get("shop.example", "/").unwrap().assert_blocked(403);
    origin.assert_untouched();
    let records = edge.finish();
    let refused = of_kind(&records, "upstream.refused");
    assert_eq!(refused.len(), 2);
    for record in refused {
        assert_eq!((record.text("case"), record.text("host")), ("networks", "shop.example"));
        assert_eq!(record.text("upstream"), origin.address().to_string());
    }
}

#[test]
fn no_connection_leads_into_a_closed_network_of_ip_version_4() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(closed_networks(&["127.0.0.0/8"])).start();
    assert_refused_upstream(edge, &origin);
}

#[test]
fn no_connection_leads_into_a_closed_network_of_ip_version_6() {
    let origin = Origin::named("six", "[::1]:0");
    let edge = Setup::new().origin(&origin).case(closed_networks(&["::1/128"])).start();
    assert_refused_upstream(edge, &origin);
}

#[test]
fn a_closed_network_written_as_mapped_addresses_is_the_same_network() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(closed_networks(&["::ffff:127.0.0.0/104"])).start();
    assert_refused_upstream(edge, &origin);
}

#[test]
fn an_origin_written_as_a_mapped_address_is_in_its_closed_network() {
    let origin = Origin::start();
    let mapped = format!("[::ffff:127.0.0.1]:{}", origin.address().port());
    let edge = Setup::new().route(&["*"], &[&mapped]).case(closed_networks(&["127.0.0.1/32"])).start();
    edge.get("shop.example").assert_blocked(403);
    origin.assert_untouched();
}

#[test]
fn an_origin_found_by_name_is_in_its_closed_network() {
    let origin = Origin::start();
    let edge = Setup::new()
        .route(&["*"], &[&format!("localhost:{}", origin.address().port())])
        .case(closed_networks(&["127.0.0.0/8", "::1/128"]))
        .start();
    edge.get("shop.example").assert_blocked(403);
    origin.assert_untouched();
}

#[test]
fn a_closed_network_is_refused_as_its_case_says() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(closed_networks(&["127.0.0.0/8"]).refuse()).start();
    assert!(edge.connect().get("shop.example", "/").is_none());
    let error = edge.connect_h2().get("shop.example", "/").unwrap_err();
    assert!(error.is_reset(), "{error}");
    origin.assert_untouched();
    let records = edge.finish();
    assert_eq!(of_kind(&records, "upstream.refused").len(), 2);
}

#[test]
fn a_closed_network_in_shadow_is_connected_to_and_recorded() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(closed_networks(&["127.0.0.0/8"]).shadow()).start();
    edge.get("shop.example").assert_forwarded();
    let records = edge.finish();
    assert_eq!(only(&records, "request.shadowed").text("case"), "networks");
}

#[test]
fn a_pooled_connection_into_a_network_that_was_closed_since_is_not_used() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).start();
    let mut client = edge.connect();
    client.get("shop.example", "/").unwrap().assert_forwarded();
    edge.change(|policies| policies.write(&closed_networks(&["127.0.0.0/16"])));
    // Whether this connection was cut or not: nothing more reaches the origin.
    if let Ok(Some(response)) =
        client.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").try_response(false)
    {
        response.assert_blocked(403);
    }
    edge.get("shop.example").assert_blocked(403);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_host_of_another_origin_is_left_alone() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(closed_networks(&["203.0.113.0/24"])).start();
    edge.get("shop.example").assert_forwarded();
}

#[test]
fn a_refused_origin_behind_a_dead_one_gets_no_byte_either() {
    let origin = Origin::named("origin", "127.0.0.2:0");
    let edge = Setup::new()
        .route(&["*"], &[&dead_address().to_string(), &origin.address().to_string()])
        .case(closed_networks(&["127.0.0.2/32"]).refuse())
        .start();
    let mut client = edge.connect();
    client.send("GET / HTTP/1.1\r\nHost: free.example\r\n\r\n").assert_closed();
    assert!(edge.connect_h2().get("free.example", "/").is_err());
    origin.assert_untouched();
    assert_eq!(of_kind(&edge.finish(), "upstream.refused").len(), 2);
}

#[test]
fn a_request_that_an_origin_broke_off_is_not_repeated_in_a_closed_network() {
    let (dying, origin) = (Origin::named("dying", "127.0.0.1:0"), Origin::named("origin", "127.0.0.2:0"));
    let edge = Setup::new()
        .route(&["*"], &[&dying.address().to_string(), &origin.address().to_string()])
        .case(closed_networks(&["127.0.0.2/32"]))
        .start();
    let mut client = edge.connect();
    client.about("free.example").get("free.example", "/").unwrap().assert_blocked(403);
    edge.connect_h2().get("free.example", "/").unwrap().assert_blocked(403);
    assert_eq!(dying.requests().len(), 2);
    origin.assert_untouched();
    assert_eq!(of_kind(&edge.finish(), "upstream.refused").len(), 2);
}

#[test]
fn a_name_that_cannot_be_resolved_delays_nobody_who_need_not_go_there() {
    let origin = Origin::start();
    let second = "no-such-host.invalid:80";
    let edge = Setup::new().route(&["*"], &[&origin.address().to_string(), second]).start();
    edge.get("free.example").assert_forwarded();
    assert!(!edge.process().stderr().contains("no-such-host"), "it was asked for without need");
}
