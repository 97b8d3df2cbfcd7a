//! Tests of case files.

use super::*;

fn case(id: &str, rest: &str) -> String {
    format!(
        "id = \"{id}\"\ncustomer = \"c\"\nbasis = \"fraud\"\ndecided = 2026-11-20T22:15:00Z\ndecided_by = [\"j\"]\n{rest}\n"
    )
}

fn set(files: &[(&str, &str)]) -> PolicyFiles {
    let mut all = PolicyFiles::new();
    for (path, content) in files {
        all.insert(*path, content.as_bytes());
    }
    all
}

#[test]
fn a_list_that_two_cases_name_is_in_both() {
    let lists = "host_lists = [\"lists/a.txt\"]";
    let files = set(&[
        ("cases/a.toml", &case("A-1", lists)),
        ("cases/b.toml", &case("A-2", lists)),
        ("lists/a.txt", "a.example\n.b.example\n"),
    ]);
    let (cases, found) = parse_cases(&files);
    assert!(found.is_empty(), "{found}");
    assert_eq!(cases.len(), 2);
    assert!(Arc::ptr_eq(&cases[0].lists[0].list, &cases[1].lists[0].list));
    assert_eq!(cases[0].pattern_count(), 2);
}

#[test]
fn an_oversized_list_is_refused_even_by_a_case_that_skips_bad_entries() {
    let rest = "host_lists = [\"lists/a.txt\"]\non_bad_entry = \"skip\"";
    let mut files = set(&[("cases/a.toml", &case("A-1", rest))]);
    files.insert("lists/a.txt", vec![b'#'; 100_000_000]);
    let (_, found) = parse_cases(&files);
    let errors: Vec<_> = found.errors().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "lists/a.txt:1:1: error: the file has 100000000 bytes, more than the 67108864 that a host list may have\n  \
          hint: split it into several lists"
        ]
    );
}

#[test]
fn an_oversized_case_file_is_refused_unread() {
    let files = set(&[("cases/a.toml", &"#".repeat(2 * 1024 * 1024))]);
    let (cases, found) = parse_cases(&files);
    assert!(cases.is_empty());
    assert_eq!(found.error_count(), 1);
}

#[test]
fn bad_lines_of_one_list_leave_room_for_the_errors_of_others() {
    let files = set(&[
        ("cases/a.toml", &case("A-1", "host_lists = [\"lists/a.txt\", \"lists/b.txt\"]")),
        ("lists/a.txt", &"bad line\n".repeat(390_000)),
        ("lists/b.txt", "another bad line\n"),
    ]);
    let (_, found) = parse_cases(&files);
    assert_eq!(found.error_count(), 390_001);
    assert!(found.errors().any(|error| error.file == "lists/b.txt"));
}

#[test]
fn a_set_without_cases_is_a_set() {
    let (cases, found) = parse_cases(&PolicyFiles::new());
    assert!(cases.is_empty() && found.is_empty());
}

#[test]
fn a_contradiction_is_warned_of_exactly_when_no_name_or_every_name_is_taken() {
    // Every name up to one level below the deepest pattern: what holds here holds for all names.
    let universe: Vec<_> = ["x", "a.x", "b.x", "b.a.x", "c.a.x", "c.b.a.x", "c.b.x", "d.c.b.a.x"]
        .into_iter()
        .map(|name| crate::hostname::Hostname::parse(name).unwrap())
        .collect();
    let names = ["x", "a.x", "b.x", "b.a.x"];
    let patterns: Vec<String> =
        names.iter().flat_map(|name| ["", ".", "*."].map(|form| format!("{form}{name}"))).collect();
    for host in &patterns {
        for except in &patterns {
            let text = case("A-1", &format!("hosts = [\"{host}\"]\nexcept = [\"{except}\"]"));
            let (_, found) = parse_cases(&set(&[("cases/a.toml", &text)]));
            let warned = |words: &str| found.warnings().any(|warning| warning.message.contains(words));
            let covered = |pattern: &str| {
                let pattern = crate::policy::Pattern::parse(pattern).unwrap();
                universe.iter().map(|name| pattern.covers(name)).collect::<Vec<_>>()
            };
            let pairs: Vec<_> = covered(host).into_iter().zip(covered(except)).collect();
            let is_idle = !pairs.iter().any(|(host, except)| *host && *except);
            let is_taken = pairs.iter().all(|(host, except)| !host || *except);
            assert_eq!(warned("an exception from nothing"), is_idle, "{host} except {except}");
            assert_eq!(warned("never blocked"), is_taken, "{host} except {except}");
        }
    }
}
