//! Work in pieces, with a rest after each: for work that has to go on while every processor is wanted.
//!
//! Two threads that never rest change places only when the kernel's clock ticks, every one to ten milliseconds, however
//! short their slices are. One that rests is woken by a timer, and has the processor at once where its slice is shorter than
//! that of the other, for one piece.

use std::thread;
use std::time::Duration;

use super::used;
use crate::limits;

/// How far work that never ends is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// As it always is, more or less.
    Small,
    /// It has to have more of a processor.
    Large,
    /// Soon something would be lost.
    Huge,
}

impl Backlog {
    /// Of `waiting` pieces of work, where more than `large` and more than `huge` are that.
    #[must_use]
    pub const fn of(waiting: usize, large: usize, huge: usize) -> Self {
        match waiting {
            _ if waiting > huge => Self::Huge,
            _ if waiting > large => Self::Large,
            _ => Self::Small,
        }
    }

    /// Rest after a piece, in hundredths of the processor time that it took.
    pub(super) const fn rest(self) -> u32 {
        match self {
            Self::Small => limits::REST,
            Self::Large => limits::REST_BEHIND,
            Self::Huge => 0,
        }
    }
}

/// Where a thread is in its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Rest after a piece, in hundredths of the processor time that it took.
    pub(super) rest: u32,
    /// Processor time that the thread had used when the piece began.
    began: Duration,
}

impl Pieces {
    pub(super) fn new(rest: u32) -> Self {
        Self { rest, began: used() }
    }

    /// Whether there is no rest.
    pub(super) const fn is_whole(self) -> bool {
        self.rest == 0
    }

    /// Rests, if the piece is long enough.
    pub(super) fn rested(self) -> Self {
        let (next, rest) = self.after(used());
        if !rest.is_zero() {
            thread::sleep(rest);
        }
        next
    }

    /// What follows, and the rest before it, when the thread has used so much processor time.
    fn after(self, used: Duration) -> (Self, Duration) {
        let worked = used.saturating_sub(self.began);
        if worked < limits::SLICE {
            return (self, Duration::ZERO);
        }
        (Self { began: used, ..self }, (worked * self.rest / 100).min(limits::REST_AT_MOST))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_rest_goes_by_the_work_before_it_and_begins_another_piece() {
        let micros = Duration::from_micros;
        let pieces = |began| Pieces { rest: 200, began: micros(began) };
        assert_eq!(pieces(50).after(micros(149)), (pieces(50), Duration::ZERO));
        assert_eq!(pieces(50).after(micros(150)), (pieces(150), micros(200)));
        assert_eq!(pieces(0).after(micros(900_000)), (pieces(900_000), limits::REST_AT_MOST));
        assert_eq!(Pieces { rest: 50, began: micros(0) }.after(micros(300)).1, micros(150));
    }

    #[test]
    fn whoever_rests_sleeps() {
        let pieces = Pieces { rest: 100, began: Duration::ZERO };
        // A thread of its own has used next to nothing before.
        let slept = thread::scope(|scope| {
            let rests = || {
                while used() < limits::REST_AT_MOST {
                    std::hint::spin_loop();
                }
                let (began, worked) = (Instant::now(), used());
                pieces.rested();
                began.elapsed().saturating_sub(used() - worked)
            };
            scope.spawn(rests).join().unwrap()
        });
        assert!(slept >= limits::REST_AT_MOST / 2, "{slept:?}");
    }
}
