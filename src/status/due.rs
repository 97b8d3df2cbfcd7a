//! What comes due by itself, said beforehand: cases and exemptions that end, and reviews that are late.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::limits;
use crate::policy::{CompiledCase, Ruleset};

/// Ids of the cases whose review day has passed. A case that has ended needs none.
pub(super) fn overdue(ruleset: &Ruleset, now: Timestamp) -> Vec<String> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let late = |case: &&Arc<CompiledCase>| {
        case.review.is_some_and(|day| day < today) && case.expires.is_none_or(|end| now < end)
    };
    ruleset.cases().iter().filter(late).map(|case| case.id.to_string()).collect()
}

/// What ends of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Case,
    Exemption,
}

/// Everything that has an end after `now`: when, what, and of which case.
fn endings(ruleset: &Ruleset, now: Timestamp) -> impl Iterator<Item = (Timestamp, Ending, &CompiledCase)> {
    let all = ruleset.cases().iter().flat_map(|case| {
        let ends = case.expires.into_iter().map(|at| (at, Ending::Case));
        let lapses = case.lapses().map(|at| (at, Ending::Exemption));
        // What an exemption of a case that is over does concerns nobody.
        let lapses = lapses.filter(|(at, _)| case.expires.is_none_or(|end| *at < end));
        ends.chain(lapses).map(|(at, ending)| (at, ending, case.as_ref()))
    });
    all.filter(move |(at, ..)| now < *at)
}

/// What ends within the next seven days, the nearest first, with the seconds left.
pub(super) fn expiring(ruleset: &Ruleset, now: Timestamp) -> Value {
    let left = |at: Timestamp| at.duration_since(now).as_secs();
    let mut soon: Vec<_> =
        endings(ruleset, now).filter(|(at, ..)| left(*at) <= limits::EXPIRING_WITHIN_SECONDS).collect();
    soon.sort_by(|a, b| (a.0, a.1, &a.2.id).cmp(&(b.0, b.1, &b.2.id)));
    let told = soon.into_iter().take(limits::REPORTED_EXPIRIES).map(|(at, ending, case)| {
        let what = match ending {
            Ending::Case => "case",
            Ending::Exemption => "exemption",
        };
        json!({ "case": case.id.as_str(), "what": what, "at": at, "seconds_left": left(at) })
    });
    told.collect()
}

/// The figures for the metrics.
pub(super) struct Figures {
    /// Seconds to the next end of a case or exemption; infinite when none has one.
    pub(super) next_expiry_seconds: f64,
    /// Ends within the next seven days.
    pub(super) expiring: usize,
    /// Reviews that are late.
    pub(super) overdue: usize,
}

pub(super) fn figures(ruleset: &Ruleset, now: Timestamp) -> Figures {
    let (mut next, mut expiring) = (f64::INFINITY, 0);
    for (at, ..) in endings(ruleset, now) {
        let left = at.duration_since(now);
        next = next.min(left.as_secs_f64());
        expiring += usize::from(left.as_secs() <= limits::EXPIRING_WITHIN_SECONDS);
    }
    Figures { next_expiry_seconds: next, expiring, overdue: overdue(ruleset, now).len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sample::{case, rules, second};
    use crate::policy::{Case, Exemption};

    const DAY: i64 = 24 * 3600;

    fn set() -> Ruleset {
        let clients = vec!["192.0.2.0/24".parse().unwrap()];
        let exempt = |at| Exemption {
            clients: clients.clone(),
            reason: "evidence".to_owned(),
            expires: Some(second(at)),
        };
        let ends = |id, at| Case { expires: Some(second(at)), ..case(id, &["a.example"]) };
        rules(vec![
            ends("soon", 3 * DAY),
            ends("later", 8 * DAY),
            ends("over", -1),
            Case { exempt: vec![exempt(2 * DAY), exempt(-5), exempt(9 * DAY)], ..ends("mixed", 7 * DAY) },
            case("endless", &["b.example"]),
        ])
    }

    #[test]
    fn what_ends_within_a_week_is_said_the_nearest_first() {
        let told = expiring(&set(), second(0));
        let told: Vec<_> = told
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["case"].as_str(), one["what"].as_str(), one["seconds_left"].as_i64()))
            .collect();
        let expected =
            [("mixed", "exemption", 2 * DAY), ("soon", "case", 3 * DAY), ("mixed", "case", 7 * DAY)];
        assert_eq!(told, expected.map(|(case, what, left)| (Some(case), Some(what), Some(left))));
    }

    #[test]
    fn the_figures_say_the_same() {
        let Figures { next_expiry_seconds, expiring, overdue } = figures(&set(), second(0));
        assert_eq!((next_expiry_seconds, expiring, overdue), (172_800.0, 3, 0));
        let none = figures(&rules(vec![case("endless", &["b.example"])]), second(0));
        assert_eq!((none.next_expiry_seconds, none.expiring), (f64::INFINITY, 0));
    }

    #[test]
    fn a_review_is_late_from_the_day_after_and_not_once_the_case_has_ended() {
        let day = second(0).to_zoned(TimeZone::UTC).date();
        let reviewed =
            Case { review: Some(day), expires: Some(second(3 * DAY)), ..case("a", &["a.example"]) };
        let rules = rules(vec![reviewed]);
        assert_eq!(overdue(&rules, second(0)), [""; 0]);
        assert_eq!(overdue(&rules, second(DAY)), ["a"]);
        assert_eq!(overdue(&rules, second(3 * DAY)), [""; 0]);
    }
}
