//! What lists in the formats of others mean, line by line: `tests/cases/exchange/*.txt`.
//!
//! The name of the one file of a row is the format, and what the command line says beside it.

use std::fmt::Write as _;

use interdict::decide::{Subject, Verdict, decide};
use interdict::hostname::Hostname;
use interdict::policy::exchange::{Concern, Format, ImportOptions, Importer, effective, settle};
use interdict::policy::{PolicyFiles, Ruleset, parse_cases};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::table_cases::check_all;

#[test]
fn lists_in_the_formats_of_others_mean_what_their_tables_say() {
    check_all("exchange", |row| {
        let [(name, content)] = row.files.as_slice() else { panic!("{}: one file a row", row.title) };
        let (word, option) = name.split_once(' ').unwrap_or((name, ""));
        let format = Format::ALL.into_iter().find(|format| format.as_str() == word).unwrap();
        let options = ImportOptions {
            subdomains: option == "subdomains",
            zone: (format == Format::Rpz && !option.is_empty()).then(|| Hostname::parse(option).unwrap()),
            samples: 100,
        };
        let imported = Importer::read(format, &options, content);
        let mut told = String::new();
        let settled = settle(imported.patterns, imported.except, format);
        for (word, patterns) in [
            ("", &settled.patterns),
            ("except ", &settled.except),
            ("excepted ", &settled.excepted),
            ("no case can except ", &settled.around),
        ] {
            patterns.iter().for_each(|pattern| writeln!(told, "{word}{pattern}").unwrap());
        }
        if imported.doubled > 0 {
            writeln!(told, "doubled: {}", imported.doubled).unwrap();
        }
        for skipped in &imported.skipped {
            let detail =
                if skipped.detail.is_empty() { String::new() } else { format!(": {}", skipped.detail) };
            writeln!(told, "line {}: {}: `{}`{detail}", skipped.line, skipped.reason.as_str(), skipped.text)
                .unwrap();
        }
        told
    });
}

/// What a case of the property below says.
#[derive(Debug, Clone)]
struct Drawn {
    hosts: Vec<String>,
    except: Vec<String>,
    is_shadow: bool,
    exempts: bool,
}

/// A case over few names, so that cases meet each other.
fn any_case() -> impl Strategy<Value = Drawn> {
    let pattern =
        ("(|\\.|\\*\\.)", "(a|b)(\\.(a|b)){0,2}").prop_map(|(form, name)| format!("{form}{name}.example"));
    (vec(pattern.clone(), 1..4), vec(pattern, 0..2), any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(hosts, except, is_shadow, exempts)| Drawn { hosts, except, is_shadow, exempts })
}

fn policy_set(cases: &[Drawn]) -> PolicyFiles {
    let mut files = PolicyFiles::new();
    for (number, Drawn { hosts, except, is_shadow, exempts }) in cases.iter().enumerate() {
        let mode = if *is_shadow { "shadow" } else { "enforce" };
        let mut text = format!(
            "id = \"C-{number}\"\ncustomer = \"c\"\nbasis = \"fraud\"\ndecided = 2026-01-01T00:00:00Z\n\
             decided_by = [\"j\"]\nmode = \"{mode}\"\nhosts = {hosts:?}\nexcept = {except:?}\n"
        );
        if *exempts {
            text.push_str("[[exempt]]\nclients = [\"192.0.2.0/24\"]\nreason = \"r\"\n");
        }
        files.insert(format!("cases/{number}.toml"), text.into_bytes());
    }
    files
}

/// Every name over these labels: what holds of them holds of all, since no pattern is longer.
fn all_names() -> Vec<Hostname> {
    let mut names = vec!["example".to_owned()];
    for depth in 0..4 {
        let longer: Vec<String> = names
            .iter()
            .filter(|name| name.matches('.').count() == depth)
            .flat_map(|name| ["a", "b", "z"].map(|label| format!("{label}.{name}")))
            .collect();
        names.extend(longer);
    }
    names.iter().map(|name| Hostname::parse(name).unwrap()).collect()
}

proptest! {
    #[test]
    fn an_export_blocks_what_the_data_plane_blocks_for_everyone_and_never_more(cases in vec(any_case(), 1..5)) {
        let files = policy_set(&cases);
        let (cases, found) = parse_cases(&files);
        prop_assert!(!found.has_errors(), "{}", found);
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let concerns: Vec<Concern<'_>> =
            cases.iter().map(|case| Concern { case, hosts: case.hosts.iter().collect() }).collect();
        let exported = effective(&concerns, now, None, 0);
        let rules = Ruleset::compile(cases.clone(), &files).unwrap();
        for name in all_names() {
            let names = [name];
            let is_blocked = |client: [u8; 4]| {
                matches!(decide(&rules, &Subject { names: &names, client: client.into() }, now), Verdict::Block(_))
            };
            let for_everyone = is_blocked([192, 0, 2, 1]) && is_blocked([198, 51, 100, 1]);
            let is_exported = exported.patterns.iter().any(|pattern| pattern.covers(&names[0]));
            prop_assert!(for_everyone || !is_exported, "{:?} is exported and not blocked", names);
            // What is not in the list and yet blocked has been told.
            let is_told = exported.omissions.total() > 0;
            prop_assert!(is_exported || !for_everyone || is_told, "{:?} is left out in silence", names);
        }
    }
}
