//! `interdict reinstate`: the names are free and it is on record why, or nothing has changed.

use serde_json::Value;

use crate::harness::audit::of_kind;
use crate::harness::tools::Output;
use crate::harness::{CaseFile, Edge, Origin, Setup};

fn reinstate(edge: &Edge, arguments: &[&str]) -> Output {
    edge.command(&[&["reinstate", "--json", "--reason", "the bill is paid"], arguments].concat())
}

#[track_caller]
fn answer(output: &Output, code: i32) -> Value {
    assert_eq!(output.code, code, "{output:?}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} in {output:?}"))
}

fn edge(origin: &Origin) -> Edge {
    let setup = Setup::new().origin(origin).case(CaseFile::new("other", &["other.example"]));
    // Found by what it says, whatever the file is called.
    setup.policies().write_case("file-of-a-case", &CaseFile::new("NP-1", &["site.example"]).toml());
    setup.start()
}

#[test]
fn a_reinstated_site_is_served_when_the_command_ends_and_the_record_says_why() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.get("site.example").assert_blocked(403);
    let told = answer(&reinstate(&edge, &["NP-1"]), 0);
    edge.get("site.example").assert_forwarded();
    edge.get("other.example").assert_blocked(403);
    assert_eq!(
        (&told["result"], &told["case"], &told["still"]),
        (&"in-force".into(), &"NP-1".into(), &Value::Array(vec![]))
    );
    assert_eq!(edge.policies().names("cases"), ["other.toml"]);
    let ended = edge.policies().names("ended");
    assert_eq!(told["file"], format!("ended/{}", ended[0]));
    assert!(ended[0].starts_with("NP-1.20") && ended.len() == 1, "{ended:?}");
    let kept = std::fs::read_to_string(edge.policies().path().join("ended").join(&ended[0])).unwrap();
    assert_eq!(kept, CaseFile::new("NP-1", &["site.example"]).toml());
    let records = edge.finish();
    let applied = of_kind(&records, "policy.applied");
    assert_eq!(applied.len(), 2);
    assert_eq!(applied[1].0["id"], told["event"]);
    let change = &applied[1].0["changes"][0];
    assert_eq!(
        (&change["command"], &change["case"], &change["reason"]),
        (&"reinstate".into(), &"NP-1".into(), &"the bill is paid".into())
    );
}

#[test]
fn a_name_that_another_case_holds_is_said_to_be_held() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.change(|policies| policies.write(&CaseFile::new("order", &[".site.example"]).by_court_order()));
    let told = answer(&reinstate(&edge, &["NP-1"]), 0);
    assert_eq!(
        told["still"],
        serde_json::json!([{ "host": "site.example", "verdict": "block", "case": "order" }])
    );
    edge.get("site.example").assert_blocked(451);
    let words = edge.command(&["reinstate", "order", "--reason", "appeal"]);
    assert_eq!(words.code, 0, "{words:?}");
    assert!(words.stdout.contains("order has ended") && !words.stdout.contains("still"), "{words:?}");
    edge.get("site.example").assert_forwarded();
}

#[test]
fn a_case_that_is_not_there_and_a_reason_that_is_none_change_nothing() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for id in ["file-of-a-case", "NP-2", "../other", ""] {
        let output = reinstate(&edge, &[id]);
        assert_eq!(output.code, 1, "{id}: {output:?}");
    }
    assert_eq!(edge.command(&["reinstate", "NP-1"]).code, 2);
    assert_eq!(edge.command(&["reinstate", "NP-1", "--reason", " "]).code, 2);
    assert_eq!(edge.command(&["reinstate", "NP-1", "--reason", &"x".repeat(300)]).code, 2);
    assert_eq!(edge.policies().names("cases"), ["file-of-a-case.toml", "other.toml"]);
    assert_eq!((edge.status().revision(), edge.policies().names("ended").len()), (1, 0));
}

#[test]
fn a_set_that_the_edge_refuses_puts_the_file_back() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.policies().write_case("broken", "id = ");
    let output = reinstate(&edge, &["NP-1"]);
    assert_eq!(answer(&output, 1)["result"], "refused");
    assert!(output.stderr.contains("cases/broken.toml"), "{output:?}");
    assert_eq!(edge.policies().names("cases"), ["broken.toml", "file-of-a-case.toml", "other.toml"]);
    assert_eq!(edge.policies().names("ended"), [""; 0]);
    edge.get("site.example").assert_blocked(403);
}

#[test]
fn a_dry_run_shows_what_would_be_free_and_moves_nothing() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let told = answer(&reinstate(&edge, &["NP-1", "--dry-run"]), 0);
    assert_eq!((&told["names"]["added"], &told["names"]["removed"]), (&0.into(), &1.into()));
    let turn = &told["hosts"][0];
    assert_eq!((&turn["before"]["verdict"], &turn["after"]["verdict"]), (&"block".into(), &"allow".into()));
    assert_eq!((edge.status().revision(), edge.policies().names("cases").len()), (1, 2));
}

#[test]
fn without_an_edge_the_file_is_moved_and_that_is_said() {
    let origin = Origin::start();
    let mut edge = edge(&origin);
    edge.stop();
    let output = reinstate(&edge, &["NP-1"]);
    assert_eq!(answer(&output, 3)["result"], "offline");
    assert_eq!(edge.policies().names("cases"), ["other.toml"]);
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    edge.get("site.example").assert_forwarded();
}

#[test]
fn terminated_and_reinstated_again_and_again_nothing_is_overwritten() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for _ in 0..2 {
        let terminate =
            ["terminate", "--id", "T", "--customer", "c", "--basis", "abuse", "--host", "t.example"];
        assert_eq!(edge.command(&terminate).code, 0);
        edge.get("t.example").assert_blocked(403);
        // Within one second the place in `ended` is taken, and the command says so.
        crate::harness::wait_until("the place in `ended` is free", || reinstate(&edge, &["T"]).code == 0);
        edge.get("t.example").assert_forwarded();
    }
    assert_eq!(edge.policies().names("ended").len(), 2);
}
