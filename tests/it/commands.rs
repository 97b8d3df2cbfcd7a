//! The commands beside `run`: their exit codes, their words, and that they agree with the edge.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::process::BINARY;
use crate::harness::tools::{Output, interdict};
use crate::harness::{CaseFile, Edge, Origin, PolicyDir, Setup};

/// A policy directory with no edge to it.
struct Policies {
    home: TempDir,
    directory: PolicyDir,
}

impl Policies {
    fn of(cases: &[CaseFile]) -> Self {
        let home = TempDir::new().unwrap();
        let directory = PolicyDir::create(home.path().join("policies"));
        for case in cases {
            directory.write(case);
        }
        Self { home, directory }
    }

    fn command(&self, arguments: &[&str]) -> Output {
        let directory = self.directory.path().to_str().unwrap();
        interdict(arguments.iter().copied().chain(["--policies", directory]))
    }
}

fn site() -> CaseFile {
    CaseFile::new("site", &[".site.example"])
}

#[test]
fn check_is_content_with_a_good_directory() {
    let policies = Policies::of(&[site(), CaseFile::new("other", &["other.example"]).by_court_order()]);
    let output = policies.command(&["check"]);
    assert_eq!(output.code, 0, "{output:?}");
}

#[test]
fn check_names_file_line_and_column_of_every_error_and_what_to_write_instead() {
    let policies = Policies::of(&[site()]);
    policies.directory.write_case("one", &CaseFile::new("one", &["a..example"]).toml());
    policies.directory.write_case("two", &CaseFile::new("two", &["b.example"]).key("expirse = 1").toml());
    let output = policies.command(&["check"]);
    assert_eq!(output.code, 1, "{output:?}");
    for words in ["cases/one.toml:8:", "a..example", "cases/two.toml:9:1", "expirse", "`expires`"] {
        assert!(output.stderr.contains(words), "no `{words}` in {}", output.stderr);
    }
    let private = policies.home.path().to_str().unwrap();
    assert!(!output.stderr.contains("panicked") && !output.stdout.contains(private), "{output:?}");
}

#[test]
fn check_of_a_directory_that_is_not_there_says_so() {
    let output = interdict(["check", "--policies", "/nonexistent/policies"]);
    assert!(matches!(output.code, 1..=3), "{output:?}");
    assert!(output.stderr.contains("/nonexistent/policies"), "{output:?}");
}

#[test]
fn check_counts_skipped_list_entries_and_is_content() {
    let case = CaseFile::new("list", &[]).key("host_lists = [\"lists/l.txt\"]\non_bad_entry = \"skip\"");
    let policies = Policies::of(&[case]);
    policies.directory.write_list("l.txt", "good.example\nhttp://bad.example/\n");
    let output = policies.command(&["check"]);
    assert_eq!(output.code, 0, "{output:?}");
    let words = format!("{}{}", output.stdout, output.stderr);
    assert!(words.contains("lists/l.txt:2"), "{words}");
}

#[test]
fn explain_says_verdict_case_and_pattern_in_words() {
    let policies = Policies::of(&[site()]);
    let output = policies.command(&["explain", "WWW.Site.Example.:80"]);
    assert_eq!(output.code, 0, "{output:?}");
    for word in ["block", "site", ".site.example", "403"] {
        assert!(output.stdout.contains(word), "no `{word}` in {}", output.stdout);
    }
    let output = policies.command(&["explain", "free.example"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("allow"), "{output:?}");
}

fn explain(policies: &Policies, arguments: &[&str]) -> Value {
    let output = policies.command(&[&["explain", "--json"], arguments].concat());
    assert_eq!(output.code, 0, "{output:?}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} in {}", output.stdout))
}

#[test]
fn explain_as_json_has_the_agreed_keys() {
    let policies = Policies::of(&[site(), CaseFile::new("www", &["www.site.example"]).by_court_order()]);
    let answer = explain(&policies, &["www.site.example"]);
    assert_eq!(answer["verdict"], "block");
    assert_eq!(answer["case"], "www");
    assert_eq!(answer["matched"], "www.site.example");
    assert_eq!(answer["action"], "page");
    assert_eq!(answer["status"], 451);
    assert_eq!(answer["also"], serde_json::json!(["site"]));
    assert_eq!(explain(&policies, &["free.example"])["verdict"], "allow");
}

#[test]
fn explain_takes_the_client_the_time_and_the_server_name_into_account() {
    let exempt = "[[exempt]]\nclients = [\"192.0.2.0/24\"]\nreason = \"evidence preservation\"";
    let policies = Policies::of(&[
        site().table(exempt),
        CaseFile::new("brief", &["brief.example"])
            .key("effective = 2026-02-01T00:00:00Z\nexpires = 2026-03-01T00:00:00Z"),
        CaseFile::new("watch", &["watch.example"]).shadow(),
    ]);
    let verdict = |arguments: &[&str]| explain(&policies, arguments)["verdict"].as_str().unwrap().to_owned();
    assert_eq!(verdict(&["site.example", "--client", "192.0.2.9"]), "exempt");
    assert_eq!(verdict(&["site.example", "--client", "198.51.100.9"]), "block");
    assert_eq!(verdict(&["brief.example", "--at", "2026-01-31T23:59:59Z"]), "allow");
    assert_eq!(verdict(&["brief.example", "--at", "2026-02-01T00:00:00Z"]), "block");
    assert_eq!(verdict(&["brief.example", "--at", "2026-03-01T00:00:00Z"]), "allow");
    assert_eq!(verdict(&["watch.example"]), "shadow");
    assert_eq!(verdict(&["free.example", "--sni", "WWW.site.example"]), "block");
}

