//! What is known of one origin's name, and what follows from it at a moment. Pure: the time is an argument.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dns::Answer;
use crate::limits;

/// What is known of a name. Written by the one look-up that is under way, read by every request.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The last good answer.
    found: Option<Found>,
    /// When the look-up began that is under way.
    asking: Option<Instant>,
    /// Look-ups since then that failed.
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Found {
    addresses: Arc<[IpAddr]>,
    /// From when on it is renewed by the way: in its last tenth, so that a name in use never lapses.
    renew: Instant,
    /// Until when it holds.
    until: Instant,
}

#[derive(Debug)]
struct Failing {
    /// How many in a row.
    count: u32,
    /// Before that moment nobody asks.
    again: Instant,
    cause: Arc<str>,
}

/// What somebody who needs the addresses is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Use these.
    Use(Arc<[IpAddr]>),
    /// Use these, and see to it that they are renewed.
    UseAndAsk(Arc<[IpAddr]>),
    /// Ask, wait for the answer until that moment, and use these when none has come.
    AskUntil(Instant, Arc<[IpAddr]>),
    /// Ask, and wait for the answer.
    Ask,
    /// Do without: it failed a moment ago.
    Fail(Arc<str>),
}

/// Other addresses than before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) before: Arc<[IpAddr]>,
    pub(super) now: Arc<[IpAddr]>,
}

impl Known {
    /// What to do at that moment. Lapsed addresses are kept for so long when they cannot be renewed.
    pub(super) fn advice(&self, now: Instant, kept: Duration) -> Advice {
        let pause = self.failing.as_ref().filter(|failing| now < failing.again);
        let Some(found) = self.found.as_ref().filter(|found| now < found.until + kept) else {
            return pause.map_or(Advice::Ask, |failing| Advice::Fail(Arc::clone(&failing.cause)));
        };
        let addresses = Arc::clone(&found.addresses);
        let may_ask = self.asking.is_none() && pause.is_none();
        if now < found.until {
            return match may_ask && now >= found.renew {
                true => Advice::UseAndAsk(addresses),
                false => Advice::Use(addresses),
            };
        }
        // While look-ups fail nobody waits for the next one. A failure long ago says nothing of the one to come.
        let fails =
            self.failing.as_ref().is_some_and(|failing| now < failing.again + limits::RESOLVE_AGAIN_AT_MOST);
        let patience = self.asking.unwrap_or(now) + limits::RESOLVE_WAIT;
        match fails || now >= patience {
            true if may_ask => Advice::UseAndAsk(addresses),
            true => Advice::Use(addresses),
            false => Advice::AskUntil(patience, addresses),
        }
    }

