//! Guard rails for what frees and closes without a name that comes or goes: exceptions, starts, territories, networks.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::guard::{approve_all, case_of, hold, rails};
use crate::harness::audit::of_kind;
use crate::harness::{CaseFile, Edge, Origin, Setup};

fn in_hours(hours: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(hours)
}

/// The number of names that the one finding tells.
#[track_caller]
fn freed(held: &Value) -> u64 {
    assert_eq!(rails(held), ["max-removed"], "{held}");
    held["findings"][0]["found"].as_u64().unwrap()
}

/// A change that frees five names is held back with that number, and frees them once it is approved.
#[track_caller]
fn assert_frees_five(edge: &Edge, change: &CaseFile) {
    edge.get("n4.example").assert_blocked(change_status(change));
    let held = hold(edge, |policies| policies.write(change));
    assert_eq!(freed(&held), 5);
    assert_eq!(held["findings"][0]["cases"][0], "a");
    edge.get("n4.example").assert_blocked(change_status(change));
    approve_all(edge, &held);
    edge.get("n4.example").assert_forwarded();
}

fn change_status(change: &CaseFile) -> u16 {
    if change.toml().contains("court-order") { 451 } else { 403 }
}

fn edge(origin: &Origin, first: CaseFile) -> Edge {
    Setup::new().origin(origin).guard("max_removed = 2").case(first).start()
}

#[test]
fn names_that_an_exception_frees_are_held_back_and_a_few_are_not() {
    let origin = Origin::start();
    let edge = edge(&origin, case_of("a", 0..5));
    edge.change(|policies| {
        policies.write(&case_of("a", 0..5).key("except = [\"n0.example\", \"n1.example\"]"))
    });
    edge.get("n1.example").assert_forwarded();
    edge.get("n2.example").assert_blocked(403);
    // Those are free already: three are left.
    let held = hold(&edge, |policies| policies.write(&case_of("a", 0..5).key("except = [\".example\"]")));
    assert_eq!(freed(&held), 3);
    edge.get("n4.example").assert_blocked(403);
    approve_all(&edge, &held);
    edge.get("n4.example").assert_forwarded();
}

#[test]
fn what_exceptions_take_out_of_a_wide_pattern_counts_as_well() {
    let origin = Origin::start();
    let edge = edge(&origin, CaseFile::new("a", &[".wide.example"]));
    let except = |names: &str| CaseFile::new("a", &[".wide.example"]).key(&format!("except = [{names}]"));
    edge.change(|policies| policies.write(&except("\"one.wide.example\"")));
    let held = hold(&edge, |policies| {
        policies.write(&except(
            "\"one.wide.example\", \"two.wide.example\", \"*.three.wide.example\", \".four.wide.example\"",
        ));
    });
    assert_eq!(freed(&held), 3);
    let first = held["findings"][0]["first"].as_array().unwrap();
    let mut first: Vec<&str> = first.iter().map(|name| name.as_str().unwrap()).collect();
    first.sort_unstable();
    assert_eq!(first, ["*.three.wide.example", ".four.wide.example", "two.wide.example"]);
    edge.get("x.four.wide.example").assert_blocked(403);
    approve_all(&edge, &held);
    edge.get("x.four.wide.example").assert_forwarded();
    edge.get("five.wide.example").assert_blocked(403);
}

#[test]
fn a_case_that_is_put_off_or_only_watches_frees_its_names() {
    let origin = Origin::start();
    let edge = edge(&origin, case_of("a", 0..5));
    assert_frees_five(&edge, &case_of("a", 0..5).effective(in_hours(24)));
    // One that has not begun frees nothing when it is put off further, and blocks nothing anew when it begins earlier.
    edge.change(|policies| policies.write(&case_of("a", 0..5).effective(in_hours(48))));
    edge.change(|policies| policies.write(&case_of("a", 0..5)));
    assert_frees_five(&edge, &case_of("a", 0..5).shadow());
    edge.change(|policies| policies.write(&case_of("a", 0..5)));
    edge.get("n4.example").assert_blocked(403);
}

#[test]
fn a_territory_that_leaves_clients_out_frees_the_names_for_them() {
    let origin = Origin::start();
    let ordered = || case_of("a", 0..5).by_court_order();
    let edge = edge(&origin, ordered());
    assert_frees_five(&edge, &ordered().table("territory = [\"192.0.2.0/24\", \"198.51.100.0/24\"]"));
    // Another spelling of the same clients changes nothing, a smaller one does.
    edge.change(|policies| {
        policies.write(
            &ordered().table("territory = [\"198.51.100.0/24\", \"192.0.2.0/25\", \"192.0.2.128/25\"]"),
        );
    });
    let held = hold(&edge, |policies| policies.write(&ordered().table("territory = [\"192.0.2.0/24\"]")));
    assert_eq!(freed(&held), 5);
}

/// A case that closes networks to upstream connections.
fn closing(network: &str) -> CaseFile {
    CaseFile::new("net", &["net.example"]).key(&format!("origins = [\"{network}\"]"))
}

