//! `case new` and `case list`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::process::BINARY;
use crate::harness::tools::{Output, interdict, interdict_with_input, run};
use crate::harness::{CaseFile, PolicyDir};

struct Policies {
    _home: TempDir,
    directory: PolicyDir,
}

impl Policies {
    fn of(cases: &[CaseFile]) -> Self {
        let home = TempDir::new().unwrap();
        let directory = PolicyDir::create(home.path().join("policies"));
        cases.iter().for_each(|case| directory.write(case));
        Self { _home: home, directory }
    }

    fn path(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    fn answer(&self, answers: &[&str]) -> Output {
        let input: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
        interdict_with_input(["case", "new", "--policies", self.path()], &input)
    }

    fn list(&self, at: &str) -> Value {
        let output = interdict(["case", "list", "--json", "--at", at, "--policies", self.path()]);
        assert_eq!(output.code, 0, "{output:?}");
        serde_json::from_str(&output.stdout).unwrap()
    }
}

/// Answers to all questions of a case without a legal basis, in their order; `id` and `hosts` are given.
fn answers<'a>(id: &'a str, hosts: &'a str) -> Vec<&'a str> {
    vec![
        id,
        "cust-1",
        "fraud",
        "2026-11-20T22:15:00Z",
        "J. Doe, a.roe",
        "inside",
        "They \"said\" so.",
        "",
        "410",
        "",
        "",
        "2026-11-21T00:00:00+01:00",
        "",
        "2026-12-20",
        hosts,
        "",
        "203.0.113.0/24",
        "help.a.example",
        "192.0.2.0/24",
        "evidence",
        "2026-12-31T00:00:00Z",
        "",
        "yes",
    ]
}

#[test]
fn answers_become_a_case_file_that_is_what_was_answered() {
    let policies = Policies::of(&[]);
    let output = policies.answer(&answers("N-1", ".a.example, b.example"));
    assert_eq!(output.code, 0, "{output:?}");
    let text = fs::read_to_string(policies.directory.case_path("N-1")).unwrap();
    assert!(output.stdout.contains(&text), "the file is shown before it is written: {output:?}");
    let file: toml::Table = text.parse().unwrap();
    let expected: toml::Table = "
        id = 'N-1'
        customer = 'cust-1'
        basis = 'fraud'
        decided = 2026-11-20T22:15:00Z
        decided_by = ['J. Doe', 'a.roe']
        summary = 'inside'
        statement = 'They \"said\" so.'
        status = 410
        effective = 2026-11-21T00:00:00+01:00
        review = 2026-12-20
        hosts = ['.a.example', 'b.example']
        origins = ['203.0.113.0/24']
        except = ['help.a.example']
        exempt = [{ clients = ['192.0.2.0/24'], reason = 'evidence', expires = 2026-12-31T00:00:00Z }]
    "
    .parse()
    .unwrap();
    assert_eq!(file, expected);
    let check = interdict(["check", "--policies", policies.path()]);
    assert_eq!((check.code, check.stderr.as_str()), (0, ""), "{check:?}");
}

#[test]
fn an_order_is_asked_for_when_the_basis_is_a_legal_one() {
    let policies = Policies::of(&[]);
    let output = policies.answer(&[
        "L-1",
        "cust-1",
        "court-order",
        "",
        "legal",
        "",
        "",
        "Regional Court of Example",
        "12 O 345/26",
        "courts.example",
        "https://courts.example/345",
        "198.51.100.0/24",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "a.example",
        "",
        "",
        "",
        "",
        "y",
    ]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("`courts.example` is no absolute URL"), "{output:?}");
    let file: toml::Table = fs::read_to_string(policies.directory.case_path("L-1")).unwrap().parse().unwrap();
    assert_eq!(file["legal"]["url"].as_str(), Some("https://courts.example/345"));
    assert_eq!(file["legal"]["territory"].as_array().unwrap().len(), 1);
    assert!(file["decided"].is_datetime());
}

#[test]
fn a_wrong_answer_is_told_at_once_and_asked_again() {
    let policies = Policies::of(&[CaseFile::new("taken", &["taken.example"])]);
    policies.directory.write_case("other-name", &CaseFile::new("inner-id", &["inner.example"]).toml());
    policies.directory.write_case("there", &CaseFile::new("elsewhere", &["there.example"]).toml());
    let mut all = vec!["no id", "", "taken", "inner-id", ".hidden", "there"];
    all.extend(answers("N-2", "a.example"));
    let place = |all: &[&str], what: &str| all.iter().position(|answer| *answer == what).unwrap();
    let basis = place(&all, "fraud");
    all.insert(basis, "fruad");
    let decided = place(&all, "2026-11-20T22:15:00Z");
    all.insert(decided, "yesterday");
    let status = place(&all, "410");
    all.insert(status, "451");
    let hosts = place(&all, "a.example");
    all.splice(hosts..hosts, ["a..example", "https://a.example/"]);
    let output = policies.answer(&all);
    assert_eq!(output.code, 0, "{output:?}");
    for words in [
        "`no id` is no case id",
        "this needs an answer",
        "the id `taken` is taken",
        "the id `inner-id` is taken by `cases/other-name.toml`",
        "would be hidden",
        "is never overwritten",
        "did you mean `fraud`?",
        "`yesterday`",
        "451 needs a legal basis",
        "`a..example` is no host pattern",
        "write the host only: `a.example`",
    ] {
        assert!(output.stdout.contains(words), "no `{words}` in {}", output.stdout);
    }
    assert!(policies.directory.case_path("N-2").exists());
}

#[test]
fn a_case_that_concerns_nothing_is_asked_again() {
    let policies = Policies::of(&[]);
    let mut all = answers("N-3", "");
    let origins = all.iter().position(|answer| *answer == "203.0.113.0/24").unwrap();
    all[origins] = "";
    all.splice(origins + 1..origins + 1, ["a.example", "", ""]);
    let output = policies.answer(&all);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("the case concerns nothing"), "{output:?}");
}

