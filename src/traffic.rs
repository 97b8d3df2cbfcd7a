//! A sketch of the last hour's requests: which hosts they were for, in a fixed amount of memory.
//!
//! An hour is twelve stretches of five minutes. Of each, 512 requests chosen at random are kept by their host, every
//! request with the same chance, so that what share of them a set of rules blocks is an estimate of the share of all
//! of them whatever the hosts are: ten thousand small customers weigh as much as one large one of the same traffic. A
//! list of the most frequent hosts, the usual sketch, would see none of the ten thousand.
//!
//! How good it is: with no more than 512 requests in each stretch, exact. Beyond, the share of one stretch is off by
//! more than `e` with a probability of less than `2 exp(-1024 e²)` (Hoeffding): by more than 0.1 once in 14,000 times.
//!
//! What it costs a request: one atomic addition and one atomic read. A lock is tried, never waited for, by the few
//! requests that are chosen: all of the first 512 of a stretch, then about `512 ln(n/512)` of the first `n`, which is
//! 4,000 of a million. Memory: 13 × 512 hosts, some 400 KiB.

mod sketch;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::hostname::Hostname;

pub use sketch::{Sampled, Sketch};

/// The sketch of a running edge, written by all request threads.
#[derive(Debug)]
pub struct Traffic {
    /// Requests of the stretch that runs.
    seen: AtomicU64,
    /// The number of the next request whose host is kept.
    next: AtomicU64,
    sketch: Mutex<Sketch>,
}

impl Traffic {
    /// An empty sketch that begins at `now`; `seed` chooses which requests are kept.
    #[must_use]
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self { seen: AtomicU64::new(0), next: AtomicU64::new(1), sketch: Mutex::new(Sketch::new(now, seed)) }
    }

    /// Notes a request for `host`.
    pub fn note(&self, host: &Hostname) {
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if number < self.next.load(Ordering::Relaxed) {
            return;
        }
        self.keep(number, host);
    }

    /// Keeps the host of the request that was counted as this one.
    fn keep(&self, number: u64, host: &Hostname) {
        // Somebody else is being noted at this moment: then the request after this one is taken in its place.
        let Ok(mut sketch) = self.sketch.try_lock() else { return };
        // Counted in a stretch that has ended since. Its number would have all of the new one passed over up to it.
        // The lock is held, so that no stretch ends between this look and what follows.
        if number > self.seen.load(Ordering::Relaxed) {
            return;
        }
        self.next.store(sketch.keep(number, host), Ordering::Relaxed);
    }

    /// Begins a new stretch when it is time, and forgets what is more than an hour ago. To be called every few
    /// seconds; a clock that jumps ends a stretch early or late, and loses none of it.
    pub fn turn(&self, now: Timestamp) {
        let mut sketch = self.lock();
        if sketch.is_over(now) {
            sketch.turn(now, self.seen.swap(0, Ordering::Relaxed));
            self.next.store(1, Ordering::Relaxed);
        }
    }

    /// What is known of the last hour.
    #[must_use]
    pub fn sampled(&self) -> Sampled {
        self.lock().sampled(self.seen.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Sketch> {
        self.sketch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
