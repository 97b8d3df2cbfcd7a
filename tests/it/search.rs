//! `audit search` and `audit export` over the log of a real edge.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::tools::{Output, interdict};
use crate::harness::{CaseFile, Edge, Origin, Setup};

/// An edge with three records of the case `site` and one of `other`.
fn edge(origin: &Origin) -> Edge {
    let (site, other) =
        (CaseFile::new("site", &[".site.example"]), CaseFile::new("other", &["other.example"]));
    let edge = Setup::new().origin(origin).case(site).case(other).start();
    for (host, path) in
        [("site.example", "/1"), ("www.site.example", "/2"), ("site.example", "/=3"), ("other.example", "/4")]
    {
        edge.connect().get(host, path).unwrap().assert_blocked(403);
    }
    edge
}

fn audit(edge: &Edge, command: &str, arguments: &[&str]) -> Output {
    let directory = edge.audit_directory();
    let fixed = ["audit", command, "--directory", directory.to_str().unwrap()];
    interdict(fixed.iter().chain(arguments))
}

fn search(edge: &Edge, arguments: &[&str]) -> Output {
    audit(edge, "search", arguments)
}

#[test]
fn search_prints_what_is_asked_for_and_says_no_when_there_is_none() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for (arguments, found) in [
        (&["--case", "site"][..], 3),
        (&["--case", "site", "--host", "SITE.example."], 2),
        (&["--host", "other.example", "--kind", "request.blocked"], 1),
        (&["--kind", "policy.applied", "--kind", "edge.started"], 2),
        (&["--case", "site", "--limit", "2"], 2),
        (&["--case", "site", "--since", "2020-01-01"], 3),
        (&["--case", "site", "--until", "2020-01-01T00:00:00Z"], 0),
        (&["--case", "sit"], 0),
    ] {
        let output = search(&edge, arguments);
        assert_eq!(output.stdout.lines().count(), found, "{arguments:?}: {output:?}");
        assert_eq!(output.code, i32::from(found == 0), "{arguments:?}: {output:?}");
        let counted = search(&edge, &[arguments, &["--count"]].concat());
        assert_eq!((counted.stdout, counted.code), (format!("{found}\n"), output.code), "{arguments:?}");
    }
}

#[test]
fn search_finds_a_record_by_its_id_and_by_the_client_it_shows() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let line = search(&edge, &["--case", "other"]).stdout;
    let record: Value = serde_json::from_str(&line).unwrap();
    let by_id = search(&edge, &["--id", record["id"].as_str().unwrap()]);
    assert_eq!(by_id.stdout, line);
    let by_client = search(&edge, &["--client", record["client"].as_str().unwrap(), "--case", "other"]);
    assert_eq!(by_client.stdout, line);
}

#[test]
fn export_writes_tables_and_events_of_the_same_records() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let table = audit(&edge, "export", &["--format", "csv", "--case", "site"]).stdout;
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!((rows.len(), rows[0].starts_with("id,seq,time,edge,kind,case,")), (4, true), "{table}");
    let events = audit(&edge, "export", &["--format", "ocsf"]).stdout;
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let records = audit(&edge, "export", &[]).stdout;
    assert_eq!(events.len(), records.lines().count());
    let blocked: Vec<&Value> = events.iter().filter(|event| event["type_uid"] == 400_203).collect();
    assert_eq!(blocked.len(), 4);
    assert!(blocked.iter().all(|event| event["disposition"] == "Blocked"));
}

#[test]
fn an_export_without_a_match_is_an_empty_table_and_no_failure() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let output = audit(&edge, "export", &["--format", "csv", "--case", "none"]);
    assert_eq!((output.code, output.stdout.lines().count()), (0, 1), "{output:?}");
}

#[test]
fn filters_that_are_none_are_wrong_usage_and_a_missing_log_an_i_o_error() {
    for arguments in [
        ["--kind", "request.nothing"],
        ["--id", "17"],
        ["--since", "yesterday"],
        ["--host", "a b"],
        ["--limit", "0"],
    ] {
        let output = interdict(["audit", "search", "--directory", "/nonexistent"].iter().chain(&arguments));
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
    }
    let output = interdict(["audit", "search", "--directory", "/nonexistent", "--case", "a"]);
    assert_eq!(output.code, 3, "{output:?}");
}

