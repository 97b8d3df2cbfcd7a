//! Work in pieces, with a rest after each: for work that has to go on while every processor is wanted.
//!
//! Two threads that never rest change places only when the kernel's clock ticks, every one to ten milliseconds, however
//! short their slices are. One that rests is woken by a timer, and has the processor at once where its slice is shorter than
//! that of the other, for one piece.

use std::time::Duration;

use super::used;
use crate::limits;

/// Where a thread is in its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Rest after a piece, in hundredths of the processor time that it took.
    rest: u32,
    /// Processor time that the thread had used when the piece began.
    began: Duration,
}

impl Pieces {
    pub(super) fn new(rest: u32) -> Self {
        Self { rest, began: used() }
    }

    /// Rests, if the piece is long enough.
    pub(super) fn tick(&mut self) {
        let now = used();
        let rest = self.rest_after(now.saturating_sub(self.began));
        if !rest.is_zero() {
            std::thread::sleep(rest);
            self.began = now;
        }
    }

    fn rest_after(self, worked: Duration) -> Duration {
        if worked < limits::SLICE {
            Duration::ZERO
        } else {
            (worked * self.rest / 100).min(limits::REST_AT_MOST)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_goes_by_the_work_before_it() {
        let rest = |rest, micros| Pieces::new(rest).rest_after(Duration::from_micros(micros)).as_micros();
        assert_eq!([rest(200, 99), rest(200, 100), rest(50, 300)], [0, 200, 150]);
        assert_eq!(rest(200, 1_000_000), limits::REST_AT_MOST.as_micros());
    }

    #[test]
    fn one_who_works_rests_and_one_who_does_not_goes_on() {
        let mut pieces = Pieces::new(100);
        let first = pieces.began;
        pieces.tick();
        let untouched = pieces.began;
        while used() - first < limits::SLICE {
            std::hint::spin_loop();
        }
        pieces.tick();
        assert!(untouched == first && pieces.began > first, "{first:?}, {untouched:?}, {pieces:?}");
    }
}
