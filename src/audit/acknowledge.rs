//! What has to be true of a record before its effect may be seen.

use std::{ops::RangeInclusive, time::Duration};

/// When an event counts as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledge {
    /// The kernel has it: it outlives the process, however that ends.
    #[default]
    Process,
    /// The disk has it: it outlives the machine. One `fdatasync` serves all events that wait.
    Disk,
}

impl Acknowledge {
    /// Every way there is.
    pub const ALL: &[Self] = &[Self::Process, Self::Disk];

    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Disk => "disk",
        }
    }
}

/// How long events are collected for one `fdatasync` unless configured otherwise.
pub const COMMIT_INTERVAL: Duration = Duration::from_millis(5);
/// The intervals that make sense: a shorter one is shorter than a flush, a longer one is felt by clients.
pub const COMMIT_INTERVALS: RangeInclusive<Duration> =
    Duration::from_micros(100)..=Duration::from_millis(100);
