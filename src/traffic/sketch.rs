//! The sketch itself: pure, with time and chance as arguments.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::hostname::Hostname;
use crate::limits;

/// Hosts of requests chosen at random, stretch by stretch.
#[derive(Debug)]
pub struct Sketch {
    opened: Timestamp,
    /// The hosts kept of the stretch that runs.
    current: Vec<Hostname>,
    /// The largest of the random numbers that the kept requests have drawn, once all places are taken ("algorithm L",
    /// Kim-Hung Li, 1994): it says how many requests can be passed over.
    weight: f64,
    /// Older stretches, the last one at the end: how many requests there were, and the hosts kept of them.
    closed: VecDeque<(u64, Vec<Hostname>)>,
    random: u64,
}

/// The last hour, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Sampled {
    /// How many requests there were.
    pub requests: u64,
    /// Each host that was kept, and about how many of the requests were for it.
    pub hosts: HashMap<Hostname, f64>,
}

impl Sketch {
    /// An empty one that begins at `now`; `seed` chooses which requests are kept.
    #[must_use]
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self { opened: now, current: Vec::new(), weight: 1.0, closed: VecDeque::new(), random: seed }
    }

    /// Keeps the host of the request with this number in its stretch, from 1. Returns the number of the next request
    /// to keep; those before it are passed over.
    pub fn keep(&mut self, number: u64, host: &Hostname) -> u64 {
        if self.current.len() < limits::TRAFFIC_SAMPLE {
            self.current.push(host.clone());
            if self.current.len() < limits::TRAFFIC_SAMPLE {
                return number + 1;
            }
            self.weight = 1.0;
        } else {
            let place = self.below(self.current.len());
            if let Some(place) = self.current.get_mut(place) {
                *place = host.clone();
            }
        }
        number.saturating_add(self.skip())
    }

    /// How far the next request to keep is.
    fn skip(&mut self) -> u64 {
        let places = limits::TRAFFIC_SAMPLE as f64;
        self.weight *= (self.unit().ln() / places).exp();
        let skipped = (self.unit().ln() / (1.0 - self.weight).ln()).floor();
        // A number that is too large for the type becomes the largest there is, and one that is none becomes 0.
        (skipped as u64).saturating_add(1)
    }

    /// Whether the stretch that runs is over at `now`, or the clock was set back to before it.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.opened);
        age.is_negative()
            || age >= SignedDuration::try_from(limits::TRAFFIC_STRETCH).unwrap_or(SignedDuration::MAX)
    }

    /// Ends the stretch that runs, which has had so many requests, and begins another at `now`.
    pub fn turn(&mut self, now: Timestamp, requests: u64) {
        let stretch = SignedDuration::try_from(limits::TRAFFIC_STRETCH).unwrap_or(SignedDuration::MAX);
        let passed = now.duration_since(self.opened).as_secs() / stretch.as_secs().max(1);
        self.closed.push_back((requests, std::mem::take(&mut self.current)));
        // While nobody turned it, for a machine was asleep, stretches without requests have gone by.
        for _ in 1..passed.clamp(1, limits::TRAFFIC_STRETCHES as i64 + 1) {
            self.closed.push_back((0, Vec::new()));
        }
        while self.closed.len() > limits::TRAFFIC_STRETCHES {
            self.closed.pop_front();
        }
        self.opened = now;
    }

    /// What is known of the last hour, when the stretch that runs has had so many requests.
    #[must_use]
    pub fn sampled(&self, requests: u64) -> Sampled {
        let mut sampled = Sampled::default();
        let current = std::iter::once((requests, &self.current));
        for (requests, kept) in self.closed.iter().map(|(requests, kept)| (*requests, kept)).chain(current) {
            sampled.requests = sampled.requests.saturating_add(requests);
            let each = requests as f64 / kept.len().max(1) as f64;
            for host in kept {
                *sampled.hosts.entry(host.clone()).or_default() += each;
            }
        }
        sampled
    }

    /// The next random number (SplitMix64, Steele et al., 2014).
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number above 0 and below 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// A number from 0 to `end`, without `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.unit() * end as f64) as usize
    }
}

impl Sampled {
    /// About how many of the requests are for hosts that `is_meant`, and these hosts, the busiest first.
    pub fn count(&self, mut is_meant: impl FnMut(&Hostname) -> bool) -> (u64, Vec<&Hostname>) {
        let mut meant: Vec<(&Hostname, f64)> = self
            .hosts
            .iter()
            .map(|(host, weight)| (host, *weight))
            .filter(|(host, _)| is_meant(host))
            .collect();
        meant.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let sum: f64 = meant.iter().map(|(_, weight)| weight).sum();
        ((sum.round() as u64).min(self.requests), meant.into_iter().map(|(host, _)| host).collect())
    }
}
