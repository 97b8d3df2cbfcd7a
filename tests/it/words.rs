//! What commands say, to the letter: to people who read it, and without an edge.

use std::fs;
use std::path::Path;

use crate::harness::tools::{Output, interdict, interdict_with_input};
use crate::harness::{CaseFile, Origin, PolicyDir, Setup, wait_until};
use crate::terminate::{answer, edge, terminate};

/// `check` of a directory with this one case.
fn check(case: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let policies = PolicyDir::create(home.path().join("policies"));
    policies.write_case("one", case);
    interdict(["check", "--policies", policies.path().to_str().unwrap()])
}

#[test]
fn check_warns_of_what_the_default_guard_refuses_and_takes_the_set_all_the_same() {
    let case = CaseFile::new("one", &[".com", ".github.io", "site.example"]);
    let output = check(&case.toml());
    assert_eq!(output.code, 0, "{output:?}");
    let warnings: Vec<&str> = output.stderr.lines().filter(|line| line.contains(": warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{output:?}");
    for (line, suffix) in warnings.iter().zip(["`com`", "`github.io`"]) {
        assert!(line.starts_with("cases/one.toml:") && line.contains(suffix), "{output:?}");
        assert!(line.ends_with("an edge with the default `[guard]` refuses the set"), "{output:?}");
    }
    assert!(output.stdout.starts_with("1 case with 3 host patterns can be taken"), "{output:?}");
    let plain = check(&CaseFile::new("one", &["site.example"]).toml());
    assert_eq!((plain.code, plain.stderr.as_str()), (0, ""), "{plain:?}");
    assert!(plain.stdout.starts_with("1 case with 1 host pattern can be taken"), "{plain:?}");
}

#[test]
fn the_last_line_of_findings_ends() {
    let broken = check("id = 1\n");
    assert_eq!(broken.code, 1, "{broken:?}");
    let warned = check(&CaseFile::new("one", &["a.example"]).key("review = 2025-01-01").toml());
    assert_eq!(warned.code, 0, "{warned:?}");
    for output in [broken, warned] {
        assert!(output.stderr.ends_with('\n') && !output.stderr.ends_with("\n\n"), "{output:?}");
    }
}

#[test]
fn lines_that_are_no_records_are_counted_from_one() {
    let setup = Setup::new().case(CaseFile::new("a", &["a.example"])).audit("client = \"pseudonym\"");
    let edge = setup.start();
    let config = edge.config();
    let arguments = ["audit", "reveal", "-", "--config", config.to_str().unwrap()];
    let output = interdict_with_input(arguments, "no record\n\n{}\n");
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(
        output.stderr,
        "interdict: line 1: the line is not a record\ninterdict: line 3: the line is not a record\n"
    );
}

#[test]
fn without_an_edge_a_case_that_is_taken_back_is_said_to_be_let_through_by_nobody_yet() {
    let origin = Origin::start();
    let mut edge = edge(&origin);
    edge.stop();
    let output = edge.command(&["reinstate", "first", "--reason", "an error"]);
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("no edge has let its names through yet"), "{output:?}");
    assert!(!output.stderr.contains("enforces"), "{output:?}");
    fs::write(edge.policies().case_path("first"), CaseFile::new("first", &["first.example"]).toml()).unwrap();
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
}

#[test]
fn a_case_for_ever_may_end_with_the_calendar() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let output = terminate(&edge, "TS-1", "new.example", &["--expires", "9999-12-31T23:59:59Z"]);
    assert_eq!(answer(&output, 0)["result"], "enforced");
    edge.get("new.example").assert_blocked(403);
    let output = terminate(&edge, "TS-2", "other.example", &["--expires", "9999-12-31T25:59:59Z"]);
    assert_eq!(output.code, 2, "{output:?}");
    // The edge reads the moment as it may stand in a file.
    let case = CaseFile::new("TS-3", &["third.example"]).key("expires = 9999-12-31T23:59:59Z");
    edge.change(|policies| policies.write(&case));
    edge.get("third.example").assert_blocked(403);
}

/// Files in the directory of cases that look like cases and are none, and others that nobody takes for one.
fn strays(policies: &Path) -> [&'static str; 4] {
    let cases = policies.join("cases");
    let case = CaseFile::new("stray", &["stray.example"]).toml();
    fs::create_dir(cases.join("team")).unwrap();
    for name in ["NEW.TOML", "renamed.toml.txt", "team/one.toml", ".hidden.toml", "old.toml~", "README"] {
        fs::write(cases.join(name), &case).unwrap();
    }
    ["cases/NEW.TOML", "cases/renamed.toml.txt", "cases/team", "belongs to no policy set"]
}

#[test]
fn check_warns_of_files_that_look_like_cases_and_are_none() {
    let home = tempfile::tempdir().unwrap();
    let policies = PolicyDir::create(home.path().join("policies"));
    policies.write(&CaseFile::new("site", &[".site.example"]));
    let expected = strays(policies.path());
    let output = interdict(["check", "--policies", policies.path().to_str().unwrap()]);
    assert_eq!(output.code, 0, "{output:?}");
    expected.iter().for_each(|words| assert!(output.stderr.contains(words), "no `{words}` in {output:?}"));
    assert_eq!(output.stderr.matches(": warning: ").count(), 3, "{output:?}");
}

#[test]
fn a_running_edge_warns_of_them_with_the_next_set() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("site", &[".site.example"])).start();
    let expected = strays(edge.policies().path());
    edge.policies().write(&CaseFile::new("other", &["other.example"]));
    wait_until("it warns of all of them", || {
        let warnings = edge.status().0["last_reload"]["warnings"].to_string();
        expected.iter().all(|words| warnings.contains(words))
    });
    assert_eq!(edge.get("stray.example").status, 200);
}
