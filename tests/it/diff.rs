//! `diff`: what differs between two policy directories, in numbers and in full.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::tools::{Output, interdict};
use crate::harness::{CaseFile, Origin, PolicyDir, Setup, wait_until};

struct Sets {
    _home: TempDir,
    before: PolicyDir,
    after: PolicyDir,
}

impl Sets {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let before = PolicyDir::create(home.path().join("before"));
        let after = PolicyDir::create(home.path().join("after"));
        Self { _home: home, before, after }
    }

    fn diff(&self, arguments: &[&str]) -> Output {
        let paths = [&self.before, &self.after].map(|directory| directory.path().to_str().unwrap());
        interdict(["diff"].iter().chain(&paths).chain(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.diff(&[&["--json"], arguments].concat());
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

#[test]
fn the_same_names_by_another_way_and_other_comments_are_no_difference() {
    let sets = Sets::new();
    sets.before.write(&CaseFile::new("a", &["a.example", ".b.example"]));
    sets.after.write_list("l.txt", "# a list\nB.example.\na.example\n");
    let case = CaseFile::new("a", &[".b.example"]).key("# a remark\nhost_lists = [\"lists/l.txt\"]");
    sets.after.write(&case);
    assert_eq!(sets.diff(&[]).code, 1, "`b.example` is new beside `.b.example`");
    sets.after.write_list("l.txt", "# a list\nA.example.\na.example\n.b.example\n");
    let output = sets.diff(&["--full"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "nothing differs\n"), "{output:?}");
    assert_eq!(sets.json(&[])["same"], true);
}

#[test]
fn names_that_come_go_and_change_hands_are_counted_and_named() {
    let sets = Sets::new();
    sets.before
        .write(&CaseFile::new("a", &["stays.example", "goes.example", "moves.example", ".turns.example"]));
    sets.after.write(&CaseFile::new("a", &["stays.example", "comes.example"]));
    sets.after.write(&CaseFile::new("b", &["moves.example", ".turns.example"]).refuse());
    let output = sets.diff(&["--full"]);
    assert_eq!(output.code, 1, "{output:?}");
    for line in [
        "+ comes.example: a (page, enforce)\n",
        "- goes.example: a (page, enforce)\n",
        "~ moves.example: a (page, enforce) -> b (refuse, enforce)\n",
        "~ .turns.example: a (page, enforce) -> b (refuse, enforce)\n",
        "names: 1 added, 1 removed, 2 under another case or action\n",
        "+ case b\n",
        "~ case a: 1 names added, 3 names removed\n",
    ] {
        let line = line.replace("names removed", "removed");
        assert!(output.stdout.contains(&line), "no `{line}` in {}", output.stdout);
    }
    assert!(!output.stdout.contains("stays.example"), "{}", output.stdout);
    let short = sets.diff(&[]);
    assert!(!short.stdout.contains("comes.example"), "{}", short.stdout);
    let answer = sets.json(&["--full"]);
    assert_eq!(answer["names"], json!({"added": 1, "removed": 1, "changed": 2}));
    assert_eq!(answer["changes"].as_array().unwrap().len(), 4);
    assert_eq!(answer["changes"][0]["name"], "comes.example");
    assert_eq!(answer["changes"][0]["after"], json!([{"case": "a", "action": "page", "mode": "enforce"}]));
    assert!(sets.json(&[]).get("changes").is_none());
}

#[test]
fn a_case_that_changed_is_told_field_by_field() {
    let sets = Sets::new();
    sets.before.write(&CaseFile::new("a", &["a.example"]).key("review = 2027-01-14"));
    sets.after
        .write(&CaseFile::new("a", &["a.example"]).shadow().key("status = 410\nexcept = [\"x.example\"]"));
    sets.before.write(&CaseFile::new("gone", &["a.example"]));
    let answer = sets.json(&[]);
    assert_eq!(answer["cases"]["removed"], json!(["gone"]));
    let fields = answer["cases"]["changed"][0]["fields"].as_array().unwrap();
    let of = |key: &str| {
        fields.iter().find(|field| field["field"] == key).unwrap_or_else(|| panic!("{key}: {answer}"))
    };
    assert_eq!((&of("mode")["before"], &of("mode")["after"]), (&json!("enforce"), &json!("shadow")));
    assert_eq!((&of("status")["before"], &of("status")["after"]), (&json!("403"), &json!("410")));
    assert_eq!((&of("review")["before"], &of("review")["after"]), (&json!("2027-01-14"), &json!("")));
    assert_eq!(of("except")["after"], "x.example");
    assert_eq!(fields.len(), 4, "{answer}");
    let output = sets.diff(&[]);
    assert!(output.stdout.contains("    mode: `enforce` -> `shadow`\n"), "{}", output.stdout);
    assert!(output.stdout.contains("    review: `2027-01-14` -> nothing\n"), "{}", output.stdout);
}

#[test]
fn a_page_that_changed_is_a_difference() {
    let sets = Sets::new();
    for set in [&sets.before, &sets.after] {
        set.write(&CaseFile::new("a", &["a.example"]));
        set.write_page("same.html", "x");
    }
    assert_eq!(sets.diff(&[]).code, 0);
    sets.before.write_page("default.html", "old");
    sets.after.write_page("default.html", "new");
    sets.after.write_page("default.de.html", "neu");
    assert_eq!(sets.diff(&[]).code, 1);
    let pages = &sets.json(&[])["pages"];
    assert_eq!(
        *pages,
        json!({"added": ["pages/default.de.html"], "removed": [], "changed": ["pages/default.html"]})
    );
}

#[test]
fn a_set_that_cannot_be_taken_is_neither_same_nor_different() {
    let sets = Sets::new();
    sets.before.write(&CaseFile::new("a", &["a.example"]));
    sets.after.write(&CaseFile::new("a", &["a..example"]));
    let output = sets.diff(&[]);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
    assert!(output.stderr.contains("cases/a.toml:"), "{output:?}");
    assert_eq!(interdict(["diff", "/nonexistent/a", "/nonexistent/b"]).code, 2);
    assert_eq!(interdict(["diff", "only-one"]).code, 2);
}

#[test]
fn many_names_are_compared_in_order() {
    let names = if std::env::var_os("INTERDICT_SOAK").is_some() { 1_000_000 } else { 50_000 };
    let sets = Sets::new();
    let case = CaseFile::new("a", &[]).key("host_lists = [\"lists/l.txt\"]");
    for (set, skipped) in [(&sets.before, 7), (&sets.after, 11)] {
        let mut list = String::new();
        // Out of order on purpose: 7919 is prime to the count, so every number comes once.
        for number in (0..names).map(|number| number * 7919 % names).filter(|number| number % 1000 != skipped)
        {
            writeln!(list, "n{number}.example").unwrap();
        }
        set.write_list("l.txt", &list);
        set.write(&case);
    }
    let answer = sets.json(&[]);
    assert_eq!(answer["names"], json!({"added": names / 1000, "removed": names / 1000, "changed": 0}));
}

#[test]
fn revisions_that_are_kept_can_be_compared_and_others_are_told() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("a", &["a.example"])).start();
    edge.change(|policies| policies.write(&CaseFile::new("b", &["b.example"])));
    let config = edge.config();
    let config = config.to_str().unwrap();
    let diff = |before: &str, after: &str| interdict(["diff", before, after, "--config", config]);
    // A set is kept after it is in force.
    wait_until("the second one is kept", || diff("revision:1", "revision:2").code != 2);
    let output = diff("revision:1", "revision:2");
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("names: 1 added, 0 removed"), "{output:?}");
    assert_eq!(diff("revision:2", edge.policies().path().to_str().unwrap()).code, 0);
    for wrong in ["revision:77", "revision:x"] {
        assert_eq!(diff("revision:1", wrong).code, 2, "{wrong}");
    }
}
