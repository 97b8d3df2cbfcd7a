//! Tests of announcements on a clock that jumps.

use std::sync::{Arc, Mutex};

use super::*;
use crate::audit::{Audit, ClientPrivacy, Options};
use crate::clock::Clock;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::policy::sample::{case, rules, second};
use crate::policy::{Case, Exemption};
use crate::reload::ahead;

/// A clock that shows what it is set to.
#[derive(Debug)]
struct Dial(Mutex<Timestamp>);

impl Clock for Dial {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A gate with a log, and a schedule that is looked at by hand.
struct Bench {
    gate: Gate,
    clock: Arc<Dial>,
    schedule: Schedule,
    changes: tokio::sync::watch::Receiver<u64>,
    home: tempfile::TempDir,
}

impl Bench {
    fn new(cases: Vec<Case>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(Dial(Mutex::new(second(0))));
        let options =
            Options { client: ClientPrivacy::Full, ..Options::new(home.path().join("audit"), "edge") };
        let (audit, _) = Audit::open(options, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let gate =
            Gate::new(Arc::new(rules(cases)), Arc::new(audit), metrics, Arc::clone(&clock) as Arc<dyn Clock>);
        let changes = gate.changes();
        Self { gate, clock, schedule: Schedule::new(second(0), BTreeSet::new()), changes, home }
    }

    /// Sets the clock and looks at it: how many records that made, and whether what is under way was judged again.
    fn at(&mut self, seconds: i64) -> (u64, bool) {
        *self.clock.0.lock().unwrap() = second(seconds);
        let before = self.gate.audit().counters().decided;
        self.changes.mark_unchanged();
        self.schedule.announce(&self.gate, second(seconds));
        (self.gate.audit().counters().decided - before, self.changes.has_changed().unwrap())
    }

    /// The schedule of the next start.
    fn restart(&mut self) {
        ahead::write(self.home.path(), self.schedule.ahead());
        self.schedule = Schedule::new(self.schedule.announced(), ahead::read(self.home.path()));
    }

    fn blocks(&self) -> bool {
        let ruleset = self.gate.ruleset();
        ruleset.cases().iter().any(|case| case.in_force(self.clock.now()))
    }
}

fn brief() -> Case {
    Case { effective: Some(second(10)), expires: Some(second(20)), ..case("brief", &["a.example"]) }
}

#[test]
fn a_start_and_an_end_are_announced_when_they_come() {
    let mut bench = Bench::new(vec![brief()]);
    assert_eq!(bench.at(9), (0, false));
    assert_eq!(bench.at(10), (1, true));
    assert_eq!(bench.at(10), (0, false));
    assert_eq!(bench.at(19), (0, false));
    assert_eq!(bench.at(25), (1, true));
}

#[test]
fn a_clock_set_forward_passes_over_everything_in_between() {
    let mut bench = Bench::new(vec![brief()]);
    assert_eq!(bench.at(1_000_000), (2, true));
    assert!(!bench.blocks());
}

#[test]
fn a_clock_set_back_announces_nothing_twice_and_enforcement_goes_by_it() {
    let mut bench = Bench::new(vec![brief()]);
    assert_eq!(bench.at(30), (2, true));
    assert!(!bench.blocks());
    assert_eq!(bench.at(15), (0, true), "what is under way is judged again");
    assert!(bench.blocks());
    assert_eq!(bench.at(5), (0, true));
    assert!(!bench.blocks());
    assert_eq!(bench.at(12), (0, true), "it begins a second time, and is on record already");
    assert!(bench.blocks());
    assert_eq!(bench.at(30), (0, true));
    assert_eq!(bench.at(40), (0, false));
}

#[test]
fn what_comes_new_while_the_clock_is_behind_is_announced() {
    let mut bench = Bench::new(vec![brief()]);
    assert_eq!(bench.at(1_000), (2, true));
    assert_eq!(bench.at(0), (0, true));
    let later = Case { effective: Some(second(15)), ..case("later", &["b.example"]) };
    drop(bench.gate.swap(Arc::new(rules(vec![brief(), later]))));
    assert_eq!(bench.at(30), (1, true), "the new case alone");
}

#[test]
fn a_restart_does_not_forget_what_was_announced_ahead() {
    let mut bench = Bench::new(vec![brief()]);
    assert_eq!(bench.at(30), (2, true));
    assert_eq!(bench.at(0), (0, true));
    bench.restart();
    assert_eq!(bench.at(30), (0, true));
    bench.restart();
    assert!(ahead::read(bench.home.path()).is_empty());
}

#[test]
fn a_restart_on_a_clock_that_was_set_back_meanwhile_announces_nothing_twice() {
    let mut bench = Bench::new(vec![brief()]);
    assert_eq!(bench.at(30), (2, true));
    bench.restart();
    assert_eq!(bench.at(0), (0, true));
    assert_eq!(bench.at(30), (0, true));
}

#[test]
fn the_end_of_an_exemption_is_recorded_once_and_felt_each_time() {
    let clients = vec!["198.51.100.0/24".parse().unwrap()];
    let exempt = vec![Exemption { clients, reason: "evidence".to_owned(), expires: Some(second(10)) }];
    let mut bench = Bench::new(vec![Case { exempt, ..case("a", &["a.example"]) }]);
    assert_eq!(bench.at(11), (1, true));
    assert_eq!(bench.at(5), (0, true), "it runs again");
    assert_eq!(bench.at(11), (0, true));
}

#[test]
fn a_review_is_recorded_as_overdue_when_its_day_has_passed_and_changes_no_verdict() {
    let day = second(0).to_zoned(TimeZone::UTC).date();
    let reviewed = Case { review: Some(day), ..case("a", &["a.example"]) };
    let over = Case { review: Some(day), expires: Some(second(5)), ..case("b", &["b.example"]) };
    let mut bench = Bench::new(vec![reviewed, over]);
    assert_eq!(bench.at(6), (1, true), "the end of the other case");
    assert_eq!(bench.at(24 * 3600), (1, false));
    assert_eq!(bench.at(48 * 3600), (0, false));
    assert_eq!(bench.at(7), (0, false));
    assert_eq!(bench.at(48 * 3600), (0, false));
}
