//! Tests of rulesets.

use crate::policy::sample::{case, rules, second};
use crate::policy::{Case, CaseId, Digest, PolicyFiles, Revision, Ruleset, TransitionKind};

#[test]
fn cases_are_sorted_and_found_by_id() {
    let rules = rules(vec![case("TS-2", &["b.example"]), case("TS-1", &["a.example", ".a.example"])]);
    let ids: Vec<&str> = rules.cases().iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids, ["TS-1", "TS-2"]);
    assert_eq!(rules.case(&CaseId::parse("TS-2").unwrap()).unwrap().host_count, 1);
    assert!(rules.case(&CaseId::parse("TS-3").unwrap()).is_none());
    assert_eq!(rules.host_count(), 2);
}

#[test]
fn two_cases_with_one_id_are_refused() {
    let cases = vec![case("TS-1", &["a.example"]), case("TS-1", &["b.example"])];
    let errors = Ruleset::compile(cases, &PolicyFiles::default()).unwrap_err();
    assert!(errors.to_string().contains("two cases have this id"), "{errors}");
}

#[test]
fn a_ruleset_gets_its_number_when_it_is_put_in_force() {
    let rules = rules(Vec::new());
    assert_eq!(rules.revision(), Revision(0));
    let rules = rules.with_identity(Revision(7), Digest::from_bytes([1; 32]));
    assert_eq!((rules.revision().to_string(), rules.digest()), ("7".to_owned(), Digest::from_bytes([1; 32])));
}

#[test]
fn starts_and_ends_come_in_order_and_once() {
    let timed = |id, from: Option<i64>, to: Option<i64>| Case {
        effective: from.map(second),
        expires: to.map(second),
        ..case(id, &["a.example"])
    };
    let rules = rules(vec![
        timed("A", Some(10), Some(30)),
        timed("B", None, Some(10)),
        timed("C", None, None),
        timed("never", Some(20), Some(20)),
    ]);
    assert_eq!(rules.next_transition(second(0)), Some(second(10)));
    assert_eq!(rules.next_transition(second(10)), Some(second(30)));
    assert_eq!(rules.next_transition(second(30)), None);

    let between = |from, to| -> Vec<(String, TransitionKind)> {
        let found = rules.transitions(second(from), second(to)).iter();
        found.map(|one| (one.case.id.to_string(), one.kind)).collect()
    };
    let (start, end) = (TransitionKind::Effective, TransitionKind::Expired);
    assert_eq!(between(0, 10), [("A".to_owned(), start), ("B".to_owned(), end)]);
    assert_eq!(between(10, 29), []);
    assert_eq!(between(10, 30), [("A".to_owned(), end)]);
    assert_eq!(between(30, 0), [], "a clock that went back announces nothing");
}
