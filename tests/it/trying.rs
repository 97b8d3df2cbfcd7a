//! Trying a set before it is meant: on some edges, without effect, and against recorded traffic.

use std::fs;

use crate::harness::audit::{of_kind, only};
use crate::harness::tools::interdict;
use crate::harness::{CaseFile, Origin, Setup};

#[test]
fn a_case_is_carried_out_on_the_edges_it_names_and_on_no_other() {
    let origin = Origin::start();
    let edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new("here", &["here.example"]).key("edges = [\"ams-1\", \"edge-*\"]"))
        .case(CaseFile::new("there", &["there.example"]).key("edges = [\"fra-*\"]"))
        .start();
    edge.get("here.example").assert_blocked(403);
    edge.get("there.example").assert_forwarded();
    assert_eq!(edge.status().cases(), 1);
    let explain = |host: &str, from: &[&str]| {
        let output = interdict(["explain", host].iter().chain(from).copied());
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stdout
    };
    let (config, policies) = (edge.config(), edge.policies().path().to_owned());
    let config = ["--config", config.to_str().unwrap(), "--json"];
    assert!(explain("there.example", &config).contains("\"allow\""));
    // Asked of the directory alone, every case is there.
    assert!(
        explain("there.example", &["--policies", policies.to_str().unwrap(), "--json"]).contains("\"block\"")
    );
    // A changed `edges` moves the case.
    edge.change(|policies| {
        policies.write(&CaseFile::new("there", &["there.example"]).key("edges = [\"*-test\"]"));
    });
    edge.get("there.example").assert_blocked(403);
}

#[test]
fn an_edge_in_shadow_records_what_it_would_have_done_and_blocks_nothing() {
    let origin = Origin::start();
    let edge = Setup::new()
        .origin(&origin)
        .policy("shadow = true")
        .case(CaseFile::new("page", &["page.example"]))
        .case(CaseFile::new("refuse", &["refuse.example"]).refuse())
        .start();
    edge.get("page.example").assert_forwarded();
    edge.get("refuse.example").assert_forwarded();
    edge.change(|policies| policies.write(&CaseFile::new("later", &["later.example"])));
    edge.get("later.example").assert_forwarded();
    let records = edge.finish();
    assert_eq!(of_kind(&records, "request.shadowed").len(), 3);
    assert!(of_kind(&records, "request.blocked").is_empty());
    assert!(of_kind(&records, "policy.applied").iter().all(|record| record.0["shadow"] == true));
}

#[test]
fn a_set_is_tried_against_an_audit_log_and_against_lists_of_requests() {
    let origin = Origin::start();
    let mut edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new("old", &["old.example"]))
        .case(CaseFile::new("watched", &["watched.example"]).shadow())
        .start();
    for host in ["old.example", "old.example", "watched.example"] {
        edge.get(host);
    }
    edge.stop();
    edge.policies().remove_case("old");
    edge.policies().write(&CaseFile::new("watched", &["watched.example"]));
    let policies = edge.policies().path().to_str().unwrap().to_owned();
    let against = |log: &str| {
        let output = interdict(["check", "--policies", &policies, "--against", log]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stdout
    };
    let said = against(edge.audit_directory().to_str().unwrap());
    assert!(said.contains("3 requests of") && said.contains(": 1 blocked, 0 shadowed, 0 exempted"), "{said}");
    assert!(said.contains("newly blocked: 1\n  watched.example 1\n"), "{said}");
    assert!(said.contains("no longer blocked: 2\n  old.example 2\n"), "{said}");
    assert!(said.contains("case watched: 1\n"), "{said}");

    let log = edge.home().join("access.log");
    let lines = "# host client\nWATCHED.example:443 192.0.2.1\nfree.example\n{\"host\":\"watched.example\",\"client\":\"::1\"}\n\n%%%\n";
    fs::write(&log, lines).unwrap();
    let said = against(log.to_str().unwrap());
    assert!(said.contains("3 requests of") && said.contains(": 2 blocked"), "{said}");
    assert!(said.contains("no host is named by 1 line"), "{said}");
    assert_eq!(interdict(["check", "--policies", &policies, "--against", "/nowhere"]).code, 3);
    assert_eq!(only(&edge.finish(), "edge.stopped").kind(), "edge.stopped");
}
