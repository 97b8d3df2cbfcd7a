//! Tests of the comparison: what it must never miss, and what it leaves alone.

use proptest::prelude::*;

use super::super::{CaseSet, CaseSetView, Changes};
use crate::hostname::Hostname;
use crate::policy::sample::{case, legal_case, patterns, rules, second};
use crate::policy::{Case, Legal, Mode, Pattern, Ruleset};

struct Set {
    facts: CaseSet,
    ruleset: Ruleset,
}

impl Set {
    fn of(cases: Vec<Case>) -> Self {
        let ruleset = rules(cases);
        Self { facts: CaseSet::new(&ruleset, &[]), ruleset }
    }

    fn view(&self) -> CaseSetView<'_> {
        self.facts.with(&self.ruleset)
    }
}

fn changes(before: Vec<Case>, after: Vec<Case>) -> Changes {
    let (before, after) = (Set::of(before), Set::of(after));
    Changes::between(&before.view(), &after.view(), second(0))
}

/// Names added and taken out.
fn counts(before: Vec<Case>, after: Vec<Case>) -> (u64, u64) {
    let changes = changes(before, after);
    (changes.added.names, changes.removed.names)
}

fn except(id: &str, hosts: &[&str], except: &[&str]) -> Case {
    Case { except: patterns(except), ..case(id, hosts) }
}

fn within(id: &str, hosts: &[&str], networks: &[&str]) -> Case {
    let case = legal_case(id, hosts);
    let territory = networks.iter().map(|network| network.parse().unwrap()).collect();
    let legal = case.legal.clone().map(|legal| Legal { territory, ..legal });
    Case { legal, ..case }
}

#[test]
fn an_exception_counts_by_the_patterns_it_covers_or_as_one_in_a_wider_pattern() {
    let all = ["a.test", ".b.test", "*.c.test", "d.example"];
    let plain = case("a", &all);
    for (excepted, freed) in [
        (vec!["a.test"], 1),
        (vec![".test"], 3),
        (vec!["*.b.test"], 1),
        (vec!["x.b.test", "y.c.test"], 2),
        // Nothing of the case is in these.
        (vec!["b.example", "c.test", "x.a.test"], 0),
        // The second lies in the first.
        (vec![".x.b.test", "y.x.b.test"], 2),
    ] {
        let spared = except("a", &all, &excepted);
        assert_eq!(counts(vec![plain.clone()], vec![spared.clone()]), (0, freed), "{excepted:?}");
        assert_eq!(counts(vec![spared], vec![plain.clone()]), (freed, 0), "{excepted:?} goes");
    }
}

#[test]
fn what_another_case_still_blocks_is_not_freed_by_an_exception() {
    let other = case("b", &[".test"]);
    let before = [case("a", &["a.test", "b.test"]), other.clone()];
    assert_eq!(counts(before.to_vec(), vec![except("a", &["a.test", "b.test"], &[".test"]), other]), (0, 0));
    // The other case goes, and the one that stays has had its exception all along.
    let spared = except("a", &[".test"], &["x.test"]);
    assert_eq!(counts(vec![spared.clone(), case("b", &[".test"])], vec![spared.clone()]), (0, 1));
    assert_eq!(counts(vec![spared.clone(), case("b", &["y.test"])], vec![spared]), (0, 0));
}