#[test]
fn explain_of_something_that_is_no_host_is_a_usage_error() {
    let policies = Policies::of(&[site()]);
    for host in ["", "a..b", "user@site.example", "http://site.example/"] {
        let output = policies.command(&["explain", host]);
        assert_eq!(output.code, 2, "{host}: {output:?}");
    }
}

#[test]
fn explain_agrees_with_the_edge() {
    let origin = Origin::start();
    let cases = [
        site().key("except = [\"help.site.example\"]"),
        CaseFile::new("watch", &["watch.example"]).shadow(),
        CaseFile::new("refuse", &["*.refuse.example"]).refuse(),
        CaseFile::new("order", &["order.example"]).by_court_order(),
        CaseFile::new("address", &["192.0.2.7"]),
    ];
    let policies = Policies::of(&cases);
    let edge = cases.into_iter().fold(Setup::new().origin(&origin), Setup::case).start();
    let hosts = [
        "site.example",
        "WWW.Site.Example.",
        "help.site.example",
        "a.help.site.example",
        "watch.example",
        "refuse.example",
        "a.refuse.example:81",
        "order.example",
        "192.0.2.7",
        "192.0.2.8",
        "free.example",
    ];
    for host in hosts {
        let answer = explain(&policies, &[host, "--client", "127.0.0.1"]);
        let expected = match (answer["verdict"].as_str().unwrap(), answer["action"].as_str()) {
            ("block", Some("refuse")) => None,
            ("block", _) => answer["status"].as_u64(),
            _ => Some(200),
        };
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let got = edge.send(request).map(|response| u64::from(response.status));
        assert_eq!(got, expected, "{host}: {answer}");
    }
}

fn edge_with_records(origin: &Origin) -> Edge {
    let edge = Setup::new().origin(origin).case(site()).start();
    for path in ["/1", "/2", "/3"] {
        edge.connect().get("site.example", path).unwrap().assert_blocked(403);
    }
    edge
}

#[test]
fn audit_export_reads_the_log_of_a_running_edge_by_directory_or_config() {
    let origin = Origin::start();
    let edge = edge_with_records(&origin);
    let (directory, config) = (edge.audit_directory(), edge.config());
    let by_directory = interdict(["audit", "export", "--directory", directory.to_str().unwrap()]);
    let by_config = interdict(["audit", "export", "--config", config.to_str().unwrap(), "--format", "jsonl"]);
    assert_eq!((by_directory.code, by_config.code), (0, 0), "{by_directory:?} {by_config:?}");
    assert_eq!(by_directory.stdout, by_config.stdout);
    assert_eq!(by_directory.stdout.matches("\"request.blocked\"").count(), 3);
    assert!(by_directory.stdout.ends_with("}\n"));
}

#[test]
fn a_record_begins_with_the_agreed_keys_in_order() {
    let origin = Origin::start();
    let edge = edge_with_records(&origin);
    let directory = edge.audit_directory();
    let output = interdict(["audit", "export", "--directory", directory.to_str().unwrap()]);
    let line = output.stdout.lines().find(|line| line.contains("request.blocked")).unwrap();
    let order = [
        "id", "seq", "time", "edge", "kind", "case", "customer", "basis", "action", "status", "host",
        "names", "matched", "method", "path", "client", "listener", "protocol", "revision",
    ];
    let mut from = 0;
    for key in order {
        let at = line[from..].find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key} in {line}"));
        from += at;
    }
}

#[test]
fn audit_tail_shows_the_last_records() {
    let origin = Origin::start();
    let edge = edge_with_records(&origin);
    let directory = edge.audit_directory();
    let output = interdict(["audit", "tail", "-n", "2", "--directory", directory.to_str().unwrap()]);
    assert_eq!(output.code, 0, "{output:?}");
    let paths: Vec<bool> = [1, 2, 3].map(|n| output.stdout.contains(&format!("\"path\":\"/{n}\""))).to_vec();
    assert_eq!((output.stdout.lines().count(), paths), (2, vec![false, true, true]), "{}", output.stdout);
}

#[test]
fn audit_tail_follows_the_log_as_it_grows() {
    let origin = Origin::start();
    let edge = edge_with_records(&origin);
    let mut tail = Command::new(BINARY)
        .args(["audit", "tail", "-f", "-n", "1", "--directory"])
        .arg(edge.audit_directory())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("/3"));
    edge.connect().get("site.example", "/later").unwrap().assert_blocked(403);
    let line = lines.next().unwrap().unwrap();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(line.contains("/later"), "{line}");
}

