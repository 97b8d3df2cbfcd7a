//! Time as an argument: the one place that reads the system's clock.

use std::time::Duration;

use jiff::Timestamp;

/// Tells the time; tests bring their own.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// The current moment, UTC.
    fn now(&self) -> Timestamp;
}

/// A time in whole nanoseconds, for atomics; of more than 584 years, those.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
