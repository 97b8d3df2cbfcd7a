//! What ends by itself is announced beforehand, and what is late is reported.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::harness::{CaseFile, Origin, Setup};

/// The value of a metric without labels.
fn gauge(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

#[test]
fn an_end_within_a_week_is_in_the_status_and_the_metrics_and_so_is_a_late_review() {
    let origin = Origin::start();
    let now = Timestamp::now();
    let days = |days: i64| now + SignedDuration::from_hours(24 * days);
    let yesterday = days(-2).to_zoned(TimeZone::UTC).date();
    let exempt =
        format!("[[exempt]]\nclients = [\"192.0.2.0/24\"]\nreason = \"evidence\"\nexpires = {:.3}", days(2));
    let edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new("soon", &["soon.example"]).expires(days(3)))
        .case(CaseFile::new("far", &["far.example"]).expires(days(30)).table(&exempt))
        .case(CaseFile::new("late", &["late.example"]).key(&format!("review = {yesterday}")))
        .start();
    let status = edge.status().0;
    let told: Vec<_> = status["expiring"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let left = one["seconds_left"].as_i64().unwrap();
            (one["case"].as_str().unwrap(), one["what"].as_str().unwrap(), left / 3600)
        })
        .collect();
    assert_eq!(told, [("far", "exemption", 47), ("soon", "case", 71)], "{status}");
    assert_eq!(status["reviews_overdue"], serde_json::json!(["late"]));
    let metrics = edge.admin("/metrics").text();
    assert_eq!(gauge(&metrics, "interdict_policy_expiring"), 2.0);
    assert_eq!(gauge(&metrics, "interdict_policy_reviews_overdue"), 1.0);
    let next = gauge(&metrics, "interdict_policy_next_expiry_seconds");
    assert!((47.0 * 3600.0..=48.0 * 3600.0).contains(&next), "{next}");
}

#[test]
fn a_set_without_an_end_has_none_to_announce() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("a", &["a.example"])).start();
    assert_eq!(edge.status().0["expiring"], serde_json::json!([]));
    let next = gauge(&edge.admin("/metrics").text(), "interdict_policy_next_expiry_seconds");
    assert!(next.is_infinite() && next > 0.0);
}