#[test]
fn audit_export_of_a_directory_that_is_not_there_is_an_io_error() {
    let output = interdict(["audit", "export", "--directory", "/nonexistent/audit"]);
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("/nonexistent/audit"), "{output:?}");
}

#[test]
fn audit_verify_and_prove_of_what_is_not_there_are_io_errors() {
    for arguments in [
        ["audit", "verify", "--directory", "/nonexistent/audit"].as_slice(),
        &["audit", "verify", "--proof", "/nonexistent/proof.json"],
        &["audit", "tiles", "--directory", "/nonexistent/audit", "/nonexistent/tiles"],
        &["audit", "prove", "--directory", "/nonexistent/audit", "01930000-0000-7000-8000-000000000000"],
    ] {
        let output = interdict(arguments);
        assert_eq!(output.code, 3, "{arguments:?}: {output:?}");
        assert!(output.stderr.contains("/nonexistent/"), "{output:?}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let lines: [&[&str]; 7] = [
        &["audit", "prove", "no-id"],
        &["audit", "verify", "--proof", "x", "--since", "y"],
        &["nonsense"],
        &["run", "--confg", "x"],
        &["explain"],
        &["audit"],
        &["audit", "export", "--format", "xml"],
    ];
    for arguments in lines {
        let output = interdict(arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(interdict(["--help"]).code, 0);
    assert_eq!(interdict(["--version"]).code, 0);
}

#[test]
fn a_configuration_with_an_error_is_exit_code_2_with_line_and_hint() {
    let home = TempDir::new().unwrap();
    let config = home.path().join("edge.toml");
    let cases = [
        ("[[listen]]\naddres = \"127.0.0.1:0\"\n", "`address`"),
        ("[[listen]]\naddress = \"nowhere\"\n", "nowhere"),
        ("[audit]\ndirectory = \"audit\"\nclient = \"none\"\n", "none"),
        ("not toml", "edge.toml:1"),
    ];
    for (text, word) in cases {
        fs::write(&config, text).unwrap();
        let output = interdict(["run", "--config", config.to_str().unwrap()]);
        assert_eq!(output.code, 2, "{text}: {output:?}");
        assert!(output.stderr.contains(word), "no `{word}` for {text}: {}", output.stderr);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let output = interdict(["run", "--config", "/nonexistent/edge.toml"]);
    assert!(matches!(output.code, 2 | 3), "{output:?}");
    assert!(output.stderr.contains("/nonexistent/edge.toml"), "{output:?}");
}

#[test]
fn an_address_in_use_is_an_io_error_that_names_it() {
    let taken = Origin::start();
    let home = TempDir::new().unwrap();
    PolicyDir::create(home.path().join("policies"));
    let config = home.path().join("edge.toml");
    let address = taken.address();
    fs::write(
        &config,
        format!(
            "[[listen]]\naddress = \"{address}\"\n\n[policy]\ndirectory = \"policies\"\nstate = \"state\"\n\n\
             [audit]\ndirectory = \"audit\"\n"
        ),
    )
    .unwrap();
    let output = interdict(["run", "--config", config.to_str().unwrap()]);
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains(&address.to_string()), "{output:?}");
}

#[test]
fn explain_tells_the_whole_chain_and_why_each_case_does_not_decide() {
    let exempt = "[[exempt]]\nclients = [\"192.0.2.0/24\"]\nreason = \"evidence preservation\"";
    let policies = Policies::of(&[
        CaseFile::new("b", &["www.site.example"]).table(exempt),
        CaseFile::new("c", &["www.site.example"]).refuse(),
        CaseFile::new("d", &["www.site.example"]).shadow(),
        site(),
        CaseFile::new("later", &[".example"]).key("effective = 2099-01-01T00:00:00Z"),
        CaseFile::new("over", &["*.example"]).key("expires = 2026-01-06T00:00:00Z"),
        CaseFile::new("but", &[".site.example"]).key("except = [\"www.site.example\"]"),
        CaseFile::new("land", &[".site.example"]).by_court_order().table("territory = [\"198.51.100.0/24\"]"),
    ]);
    let reasons = |arguments: &[&str]| -> Vec<String> {
        let answer = explain(&policies, arguments);
        let told = answer["candidates"].as_array().unwrap().iter();
        told.map(|one| format!("{} {}", one["case"].as_str().unwrap(), one["reason"].as_str().unwrap()))
            .collect()
    };
    let expected = [
        "c decides",
        "b page",
        "d shadow",
        "but excepted",
        "land territory",
        "site less-specific",
        "later not-yet",
        "over ended",
    ];
    assert_eq!(reasons(&["www.site.example"]), expected);
    assert_eq!(reasons(&["www.site.example", "--client", "192.0.2.9"])[1], "b exempt");
    let words = policies.command(&["explain", "www.site.example"]);
    for word in ["1. c `www.site.example`", "shows a page, while c refuses", "not in force before 2099-01-01"]
    {
        assert!(words.stdout.contains(word), "no `{word}` in {}", words.stdout);
    }
}
