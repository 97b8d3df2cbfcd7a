//! Time as an argument: the one place that reads the system's clock.

use jiff::Timestamp;

/// Tells the time; tests bring their own.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// The current moment, UTC.
    fn now(&self) -> Timestamp;
}

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
