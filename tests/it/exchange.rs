//! `import` and `export`: lists come in and go out without a guess, and nothing is replaced or emptied by accident.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::tools::{Output, interdict, interdict_with_input};
use crate::harness::{CaseFile, Origin, PolicyDir, Setup};

/// A directory with files to import.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The patterns of a list, without its remarks.
fn patterns(list: &str) -> Vec<&str> {
    list.lines().filter(|line| !line.starts_with(['#', '!', ';', '['])).collect()
}

fn report(output: &Output) -> Value {
    let line =
        output.stderr.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{output:?}"));
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_hosts_file_becomes_a_list_and_everything_skipped_is_reported_with_its_line() {
    let desk = Desk::new();
    let hosts =
        desk.file("hosts", "127.0.0.1 localhost\r\n0.0.0.0 a.example A.example\r\n192.0.2.1 b.example\r\n");
    let output = interdict(["import", "--format", "hosts", text(&hosts)]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(patterns(&output.stdout), ["a.example"]);
    for words in [
        "line 1:",
        "local",
        "line 3:",
        "other-address",
        "192.0.2.1",
        "1 patterns taken, 1 doubled, 2 skipped",
    ] {
        assert!(output.stderr.contains(words), "no `{words}` in {}", output.stderr);
    }
    // The list says where it comes from: name, digest and counts, and no place of this machine.
    let digest = "sha256 ";
    assert!(output.stdout.contains("# hosts: ") && output.stdout.contains(digest), "{}", output.stdout);
    assert!(!output.stdout.contains(desk.0.path().to_str().unwrap()), "{}", output.stdout);
}

#[test]
fn the_digest_in_a_list_is_that_of_the_file() {
    let desk = Desk::new();
    let list = desk.file("list", "a.example\n");
    let output = interdict(["import", "--format", "domains", "--json", text(&list)]);
    let report = report(&output);
    let sums = crate::harness::tools::run("sha256sum", [text(&list)]);
    assert_eq!(report["files"][0]["sha256"], sums.stdout.split(' ').next().unwrap());
    assert!(output.stdout.contains(report["files"][0]["sha256"].as_str().unwrap()));
    assert_eq!(report["patterns"], 1);
}

#[test]
fn what_is_imported_is_blocked_and_what_the_source_excepts_is_told() {
    let desk = Desk::new();
    let rules = desk.file("rules", "||site.example^\n@@||help.site.example^\n||ads.example^$third-party\n");
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin);
    let list = setup.policies().path().join("lists/vendor.txt");
    let output =
        interdict(["import", "--format", "adblock", "--json", text(&rules), "--output", text(&list)]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(output.stdout, "");
    let report = report(&output);
    assert_eq!(report["except"], json!([".help.site.example"]));
    assert_eq!(report["files"][0]["skipped"], json!({"options": 1, "exception": 1}));
    assert!(fs::read_to_string(&list).unwrap().contains("# except: .help.site.example"));
    let case = CaseFile::new("vendor", &[])
        .key("host_lists = [\"lists/vendor.txt\"]")
        .key("except = [\".help.site.example\"]");
    let edge = setup.case(case).start();
    edge.get("www.site.example").assert_blocked(403);
    edge.get("help.site.example").assert_forwarded();
    edge.get("ads.example").assert_forwarded();
}

#[test]
fn a_file_that_is_there_is_replaced_only_when_asked_and_never_by_a_part() {
    let desk = Desk::new();
    let list = desk.file("list", "a.example\n");
    let place = desk.file("place.txt", "old.example\n");
    let import = |more: &[&str]| {
        let fixed = ["import", "--format", "domains", text(&list), "--output", text(&place)];
        interdict(fixed.iter().chain(more))
    };
    let output = import(&[]);
    assert_eq!(output.code, 2, "{output:?}");
    assert_eq!(fs::read_to_string(&place).unwrap(), "old.example\n");
    let output = import(&["--replace"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(patterns(&fs::read_to_string(&place).unwrap()), ["a.example"]);
    let mut names: Vec<_> =
        fs::read_dir(desk.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["list", "place.txt"], "nothing is left beside it");
}

#[test]
fn a_file_that_gives_no_name_replaces_nothing() {
    let desk = Desk::new();
    let good = desk.file("good", "||a.example^\n");
    let place = desk.file("place.txt", "old.example\n");
    for (name, content) in
        [("empty", ""), ("page", "<!doctype html>\n<p>404</p>\n"), ("other", "a.example\n")]
    {
        let bad = desk.file(name, content);
        let files = [text(&good), text(&bad)];
        let fixed = ["import", "--format", "adblock", "--replace", "--output", text(&place)];
        let output = interdict(fixed.iter().chain(&files));
        assert_eq!(output.code, 1, "{name}: {output:?}");
        assert!(output.stderr.contains("gave no name"), "{output:?}");
        assert_eq!(fs::read_to_string(&place).unwrap(), "old.example\n");
    }
}

#[test]
fn strict_takes_all_or_nothing() {
    let desk = Desk::new();
    let list = desk.file("list", "a.example\nb..example\n");
    let output = interdict(["import", "--format", "domains", "--strict", text(&list)]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    let list = desk.file("list", "a.example\n# a remark\n\n");
    let output = interdict(["import", "--format", "domains", "--strict", text(&list)]);
    assert_eq!(output.code, 0, "{output:?}");
}

#[test]
fn wrong_usage_and_missing_files_have_their_own_exit_codes() {
    let desk = Desk::new();
    let list = desk.file("list", "a.example\n");
    let code = |arguments: &[&str]| interdict(arguments).code;
    assert_eq!(code(&["import", "--format", "xml", text(&list)]), 2);
    assert_eq!(code(&["import", text(&list)]), 2);
    assert_eq!(code(&["import", "--format", "domains"]), 2);
    assert_eq!(code(&["import", "--format", "hosts", "--subdomains", text(&list)]), 2);
    assert_eq!(code(&["import", "--format", "hosts", "--zone", "rpz.example", text(&list)]), 2);
    assert_eq!(code(&["import", "--format", "domains", "--replace", text(&list)]), 2);
    assert_eq!(code(&["import", "--format", "domains", "/nonexistent/list"]), 3);
    let nowhere = desk.at("no/such/directory/list.txt");
    assert_eq!(code(&["import", "--format", "domains", text(&list), "--output", text(&nowhere)]), 3);
}

#[test]
fn a_list_comes_from_standard_input_as_well() {
    let output = interdict_with_input(["import", "--format", "domains", "--subdomains", "-"], "a.example\n");
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(patterns(&output.stdout), [".a.example"]);
}

#[test]
fn several_files_are_one_list_and_an_exception_in_one_counts_for_all() {
    let desk = Desk::new();
    let one = desk.file("one", "||a.example^\n||b.example^\n");
    let two = desk.file("two", "||b.example^\n||c.example^\n@@||a.example^\n");
    let output = interdict(["import", "--format", "adblock", "--json", text(&one), text(&two)]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(patterns(&output.stdout), [".b.example", ".c.example"]);
    assert_eq!(report(&output)["excepted"], 1);
}

/// A policy directory with one case of every kind that an export has to tell apart.
fn many_kinds(home: &Path) -> PolicyDir {
    let directory = PolicyDir::create(home.join("policies"));
    let exempt =
        "[[exempt]]\nclients = [\"192.0.2.0/24\"]\nreason = \"evidence\"\nexpires = 2026-06-01T00:00:00Z";
    for case in [
        CaseFile::new("A-plain", &["exact.example", ".tree.example", "*.below.example", "192.0.2.7"]),
        CaseFile::new("B-refuse", &["refused.example", "exact.example"]).refuse(),
        CaseFile::new("C-shadow", &["watched.example", "www.half.example"]).shadow(),
        CaseFile::new("D-half", &[".half.example"]),
        CaseFile::new("E-except", &[".cut.example", "gone.example", "whole.example"])
            .key("except = [\"help.cut.example\", \"gone.example\"]"),
        CaseFile::new("F-land", &["land.example"])
            .by_court_order()
            .table("territory = [\"198.51.100.0/24\"]"),
        CaseFile::new("G-exempt", &["mild.example"]).table(exempt),
        CaseFile::new("H-later", &["later.example"]).key("effective = 2026-05-01T00:00:00Z"),
        CaseFile::new("I-over", &["over.example"]).key("expires = 2026-02-01T00:00:00Z"),
        CaseFile::new("J-origin", &[]).key("origins = [\"203.0.113.0/24\"]"),
    ] {
        directory.write(&case);
    }
    directory
}

fn export(directory: &PolicyDir, arguments: &[&str]) -> Output {
    let fixed = ["export", "--json", "--policies", directory.path().to_str().unwrap()];
    let at = if arguments.contains(&"--at") { &[][..] } else { &["--at", "2026-03-01T00:00:00Z"] };
    interdict(fixed.iter().chain(at).chain(arguments))
}

#[test]
fn an_export_holds_exactly_what_is_blocked_for_everyone_and_tells_the_rest() {
    let home = TempDir::new().unwrap();
    let directory = many_kinds(home.path());
    let output = export(&directory, &["--format", "domains"]);
    assert_eq!(output.code, 0, "{output:?}");
    let expected = [
        "exact.example",
        ".tree.example",
        "*.below.example",
        "192.0.2.7",
        "refused.example",
        "whole.example",
    ];
    assert_eq!(patterns(&output.stdout), expected);
    let omitted = json!({"exception": 1, "shadowed": 1, "territory": 1, "exemption": 1, "origins": 1});
    assert_eq!(report(&output)["left_out"], omitted, "{output:?}");
    // The list itself says that it is not all.
    assert!(output.stdout.contains("# left out: 1 territory"), "{}", output.stdout);
}

/// A configuration for one edge with this policy directory.
fn config_of(home: &Path, edge: &str, more: &str) -> PathBuf {
    let path = home.join(format!("{edge}.toml"));
    let text = format!(
        "edge = \"{edge}\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[policy]\ndirectory = \"policies\"\nstate = \"state\"\n\
         {more}\n[audit]\ndirectory = \"audit\"\n[[route]]\nhosts = [\"*\"]\norigins = [\"127.0.0.1:9\"]\n"
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn an_export_blocks_nothing_that_the_edge_it_is_of_or_any_edge_lets_through() {
    let home = TempDir::new().unwrap();
    let directory = PolicyDir::create(home.path().join("policies"));
    directory.write(&CaseFile::new("A-all", &["all.example"]));
    directory.write(&CaseFile::new("B-some", &["some.example"]).key("edges = [\"fra-*\"]"));
    let of_any = export(&directory, &["--format", "domains"]);
    assert_eq!(patterns(&of_any.stdout), ["all.example"], "{of_any:?}");
    assert_eq!(report(&of_any)["left_out"], json!({"edges": 1}));
    let of = |config: &Path| {
        let at = ["--at", "2026-03-01T00:00:00Z", "--config", text(config)];
        interdict(["export", "--json", "--format", "domains"].iter().chain(&at))
    };
    for (edge, expected) in [("fra-1", &["all.example", "some.example"][..]), ("ams-1", &["all.example"])] {
        let output = of(&config_of(home.path(), edge, ""));
        assert_eq!(patterns(&output.stdout), expected, "{edge}: {output:?}");
        assert_eq!(report(&output)["left_out"], json!({}), "{edge}");
    }
    let watches = config_of(home.path(), "fra-2", "shadow = true");
    let nothing = of(&watches);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (1, ""), "{nothing:?}");
    let listed = |config: &Path| -> Value {
        let output = interdict(["case", "list", "--json", "--config", text(config)]);
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    assert_eq!(listed(&watches)["shadow"], 2);
    assert_eq!(listed(&home.path().join("ams-1.toml"))["cases"].as_array().unwrap().len(), 1);
}

#[test]
fn each_format_gets_what_it_can_say_and_nothing_wider() {
    let home = TempDir::new().unwrap();
    let directory = many_kinds(home.path());
    let lines = |format: &str| {
        let output = export(&directory, &["--format", format]);
        assert_eq!(output.code, 0, "{output:?}");
        let list = output.stdout.clone();
        (
            patterns(&list).iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(),
            report(&output)["left_out"].clone(),
        )
    };
    let (hosts, left_out) = lines("hosts");
    assert_eq!(hosts, ["0.0.0.0 exact.example", "0.0.0.0 refused.example", "0.0.0.0 whole.example"]);
    assert_eq!(
        (&left_out["subtree"], &left_out["below"], &left_out["address"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let (adblock, left_out) = lines("adblock");
    assert_eq!(adblock, ["||tree.example^", "||192.0.2.7^"]);
    assert_eq!((&left_out["exact"], &left_out["below"]), (&json!(3), &json!(1)));
    let (dnsmasq, left_out) = lines("dnsmasq");
    assert_eq!(dnsmasq, ["local=/tree.example/", "local=/*.below.example/"]);
    assert_eq!((&left_out["exact"], &left_out["address"]), (&json!(3), &json!(1)));
    let (rpz, left_out) = lines("rpz");
    let records =
        rpz.iter().filter(|line| line.ends_with(" CNAME .")).map(|line| line.split(' ').next().unwrap());
    let owners = [
        "exact.example",
        "tree.example",
        "*.tree.example",
        "*.below.example",
        "refused.example",
        "whole.example",
    ];
    assert_eq!(records.collect::<Vec<_>>(), owners);
    assert_eq!(left_out["address"], 1);
}

#[test]
fn an_export_is_of_one_moment_and_of_one_case_when_asked() {
    let home = TempDir::new().unwrap();
    let directory = many_kinds(home.path());
    let names = |arguments: &[&str]| {
        let output = export(&directory, &[&["--format", "domains"], arguments].concat());
        patterns(&output.stdout).iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["--case", "H-later", "--at", "2026-05-01T00:00:00Z"]), ["later.example"]);
    assert_eq!(names(&["--case", "H-later", "--at", "2026-04-30T23:59:59Z"]), [""; 0]);
    assert_eq!(names(&["--case", "I-over", "--at", "2026-01-31T23:59:59Z"]), ["over.example"]);
    // The exemption has ended by itself: from then on the name is blocked for everyone.
    assert_eq!(names(&["--case", "G-exempt", "--at", "2026-06-01T00:00:00Z"]), ["mild.example"]);
    assert_eq!(export(&directory, &["--format", "domains", "--case", "nobody"]).code, 2);
    let nothing = export(&directory, &["--format", "domains", "--case", "C-shadow"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (1, ""), "{nothing:?}");
    let strict = export(&directory, &["--format", "hosts", "--strict"]);
    assert_eq!((strict.code, strict.stdout.as_str()), (1, ""), "{strict:?}");
}

#[test]
fn what_is_exported_is_imported_as_the_same() {
    let home = TempDir::new().unwrap();
    let directory = many_kinds(home.path());
    for (format, expected) in [
        ("hosts", vec!["exact.example", "refused.example", "whole.example"]),
        ("adblock", vec![".tree.example", "192.0.2.7"]),
        ("dnsmasq", vec![".tree.example", "*.below.example"]),
        (
            "rpz",
            vec!["exact.example", ".tree.example", "*.below.example", "refused.example", "whole.example"],
        ),
    ] {
        let list = export(&directory, &["--format", format]).stdout;
        let again = interdict_with_input(["import", "--strict", "--format", format, "-"], &list);
        assert_eq!(again.code, 0, "{format}: {again:?}");
        assert_eq!(patterns(&again.stdout), expected, "{format}");
    }
}

#[test]
fn a_policy_set_with_an_error_is_exported_not_at_all() {
    let home = TempDir::new().unwrap();
    let directory = many_kinds(home.path());
    directory.write_case("bad", "id = 1\n");
    let output = export(&directory, &["--format", "domains"]);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
    assert!(output.stderr.contains("cases/bad.toml"), "{output:?}");
}
