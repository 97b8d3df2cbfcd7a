//! How long a thread stands aside.

use std::time::{Duration, Instant};

use super::used;

/// For how long a thread that stands aside waits for the processor.
///
/// Of long work only waiting counts: where nobody else wants the processor, it is done no sooner in front of the others, and
/// disturbs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    at_most: Duration,
    began: Instant,
    /// Processor time that the thread had used by then, where only waiting counts.
    used: Option<Duration>,
    /// It cannot be over before.
    not_before: Instant,
}

impl Patience {
    /// From now on.
    pub(super) fn new(at_most: Duration) -> Self {
        let began = Instant::now();
        Self { at_most, began, used: Some(used()), not_before: began + at_most }
    }

    /// The same for short work, of which all the time counts.
    pub(super) fn of_short(at_most: Duration) -> Self {
        Self { used: None, ..Self::new(at_most) }
    }

    /// When it is over, where all the time counts.
    pub(super) fn end_of_short(&self) -> Option<Instant> {
        self.is_of_short().then_some(self.not_before)
    }

    pub(super) const fn is_of_short(&self) -> bool {
        self.used.is_none()
    }

    /// Whether it is over; `used` is asked when it may be.
    pub(super) fn is_over(&mut self, now: Instant, used: impl FnOnce() -> Duration) -> bool {
        if now < self.not_before {
            return false;
        }
        let Some(before) = self.used else { return true };
        let worked = used().saturating_sub(before);
        let left = self.at_most.saturating_sub((now - self.began).saturating_sub(worked));
        self.not_before = now + left;
        left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_takes_patience() {
        let mut patience = Patience::new(Duration::from_secs(10));
        let (began, used) = (patience.began, patience.used.unwrap());
        let mut is_over = |elapsed, worked| {
            let [elapsed, worked] = [elapsed, worked].map(Duration::from_secs);
            patience.is_over(began + elapsed, || used + worked)
        };
        // Before it could have waited so long, nobody asks what it has done.
        assert!(!is_over(9, 0));
        assert!(!is_over(12, 8), "it has waited four seconds");
        assert!(!is_over(17, 8), "it is not asked before six more are over");
        assert!(is_over(18, 8));
        assert!(is_over(40, 30));
        let mut short = Patience::of_short(Duration::from_secs(10));
        let began = short.began;
        assert!(!short.is_over(began + Duration::from_secs(9), || Duration::ZERO));
        assert!(short.is_over(began + Duration::from_secs(10), || Duration::from_secs(10)));
    }
}
