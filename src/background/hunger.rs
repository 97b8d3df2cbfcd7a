//! Whether short work that stands aside gets a processor at all.
//!
//! What stands aside runs while nobody else wants the processor, and not at all where somebody always does. Whoever wants
//! it for something that can wait, and knows of others who cannot, asks here, and rests: work that is done in the gaps gives
//! way to those others the moment they come, which it does not once it has had to come forward.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::limits;

static HUNGER: Hunger = Hunger::new();

#[derive(Debug)]
struct Hunger {
    /// Threads that stand aside for a short while.
    aside: AtomicUsize,
    /// When one of them was last seen to run, or somebody was told that none does, in nanoseconds.
    seen: AtomicU64,
}

impl Hunger {
    const fn new() -> Self {
        Self { aside: AtomicUsize::new(0), seen: AtomicU64::new(0) }
    }

    fn begin(&self, now: u64) {
        self.ran(now);
        self.aside.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.aside.fetch_sub(1, Ordering::Relaxed);
    }

    fn ran(&self, now: u64) {
        self.seen.store(now, Ordering::Relaxed);
    }

    fn take(&self, now: impl FnOnce() -> u64) -> bool {
        if self.aside.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let now = now();
        let is_felt =
            now.saturating_sub(self.seen.load(Ordering::Relaxed)) > limits::STARVED.as_nanos() as u64;
        if is_felt {
            self.ran(now);
        }
        is_felt
    }
}

/// A thread stands aside for a short while for as long as this is held.
#[derive(Debug)]
pub(super) struct Short(());

impl Short {
    pub(super) fn begin() -> Self {
        HUNGER.begin(now());
        Self(())
    }
}

impl Drop for Short {
    fn drop(&mut self) {
        HUNGER.end();
    }
}

/// Such a thread runs.
pub(super) fn ran() {
    HUNGER.ran(now());
}

/// Whether records are sealed or compressed by a thread that stands aside, and none such has had a processor for some
/// milliseconds. It is said once in that time: where a rest is of no use to them, since others want the processor as well,
/// nobody rests for long.
#[must_use]
pub fn records_starve() -> bool {
    HUNGER.take(now)
}

fn now() -> u64 {
    let time: Duration = clock_gettime(ClockId::Monotonic).try_into().unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunger_is_felt_when_nobody_who_stands_aside_has_run_for_a_while() {
        let (hunger, long) = (Hunger::new(), limits::STARVED.as_nanos() as u64);
        let is_felt = |now| hunger.take(|| now);
        assert!(!is_felt(100 * long), "nobody stands aside");
        hunger.begin(100 * long);
        assert!(!is_felt(101 * long));
        assert!(is_felt(101 * long + 1));
        assert!(!is_felt(102 * long + 1), "it has been said");
        assert!(is_felt(102 * long + 2));
        hunger.ran(103 * long);
        assert!(!is_felt(104 * long));
        hunger.begin(105 * long);
        hunger.end();
        assert!(is_felt(107 * long), "one is left");
        hunger.end();
        assert!(!is_felt(200 * long));
    }

    #[test]
    fn a_thread_is_counted_for_as_long_as_it_stands_aside() {
        let count = || HUNGER.aside.load(Ordering::Relaxed);
        let stands = std::thread::spawn(move || {
            super::super::aside(Duration::from_secs(60), || {
                (super::super::class::Class::Idle.is_entered(), count())
            })
        });
        let (is_aside, counted) = stands.join().unwrap();
        assert!(!is_aside || counted > 0);
    }
}
