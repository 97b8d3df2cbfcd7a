//! `interdict terminate` says no more than is so: of a case that is over, of names that pass, of a record that nobody has.

use jiff::{SignedDuration, Timestamp};

use crate::harness::disk::SmallDisk;
use crate::harness::load::Load;
use crate::harness::{CaseFile, Origin, Setup, wait_until};
use crate::terminate::{PLAIN, answer, edge, terminate};

#[test]
fn a_case_whose_end_has_passed_is_refused_before_anything_is_written() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let past = (Timestamp::now() - SignedDuration::from_hours(1)).to_string();
    for more in [&["--expires", &past][..], &["--expires", &past, "--dry-run"]] {
        let output = terminate(&edge, "TS-1", "new.example", more);
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains("--expires") && output.stderr.contains("has passed"), "{output:?}");
    }
    assert_eq!(edge.policies().names("cases"), ["first.toml"]);
    assert_eq!(edge.status().revision(), 1);
    edge.get("new.example").assert_forwarded();
}

#[test]
fn names_that_are_let_through_all_the_same_are_told_with_the_reason() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).case(CaseFile::new("watch", &["shadow.example"]).shadow());
    let edge = setup.start();
    let output = terminate(&edge, "TS-1", ".shadow.example", &["--host", "other.example"]);
    let told = answer(&output, 1);
    assert_eq!((&told["result"], &told["revision"]), (&"partly".into(), &2.into()));
    let passing = told["passing"].as_array().unwrap();
    assert_eq!(passing.len(), 1, "{told}");
    assert_eq!(
        (&passing[0]["host"], &passing[0]["verdict"], &passing[0]["case"]),
        (&"shadow.example".into(), &"shadow".into(), &"watch".into())
    );
    assert!(output.stderr.contains("less specific than `shadow.example` of watch"), "{output:?}");
    edge.get("shadow.example").assert_forwarded();
    edge.get("www.shadow.example").assert_blocked(403);
    edge.get("other.example").assert_blocked(403);
    // The case's own exception, in words.
    let words =
        [&PLAIN[..1], &PLAIN[2..], &["TS-2", "--host", "b.example", "--except", "b.example"]].concat();
    let output = edge.command(&words);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains("`b.example` is let through: an `except` of this case covers the name")
            && !output.stdout.contains("enforced"),
        "{output:?}"
    );
    // Names that another case blocks are blocked.
    let told = answer(
        &terminate(
            &edge,
            "TS-3",
            "other.example",
            &["--territory", "127.0.0.0/8", "--authority", "Court", "--reference", "1"],
        ),
        0,
    );
    assert_eq!((&told["result"], &told["passing"]), (&"enforced".into(), &serde_json::json!([])));
}

#[test]
fn a_record_that_the_full_disk_did_not_take_has_no_id() {
    let origin = Origin::start();
    let setup = Setup::new()
        .origin(&origin)
        .audit("segment_bytes = 65536")
        .case(CaseFile::new("first", &["first.example"]));
    let Some(disk) = SmallDisk::mount(setup.home(), "audit", "16m") else { return };
    let edge = setup.start();
    let told = answer(&terminate(&edge, "TS-1", "one.example", &[]), 0);
    assert!(told["event"].is_string() && told.get("counted").is_none(), "{told}");
    disk.fill();
    let load = Load::start(edge.address(), &edge.ledger(), 4, &["first.example"]);
    wait_until("the disk takes no more records", || {
        disk.fill();
        edge.status().audit().gap > 0
    });
    load.finish();
    let told = answer(&terminate(&edge, "TS-2", "two.example", &[]), 0);
    assert_eq!((&told["event"], &told["counted"]), (&serde_json::Value::Null, &true.into()), "{told}");
    edge.get("two.example").assert_blocked(403);
    let words = [&PLAIN[..1], &PLAIN[2..], &["TS-3", "--host", "three.example"]].concat();
    let output = edge.command(&words);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("no record") && !output.stdout.contains("event 0"), "{output:?}");
    disk.empty();
    wait_until("writing works again", || edge.status().audit().writing);
    edge.finish();
    drop(disk);
}
