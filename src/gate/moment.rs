//! When something is judged.

use std::time::Instant;

use jiff::Timestamp;

use crate::clock::Clock;

/// One look at each clock serves the verdict, its record and its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    /// By a clock that never goes back, for what is measured.
    pub(super) steady: Instant,
}

impl Moment {
    pub(super) fn of_now(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), steady: Instant::now() }
    }
}