#[test]
fn a_network_of_origins_that_is_wider_than_one_customers_is_held_back_by_default() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(closing("203.0.113.0/24")).start();
    for (network, found, limit) in [
        ("64.0.0.0/2", 2, 16),
        ("198.18.0.0/15", 15, 16),
        ("::ffff:64.0.0.0/98", 2, 16),
        ("2001:db8::/31", 31, 32),
        ("::/0", 0, 32),
    ] {
        let held = hold(&edge, |policies| policies.write(&closing(network)));
        assert_eq!(rails(&held), ["wide-origins"], "{network}");
        let finding = &held["findings"][0];
        assert_eq!((&finding["found"], &finding["limit"]), (&found.into(), &limit.into()), "{finding}");
        assert_eq!(finding["cases"][0], "net");
        edge.get("free.example").assert_forwarded();
    }
    edge.change(|policies| policies.write(&closing("198.18.0.0/16")));
    edge.change(|policies| policies.write(&closing("2001:db8::/32")));
    let held = hold(&edge, |policies| policies.write(&closing("64.0.0.0/2")));
    approve_all(&edge, &held);
    edge.get("free.example").assert_blocked(403);
    // What is closed already may get another id, and be narrowed.
    edge.change(|policies| {
        policies.write(&CaseFile::new("other", &["net.example"]).key("origins = [\"96.0.0.0/3\"]"));
        policies.remove_case("net");
    });
    edge.get("free.example").assert_blocked(403);
}

#[test]
fn an_exemption_of_a_wide_network_is_held_back_by_default() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(case_of("a", 0..1)).start();
    let exempting = |network: &str| {
        case_of("a", 0..1).table(&format!("[[exempt]]\nclients = [\"{network}\"]\nreason = \"evidence\""))
    };
    edge.change(|policies| policies.write(&exempting("198.18.0.0/16")));
    let held = hold(&edge, |policies| policies.write(&exempting("2001:db8::/31")));
    assert_eq!((rails(&held), &held["findings"][0]["found"]), (vec!["wide-exempt"], &31.into()));
    let held = hold(&edge, |policies| policies.write(&exempting("64.0.0.0/2")));
    assert_eq!((rails(&held), &held["findings"][0]["found"]), (vec!["wide-exempt"], &2.into()));
    edge.get("n0.example").assert_blocked(403);
    approve_all(&edge, &held);
    edge.get("n0.example").assert_forwarded();
    let records = edge.finish();
    assert_eq!(of_kind(&records, "request.exempted").len(), 1);
}

#[test]
fn the_widest_networks_are_set_in_the_configuration() {
    let origin = Origin::start();
    let guard = "widest_origins_v4 = 0\nwidest_origins_v6 = 48\nwidest_exempt_v4 = 24\nwidest_exempt_v6 = 0";
    let edge = Setup::new().origin(&origin).guard(guard).case(closing("203.0.113.0/24")).start();
    let exempting = |network: &str| {
        closing("192.0.0.0/2").table(&format!("[[exempt]]\nclients = [\"{network}\"]\nreason = \"evidence\""))
    };
    edge.change(|policies| policies.write(&closing("192.0.0.0/2")));
    edge.change(|policies| policies.write(&exempting("::/0")));
    let held = hold(&edge, |policies| policies.write(&exempting("192.0.2.0/23")));
    assert_eq!(rails(&held), ["wide-exempt"]);
    let held = hold(&edge, |policies| policies.write(&closing("2001:db8::/47")));
    assert_eq!(rails(&held), ["wide-origins"]);
}

#[test]
fn the_operators_own_certificates_are_issued_whatever_is_blocked_around_them() {
    const CHALLENGE: &str = "/.well-known/acme-challenge/b64url-token";
    let origin = Origin::start();
    let guard = "protect = [\"www.operator.example\", \"pages.operator.example\"]";
    let edge = Setup::new().origin(&origin).guard(guard).case(case_of("a", 0..1)).start();
    // No case comes in force that would touch these hosts, and so none that touches this path of theirs.
    edge.policies().write(&CaseFile::new("wide", &[".operator.example"]));
    crate::harness::wait_until("it is refused", || edge.status().last_result() == "rejected");
    edge.change(|policies| {
        policies.write(
            &CaseFile::new("wide", &[".operator.example"])
                .key("except = [\"www.operator.example\", \"pages.operator.example\"]"),
        );
    });
    let mut client = edge.connect();
    for host in ["www.operator.example", "pages.operator.example"] {
        client.get(host, CHALLENGE).unwrap().assert_forwarded();
    }
    // A blocked host has no way to its origin, this one as little as any.
    let before = origin.requests().len();
    for host in ["shop.operator.example", "n0.example"] {
        edge.connect().get(host, CHALLENGE).unwrap().assert_blocked(403);
    }
    assert_eq!(origin.requests().len(), before);
}
