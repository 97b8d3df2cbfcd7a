//! The time of a verdict.

use std::time::Instant;

use jiff::Timestamp;

use crate::clock::Clock;

/// When something is judged: its record and its answer go by the same looks at the clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: Timestamp,
    /// By a clock that never goes back, for what is measured.
    pub(super) steady: Instant,
}

impl Now {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), steady: Instant::now() }
    }
}
