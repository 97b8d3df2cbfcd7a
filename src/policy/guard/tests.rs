//! Tests of the rails: what each holds back, and what none may.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;

use super::pattern::{covers, meeting};
use super::*;
use crate::hostname::Hostname;
use crate::policy::sample::{case, patterns, rules, second};
use crate::policy::{
    Book, Case, Form, MemorySpool, Mode, ParsedCase, Pattern, PolicyFiles, Ruleset, parse_set,
};

struct Set {
    facts: CaseSet,
    ruleset: Ruleset,
}

impl Set {
    fn new(cases: Vec<Case>, lists: &[(&str, &str)]) -> Self {
        let ruleset = rules(cases);
        let lists = lists.iter().map(|(path, text)| ((*path).to_owned(), *text));
        Self { facts: CaseSet::new(&ruleset, &naming(lists)), ruleset }
    }

    fn view(&self) -> CaseSetView<'_> {
        self.facts.with(&self.ruleset)
    }
}

/// Cases that name these lists, read as an edge reads them.
fn naming<'t>(lists: impl Iterator<Item = (String, &'t str)>) -> Vec<ParsedCase> {
    let mut files = PolicyFiles::new();
    for (number, (path, text)) in lists.enumerate() {
        let case = format!(
            "id = \"l{number}\"\ncustomer = \"c\"\nbasis = \"fraud\"\ndecided = 2026-11-20T22:15:00Z\n\
             decided_by = [\"j\"]\nhost_lists = [\"{path}\"]\non_bad_entry = \"skip\"\n"
        );
        files.insert(format!("cases/l{number}.toml"), case.into_bytes());
        files.insert(path, text.as_bytes());
    }
    parse_set(&files, &files, &Book::default(), &mut MemorySpool).cases
}

fn set(cases: Vec<Case>) -> Set {
    Set::new(cases, &[])
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number}.example")).collect()
}

