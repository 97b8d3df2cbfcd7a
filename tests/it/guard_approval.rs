//! Approvals that are signed: what they say, that they count once, and what is told before they are given.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use interdict::audit::merkle::Signer;
use interdict::reload::{Held, sign};
use serde_json::Value;

use crate::guard::{approve, approve_all, case_of, digest, held, hold, key};
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_for, wait_until};

/// Says a line to the control socket of an edge.
fn say(edge: &Edge, line: &str) -> Value {
    let answer = interdict::server::ask(&edge.home().join("state"), line).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn an_approval_counts_for_one_time_and_cannot_be_played_again() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).case(case_of("a", 0..5));
    let (ann, public) = key(&setup.home(), "ann");
    let edge = setup.guard(&format!("max_removed = 2\nkeys = [\"{public}\"]")).start();
    let signer = Signer::parse(&fs::read_to_string(&ann).unwrap()).unwrap();
    let few = || case_of("a", 0..1);
    let first = hold(&edge, |policies| policies.write(&few()));
    assert_eq!(first["revision"], 1);
    let note = sign(&signer, &serde_json::from_value::<Held>(first.clone()).unwrap());
    let play = || say(&edge, &format!("approve {} {}", digest(&first), BASE64.encode(&note)));
    assert_eq!(play()["result"], "applied");
    edge.get("n4.example").assert_forwarded();
    // Back to the first set, and to the second once more: the same two sets, another decision.
    edge.change(|policies| policies.write(&case_of("a", 0..5)));
    let second = hold(&edge, |policies| policies.write(&few()));
    assert_eq!((digest(&second), &second["in_force"]), (digest(&first), &first["in_force"]));
    assert_eq!(second["revision"], 3);
    let played = play();
    assert!(played["error"].as_str().unwrap().contains("or it is one of another change"), "{played}");
    edge.get("n4.example").assert_blocked(403);
    // Neither does it count when the change was only taken back and made again, with the same revision in force.
    let note = sign(&signer, &serde_json::from_value::<Held>(second).unwrap());
    edge.policies().write(&case_of("a", 0..5));
    wait_until("nothing is held back", || held(&edge).is_null());
    let third = hold(&edge, |policies| policies.write(&few()));
    assert_eq!(third["revision"], 3);
    let played = say(&edge, &format!("approve {} {}", digest(&third), BASE64.encode(&note)));
    assert!(played["error"].is_string(), "{played}");
    edge.get("n4.example").assert_blocked(403);
    // The command signs what is held back now.
    let output = approve(&edge, &digest(&third), &["--key", ann.to_str().unwrap()]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    edge.get("n4.example").assert_forwarded();
}

#[test]
fn approve_says_what_is_replaced_by_what_before_it_is() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("max_removed = 2").case(case_of("a", 0..5));
    let edge = setup.case(CaseFile::new("gone", &["gone.example"])).start();
    // The first of these is held back, and the others with it.
    hold(&edge, |policies| policies.write(&case_of("a", 0..2)));
    edge.policies().remove_case("gone");
    edge.policies().write(&CaseFile::new("new", &["new.example"]));
    let held = wait_for("all three are held back", || {
        let held = held(&edge);
        let counts = [&held["replaces"]["cases_added"], &held["replaces"]["cases_removed"]];
        counts.iter().all(|cases| cases["count"] == 1).then_some(held)
    });
    let replaces = &held["replaces"];
    assert_eq!(
        (&replaces["names"], &replaces["names_added"]["count"], &replaces["names_removed"]["count"]),
        (&6.into(), &1.into(), &4.into())
    );
    let output = approve(&edge, &digest(&held), &[]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    for line in [
        format!("revision 1 ({}) is replaced by {}\n", held["in_force"].as_str().unwrap(), digest(&held)),
        "  names: 6 before; added 1 (new.example); taken out 4 (".to_owned(),
        "  cases: added 1 (new); taken out 1 (gone); changed 1 (a)\n".to_owned(),
        "  held back for max-removed: the set takes out 4 names".to_owned(),
    ] {
        assert!(output.stderr.contains(&line), "`{line}` is not in {}", output.stderr);
    }
    // The answer of the edge stays one line for programs.
    let answer: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&answer["result"], &answer["revision"]), (&"applied".into(), &2.into()));
    // What is not held back is not told of.
    let none = approve(&edge, &digest(&held), &[]);
    assert_eq!((none.code, none.stderr.as_str()), (1, ""));
}

#[test]
fn what_another_version_has_written_down_about_a_held_set_approves_nothing() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("max_removed = 2").case(case_of("a", 0..5));
    let mut edge = setup.start();
    let before = hold(&edge, |policies| policies.write(&case_of("a", 0..1)));
    edge.stop();
    // Without the revision, and with an approval.
    let place = edge.home().join("state/held.json");
    let mut old: Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    for key in ["revision", "replaces"] {
        old.as_object_mut().unwrap().remove(key).unwrap();
    }
    old["approvals"] = serde_json::json!([{ "by": "uid 0", "at": "2026-01-01T00:00:00Z" }]);
    fs::write(&place, old.to_string()).unwrap();
    edge.start_again().unwrap();
    let after = held(&edge);
    assert_eq!((digest(&after), &after["approvals"]), (digest(&before), &serde_json::json!([])));
    edge.get("n4.example").assert_blocked(403);
    approve_all(&edge, &after);
    edge.get("n4.example").assert_forwarded();
}

#[test]
fn an_approval_with_a_key_that_is_taken_out_does_not_count_after_a_restart() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).case(case_of("a", 0..5));
    let home = setup.home();
    let [(ann, ann_key), (bob, bob_key), (carl, carl_key)] =
        ["ann", "bob", "carl"].map(|name| key(&home, name));
    let guard = format!("max_removed = 2\napprovals = 2\nkeys = [\"{ann_key}\", \"{bob_key}\"]");
    let mut edge = setup.guard(&guard).start();
    let first = hold(&edge, |policies| policies.write(&case_of("a", 0..1)));
    let with = |edge: &Edge, key: &std::path::Path| {
        let output = approve(edge, &digest(&first), &["--key", key.to_str().unwrap()]);
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    };
    with(&edge, &ann);
    assert_eq!(held(&edge)["approvals"][0]["by"], "ann");
    edge.stop();
    let config = fs::read_to_string(edge.config()).unwrap();
    fs::write(edge.config(), config.replace(&ann_key, &carl_key)).unwrap();
    edge.start_again().unwrap();
    let after = held(&edge);
    assert_eq!((digest(&after), &after["approvals"]), (digest(&first), &serde_json::json!([])));
    with(&edge, &bob);
    edge.get("n4.example").assert_blocked(403);
    with(&edge, &carl);
    edge.get("n4.example").assert_forwarded();
}
