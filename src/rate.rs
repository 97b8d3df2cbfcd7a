//! Rates: how often something may happen, and whose turn has come too early.
//!
//! One number per bucket (GCRA, the leaky bucket as a meter, ITU-T I.371): the time at which all that has happened
//! would have been due. Pure: the time is an argument.

use std::time::{Duration, Instant};

mod networks;
pub use networks::Rates;

/// So many a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Between two that come evenly.
    every: Duration,
    /// How far ahead of its time one may come.
    ahead: Duration,
}

impl Rate {
    /// `per_second` in the long run, and `burst` at once after a rest; at least one of each.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let every = Duration::from_secs(1) / per_second.max(1);
        Self { every, ahead: every.saturating_mul(burst.max(1)) }
    }

    /// How far ahead of its time the next one would be, after one that comes while all before it are `ahead` of theirs.
    /// `None`: it comes too early.
    fn take(&self, ahead: Duration) -> Option<Duration> {
        let next = ahead.saturating_add(self.every);
        (next <= self.ahead).then_some(next)
    }
}

/// What has happened, against a [`Rate`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    /// When all of it would have been due.
    due: Option<Instant>,
}

impl Bucket {
    /// Takes one, and tells whether it came within the rate. One that did not is not counted.
    pub fn take(&mut self, rate: &Rate, now: Instant) -> bool {
        let ahead = self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        let next = rate.take(ahead);
        if let Some(next) = next {
            self.due = Some(now + next);
        }
        next.is_some()
    }

    /// Makes room for `count` more, up to the whole burst.
    pub fn earn(&mut self, rate: &Rate, count: u32) {
        self.due = self.due.and_then(|due| due.checked_sub(rate.every.saturating_mul(count)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, rate: &Rate, now: Instant) -> usize {
        (0..1000).take_while(|_| bucket.take(rate, now)).count()
    }

    #[test]
    fn a_burst_comes_at_once_and_then_so_many_a_second() {
        let (rate, start, mut bucket) = (Rate::new(10, 25), Instant::now(), Bucket::default());
        assert_eq!(taken(&mut bucket, &rate, start), 25);
        assert_eq!(taken(&mut bucket, &rate, start + Duration::from_millis(50)), 0);
        assert_eq!(taken(&mut bucket, &rate, start + Duration::from_millis(1000)), 10);
        assert_eq!(taken(&mut bucket, &rate, start + Duration::from_secs(3600)), 25);
    }

    #[test]
    fn what_is_earned_never_makes_a_burst_longer() {
        let (rate, start, mut bucket) = (Rate::new(10, 25), Instant::now(), Bucket::default());
        assert_eq!(taken(&mut bucket, &rate, start), 25);
        bucket.earn(&rate, 3);
        assert_eq!(taken(&mut bucket, &rate, start), 3);
        bucket.earn(&rate, u32::MAX);
        assert_eq!(taken(&mut bucket, &rate, start), 25);
    }
}