    /// Takes the look-up upon the caller, unless another one is under way.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let begins = self.asking.is_none();
        if begins {
            self.asking = Some(now);
        }
        begins
    }

    /// Whether a look-up is under way.
    pub(super) fn is_asked(&self) -> bool {
        self.asking.is_some()
    }

    /// The look-up brought an answer. Returns what changed, the order of addresses left aside.
    pub(super) fn answered(&mut self, answer: Answer, now: Instant) -> Option<Change> {
        let addresses: Arc<[IpAddr]> = answer.addresses.into();
        let found = Found {
            addresses: Arc::clone(&addresses),
            renew: now + answer.holds * 9 / 10,
            until: now + answer.holds,
        };
        (self.asking, self.failing) = (None, None);
        let before = self.found.replace(found)?.addresses;
        let same = before.len() == addresses.len() && before.iter().all(|one| addresses.contains(one));
        (!same).then_some(Change { before, now: addresses })
    }

    /// The look-up failed. Returns whether it is the first one in a row that did.
    pub(super) fn failed(&mut self, cause: &str, now: Instant) -> bool {
        let count = self.failing.as_ref().map_or(0, |failing| failing.count);
        let pause = limits::RESOLVE_AGAIN * 2_u32.saturating_pow(count.min(16));
        let again = now + pause.min(limits::RESOLVE_AGAIN_AT_MOST);
        self.failing = Some(Failing { count: count.saturating_add(1), again, cause: cause.into() });
        self.asking = None;
        count == 0
    }

    /// Whether the last look-up failed.
    pub(super) fn fails(&self) -> bool {
        self.failing.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(600);

    fn answer(addresses: &[&str], seconds: u64) -> Answer {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Answer { addresses, holds: Duration::from_secs(seconds) }
    }

    fn addresses(advice: &Advice) -> Vec<String> {
        let (Advice::Use(list) | Advice::UseAndAsk(list) | Advice::AskUntil(_, list)) = advice else {
            panic!("no addresses: {advice:?}")
        };
        list.iter().map(ToString::to_string).collect()
    }

    /// A name that was found, for ten seconds from the moment returned.
    fn found() -> (Known, Instant) {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(known.begin(now));
        assert_eq!(known.answered(answer(&["192.0.2.1"], 10), now), None);
        (known, now)
    }

    fn after(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    #[test]
    fn one_asks_at_a_time_and_the_others_wait() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert_eq!(known.advice(now, KEPT), Advice::Ask);
        assert!(known.begin(now));
        assert!(!known.begin(now));
        assert_eq!(known.advice(now, KEPT), Advice::Ask);
        known.answered(answer(&["192.0.2.1"], 10), now);
        assert!(!known.is_asked());
        assert!(matches!(known.advice(now, KEPT), Advice::Use(_)));
    }

    #[test]
    fn an_answer_is_renewed_in_its_last_tenth_by_one() {
        let (mut known, now) = found();
        assert!(matches!(known.advice(after(now, 8_999), KEPT), Advice::Use(_)));
        assert!(matches!(known.advice(after(now, 9_000), KEPT), Advice::UseAndAsk(_)));
        assert!(known.begin(after(now, 9_000)));
        assert!(matches!(known.advice(after(now, 9_001), KEPT), Advice::Use(_)));
    }

    #[test]
    fn a_lapsed_answer_is_waited_for_by_whoever_comes_and_only_for_a_moment() {
        let (mut known, now) = found();
        let (late, wait) = (after(now, 10_000), limits::RESOLVE_WAIT);
        assert!(
            matches!(known.advice(late, KEPT), Advice::AskUntil(until, _) if until == late + wait),
            "{known:?}"
        );
        known.begin(late);
        let second = after(late, 500);
        assert!(matches!(known.advice(second, KEPT), Advice::AskUntil(until, _) if until == late + wait));
        assert!(matches!(known.advice(late + wait, KEPT), Advice::Use(_)));
    }

    #[test]
    fn while_look_ups_fail_the_last_addresses_are_used_at_once_and_for_as_long_as_they_are_kept() {
        let (mut known, now) = found();
        let mut at = after(now, 10_000);
        let mut pauses = Vec::new();
        for round in 0..8 {
            known.begin(at);
            assert_eq!(known.failed("servfail", at), round == 0);
            let pause = known.failing.as_ref().unwrap().again - at;
            assert!(matches!(known.advice(after(at, 1), KEPT), Advice::Use(_)), "{round}");
            at += pause;
            let advice = known.advice(at, KEPT);
            assert!(matches!(advice, Advice::UseAndAsk(_)), "{round}: {advice:?}");
            assert_eq!(addresses(&advice), ["192.0.2.1"]);
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        let end = after(now, 10_000) + KEPT;
        assert!(matches!(known.advice(end - Duration::from_millis(1), KEPT), Advice::AskUntil(..)));
        assert_eq!(known.advice(end, KEPT), Advice::Ask);
        known.begin(end);
        known.failed("servfail", end);
        assert_eq!(known.advice(after(end, 1), KEPT), Advice::Fail("servfail".into()));
    }

    #[test]
    fn a_name_that_was_never_found_fails_at_once_until_it_may_be_asked_for_again() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.begin(now);
        known.failed("no such name", now);
        assert_eq!(known.advice(after(now, 999), KEPT), Advice::Fail("no such name".into()));
        assert_eq!(known.advice(after(now, 1000), KEPT), Advice::Ask);
    }

    #[test]
    fn a_failure_long_ago_is_no_reason_not_to_wait() {
        let (mut known, now) = found();
        known.failed("servfail", after(now, 10_000));
        assert!(matches!(known.advice(after(now, 12_000), KEPT), Advice::UseAndAsk(_)));
        assert!(matches!(known.advice(after(now, 60_000), KEPT), Advice::AskUntil(..)));
    }

    #[test]
    fn an_answer_makes_up_for_the_failures_before_it() {
        let (mut known, now) = found();
        for _ in 0..4 {
            known.failed("servfail", after(now, 10_000));
        }
        known.answered(answer(&["192.0.2.1"], 1), after(now, 20_000));
        assert!(!known.fails());
        // Neither is the next look-up put off, nor the failure after it taken for the fifth in a row.
        assert!(matches!(known.advice(after(now, 20_950), KEPT), Advice::UseAndAsk(_)));
        assert!(matches!(known.advice(after(now, 21_000), KEPT), Advice::AskUntil(..)));
        assert!(known.failed("servfail", after(now, 21_000)), "the first one in a row");
        assert!(matches!(known.advice(after(now, 22_000), KEPT), Advice::UseAndAsk(_)));
    }

    #[test]
    fn another_order_is_no_change() {
        let (mut known, now) = found();
        let change = known.answered(answer(&["192.0.2.2", "192.0.2.1"], 10), now).unwrap();
        assert_eq!((change.before.len(), change.now.len()), (1, 2));
        assert_eq!(known.answered(answer(&["192.0.2.1", "192.0.2.2"], 10), now), None);
        assert!(known.answered(answer(&["192.0.2.1", "192.0.2.3"], 10), now).is_some());
        assert_eq!(addresses(&known.advice(now, KEPT)), ["192.0.2.1", "192.0.2.3"]);
    }
}
