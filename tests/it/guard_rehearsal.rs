//! A dry run asks the guard of the running edge; without one, it is said that nobody was asked.

use interdict::reload::Rehearsal;
use interdict::server::ask_about;
use serde_json::Value;

use crate::guard::{case_of, hold, key};
use crate::harness::tools::{Output, interdict};
use crate::harness::{CaseFile, Edge, Origin, PATIENCE, Setup};
use crate::terminate::{PLAIN, answer};

/// Runs a command as a dry run, in words and as JSON: both end with 0 and change nothing.
#[track_caller]
fn rehearse(edge: &Edge, arguments: &[&str]) -> (String, Value) {
    let before = (edge.status().revision(), edge.policies().names("cases"), edge.records().len());
    let run = |more: &[&str]| -> Output { edge.command(&[arguments, &["--dry-run"], more].concat()) };
    let words = run(&[]);
    assert_eq!(words.code, 0, "{words:?}");
    let told = answer(&run(&["--json"]), 0);
    assert_eq!(told["result"], "dry-run");
    let after = (edge.status().revision(), edge.policies().names("cases"), edge.records().len());
    assert_eq!(before, after);
    (words.stdout, told["edge"].clone())
}

fn terminate<'a>(id: &'a str, host: &'a str) -> Vec<&'a str> {
    let plain = PLAIN.iter().copied().filter(|word| *word != "--json");
    plain.chain([id, "--host", host]).collect()
}

#[test]
fn a_dry_run_says_that_the_guard_would_hold_the_change_back_and_why() {
    let origin = Origin::start();
    let guard = "max_removed = 2\nmax_added = 3\nmax_blocked_requests_percent = 25\nfloor = 20";
    let edge = Setup::new().origin(&origin).guard(guard).case(case_of("a", 0..3)).start();
    edge.change(|policies| policies.write(&case_of("b", 3..6)));
    for _ in 0..40 {
        edge.get("busy.example").assert_forwarded();
    }
    let (words, told) = rehearse(&edge, &terminate("TS-1", "quiet.example"));
    assert!(words.contains("the running edge would take it\n"), "{words}");
    assert_eq!(told["result"], "taken");
    // Only the running edge knows the traffic.
    let (words, told) = rehearse(&edge, &terminate("TS-1", "busy.example"));
    assert!(
        words.contains("would hold it back until somebody approves:\n  blast-radius-requests: 40 of"),
        "{words}"
    );
    assert_eq!(
        (&told["result"], &told["findings"][0]["rail"]),
        (&"held".into(), &"blast-radius-requests".into())
    );
    let (words, told) = rehearse(&edge, &["reinstate", "a", "--reason", "a test"]);
    assert!(words.contains("  max-removed: the set takes out 3 names"), "{words}");
    assert_eq!((&told["result"], &told["replaces"]["names_removed"]["count"]), (&"held".into(), &3.into()));
    let (words, told) = rehearse(&edge, &["rollback", "1"]);
    assert!(words.contains("  max-removed: the set takes out 3 names"), "{words}");
    assert_eq!(told["result"], "held");
    let (words, told) = rehearse(&edge, &["rollback", "2"]);
    assert!(words.contains("the running edge has just this set in force"), "{words}");
    assert_eq!(told["result"], "unchanged");
    assert!(edge.status().0["held"].is_null(), "a dry run holds nothing back");
    edge.get("busy.example").assert_forwarded();
    // What is held back in the directory holds whatever comes beside it.
    hold(&edge, |policies| policies.remove_case("a"));
    let (_, told) = rehearse(&edge, &terminate("TS-1", "quiet.example"));
    assert_eq!((&told["result"], &told["findings"][0]["rail"]), (&"held".into(), &"max-removed".into()));
}

#[test]
fn a_dry_run_of_a_rollback_judges_the_lists_that_are_kept_and_not_those_in_the_directory() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("max_added = 1");
    setup.policies().write_list("l.txt", "n0.example\nn1.example\nn2.example\n");
    let edge = setup.case(CaseFile::new("a", &[]).key("host_lists = [\"lists/l.txt\"]")).start();
    for (there, added) in [("n0.example\n", 2), ("n9.example\n", 3)] {
        edge.change(|policies| policies.write_list("l.txt", there));
        let (words, told) = rehearse(&edge, &["rollback", "1"]);
        assert!(words.contains("  max-added"), "{words}");
        let replaced = &told["replaces"]["names_added"]["count"];
        assert_eq!((&told["result"], replaced), (&"held".into(), &added.into()), "{told}");
    }
    edge.get("n0.example").assert_forwarded();
    edge.get("n9.example").assert_blocked(403);
}