#[test]
fn a_list_is_looked_for_and_read() {
    let policies = Policies::of(&[]);
    policies.directory.write_list("good.txt", "listed.example\n");
    policies.directory.write_list("bad.txt", "listed..example\n");
    let mut all = answers("N-4", "");
    let lists = all.iter().position(|answer| *answer == "203.0.113.0/24").unwrap() - 1;
    all.splice(lists..=lists, ["lists/godo.txt", "lists/bad.txt", "lists/good.txt", "skip"]);
    let output = policies.answer(&all);
    assert_eq!(output.code, 0, "{output:?}");
    for words in ["did you mean `lists/good.txt`?", "`listed..example` is no host pattern"] {
        assert!(output.stdout.contains(words), "no `{words}` in {}", output.stdout);
    }
    let check = interdict(["check", "--policies", policies.path()]);
    assert_eq!(check.code, 0, "{check:?}");
}

#[test]
fn nothing_is_written_without_a_yes_or_when_the_answers_end() {
    let policies = Policies::of(&[]);
    let mut all = answers("N-5", "a.example");
    for (last, code) in [(Some("no"), 1), (None, 2)] {
        all.pop();
        all.extend(last);
        let output = policies.answer(&all);
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains("nothing was written"), "{output:?}");
        assert_eq!(fs::read_dir(policies.directory.path().join("cases")).unwrap().count(), 0);
    }
    assert_eq!(policies.answer(&[]).code, 2);
}

#[test]
fn an_answer_cannot_smuggle_in_another_key() {
    let policies = Policies::of(&[]);
    let mut all = answers("N-6", "a.example");
    all[6] = "x\"\\nmode = \"shadow";
    all.insert(3, "2026-11-20T22:15:00Z # \\n mode");
    let output = policies.answer(&all);
    assert_eq!(output.code, 0, "{output:?}");
    let file: toml::Table = fs::read_to_string(policies.directory.case_path("N-6")).unwrap().parse().unwrap();
    assert!(file.get("mode").is_none(), "{file:?}");
    assert_eq!(file["statement"].as_str(), Some("x\"\\nmode = \"shadow"));
}

