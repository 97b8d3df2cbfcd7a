//! What is said of case files and lists, right and wrong: `tests/cases/policy/*.txt`.

use std::fs;
use std::path::Path;

use interdict::policy::{Case, Pattern, PolicyFiles, parse_cases};

use crate::table_cases::check_all;

#[test]
fn case_files_and_lists_mean_what_their_tables_say() {
    check_all("policy", |row| {
        let mut files = PolicyFiles::new();
        for (path, content) in &row.files {
            files.insert(path.as_str(), content.as_slice());
        }
        let (cases, found) = parse_cases(&files);
        if !found.is_empty() {
            return found.to_string();
        }
        cases.iter().map(|case| format!("{case:#?}\n")).collect()
    });
}

/// The example set, read from `policies/` as an edge would.
pub(crate) fn example_files() -> PolicyFiles {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files = PolicyFiles::new();
    for directory in ["cases", "lists", "pages"] {
        let Ok(entries) = fs::read_dir(root.join(directory)) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
            if PolicyFiles::belongs(&path) {
                files.insert(path, fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

#[test]
fn every_example_case_loads_with_the_one_warning_it_is_there_to_show() {
    let (cases, found) = parse_cases(&example_files());
    assert!(!found.has_errors(), "{found}");
    let warned: Vec<_> =
        found.warnings().map(|warning| (warning.file.as_str(), warning.text.as_str())).collect();
    assert_eq!(warned, [("lists/parked-mirrors.txt", "https://mirror-4.parked.test/login")], "{found}");
    assert_eq!(cases.len(), 6);
}

/// All patterns of a case, those of its lists included.
fn patterns(case: &Case) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    case.for_each_pattern(|pattern| patterns.push(pattern)).unwrap();
    patterns
}

#[test]
fn the_examples_use_reserved_names_and_networks_only() {
    let (cases, _) = parse_cases(&example_files());
    let reserved = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"];
    for case in &cases {
        for pattern in patterns(case).iter().chain(&case.except) {
            let name = pattern.name.as_str();
            assert!(name.ends_with(".example") || name.ends_with(".test"), "{pattern}");
        }
        let legal = case.legal.iter().flat_map(|legal| &legal.territory);
        let clients = case.exempt.iter().flat_map(|exemption| &exemption.clients);
        for network in case.origins.iter().chain(legal).chain(clients) {
            assert!(
                reserved.iter().any(|known| known.parse::<ipnet::IpNet>().unwrap().contains(network)),
                "{network}"
            );
        }
    }
}

#[test]
fn the_demo_hosts_are_blocked_for_good() {
    let (cases, _) = parse_cases(&example_files());
    for (host, action) in
        [("forum.example", "page"), ("www.forum.example", "page"), ("refused.example", "refuse")]
    {
        let host = interdict::hostname::Hostname::parse(host).unwrap();
        let mut covering =
            cases.iter().filter(|case| patterns(case).iter().any(|pattern| pattern.covers(&host)));
        let case = covering.next().unwrap();
        assert!(covering.next().is_none(), "{host} is named by two examples");
        assert_eq!((case.action.as_str(), case.mode.as_str()), (action, "enforce"));
        assert_eq!(case.expires, None, "the demo must still work in years");
        let effective = case.effective.unwrap_or(case.decided);
        assert!(effective < "2026-11-23T00:00:00Z".parse().unwrap());
    }
}