#[test]
fn a_rehearsal_reads_and_judges_no_file_outside_of_a_policy_set() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(case_of("a", 0..1)).start();
    let state = edge.home().join("state");
    let ask = |rehearsal: &Rehearsal| ask_about(&state, rehearsal, PATIENCE).unwrap();
    for file in ["../edge.toml", "cases/../x.toml", "/etc/passwd", "notes.md", "cases/x", ""] {
        let with = Rehearsal::With { file: file.to_owned(), content: "x".to_owned() };
        let answer = ask(&with);
        assert_eq!(answer["result"], "refused", "{file}: {answer}");
        assert!(answer["errors"].to_string().contains("no file of a policy set has this path"), "{answer}");
        // What is not there cannot be taken out.
        let answer = ask(&Rehearsal::Without { file: file.to_owned() });
        assert_eq!(answer["result"], "unchanged", "{file}: {answer}");
    }
    let answer = ask(&Rehearsal::Revision(7));
    assert!(answer["errors"].to_string().contains("it is not kept"), "{answer}");
    edge.get("n0.example").assert_blocked(403);
}

#[test]
fn a_dry_run_says_that_the_edge_would_refuse_what_is_protected_or_not_signed() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).guard("protect = [\"www.operator.example\"]").start();
    let (words, told) = rehearse(&edge, &terminate("TS-1", ".operator.example"));
    assert!(words.contains("the running edge would refuse it:\n  cases/TS-1.toml:"), "{words}");
    assert_eq!(told["result"], "refused");
    drop(edge);

    let setup = Setup::new().origin(&origin).case(CaseFile::new("first", &["first.example"]));
    let (ann, public) = key(&setup.home(), "ann");
    let policies = setup.policies().path().to_str().unwrap().to_owned();
    let signed = interdict(["policy", "sign", "--key", ann.to_str().unwrap(), "--policies", &policies]);
    assert_eq!(signed.code, 0, "{}", signed.stderr);
    let edge = setup.policy(&format!("keys = [\"{public}\"]")).start();
    for arguments in [terminate("TS-1", "b.example"), vec!["reinstate", "first", "--reason", "a test"]] {
        let (words, told) = rehearse(&edge, &arguments);
        assert!(words.contains("the running edge would refuse it:"), "{words}");
        let errors = told["errors"].to_string();
        assert!(errors.contains("manifest") || errors.contains("signed"), "{errors}");
    }
    edge.get("first.example").assert_blocked(403);
}

#[test]
fn without_an_edge_it_is_said_that_nobody_has_asked_the_guard() {
    const UNJUDGED: &str = "its signatures and guard rails are judged when an edge starts";
    let origin = Origin::start();
    let mut edge = Setup::new().origin(&origin).guard("max_removed = 0").case(case_of("a", 0..3)).start();
    edge.stop();
    let reinstate = ["reinstate", "a", "--reason", "a test"];
    let dry = edge.command(&[&reinstate[..], &["--dry-run"]].concat());
    assert!(dry.code == 0 && dry.stdout.contains(UNJUDGED), "{dry:?}");
    let told = answer(&edge.command(&[&reinstate[..], &["--dry-run", "--json"]].concat()), 0);
    assert_eq!(told["edge"], serde_json::json!({ "result": "offline" }));
    let written = edge.command(&[&terminate("TS-1", "b.example")[..], &["--offline"]].concat());
    assert!(written.code == 0 && written.stdout.contains(UNJUDGED), "{written:?}");
    let written = edge.command(&[&terminate("TS-2", "c.example")[..], &["--json"]].concat());
    assert_eq!(answer(&written, 3)["judged"], false);
    assert!(written.stderr.contains(UNJUDGED), "{written:?}");
    // And so it is: the next start holds back what frees too much.
    let ended = edge.command(&[&reinstate[..], &["--offline"]].concat());
    assert!(ended.code == 0 && ended.stdout.contains(UNJUDGED), "{ended:?}");
    edge.start_again().unwrap();
    assert_eq!(edge.status().last_result(), "held");
    edge.get("n2.example").assert_blocked(403);
}
