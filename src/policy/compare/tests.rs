//! Tests of the comparison, against a plain map.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::policy::exchange::Concern;
use crate::policy::sample::case;
use crate::policy::{Action, Case};

fn concerns(cases: &[Case]) -> Vec<Concern<'_>> {
    cases.iter().map(|case| Concern { case, hosts: case.hosts.iter().collect() }).collect()
}

struct Told {
    /// What is told of a name: `+`, `-` or `~`.
    changes: BTreeMap<String, char>,
    /// Names added to and removed from a case.
    by_case: Vec<(String, u64, u64)>,
}

fn told(before: &[Case], after: &[Case]) -> Told {
    let (old, new) = (concerns(before), concerns(after));
    let (old, new) = (Listed::new(&old), Listed::new(&new));
    let mut changes = BTreeMap::new();
    let tally = compare_names(&old, &new, |change| {
        let mark = match (change.before.is_empty(), change.after.is_empty()) {
            (true, false) => '+',
            (false, true) => '-',
            (false, false) => '~',
            (true, true) => '?',
        };
        let is_new = changes.insert(change.pattern.to_string(), mark).is_none();
        if is_new { Ok(()) } else { Err(()) }
    });
    let tally = tally.unwrap();
    let count = |mark: char| u64::try_from(changes.values().filter(|one| **one == mark).count()).unwrap();
    assert_eq!((tally.added, tally.removed, tally.changed), (count('+'), count('-'), count('~')));
    let by_case =
        tally.by_case.iter().map(|(id, (added, removed))| (id.to_string(), *added, *removed)).collect();
    Told { changes, by_case }
}

/// The same by maps of texts.
fn naive(before: &[Case], after: &[Case]) -> BTreeMap<String, char> {
    let held = |cases: &[Case]| {
        let mut held: BTreeMap<String, BTreeSet<(String, &'static str)>> = BTreeMap::new();
        for case in cases {
            for pattern in &case.hosts {
                held.entry(pattern.to_string())
                    .or_default()
                    .insert((case.id.to_string(), case.action.as_str()));
            }
        }
        held
    };
    let (before, after) = (held(before), held(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mark = |name: &&String| match (before.get(*name), after.get(*name)) {
        (None, _) => Some('+'),
        (_, None) => Some('-'),
        (old, new) if old != new => Some('~'),
        _ => None,
    };
    names.into_iter().filter_map(|name| Some((name.clone(), mark(&name)?))).collect()
}

fn set() -> impl Strategy<Value = Vec<Case>> {
    let hosts =
        vec(("(|\\.|\\*\\.)", "[a-d]").prop_map(|(form, label)| format!("{form}{label}.example")), 0..8);
    let one = (hosts, any::<bool>());
    vec(one, 0..4).prop_map(|cases| {
        let numbered = cases.into_iter().enumerate();
        let mut cases: Vec<Case> = numbered
            .map(|(number, (hosts, refuses))| {
                let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
                let action = if refuses { Action::Refuse } else { Action::Page };
                Case { action, ..case(&format!("C-{number}"), &hosts) }
            })
            .collect();
        cases.reverse();
        cases
    })
}

proptest! {
    #[test]
    fn the_merge_tells_what_maps_tell(before in set(), after in set()) {
        prop_assert_eq!(told(&before, &after).changes, naive(&before, &after));
        prop_assert!(told(&before, &before).changes.is_empty());
    }
}

#[test]
fn a_name_that_moves_to_another_case_is_changed_and_counted_for_both() {
    let before = [case("A-1", &["a.example", "b.example"]), case("A-2", &["c.example"])];
    let after = [case("A-1", &["a.example"]), case("A-2", &["c.example", "b.example", ".d.example"])];
    let Told { changes, by_case } = told(&before, &after);
    assert_eq!(changes, [(".d.example".to_owned(), '+'), ("b.example".to_owned(), '~')].into());
    assert_eq!(by_case, [("A-1".to_owned(), 0, 1), ("A-2".to_owned(), 2, 0)]);
}

#[test]
fn fields_are_told_by_their_keys() {
    let before = case("A-1", &["a.example"]);
    let after = Case {
        status: 410,
        customer: "other".to_owned(),
        review: Some("2026-12-20".parse().unwrap()),
        ..before.clone()
    };
    let changes = fields_changed(&before, &after);
    let fields: Vec<&str> = changes.iter().map(|change| change.field).collect();
    assert_eq!(fields, ["customer", "status", "review"]);
    assert_eq!((changes[2].before.as_str(), changes[2].after.as_str()), ("", "2026-12-20"));
    assert!(fields_changed(&before, &before).is_empty());
}