fn cases_of_every_state() -> Vec<CaseFile> {
    vec![
        CaseFile::new("a-active", &["a.example", ".b.example"]).key("review = 2026-03-10"),
        CaseFile::new("b-later", &["b.example"]).key("effective = 2026-04-01T00:00:00Z").shadow(),
        CaseFile::new("c-ended", &["c.example"]).key("expires = 2026-03-01T00:00:00Z\nreview = 2026-02-01"),
        CaseFile::new("d-soon", &["d.example"]).key("expires = 2026-03-24T00:00:00Z"),
    ]
}

#[test]
fn the_list_of_cases_tells_who_should_be_looked_at() {
    let policies = Policies::of(&cases_of_every_state());
    let answer = policies.list("2026-03-10T23:59:59Z");
    assert_eq!(
        (&answer["active"], &answer["scheduled"], &answer["ended"], &answer["shadow"]),
        (&json!(2), &json!(1), &json!(1), &json!(1))
    );
    assert_eq!(
        (&answer["overdue"], &answer["ends_soon"]),
        (&json!(0), &json!(1)),
        "due on the day itself: {answer}"
    );
    let ids: Vec<&str> =
        answer["cases"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a-active", "d-soon", "b-later", "c-ended"]);
    assert_eq!(answer["cases"][0]["names"], 2);
    let answer = policies.list("2026-03-11T00:00:00Z");
    assert_eq!(answer["cases"][0]["overdue"], true);
    // A case that has ended is not overdue for anything.
    assert_eq!((&answer["overdue"], &answer["cases"][3]["overdue"]), (&json!(1), &json!(false)));
    let answer = policies.list("2026-03-24T00:00:00Z");
    assert_eq!((&answer["ended"], &answer["ends_soon"]), (&json!(2), &json!(0)));
}

#[test]
fn the_list_of_cases_in_words_has_a_line_a_case_and_one_of_numbers() {
    let policies = Policies::of(&cases_of_every_state());
    let at = "2026-03-11T00:00:00Z";
    let output = interdict(["case", "list", "--within", "13", "--at", at, "--policies", policies.path()]);
    assert_eq!(output.code, 0, "{output:?}");
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{}", output.stdout);
    assert!(
        lines[0].starts_with("active") && lines[0].ends_with("review overdue since 2026-03-10"),
        "{}",
        lines[0]
    );
    assert!(lines[1].ends_with("ends soon: 2026-03-24T00:00:00Z"), "{}", lines[1]);
    assert!(lines[2].ends_with("shadow, starts 2026-04-01T00:00:00Z"), "{}", lines[2]);
    assert!(lines[3].ends_with("ended 2026-03-01T00:00:00Z"), "{}", lines[3]);
    assert!(lines[4].contains("1 overdue for review, 1 ending soon"), "{}", lines[4]);
    assert_eq!(interdict(["case", "list", "--policies", "/nonexistent"]).code, 2);
}

#[test]
fn what_a_command_writes_is_for_whoever_may_read_the_directory_whatever_its_own_mask() {
    let home = TempDir::new().unwrap();
    let policies = PolicyDir::create(home.path().join("policies"));
    policies.write(&CaseFile::new("A", &["a.example"]));
    let (list, key) = (policies.path().join("lists/l.txt"), home.path().join("k"));
    fs::create_dir_all(list.parent().unwrap()).unwrap();
    for directory in [list.parent().unwrap(), policies.path()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let hosts = home.path().join("hosts");
    fs::write(&hosts, "0.0.0.0 b.example\n").unwrap();
    assert_eq!(interdict(["policy", "keygen", "--name", "j", "--out", key.to_str().unwrap()]).code, 0);
    let masked = |arguments: &str| {
        let line = format!("umask 077 && exec '{BINARY}' {arguments}");
        let output = run("sh", ["-c", &line]);
        assert_eq!(output.code, 0, "{output:?}");
    };
    masked(&format!("import --format hosts '{}' --output '{}'", hosts.display(), list.display()));
    masked(&format!("policy sign --key '{}' --policies '{}'", key.display(), policies.path().display()));
    for written in ["lists/l.txt", "manifest", "manifest.sig"] {
        let mode = fs::metadata(policies.path().join(written)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{written}");
    }
}
