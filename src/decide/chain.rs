//! The whole chain behind a verdict: every case that names the subject, in the order of precedence, and why it does not
//! decide.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use smallvec::SmallVec;

use super::candidate::{Candidate, Matched, rank, ranked};
use super::{Subject, Verdict};
use crate::hostname::Hostname;
use crate::policy::{Action, CompiledCase, Mode, Ruleset};

/// One case that names the subject, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weighed {
    /// The id of the case.
    pub case: String,
    /// The pattern of it that matched, the most specific one.
    pub matched: String,
    /// `enforce` or `shadow`.
    pub mode: &'static str,
    /// `page` or `refuse`.
    pub action: &'static str,
    /// Why it decides or does not, in one word.
    pub reason: Reason,
    /// The same in a sentence.
    pub why: String,
}

impl fmt::Display for Weighed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` ({}, {}): {}", self.case, self.matched, self.mode, self.action, self.why)
    }
}

/// Why a case decides or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is the one that decides.
    Decides,
    /// `effective` is still to come.
    NotYet,
    /// `expires` has passed.
    Ended,
    /// The client is not in its territory.
    Territory,
    /// One of its exceptions covers the name.
    Excepted,
    /// It exempts the client.
    Exempt,
    /// The case that decides matches more specifically.
    LessSpecific,
    /// It is only watched, and the case that decides is enforced.
    Shadow,
    /// It shows a page, and the case that decides refuses.
    Page,
    /// All else is equal, and the case that decides has the lower id.
    HigherId,
}

/// Every case that names the subject, the strongest first. `verdict` is what [`decide`](super::decide()) said of the same
/// subject at the same moment.
#[must_use]
pub fn chain(rules: &Ruleset, subject: &Subject<'_>, now: Timestamp, verdict: &Verdict<'_>) -> Vec<Weighed> {
    let (running, out) = gather(rules, subject, now);
    let running = ranked(running);
    let winner = verdict.found().and_then(|found| {
        running.iter().position(|one| Arc::ptr_eq(one.case, found.case)).and_then(|at| running.get(at))
    });
    let weigh = |one: &Candidate<'_, '_>| match winner {
        Some(winner) => against(one, winner, subject, now),
        // Nothing decides: it cannot be that a case that runs stands.
        None => (Reason::Exempt, "it exempts this client".to_owned()),
    };
    let mut all: Vec<_> = running.iter().map(|one| (rank(one), weighed(one, weigh(one)))).collect();
    all.extend(out.iter().map(|(one, reason)| (rank(one), weighed(one, outside(one.case, *reason)))));
    all.sort_by_key(|(rank, _)| *rank);
    all.into_iter().map(|(_, weighed)| weighed).collect()
}

type Gathered<'r, 's> = (SmallVec<[Candidate<'r, 's>; 4]>, Vec<(Candidate<'r, 's>, Reason)>);

/// The cases that run, as [`decide`](super::decide()) finds them, and those that name the subject and do not.
fn gather<'r, 's>(rules: &'r Ruleset, subject: &Subject<'s>, now: Timestamp) -> Gathered<'r, 's> {
    let (mut running, mut out) = (SmallVec::new(), Vec::new());
    for name in subject.names {
        rules.covering(name, |case, named| {
            let matched = Matched::Host { form: named.form, name: named.name };
            let candidate = Candidate { position: named.position, case, matched };
            match out_of(case, name, subject, now) {
                Some(reason) => out.push((candidate, reason)),
                None => running.push(candidate),
            }
        });
    }
    // A case that does not run for one of the names may run for another.
    out.retain(|(one, _)| running.iter().all(|other: &Candidate<'_, '_>| other.position != one.position));
    out.sort_by_key(|(one, _)| (one.position, Reverse(one.matched.specificity())));
    out.dedup_by_key(|(one, _)| one.position);
    (running, out)
}

/// Why a case that names a host has no say about it, if it has none.
fn out_of(case: &CompiledCase, name: &Hostname, subject: &Subject<'_>, now: Timestamp) -> Option<Reason> {
    if case.effective.is_some_and(|start| now < start) {
        Some(Reason::NotYet)
    } else if !case.in_force(now) {
        Some(Reason::Ended)
    } else if !case.concerns(subject.client) {
        Some(Reason::Territory)
    } else {
        case.excepts(name).then_some(Reason::Excepted)
    }
}

fn weighed(one: &Candidate<'_, '_>, (reason, why): (Reason, String)) -> Weighed {
    Weighed {
        case: one.case.id.to_string(),
        matched: one.matched.to_string(),
        mode: one.case.mode.as_str(),
        action: one.case.action.as_str(),
        reason,
        why,
    }
}

fn outside(case: &CompiledCase, reason: Reason) -> (Reason, String) {
    let moment = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let why = match reason {
        Reason::NotYet => format!("not in force before {}", moment(case.effective)),
        Reason::Ended => format!("ended at {}", moment(case.expires)),
        Reason::Territory => "its territory does not hold this client".to_owned(),
        _ => "an `except` of this case covers the name".to_owned(),
    };
    (reason, why)
}

/// Why a case that runs decides, or the winner does instead.
fn against(
    one: &Candidate<'_, '_>,
    winner: &Candidate<'_, '_>,
    subject: &Subject<'_>,
    now: Timestamp,
) -> (Reason, String) {
    let exempts = one.case.exempts(subject.client, now);
    let id = &winner.case.id;
    if one.position == winner.position {
        let why =
            if exempts { "decides: it exempts this client, and no other case stops it" } else { "decides" };
        (Reason::Decides, why.to_owned())
    } else if exempts {
        (Reason::Exempt, "it exempts this client, so that the next case decides".to_owned())
    } else if one.matched.specificity() < winner.matched.specificity() {
        (Reason::LessSpecific, format!("less specific than `{}` of {id}", winner.matched))
    } else if one.case.mode == Mode::Shadow && winner.case.mode == Mode::Enforce {
        (Reason::Shadow, format!("only watched, while {id} is enforced"))
    } else if one.case.action == Action::Page && winner.case.action == Action::Refuse {
        (Reason::Page, format!("shows a page, while {id} refuses"))
    } else {
        (Reason::HigherId, format!("equal to {id}, whose id is lower"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::decide;
    use crate::hostname::Hostname;
    use crate::policy::sample::{case, legal_case, patterns, rules, second};
    use crate::policy::{Case, Exemption, Legal};

    fn told(cases: Vec<Case>, hosts: &[&str]) -> Vec<String> {
        let rules = rules(cases);
        let names: Vec<Hostname> = hosts.iter().map(|host| Hostname::parse(host).unwrap()).collect();
        let subject = Subject { names: &names, client: "198.51.100.7".parse().unwrap() };
        let verdict = decide(&rules, &subject, second(0));
        let chain = chain(&rules, &subject, second(0), &verdict);
        chain.iter().map(|one| format!("{} {} {:?}", one.case, one.matched, one.reason)).collect()
    }

    fn refuse(case: Case) -> Case {
        Case { action: Action::Refuse, ..case }
    }

    fn shadow(case: Case) -> Case {
        Case { mode: Mode::Shadow, ..case }
    }

    #[test]
    fn each_case_is_told_why_it_does_not_decide_in_the_order_of_precedence() {
        let elsewhere = legal_case("e", &["x.a.example"]);
        let legal = elsewhere.legal.clone().unwrap();
        let legal = Some(Legal { territory: vec!["192.0.2.0/24".parse().unwrap()], ..legal });
        let cases = vec![
            case("d", &["x.a.example"]),
            refuse(case("c", &["x.a.example"])),
            refuse(case("f", &["x.a.example"])),
            shadow(refuse(case("a", &["x.a.example"]))),
            case("b", &[".a.example"]),
            Case { legal, ..elsewhere },
            Case { effective: Some(second(9)), ..case("later", &["x.a.example"]) },
            Case { expires: Some(second(0)), ..case("over", &["*.a.example"]) },
            Case { except: patterns(&["x.a.example"]), ..case("but", &[".a.example"]) },
            case("other", &["b.example"]),
        ];
        let expected = [
            "c x.a.example Decides",
            "f x.a.example HigherId",
            "d x.a.example Page",
            "e x.a.example Territory",
            "later x.a.example NotYet",
            "a x.a.example Shadow",
            "b .a.example LessSpecific",
            "but .a.example Excepted",
            "over *.a.example Ended",
        ];
        assert_eq!(told(cases, &["x.a.example"]), expected);
    }

    #[test]
    fn a_case_that_exempts_the_client_leaves_the_race_and_says_so() {
        let clients = vec!["198.51.100.0/24".parse().unwrap()];
        let exempt = vec![Exemption { clients, reason: "evidence".to_owned(), expires: None }];
        let first = || Case { exempt: exempt.clone(), ..case("a", &["a.example"]) };
        assert_eq!(
            told(vec![first(), case("b", &[".a.example"])], &["a.example"]),
            ["a a.example Exempt", "b .a.example Decides"]
        );
        assert_eq!(told(vec![first()], &["a.example"]), ["a a.example Decides"]);
        assert_eq!(
            told(vec![first(), shadow(case("b", &[".a.example"]))], &["a.example"]),
            ["a a.example Decides", "b .a.example LessSpecific"]
        );
    }

    #[test]
    fn a_case_excepted_for_one_name_may_decide_for_another() {
        let cases = || vec![Case { except: patterns(&["x.a.example"]), ..case("a", &[".a.example"]) }];
        assert_eq!(told(cases(), &["x.a.example", "y.a.example"]), ["a .a.example Decides"]);
        assert_eq!(told(cases(), &["x.a.example"]), ["a .a.example Excepted"]);
        assert_eq!(told(cases(), &["free.example"]), [""; 0]);
    }
}