#[test]
fn many_exceptions_are_found_as_few_are() {
    let hosts: Vec<String> = (0..40).map(|number| format!("n{number}.test")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let spared = except("a", &hosts, &hosts[..30]);
    assert_eq!(counts(vec![case("a", &hosts)], vec![spared.clone()]), (0, 30));
    // Another id, and one exception more.
    let renamed = except("z", &hosts, &hosts[..31]);
    assert_eq!(counts(vec![spared], vec![renamed]), (0, 1));
}

#[test]
fn a_case_that_begins_later_frees_what_one_in_force_has_blocked_and_adds_nothing_when_it_begins() {
    let later = |seconds| Case { effective: Some(second(seconds)), ..case("a", &["a.test", "b.test"]) };
    let now = || later(0);
    assert_eq!(counts(vec![now()], vec![later(1)]), (0, 2));
    assert_eq!(counts(vec![later(1)], vec![now()]), (0, 0));
    assert_eq!(counts(vec![later(1)], vec![later(9)]), (0, 0));
    assert_eq!(counts(vec![], vec![later(1)]), (2, 0));
    let shadow = Case { mode: Mode::Shadow, ..now() };
    assert_eq!(counts(vec![now()], vec![shadow.clone()]), (0, 2));
    assert_eq!(counts(vec![shadow], vec![now()]), (2, 0));
    // Under another id it is in force as before.
    let renamed = Case { id: later(0).id, ..case("a", &["b.test", "a.test"]) };
    assert_eq!(counts(vec![now()], vec![renamed]), (0, 0));
}

#[test]
fn a_territory_frees_its_names_when_it_leaves_clients_out() {
    let hosts = ["a.test", "b.test"];
    let (all, one, both) = (
        legal_case("a", &hosts),
        within("a", &hosts, &["192.0.2.0/24"]),
        within("a", &hosts, &["198.51.100.0/24", "192.0.2.0/25", "192.0.2.128/25"]),
    );
    assert_eq!(counts(vec![all.clone()], vec![one.clone()]), (0, 2));
    assert_eq!(counts(vec![one.clone()], vec![all]), (2, 0));
    assert_eq!(counts(vec![both.clone()], vec![one.clone()]), (0, 2));
    assert_eq!(counts(vec![one.clone()], vec![both]), (2, 0));
    let mapped = within("a", &hosts, &["::ffff:192.0.2.0/120"]);
    assert_eq!(counts(vec![one], vec![mapped]), (0, 0));
}

/// How a case differs from one that is carried out now, for everyone.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Shadow,
    Later,
    There,
}

fn any_pattern() -> impl Strategy<Value = String> {
    let name = prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..4);
    let prefix = prop::sample::select(vec!["", ".", "*."]);
    (name, prefix).prop_map(|(labels, prefix)| format!("{prefix}{}", labels.join(".")))
}

fn any_case() -> impl Strategy<Value = (Vec<String>, Vec<String>, Kind)> {
    let kind = prop::sample::select(vec![Kind::Plain, Kind::Plain, Kind::Shadow, Kind::Later, Kind::There]);
    (prop::collection::vec(any_pattern(), 1..4), prop::collection::vec(any_pattern(), 0..3), kind)
}

fn cases(drawn: &[(Vec<String>, Vec<String>, Kind)]) -> Vec<Case> {
    let one = |(at, (hosts, except, kind)): (usize, &(Vec<String>, Vec<String>, Kind))| {
        let texts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let (id, except) =
            (format!("c{at}"), except.iter().map(|text| Pattern::parse(text).unwrap()).collect());
        let plain = case(&id, &texts);
        let kind = match kind {
            Kind::Plain => plain,
            Kind::Shadow => Case { mode: Mode::Shadow, ..plain },
            Kind::Later => Case { effective: Some(second(1)), ..plain },
            Kind::There => within(&id, &texts, &["192.0.2.0/24"]),
        };
        Case { except, ..kind }
    };
    drawn.iter().enumerate().map(one).collect()
}

/// Whether a name is blocked, for a client in the territory that there is, or elsewhere.
fn blocks(cases: &[Case], name: &Hostname, there: bool) -> bool {
    cases.iter().any(|case| {
        let concerned = there || case.legal.is_none();
        let running = case.mode == Mode::Enforce && case.effective.is_none();
        let covered = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.covers(name));
        running && concerned && covered(&case.hosts) && !covered(&case.except)
    })
}

fn names() -> Vec<Hostname> {
    let mut names = vec!["a".to_owned(), "b".to_owned()];
    for from in [0, 2, 6] {
        let longer: Vec<String> =
            names[from..].iter().flat_map(|name| [format!("a.{name}"), format!("b.{name}")]).collect();
        names.extend(longer);
    }
    names.iter().map(|name| Hostname::parse(name).unwrap()).collect()
}

proptest! {
    #[test]
    fn no_name_is_freed_that_is_not_counted(
        before in prop::collection::vec(any_case(), 0..4),
        after in prop::collection::vec(any_case(), 0..4),
        kept in prop::bool::ANY,
    ) {
        let before = cases(&before);
        let mut after = cases(&after);
        if kept && let (Some(one), Some(other)) = (before.first(), after.first_mut()) {
            // Mostly a case changes in one thing.
            other.hosts.clone_from(&one.hosts);
        }
        let freed = names().into_iter().find(|name| {
            [true, false].iter().any(|there| blocks(&before, name, *there) && !blocks(&after, name, *there))
        });
        let found = changes(before.clone(), after);
        if let Some(freed) = freed {
            prop_assert!(found.removed.names > 0, "{freed} is freed");
        }
        let same = changes(before.clone(), before);
        prop_assert_eq!((same.added.names, same.removed.names), (0, 0));
    }
}