#[test]
fn a_bundle_of_a_case_is_verified_without_the_log_and_with_the_policies_in_force() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let (home, config) = (tempfile::TempDir::new().unwrap(), edge.config());
    let file = home.path().join("bundle.tar.zst");
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    let make = || interdict(["audit", "bundle", "--config", config, "--case", "site", "--out", file]);
    // Records are sealed within a second.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut made = make();
    while !made.stdout.starts_with("3 records, policy sets of 1 revision\n") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        made = make();
    }
    assert_eq!(made.code, 0, "{made:?}");
    let key = edge.audit_directory().join("log.pub");
    let verified = interdict(["audit", "verify", "--bundle", file, "--key", key.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(verified.stdout.contains("the policies are those that came into force"), "{verified:?}");
    assert!(verified.stdout.contains("all is as it was signed"), "{verified:?}");
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let broken = interdict(["audit", "verify", "--bundle", file]);
    assert_eq!(broken.code, 1, "{broken:?}");
    let none = interdict(["audit", "bundle", "--config", config, "--case", "none", "--out", file]);
    assert_eq!(none.code, 1, "{none:?}");
}

/// A log of several closed segments, each with records of `site` and of nothing else, and its edge, stopped.
fn closed_log() -> (Edge, Vec<PathBuf>) {
    let setup = Setup::new().case(CaseFile::new("site", &["site.example"])).audit("segment_bytes = 65536");
    let mut edge = setup.start();
    let folder = edge.audit_directory().join("segments");
    let mut client = edge.connect();
    let mut closed = Vec::new();
    while closed.len() < 4 {
        for _ in 0..50 {
            client.get("site.example", "/").unwrap().assert_blocked(403);
        }
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        closed = names.filter(|path| path.to_string_lossy().ends_with(".jsonl.zst")).collect();
        closed.sort();
        // Never a word of missing records while segments are closed.
        let output = search(&edge, &["--case", "site", "--count"]);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
    }
    drop(client);
    edge.stop();
    (edge, closed)
}

fn first_of(path: &std::path::Path) -> u64 {
    path.file_name().unwrap().to_str().unwrap()[..20].parse().unwrap()
}

/// The id of a record of a segment, from its lines.
fn id_in(path: &PathBuf) -> String {
    let text = zstd::decode_all(fs::File::open(path).unwrap()).unwrap();
    String::from_utf8(text[7..43].to_vec()).unwrap()
}

#[test]
fn a_segment_that_is_gone_is_told_by_every_command_that_would_have_needed_it() {
    let (edge, closed) = closed_log();
    let (kept, gone) = (id_in(&closed[0]), id_in(&closed[1]));
    let told = format!("records {} to {} are missing", first_of(&closed[1]), first_of(&closed[2]) - 1);
    let segment = format!("`segments/{:020}` is not there", first_of(&closed[1]));
    let whole = search(&edge, &["--case", "site", "--count"]);
    fs::remove_file(&closed[1]).unwrap();
    let target = tempfile::TempDir::new().unwrap();
    let target = target.path().join("bundle.tar.zst");
    for indexed in [true, false] {
        if !indexed {
            fs::remove_file(closed[1].with_extension("").with_extension("idx")).unwrap();
        }
        let counted = search(&edge, &["--case", "site", "--count"]);
        let count = |output: &Output| output.stdout.trim().parse::<u64>().unwrap();
        assert!(count(&counted) < count(&whole), "{counted:?}");
        for (command, arguments) in [
            ("search", &["--case", "site", "--count"][..]),
            ("search", &["--id", &gone]),
            ("prove", &[&gone]),
            ("export", &[]),
            ("export", &["--format", "csv", "--case", "site"]),
            ("bundle", &["--case", "site", "--out", target.to_str().unwrap()]),
        ] {
            let output = audit(&edge, command, arguments);
            assert_eq!(output.code, 3, "{command} {arguments:?}: {}", output.stderr);
            let said = output.stderr.contains(&told) && output.stderr.contains(&segment);
            assert!(said, "{command} {arguments:?}: {}", output.stderr);
        }
        assert!(!target.exists());
        let found = search(&edge, &["--id", &kept]);
        assert_eq!(
            (found.code, found.stdout.lines().count(), found.stderr.as_str()),
            (0, 1, ""),
            "{found:?}"
        );
    }
    // The hold is in force; it cannot keep what is gone.
    let directory = edge.audit_directory();
    let place = ["audit", "hold", "place", "h", "--host", "site.example", "--reason", "r", "--directory"];
    let held = interdict(place.iter().copied().chain([directory.to_str().unwrap()]));
    assert_eq!(held.code, 0, "{held:?}");
    assert!(held.stderr.contains(&told) && held.stderr.contains(&segment), "{held:?}");
    edge.end_unchecked();
}

#[test]
fn the_newest_segment_that_is_gone_is_told_as_well_and_pruned_ones_are_not() {
    let (edge, closed) = closed_log();
    let pruned = audit(&edge, "prune", &["--older-than", "0s"]);
    assert_eq!((pruned.code, pruned.stderr.as_str()), (0, ""), "{pruned:?}");
    assert!(!closed[0].exists() && !closed[2].exists());
    let rest = search(&edge, &["--kind", "audit.pruned"]);
    assert_eq!((rest.code, rest.stderr.as_str(), rest.stdout.lines().count()), (0, "", 1), "{rest:?}");
    let exported = audit(&edge, "export", &[]);
    assert_eq!((exported.code, exported.stderr.as_str()), (0, ""), "{exported:?}");

    let folder = edge.audit_directory().join("segments");
    for entry in fs::read_dir(&folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let empty = search(&edge, &["--case", "site"]);
    assert_eq!(empty.code, 3, "{empty:?}");
    assert!(empty.stderr.contains(" are missing: the segment `segments/"), "{empty:?}");
    edge.end_unchecked();
}
