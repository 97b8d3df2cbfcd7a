//! The names of origins: asked of a name server, followed by their TTL, kept when it fails, and never a way into a
//! closed network.

use hickory_resolver::proto::rr::RecordType::{A, AAAA};

use crate::harness::audit::of_kind;
use crate::harness::{CaseFile, Edge, Mood, NameServer, Origin, Setup, wait_until};

const NAME: &str = "origin.example";
/// Where the origins of these tests are, on one port.
const HOME: &str = "127.0.0.2";
const ELSEWHERE: &str = "127.0.0.3";

/// All hosts go to a name that this server knows.
fn setup(server: &NameServer, port: u16, keys: &str) -> Setup {
    Setup::new()
        .route(&["*"], &[&format!("{NAME}:{port}")])
        .table(&format!("[dns]\nresolvers = [\"{}\"]\n{keys}", server.address()))
}

fn port(origin: &Origin) -> u16 {
    origin.address().port()
}

/// Who answers a request.
#[track_caller]
fn origin_of(edge: &Edge) -> String {
    let response = edge.get("shop.example");
    response.assert_forwarded();
    response.field("origin").unwrap().to_owned()
}

/// Look-ups that had one result.
fn looked_up(edge: &Edge, result: &str) -> usize {
    let start = format!("interdict_dns_lookups_total{{result=\"{result}\"}} ");
    let text = edge.admin("/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0)
}

#[test]
fn another_address_is_followed_when_the_ttl_has_passed() {
    let ([home, elsewhere], server) = (Origin::neighbours([HOME, ELSEWHERE]), NameServer::start());
    server.says(NAME, 1, &[HOME]);
    let edge = setup(&server, port(&home), "").start();
    assert_eq!(origin_of(&edge), HOME);
    elsewhere.assert_untouched();
    server.says(NAME, 1, &[ELSEWHERE]);
    wait_until("requests go to the other address", || origin_of(&edge) == ELSEWHERE);
    let before = home.requests().len();
    for _ in 0..20 {
        assert_eq!(origin_of(&edge), ELSEWHERE);
    }
    assert_eq!(home.requests().len(), before);
    wait_until("the edge says so", || edge.process().stderr().contains("an origin has other addresses"));
}

#[test]
fn an_address_that_holds_is_not_asked_for_again() {
    let ([home, elsewhere], server) = (Origin::neighbours([HOME, ELSEWHERE]), NameServer::start());
    server.says(NAME, 600, &[HOME]);
    let edge = setup(&server, port(&home), "").start();
    assert_eq!(origin_of(&edge), HOME);
    server.says(NAME, 600, &[ELSEWHERE]);
    for _ in 0..50 {
        assert_eq!(origin_of(&edge), HOME);
    }
    assert_eq!((server.asked_for(NAME, A), server.asked_for(NAME, AAAA)), (1, 1));
    assert_eq!((looked_up(&edge, "ok"), looked_up(&edge, "failed")), (1, 0));
    elsewhere.assert_untouched();
}

#[test]
fn a_ttl_is_kept_between_the_bounds_of_the_configuration() {
    let ([home, elsewhere], server) = (Origin::neighbours([HOME, ELSEWHERE]), NameServer::start());
    server.says(NAME, 0, &[HOME]);
    let slow = setup(&server, port(&home), "min_ttl = \"1h\"").start();
    for _ in 0..20 {
        assert_eq!(origin_of(&slow), HOME);
    }
    assert_eq!(server.asked_for(NAME, A), 1);
    server.says(NAME, 86_400, &[HOME]);
    let quick = setup(&server, port(&home), "max_ttl = \"1s\"").start();
    assert_eq!(origin_of(&quick), HOME);
    server.says(NAME, 86_400, &[ELSEWHERE]);
    wait_until("requests go to the other address", || origin_of(&quick) == ELSEWHERE);
    assert_eq!(elsewhere.requests().len(), 1);
}

/// Addresses known before are used while look-ups fail in some way, and no longer once they work again.
fn assert_outlived(break_it: impl Fn(&NameServer), failures: usize) {
    let ([home, elsewhere], server) = (Origin::neighbours([HOME, ELSEWHERE]), NameServer::start());
    server.says(NAME, 1, &[HOME]);
    let edge = setup(&server, port(&home), "").start();
    assert_eq!(origin_of(&edge), HOME);
    break_it(&server);
    wait_until("look-ups have failed", || {
        assert_eq!(origin_of(&edge), HOME);
        looked_up(&edge, "failed") >= failures
    });
    assert_eq!(origin_of(&edge), HOME);
    elsewhere.assert_untouched();
    server.is(Mood::Well);
    server.says(NAME, 1, &[ELSEWHERE]);
    wait_until("the name is looked up again", || origin_of(&edge) == ELSEWHERE);
    let log = edge.process().stderr();
    assert_eq!(log.matches("cannot look up the name of an origin").count(), 1, "{log}");
    assert!(log.contains("can be looked up again"), "{log}");
}

#[test]
fn name_servers_that_fail_take_no_site_down() {
    assert_outlived(|server| server.is(Mood::Failing), 2);
}

#[test]
fn name_servers_that_fall_silent_take_no_site_down() {
    assert_outlived(|server| server.is(Mood::Silent), 1);
}

#[test]
fn a_name_that_is_gone_for_a_while_takes_no_site_down() {
    assert_outlived(|server| server.forgets(NAME), 2);
}

#[test]
fn after_failures_a_name_server_is_left_in_peace_for_a_moment() {
    let server = NameServer::start();
    server.is(Mood::Failing);
    let edge = setup(&server, 80, "").start();
    assert_eq!(edge.get("shop.example").status, 502);
    let (asked, failed) = (server.asked_for(NAME, A), looked_up(&edge, "failed"));
    for _ in 0..20 {
        assert_eq!(edge.get("shop.example").status, 502);
    }
    // Twenty requests take less than the pauses between three look-ups, also on a busy machine.
    let more = looked_up(&edge, "failed") - failed;
    assert!(more <= 3, "{more} look-ups for 20 requests");
    let attempts = server.asked_for(NAME, A) - asked;
    assert!(attempts <= asked * 3, "{attempts} questions, {asked} for one look-up");
}

#[test]
fn lapsed_addresses_are_used_no_longer_than_they_are_kept() {
    let ([home], server) = (Origin::neighbours([HOME]), NameServer::start());
    server.says(NAME, 1, &[HOME]);
    let edge = setup(&server, port(&home), "keep = \"0s\"").start();
    assert_eq!(origin_of(&edge), HOME);
    server.is(Mood::Failing);
    wait_until("there is no address any more", || edge.get("shop.example").status == 502);
    let reached = home.requests().len();
    assert_eq!(edge.get("shop.example").status, 502);
    assert_eq!(home.requests().len(), reached);
    server.is(Mood::Well);
    wait_until("the origin is found again", || edge.get("shop.example").status == 200);
}

#[test]
fn a_name_that_does_not_exist_is_a_502_until_it_does() {
    let ([home], server) = (Origin::neighbours([HOME]), NameServer::start());
    let edge = setup(&server, port(&home), "").start();
    let response = edge.get("shop.example");
    assert_eq!((response.status, response.enforcement_id()), (502, None));
    home.assert_untouched();
    wait_until("the edge says so", || edge.process().stderr().contains("there is no such name"));
    server.says(NAME, 60, &[HOME]);
    wait_until("the name is found", || edge.get("shop.example").status == 200);
}

/// The name leads into a network that a case closes, once its TTL has passed.
fn assert_refused(address: &str) {
    let ([home, closed], server) = (Origin::neighbours([HOME, ELSEWHERE]), NameServer::start());
    server.says(NAME, 1, &[HOME]);
    let case =
        CaseFile::new("networks", &["customer.example"]).key(&format!("origins = [\"{ELSEWHERE}/32\"]"));
    let edge = setup(&server, port(&home), "").case(case).start();
    assert_eq!(origin_of(&edge), HOME);
    server.says(NAME, 1, &[address]);
    wait_until("the name leads into the closed network", || edge.get("shop.example").status != 200);
    edge.get("shop.example").assert_blocked(403);
    edge.connect_h2().get("shop.example", "/").unwrap().assert_blocked(403);
    closed.assert_untouched();
    let records = edge.finish();
    let refused = of_kind(&records, "upstream.refused");
    assert_eq!(refused.len(), 3);
    for record in refused {
        assert_eq!((record.text("case"), record.text("host")), ("networks", "shop.example"));
        assert!(record.text("upstream").ends_with(&format!(":{}", port(&closed))), "{record:?}");
    }
}

#[test]
fn a_name_that_is_redirected_into_a_closed_network_is_refused() {
    assert_refused(ELSEWHERE);
}

#[test]
fn a_name_that_is_redirected_there_by_a_mapped_address_is_refused() {
    assert_refused(&format!("::ffff:{ELSEWHERE}"));
}

#[test]
fn addresses_of_both_families_are_tried() {
    let server = NameServer::start();
    server.says(NAME, 60, &["::1", HOME]);
    let ([four], [six]) = (Origin::neighbours([HOME]), Origin::neighbours(["::1"]));
    for origin in [&four, &six] {
        let edge = setup(&server, port(origin), "").start();
        edge.get("shop.example").assert_forwarded();
        assert_eq!(origin.requests().len(), 1);
    }
}

#[test]
fn another_name_is_followed_and_the_smallest_ttl_on_the_way_counts() {
    let ([home, elsewhere], server) = (Origin::neighbours([HOME, ELSEWHERE]), NameServer::start());
    server.says("a.pool.example", 3600, &[HOME]);
    server.says("b.pool.example", 3600, &[ELSEWHERE]);
    server.aliases("pool.example", 1, "a.pool.example");
    server.aliases(NAME, 3600, "pool.example");
    let edge = setup(&server, port(&home), "").start();
    assert_eq!(origin_of(&edge), HOME);
    elsewhere.assert_untouched();
    server.aliases("pool.example", 1, "b.pool.example");
    wait_until("requests go where the alias leads now", || origin_of(&edge) == ELSEWHERE);
}

#[test]
fn names_in_the_hosts_file_are_asked_of_nobody() {
    let (origin, server) = (Origin::start(), NameServer::start());
    server.says("localhost", 60, &[ELSEWHERE]);
    let edge = Setup::new()
        .route(&["*"], &[&format!("localhost:{}", port(&origin))])
        .table(&format!("[dns]\nresolvers = [\"{}\"]", server.address()))
        .start();
    edge.get("shop.example").assert_forwarded();
    assert_eq!(server.names(), [""; 0]);
}

#[test]
fn a_name_is_asked_for_as_it_is_written() {
    let ([home], server) = (Origin::neighbours([HOME]), NameServer::start());
    server.says("backend", 60, &[HOME]);
    let edge = Setup::new()
        .route(&["a.example"], &[&format!("backend:{}", port(&home))])
        .route(&["b.example"], &[&format!("missing:{}", port(&home))])
        .table(&format!("[dns]\nresolvers = [\"{}\"]", server.address()))
        .start();
    edge.get("a.example").assert_forwarded();
    assert_eq!(edge.get("b.example").status, 502);
    let mut names = server.names();
    names.sort();
    names.dedup();
    assert_eq!(names, ["backend", "missing"]);
}

#[test]
fn a_name_server_that_is_silent_is_passed_over_for_the_next() {
    let ([home], server) = (Origin::neighbours([HOME]), NameServer::start());
    let silent = NameServer::start();
    silent.is(Mood::Silent);
    server.says(NAME, 60, &[HOME]);
    let edge = Setup::new()
        .route(&["*"], &[&format!("{NAME}:{}", port(&home))])
        .table(&format!("[dns]\nresolvers = [\"{}\", \"{}\"]", silent.address(), server.address()))
        .start();
    assert_eq!(origin_of(&edge), HOME);
}

#[test]
fn requests_that_need_one_name_at_a_time_share_one_look_up() {
    let ([home], server) = (Origin::neighbours([HOME]), NameServer::start());
    server.says(NAME, 600, &[HOME]);
    let edge = setup(&server, port(&home), "").start();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(origin_of(&edge), HOME));
        }
    });
    assert_eq!((server.asked_for(NAME, A), looked_up(&edge, "ok")), (1, 1));
}
