//! Rates: how often something may happen, and whose turn has come too early.
//!
//! One number per bucket (GCRA, the leaky bucket as a meter, ITU-T I.371): the time at which all that has happened
//! would have been due. Pure: the time is an argument.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::{DefaultHashBuilder, HashMap};

use crate::limits;
use crate::network::client_network;

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
        let due = self.due.map_or(now, |due| due.max(now)) + rate.every;
        let within = due.saturating_duration_since(now) <= rate.ahead;
        if within {
            self.due = Some(due);
        }
        within
    }

    /// Makes room for `count` more, up to the whole burst.
    pub fn earn(&mut self, rate: &Rate, count: u32) {
        self.due = self.due.and_then(|due| due.checked_sub(rate.every.saturating_mul(count)));
    }

    fn is_full(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }
}

/// One bucket for each client network, of which there are a bounded number.
#[derive(Debug)]
pub struct Rates {
    rate: Rate,
    hasher: DefaultHashBuilder,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<IpAddr, Bucket>,
    swept: Option<Instant>,
}

impl Rates {
    /// Buckets of this rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let shards = (0..limits::RATE_SHARDS).map(|_| Mutex::default()).collect();
        Self { rate, hasher: DefaultHashBuilder::default(), shards }
    }

    /// Takes one for the network of `client`, and tells whether it came within the rate.
    ///
    /// When more networks are above nothing than are kept count of, a further one is over its rate: that many at once
    /// are one flood from many places.
    pub fn take(&self, client: IpAddr, now: Instant) -> bool {
        let network = client_network(client);
        let at = self.hasher.hash_one(network) as usize % limits::RATE_SHARDS;
        let Some(shard) = self.shards.get(at) else { return false };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = shard.buckets.get_mut(&network) {
            return bucket.take(&self.rate, now);
        }
        if shard.buckets.len() >= limits::RATE_NETWORKS / limits::RATE_SHARDS && !shard.sweep(now) {
            return false;
        }
        shard.buckets.entry(network).or_default().take(&self.rate, now)
    }
}

impl Shard {
    /// Forgets who has been quiet, now and then. Returns whether there is room.
    fn sweep(&mut self, now: Instant) -> bool {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < limits::RATE_SWEEP_EVERY) {
            return false;
        }
        self.swept = Some(now);
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
        self.buckets.len() < limits::RATE_NETWORKS / limits::RATE_SHARDS
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

    #[test]
    fn neighbours_share_a_bucket_and_strangers_do_not() {
        let (rates, now) = (Rates::new(Rate::new(1, 2)), Instant::now());
        let take = |client: &str| rates.take(client.parse().unwrap(), now);
        assert!(take("192.0.2.1") && take("::ffff:192.0.2.1") && !take("192.0.2.1"));
        assert!(take("192.0.2.2"));
        assert!(take("2001:db8::1") && take("2001:db8::2:0:0:1") && !take("2001:db8::3"));
        assert!(take("2001:db8:0:1::1"));
    }

    #[test]
    fn more_networks_than_are_kept_are_over_their_rate_until_others_have_been_quiet() {
        let (rates, now) = (Rates::new(Rate::new(1, 2)), Instant::now());
        let client = |n: usize| IpAddr::from(std::net::Ipv4Addr::from_bits(n as u32));
        let within = (0..2 * limits::RATE_NETWORKS).filter(|n| rates.take(client(*n), now)).count();
        assert!(within <= limits::RATE_NETWORKS, "{within} networks are kept");
        let later = now + Duration::from_secs(60);
        assert!(rates.take(client(3 * limits::RATE_NETWORKS), later));
    }
}
