//! Tests of the sketch: what it says against what went by.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::limits;

fn host(number: u64) -> Hostname {
    Hostname::parse(&format!("h{number}.example")).unwrap()
}

fn start() -> Timestamp {
    Timestamp::from_second(1_795_161_600).unwrap()
}

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

fn blocked(traffic: &Traffic, number: u64) -> (u64, u64) {
    let sampled = traffic.sampled();
    (sampled.count(|name| *name == host(number)).0, sampled.requests)
}

#[test]
fn few_requests_are_counted_exactly() {
    let traffic = Traffic::new(start(), 1);
    (0..limits::TRAFFIC_SAMPLE as u64).for_each(|number| traffic.note(&host(number % 4)));
    assert_eq!(blocked(&traffic, 3), (128, 512));
    let sampled = traffic.sampled();
    let (_, hosts) = sampled.count(|name| *name != host(0));
    assert_eq!(hosts, [&host(1), &host(2), &host(3)]);
}

#[test]
fn what_is_more_than_an_hour_ago_is_forgotten() {
    let traffic = Traffic::new(start(), 1);
    traffic.note(&host(1));
    for minute in (5..=55).step_by(5) {
        traffic.turn(start() + minutes(minute));
        traffic.note(&host(2));
    }
    assert_eq!(blocked(&traffic, 1), (1, 12));
    traffic.turn(start() + minutes(60));
    assert_eq!(blocked(&traffic, 1), (1, 12), "the stretch it was in ended less than an hour ago");
    traffic.turn(start() + minutes(65));
    assert_eq!(blocked(&traffic, 1), (0, 11));
}

#[test]
fn a_clock_that_jumps_loses_nothing_or_what_is_too_old() {
    let traffic = Traffic::new(start(), 1);
    traffic.note(&host(1));
    traffic.turn(start() + minutes(2));
    assert_eq!(blocked(&traffic, 1), (1, 1), "too early for a turn");
    traffic.turn(start() - minutes(600));
    traffic.note(&host(2));
    assert_eq!(blocked(&traffic, 1), (1, 2));
    traffic.turn(start() + minutes(600));
    assert_eq!(blocked(&traffic, 1), (0, 0), "ten hours went by");
}

#[test]
fn threads_that_note_at_once_lose_no_request() {
    let traffic = Traffic::new(start(), 7);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let traffic = &traffic;
            scope.spawn(move || (0..20_000).for_each(|_| traffic.note(&host(number))));
        }
    });
    let sampled = traffic.sampled();
    assert_eq!(sampled.requests, 80_000);
    let weight: f64 = sampled.hosts.values().sum();
    assert!((weight - 80_000.0).abs() < 1.0, "{weight}");
}

#[test]
fn few_requests_are_chosen_and_memory_is_bounded() {
    let mut sketch = Sketch::new(start(), 3);
    let (mut next, mut chosen) = (1, 0);
    for number in 1..=1_000_000 {
        if number >= next {
            next = sketch.keep(number, &host(number % 1000));
            chosen += 1;
        }
    }
    // 512 (1 + ln(1,000,000 / 512)) = 4,392 on average.
    assert!((3_900..4_900).contains(&chosen), "{chosen}");
    assert!(sketch.sampled(1_000_000).hosts.len() <= limits::TRAFFIC_SAMPLE);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Hoeffding's bound at a probability of two in a million, for one stretch and for several together, where the
    /// share changes from one to the next.
    #[test]
    fn a_share_is_estimated_within_its_bound(
        seed: u64,
        stretches in prop::collection::vec((0_u64..30_000, 0_u64..=1000), 1..4),
    ) {
        let traffic = Traffic::new(start(), seed);
        let (mut all, mut meant) = (0, 0);
        for (at, (requests, permille)) in stretches.iter().enumerate() {
            if at > 0 {
                traffic.turn(start() + minutes(5 * at as i64));
            }
            for number in 0..*requests {
                // Spread over the stretch, and over many hosts: none of them is frequent.
                let is_meant = (number * 7919) % 1000 < *permille;
                traffic.note(&host(if is_meant { 1_000_000 + number } else { number }));
                meant += u64::from(is_meant);
            }
            all += requests;
        }
        let sampled = traffic.sampled();
        prop_assert_eq!(sampled.requests, all);
        let is_meant = |name: &Hostname| name.as_str().len() > "h999999.example".len();
        let (estimate, _) = sampled.count(is_meant);
        prop_assert!(estimate.abs_diff(meant) as f64 <= 0.12 * all as f64 + 1.0, "{} for {} of {}", estimate, meant, all);
        if stretches.iter().all(|(requests, _)| *requests <= limits::TRAFFIC_SAMPLE as u64) {
            prop_assert_eq!(estimate, meant);
        }
    }
}

#[test]
fn a_request_that_was_counted_before_a_turn_and_is_kept_after_it_hides_none_of_the_new_stretch() {
    let traffic = Traffic::new(start(), 1);
    (0..10_000).for_each(|_| traffic.note(&host(1)));
    traffic.turn(start() + minutes(5));
    let before = blocked(&traffic, 1);
    traffic.keep(10_001, &host(1));
    assert_eq!(blocked(&traffic, 1), before, "it is of a stretch that is over");
    (0..100).for_each(|_| traffic.note(&host(2)));
    assert_eq!(blocked(&traffic, 2).0, 100, "the new one is known from its first request on");
}
