//! Thousands of connections at a time: what such a test needs of the system, of threads and of arithmetic.

use std::future::Future;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Whether a test is to run at full size.
pub fn is_soak() -> bool {
    std::env::var_os("INTERDICT_SOAK").is_some_and(|value| value == "1")
}

/// Lets this process, and every edge it starts from now on, open as many files as the system allows at all.
#[track_caller]
pub fn raise_open_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(most >= wanted, "this test opens {wanted} files, and the hard limit (`ulimit -Hn`) is {most}");
    if limit.current.is_some_and(|current| current < most) {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    }
}

/// Runs a future, and whatever it spawns, on a thread of its own.
pub fn beside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    })
}

/// Durations in order.
#[derive(Debug)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// Sorts them; fails when there are none.
    #[track_caller]
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = durations.into_iter().collect();
        assert!(!sorted.is_empty(), "nothing was measured");
        sorted.sort();
        Self(sorted)
    }

    /// What so many in a thousand do not exceed.
    pub fn per_mille(&self, of_1000: usize) -> Duration {
        self.0[(self.0.len() * of_1000).div_ceil(1000).max(1) - 1]
    }

    /// The longest.
    pub fn most(&self) -> Duration {
        self.per_mille(1000)
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let [p50, p90, p99] = [500, 900, 990].map(|of_1000| ms(self.per_mille(of_1000)));
        write!(f, "p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, max {:.2} ms", ms(self.most()))
    }
}
