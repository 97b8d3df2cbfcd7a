//! Whether short work that stands aside gets a processor at all.
//!
//! What stands aside runs while nobody else wants the processor, and not at all where somebody always does. Whoever wants
//! it for something that can wait, and knows of others who cannot, asks here, and rests: work that is done in the gaps gives
//! way to those others the moment they come, which it does not once it has had to come forward.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::clock::nanoseconds;
use crate::limits;

static HUNGER: Hunger = Hunger::new();
/// What times are counted from.
static START: OnceLock<Instant> = OnceLock::new();

#[derive(Debug)]
struct Hunger {
    /// Threads that stand aside for a short while and want a processor.
    aside: AtomicUsize,
    /// When one of them was last seen to run, or will have had a rest to run in, in nanoseconds.
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
        let since = now.saturating_sub(self.seen.load(Ordering::Relaxed));
        let is_felt = since > nanoseconds(limits::STARVED);
        if is_felt {
            self.ran(now.saturating_add(nanoseconds(limits::FLOOD_REST)));
        }
        is_felt
    }
}

/// The calling thread stands aside for a short while, and wants a processor, for as long as this is held.
#[derive(Debug)]
pub(super) struct Short(());

impl Short {
    pub(super) fn begin() -> Self {
        HUNGER.begin(since_start(Instant::now()));
        #[cfg(test)]
        OWN.set(OWN.get() + 1);
        Self(())
    }
}

impl Drop for Short {
    fn drop(&mut self) {
        HUNGER.end();
        #[cfg(test)]
        OWN.set(OWN.get() - 1);
    }
}

/// Such a thread runs.
pub(super) fn ran(now: Instant) {
    HUNGER.ran(since_start(now));
}

/// Whether whoever floods has to rest: records are sealed or compressed by a thread that stands aside, and none such has had a
/// processor for some milliseconds. It is said once in that time and a rest, so that nobody rests for long where that is of
/// no use, since others want the processor as well.
#[must_use]
pub fn take_hunger() -> bool {
    HUNGER.take(|| since_start(Instant::now()))
}

fn since_start(now: Instant) -> u64 {
    nanoseconds(now.saturating_duration_since(*START.get_or_init(Instant::now)))
}

#[cfg(test)]
thread_local! {
    /// How often the calling thread is counted.
    static OWN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::class::Class;
    use super::super::{aside, asleep, come_forward, step_aside};
    use super::*;

    #[test]
    fn hunger_is_felt_when_nobody_who_stands_aside_has_run_for_a_while() {
        let [long, rest] = [limits::STARVED, limits::FLOOD_REST].map(nanoseconds);
        let hunger = Hunger::new();
        let is_felt = |now| hunger.take(|| now);
        assert!(!is_felt(100 * long), "nobody stands aside");
        hunger.begin(100 * long);
        assert!(!is_felt(101 * long));
        assert!(is_felt(101 * long + 1));
        assert!(!is_felt(102 * long + 1 + rest), "it has been said, and there was a rest");
        assert!(is_felt(102 * long + 2 + rest));
        hunger.ran(105 * long);
        assert!(!is_felt(106 * long));
        hunger.begin(107 * long);
        hunger.end();
        assert!(is_felt(109 * long), "one is left");
        hunger.end();
        assert!(!is_felt(200 * long));
    }

    #[test]
    fn a_thread_counts_while_it_stands_aside_for_a_short_while_and_wants_a_processor() {
        let counts = std::thread::spawn(|| {
            let once = |work: fn() -> usize| aside(Duration::from_secs(60), work);
            let short = once(|| OWN.get());
            let while_asleep = once(|| asleep(|| OWN.get()));
            let awake = once(|| {
                asleep(|| ());
                OWN.get()
            });
            let forward = once(|| {
                come_forward();
                OWN.get()
            });
            step_aside(Duration::from_secs(60));
            let (may, long) = (usize::from(Class::Idle.is_entered()), OWN.get());
            come_forward();
            let after = OWN.get();
            (may, [short, awake], [while_asleep, forward, long, after])
        });
        let (may, counted, not_counted) = counts.join().unwrap();
        assert_eq!((counted, not_counted), ([may; 2], [0; 4]));
    }
}
