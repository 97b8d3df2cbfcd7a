//! Counts that threads do not share: each adds to its own, and whoever reads sums them up.
//!
//! One counter that several processors add to is one line of memory that goes from cache to cache with every request.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use prometheus::proto::{Bucket, Histogram, Metric, MetricType};

use super::shown::Count;
use crate::clock::nanoseconds;
use crate::limits;

/// Lines of the cache come in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// One `T` for each thread that counts, up to a bound: with more threads than processors some share theirs.
#[derive(Debug)]
struct PerThread<T>(Box<[Apart<T>]>);

impl<T: Default> PerThread<T> {
    fn new() -> Self {
        static COUNT: OnceLock<usize> = OnceLock::new();
        let count = *COUNT.get_or_init(|| {
            let threads = available_parallelism().map_or(1, usize::from);
            threads.next_power_of_two().min(limits::COUNTERS_APART)
        });
        Self((0..count).map(|_| Apart::default()).collect())
    }

    /// That of this thread.
    fn own(&self) -> Option<&T> {
        self.0.get(place() & (self.0.len() - 1)).map(|apart| &apart.0)
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|apart| &apart.0)
    }
}

/// Threads take their places as they come to count for the first time.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    PLACE.get().unwrap_or_else(|| {
        let place = NEXT.fetch_add(1, Ordering::Relaxed);
        PLACE.set(Some(place));
        place
    })
}

/// Counts up. There may be very many that count little, which take the room of one number.
#[derive(Debug)]
pub(super) struct Counter {
    /// The first of all, of all threads.
    first: AtomicU64,
    more: OnceLock<PerThread<AtomicU64>>,
}

impl Counter {
    pub(super) const fn new() -> Self {
        Self { first: AtomicU64::new(0), more: OnceLock::new() }
    }

    pub(super) fn inc(&self) {
        let own = self.more.get().and_then(PerThread::own).unwrap_or(&self.first);
        let before = own.fetch_add(1, Ordering::Relaxed);
        if before == limits::COUNTED_TOGETHER {
            self.more.get_or_init(PerThread::new);
        }
    }

    pub(super) fn get(&self) -> u64 {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        of(&self.first) + self.more.get().map_or(0, |more| more.all().map(of).sum())
    }

    pub(super) fn metric(&self) -> Metric {
        let mut counter = prometheus::proto::Counter::default();
        counter.set_value(self.get() as f64);
        let mut metric = Metric::default();
        metric.set_counter(counter);
        metric
    }
}

impl Count for Counter {
    const KIND: MetricType = MetricType::COUNTER;

    fn metrics(&self) -> Vec<Metric> {
        vec![self.metric()]
    }
}

/// How often something took how long.
#[derive(Debug)]
pub(super) struct Times(PerThread<TimesOfOne>);

#[derive(Debug, Default)]
struct TimesOfOne {
    /// Up to each bound, and beyond all of them.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// Upper bounds in nanoseconds: a verdict takes well under a microsecond.
const BOUNDS: [u64; 10] = [200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000];

impl Times {
    pub(super) fn new() -> Self {
        Self(PerThread::new())
    }

    pub(super) fn note(&self, time: Duration) {
        let nanoseconds = nanoseconds(time);
        let place = BOUNDS.iter().take_while(|bound| **bound < nanoseconds).count();
        if let Some(own) = self.0.own()
            && let Some(count) = own.counts.get(place)
        {
            count.fetch_add(1, Ordering::Relaxed);
            own.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        }
    }
}

impl Count for Times {
    const KIND: MetricType = MetricType::HISTOGRAM;

    fn metrics(&self) -> Vec<Metric> {
        let sum = |of: &dyn Fn(&TimesOfOne) -> u64| self.0.all().map(of).sum::<u64>();
        let mut so_far = 0;
        let mut up_to = |place: usize| {
            so_far += sum(&|one| one.counts.get(place).map_or(0, |count| count.load(Ordering::Relaxed)));
            so_far
        };
        let bucket = |(place, bound): (usize, &u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(Duration::from_nanos(*bound).as_secs_f64());
            bucket.set_cumulative_count(up_to(place));
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(BOUNDS.iter().enumerate().map(bucket).collect());
        histogram.set_sample_count(up_to(BOUNDS.len()));
        let nanoseconds = sum(&|one| one.nanoseconds.load(Ordering::Relaxed));
        histogram.set_sample_sum(Duration::from_nanos(nanoseconds).as_secs_f64());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        vec![metric]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_is_one_sum() {
        let (counter, times) = (Counter::new(), Times::new());
        std::thread::scope(|scope| {
            for thread in 0..20 {
                let (counter, times) = (&counter, &times);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        counter.inc();
                        times.note(Duration::from_nanos(thread * 100));
                    }
                });
            }
        });
        assert_eq!(counter.get(), 20_000);
        let little = Counter::new();
        (0..limits::COUNTED_TOGETHER).for_each(|_| little.inc());
        assert!(little.more.get().is_none() && counter.more.get().is_some());
        assert!(counter.first.load(Ordering::Relaxed) < 20_000);
        let metric = times.metrics().remove(0);
        let histogram = metric.get_histogram();
        let counts: Vec<u64> = histogram.get_bucket().iter().map(Bucket::cumulative_count).collect();
        // Bounds are inclusive: 0, 100 and 200 ns are in the first.
        assert_eq!(counts[..4], [3000, 6000, 11_000, 20_000]);
        assert_eq!(histogram.get_sample_count(), 20_000);
        assert!((histogram.get_sample_sum() - 0.019).abs() < 1e-9);
    }

    #[test]
    fn what_takes_very_long_is_counted_too() {
        let times = Times::new();
        times.note(Duration::from_secs(1));
        let metric = times.metrics().remove(0);
        assert_eq!(metric.get_histogram().get_sample_count(), 1);
        assert!(metric.get_histogram().get_bucket().iter().all(|bucket| bucket.cumulative_count() == 0));
    }

    #[test]
    fn threads_that_count_do_not_meet() {
        let counts = PerThread::<AtomicU64>::new();
        let own = || std::ptr::from_ref(counts.own().unwrap()).addr();
        let here = own();
        assert_eq!(here, own());
        assert_eq!(here % 128, 0);
        let places: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4 * limits::COUNTERS_APART).map(|_| scope.spawn(own)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(places.len(), counts.all().count());
    }
}