fn numbered_case(id: &str, range: std::ops::Range<usize>) -> Case {
    let hosts: Vec<String> = range.map(|number| format!("n{number}.example")).collect();
    case(id, &hosts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn found(before: &Set, after: &Set, settings: &Settings) -> Vec<(Rail, u64)> {
    let findings = measured(before, after, settings);
    findings.iter().map(|finding| (finding.rail, finding.found)).collect()
}

fn measured(before: &Set, after: &Set, settings: &Settings) -> Vec<Finding> {
    let changes = Changes::between(&before.view(), &after.view(), second(0));
    let reach = Reach::default();
    changes_too_large(&before.view(), &after.view(), &changes, &reach, settings, second(0))
}

fn violations_of(cases: Vec<Case>, settings: &Settings) -> Vec<String> {
    let found = violations(&set(cases).view(), None, settings, &Suffixes::default());
    found.first.into_iter().map(|one| format!("{} {}", one.rail, one.written)).collect()
}

fn protecting(names: &[&str], networks: &[&str]) -> Settings {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    Settings { protect: Protected { names: patterns(names), networks }, ..Settings::default() }
}

#[test]
fn a_case_that_covers_or_lies_below_a_protected_name_is_a_violation() {
    let settings = protecting(&["www.cdn.test", ".control.test"], &[]);
    for touching in [
        "www.cdn.test",
        ".cdn.test",
        "*.cdn.test",
        ".www.cdn.test",
        "control.test",
        "*.control.test",
        "a.b.control.test",
    ] {
        let expected = [format!("protect {touching}")];
        assert_eq!(violations_of(vec![case("a", &[touching])], &settings), expected, "{touching}");
    }
    for free in ["cdn.test", "*.www.cdn.test", "xwww.cdn.test", "notcontrol.test", "other.test", "w.cdn.test"]
    {
        assert_eq!(violations_of(vec![case("a", &[free])], &settings), [""; 0], "{free}");
    }
}

#[test]
fn an_exception_that_spares_the_protected_name_makes_the_case_good() {
    let settings = protecting(&["www.cdn.test", ".control.cdn.test"], &[]);
    let with = |except: &[&str]| Case { except: patterns(except), ..case("a", &[".cdn.test"]) };
    assert_eq!(violations_of(vec![with(&["www.cdn.test", ".control.cdn.test"])], &settings), [""; 0]);
    // All below is spared, the name itself is not.
    assert_eq!(
        violations_of(vec![with(&["www.cdn.test", "*.control.cdn.test"])], &settings),
        ["protect .cdn.test"]
    );
    assert_eq!(violations_of(vec![with(&["www.cdn.test"])], &settings).len(), 1);
}

#[test]
fn origins_and_hosts_in_a_protected_network_are_violations_in_either_spelling() {
    let settings = protecting(&[], &["192.0.2.0/24", "2001:db8::/32"]);
    let closing = |network: &str| Case { origins: vec![network.parse().unwrap()], ..case("a", &["a.test"]) };
    for network in ["192.0.2.7/32", "192.0.0.0/16", "::ffff:192.0.2.0/120", "2001:db8:1::/48"] {
        assert_eq!(violations_of(vec![closing(network)], &settings).len(), 1, "{network}");
    }
    assert_eq!(violations_of(vec![closing("192.0.3.0/24")], &settings), [""; 0]);
    let hosts = case("a", &["192.0.2.9", "[2001:db8::1]", "192.0.3.9"]);
    assert_eq!(violations_of(vec![hosts], &settings), ["protect 192.0.2.9", "protect [2001:db8::1]"]);
}

#[test]
fn a_case_that_was_found_good_before_is_not_looked_at_again_until_it_changes() {
    let settings = protecting(&["www.cdn.test"], &[]);
    let before = set(vec![case("a", &["www.cdn.test"])]);
    let same = violations(&before.view(), Some(&before.view()), &settings, &Suffixes::default());
    assert_eq!(same.total, 0);
    let changed = set(vec![case("a", &["www.cdn.test", "b.test"])]);
    assert_eq!(violations(&changed.view(), Some(&before.view()), &settings, &Suffixes::default()).total, 1);
}

#[test]
fn no_pattern_covers_a_public_suffix_or_a_whole_platform() {
    let suffixes = Suffixes::default();
    let taken = |text: &str| {
        let pattern = Pattern::parse(text).unwrap();
        suffixes.taken_down(pattern.form, pattern.name.as_str())
    };
    for refused in [
        ".com",
        "*.com",
        "com",
        ".co.uk",
        "*.co.uk",
        "co.uk",
        ".github.io",
        "*.github.io",
        ".ck",
        "foo.ck",
        ".s3.amazonaws.com",
        ".amazonaws.com",
        "*.amazonaws.com",
        ".рф",
        ".xn--p1ai",
        ".kawasaki.jp",
    ] {
        assert!(taken(refused).is_some(), "{refused}");
    }
    for allowed in [
        "github.io",
        "customer.github.io",
        ".customer.github.io",
        ".example.com",
        "example.co.uk",
        "example",
        ".example",
        ".intern",
        "192.0.2.1",
        "[2001:db8::1]",
        ".www.ck",
        "localhost",
        ".customer.s3.amazonaws.com",
    ] {
        assert_eq!(taken(allowed), None, "{allowed}");
    }
    assert_eq!(taken(".amazonaws.com").unwrap().split('.').next_back(), Some("com"));
}

#[test]
fn a_suffix_that_is_allowed_may_be_covered_and_no_other() {
    let settings =
        Settings { allow_suffixes: vec![Hostname::parse("github.io").unwrap()], ..Settings::default() };
    let cases = vec![case("a", &[".github.io", ".gitlab.io"])];
    assert_eq!(violations_of(cases, &settings), ["public-suffix .gitlab.io"]);
}

#[test]
fn every_platform_of_the_file_is_still_above_a_suffix_and_none_itself() {
    for suffix in include_str!("platforms.txt").lines().filter(|line| !line.starts_with('#')) {
        let known = psl::suffix(suffix.as_bytes()).filter(|found| found.is_known());
        assert_eq!(known.map(|found| found.as_bytes()), Some(suffix.as_bytes()), "{suffix}");
    }
}

#[test]
fn names_are_counted_whatever_case_they_are_in() {
    let before = set(vec![numbered_case("a", 0..10), numbered_case("b", 10..20)]);
    // `a` has another id, `b` has lost one and won three, two cases share one of these.
    let after = set(vec![numbered_case("c", 0..10), numbered_case("b", 11..22), numbered_case("d", 21..23)]);
    let changes = Changes::between(&before.view(), &after.view(), second(0));
    assert_eq!((changes.before, changes.added.names, changes.removed.names), (20, 3, 1));
    assert_eq!(changes.added.first, ["n20.example", "n21.example", "n22.example"]);
    assert_eq!(
        (changes.added.cases, changes.removed.cases),
        (vec!["b".to_owned(), "d".to_owned()], vec!["b".to_owned()])
    );
}

#[test]
fn a_name_that_a_wider_pattern_covers_is_neither_new_nor_gone() {
    let before = set(vec![case("a", &["a.test", "*.b.test", "x.c.test"])]);
    let after = set(vec![case("a", &[".a.test", "*.b.test", "*.c.test"])]);
    let changes = Changes::between(&before.view(), &after.view(), second(0));
    assert_eq!(changes.removed.names, 0);
    assert_eq!(changes.added.first, [".a.test", "*.c.test"]);
}

#[test]
fn a_case_in_shadow_or_at_its_end_blocks_nothing_that_could_be_taken_out() {
    let shadow = || Case { mode: Mode::Shadow, ..numbered_case("a", 0..10) };
    let over = || Case { expires: Some(second(-1)), ..numbered_case("b", 10..20) };
    let (before, after) = (set(vec![shadow(), over()]), set(vec![numbered_case("a", 0..10)]));
    let changes = Changes::between(&before.view(), &after.view(), second(0));
    assert_eq!(
        (changes.before, changes.added.names, changes.removed.names),
        (0, 10, 0),
        "shadow becomes real"
    );
}

#[test]
fn a_swap_over_a_limit_is_found_with_its_numbers_and_a_small_set_is_not_measured_by_share() {
    let settings = Settings { max_added: 5, max_removed: 5, floor: 100, ..Settings::default() };
    let (ten, twenty) = (set(vec![numbered_case("a", 0..10)]), set(vec![numbered_case("a", 0..20)]));
    assert_eq!(found(&ten, &twenty, &settings), [(Rail::MaxAdded, 10)]);
    assert_eq!(found(&twenty, &ten, &settings), [(Rail::MaxRemoved, 10)]);
    let shares = Settings { max_removed_percent: 40, ..Settings::default() };
    assert_eq!(found(&twenty, &ten, &shares), [], "under the floor");
    let shares = Settings { floor: 20, ..shares };
    assert_eq!(found(&twenty, &ten, &shares), [(Rail::MaxRemoved, 10)]);
    assert_eq!(found(&twenty, &twenty, &settings), []);
}

#[test]
fn the_defaults_hold_back_an_emptied_set_and_let_daily_work_pass() {
    let large = set(vec![numbered_case("a", 0..2_000)]);
    let settings = Settings::default();
    assert_eq!(found(&large, &set(vec![]), &settings), [(Rail::MaxRemoved, 2_000)]);
    assert_eq!(found(&large, &set(vec![numbered_case("a", 0..2_200)]), &settings), []);
    assert_eq!(found(&large, &set(vec![numbered_case("a", 0..1_800)]), &settings), []);
    assert_eq!(found(&set(vec![]), &large, &settings), []);
}

fn listed(before: &str, after: &str, settings: &Settings) -> Vec<(Rail, u64)> {
    let with = |text| Set::new(vec![], &[("lists/a.txt", text)]);
    found(&with(before), &with(after), settings)
}

#[test]
fn a_list_that_shrinks_empties_grows_or_breaks_is_found() {
    let settings = Settings { floor: 10, ..Settings::default() };
    let lines = |count| numbered(count).join("\n");
    let hundred = lines(100);
    assert_eq!(listed(&hundred, &lines(50), &settings), [(Rail::ListShrunk, 50)]);
    assert_eq!(listed(&hundred, &lines(51), &settings), []);
    assert_eq!(listed(&hundred, "# nothing\n", &settings), [(Rail::ListEmptied, 0)]);
    assert_eq!(listed(&hundred, &lines(400), &settings), [(Rail::ListGrew, 400)]);
    assert_eq!(listed(&hundred, &lines(399), &settings), []);
    let rubbish = "$0/\n".repeat(100);
    assert_eq!(listed(&hundred, &rubbish, &settings), [(Rail::ListEmptied, 0), (Rail::ListUnparsable, 100)]);
    assert_eq!(listed(&hundred, &format!("{hundred}\n{rubbish}"), &settings), [(Rail::ListUnparsable, 100)]);
    // A list that has been so is not held back again, and a short one is not measured by share.
    assert_eq!(listed(&rubbish, &rubbish, &settings), []);
    assert_eq!(listed(&lines(8), &lines(2), &settings), []);
}

#[test]
fn ten_thousand_broken_lists_are_told_in_a_few_findings() {
    let with = |text: &str| {
        let lists = (0..10_000).map(|number| (format!("lists/{number}.txt"), text));
        let ruleset = rules(vec![]);
        Set { facts: CaseSet::new(&ruleset, &naming(lists)), ruleset }
    };
    let (before, after) = (with("a.test\n"), with("$0/\n"));
    let findings = measured(&before, &after, &Settings::default());
    assert_eq!(findings.len(), 20);
    let told = findings.iter().filter(|finding| finding.message.ends_with("so it is with 9990 more lists"));
    assert_eq!(
        told.map(|finding| finding.rail).collect::<Vec<_>>(),
        [Rail::ListEmptied, Rail::ListUnparsable]
    );
}

#[test]
fn entries_are_counted_as_the_reader_of_lists_does() {
    let text =
        "\u{feff}# a list\r\na.test\r\n\r\n .b.test\t# why\n*.c.test #\n#d\n0.0.0.0glued.test\na.test#x\n";
    let set = Set::new(vec![], &[("lists/a.txt", text)]);
    let facts = set.view().lists()["lists/a.txt"];
    assert_eq!((facts.entries, facts.bad), (3, 2));
}

#[test]
fn a_blast_radius_is_found_above_its_floors_only() {
    let share = |blocked, all| Share { blocked, all, first: vec!["a.test".to_owned()] };
    let settings = Settings::default();
    let rails = |reach: Reach| -> Vec<Rail> {
        reach.findings(&settings).into_iter().map(|finding| finding.rail).collect()
    };
    let reach = Reach { requests: share(300, 1_000), routes: share(3, 10) };
    assert_eq!(rails(reach), [Rail::BlastRadiusRequests, Rail::BlastRadiusRoutes]);
    assert_eq!(rails(Reach { requests: share(999, 999), routes: share(9, 9) }), []);
    assert_eq!(rails(Reach { requests: share(250, 1_000), routes: share(2, 10) }), []);
}

#[test]
fn a_violation_is_told_at_its_line_in_the_case_or_the_list() {
    let mut files = PolicyFiles::new();
    files.insert("cases/x.toml", &b"id = \"a\"\nhosts = [\n  \"b.test\", \".com\"]\n"[..]);
    files.insert("lists/l.txt", &b"# list\n.net # all\n"[..]);
    let at = |written: &str, id: &str| {
        let violation = Violation {
            rail: Rail::PublicSuffix,
            case: CaseId::parse(id).unwrap(),
            written: written.to_owned(),
            message: "words".to_owned(),
            hint: "other words".to_owned(),
        };
        let spot = violation_spot(&violation, &files, &files);
        (spot.file, spot.line, spot.column)
    };
    assert_eq!(at(".com", "a"), ("cases/x.toml".to_owned(), 3, 14));
    assert_eq!(at(".net", "a"), ("lists/l.txt".to_owned(), 2, 1));
    assert_eq!(at(".org", "a"), ("cases/x.toml".to_owned(), 1, 1));
    assert_eq!(at(".org", "other"), ("cases".to_owned(), 1, 1));
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    let name = prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..4);
    (name, prop::sample::select(vec!["", ".", "*."]))
        .prop_map(|(labels, prefix)| Pattern::parse(&format!("{prefix}{}", labels.join("."))).unwrap())
}

/// Every name of up to four labels of the two that the patterns are made of.
fn names() -> Vec<Hostname> {
    let mut names: Vec<String> = vec!["a".to_owned(), "b".to_owned()];
    for _ in 0..3 {
        let longer = names.iter().flat_map(|name| [format!("a.{name}"), format!("b.{name}"), name.clone()]);
        names = longer.collect::<BTreeSet<_>>().into_iter().collect();
    }
    names.iter().map(|name| Hostname::parse(name).unwrap()).collect()
}

fn parts(pattern: &Pattern) -> (Form, &str) {
    (pattern.form, pattern.name.as_str())
}

proptest! {
    #[test]
    fn patterns_meet_and_cover_as_their_names_do(one in any_pattern(), other in any_pattern()) {
        let names = names();
        let both = |name: &&Hostname| one.covers(name) && other.covers(name);
        let met = meeting(parts(&one), parts(&other)).map(|(form, name)| Pattern {
            form, name: Hostname::parse(name).unwrap(),
        });
        let expected: Vec<&Hostname> = names.iter().filter(both).collect();
        let found: Vec<&Hostname> =
            names.iter().filter(|name| met.as_ref().is_some_and(|met| met.covers(name))).collect();
        prop_assert_eq!(found, expected);
        let all = names.iter().all(|name| one.covers(name) || !other.covers(name));
        prop_assert_eq!(covers(parts(&one), parts(&other)), all);
    }

    #[test]
    fn added_and_removed_names_are_those_of_a_plain_comparison(
        before in prop::collection::vec(prop::collection::btree_set(any_pattern(), 0..5), 0..4),
        after in prop::collection::vec(prop::collection::btree_set(any_pattern(), 0..5), 0..4),
    ) {
        let cases = |sets: &[BTreeSet<Pattern>]| -> Vec<Case> {
            let numbered = sets.iter().enumerate();
            numbered
                .map(|(at, hosts)| Case { hosts: hosts.iter().cloned().collect(), ..case(&format!("c{at}"), &[]) })
                .collect()
        };
        let plain = |one: &[BTreeSet<Pattern>], other: &[BTreeSet<Pattern>]| {
            let all: BTreeSet<&Pattern> = one.iter().flatten().collect();
            let held = |pattern: &Pattern| other.iter().flatten().any(|wide| covers(parts(wide), parts(pattern)));
            all.into_iter().filter(|pattern| !held(pattern)).count() as u64
        };
        let changes = Changes::between(&set(cases(&before)).view(), &set(cases(&after)).view(), Timestamp::UNIX_EPOCH);
        prop_assert_eq!(changes.added.names, plain(&after, &before));
        prop_assert_eq!(changes.removed.names, plain(&before, &after));
    }
}
