//! What one thread counts; one of all of them at the end.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::drive::Trouble;
use super::judge::{Answer, Fault};
use super::plan::Expect;
use super::schedule::Ticket;
use crate::clock::nanoseconds;
use crate::limits;

/// The least latency that is told from others, in nanoseconds, and the greatest.
const BOUNDS_NS: (u64, u64) = (1_000, 200_000_000_000);

/// Latencies in nanoseconds.
pub(super) fn histogram() -> Histogram<u64> {
    of_digits(3)
}

#[expect(clippy::expect_used, reason = "the bounds and the digits are constants")]
fn of_digits(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(BOUNDS_NS.0, BOUNDS_NS.1, digits)
        .expect("bounds in order and up to five digits")
}

/// One second of a run.
#[derive(Debug)]
pub(super) struct SecondTally {
    pub(super) latency: Histogram<u64>,
    pub(super) failures: u64,
}

/// One sort of failure.
#[derive(Debug, Clone, Default)]
pub(super) struct FaultTally {
    pub(super) count: u64,
    /// The first one, in words.
    pub(super) example: String,
}

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Tally {
    /// From here on latencies count.
    from: Instant,
    pub(super) pages: Histogram<u64>,
    pub(super) refusals: Histogram<u64>,
    pub(super) passed: Histogram<u64>,
    /// What the generator itself was late.
    pub(super) lag: Histogram<u64>,
    pub(super) late: u64,
    pub(super) seconds: Vec<SecondTally>,
    pub(super) faults: Vec<FaultTally>,
    /// Ids of all answers that had one, those of the warm-up included.
    pub(super) ids: Vec<u128>,
    keep_ids: bool,
    /// Requests that were sent, those of the warm-up included.
    pub(super) sent: u64,
    /// Refusals as they are to be, those of the warm-up included.
    pub(super) refused: u64,
    /// Requests that were due after the warm-up and never sent.
    pub(super) unsent: u64,
    pub(super) renewed: u64,
    /// Processor time of the generator's threads while they sent.
    pub(super) cpu: Duration,
    pub(super) ended: Instant,
    /// When the schedule was broken off, if it was.
    pub(super) cut: Option<Instant>,
}

impl Tally {
    pub(super) fn new(from: Instant, keep_ids: bool, expected: usize) -> Self {
        Self {
            from,
            pages: histogram(),
            refusals: histogram(),
            passed: histogram(),
            lag: histogram(),
            late: 0,
            seconds: Vec::new(),
            faults: vec![FaultTally::default(); Fault::ALL.len()],
            ids: Vec::with_capacity(if keep_ids { expected } else { 0 }),
            keep_ids,
            sent: 0,
            refused: 0,
            unsent: 0,
            renewed: 0,
            cpu: Duration::ZERO,
            ended: from,
            cut: None,
        }
    }

    /// Takes in what became of a request that was due at `ticket.due` and ended `now`.
    pub(super) fn note(
        &mut self,
        ticket: &Ticket,
        expect: Expect,
        came: Option<Answer>,
        judged: Result<(), Trouble>,
        now: Instant,
    ) {
        self.sent += 1;
        if let (true, Some(Answer::Response { id: Some(id @ 1..), .. })) = (self.keep_ids, came) {
            self.ids.push(id);
        }
        let failed = judged.is_err();
        match judged {
            Err(trouble) => self.fault(trouble, 1),
            Ok(()) if expect == Expect::Refusal => self.refused += 1,
            Ok(()) => {}
        }
        if ticket.due < self.from {
            return;
        }
        let lag = nanoseconds(ticket.lag);
        self.lag.saturating_record(lag);
        self.late += u64::from(ticket.lag > limits::LOAD_LATE);
        self.ended = self.ended.max(now);
        let latency = nanoseconds(now - ticket.due);
        if !failed {
            self.of(expect).saturating_record(latency);
        }
        let second = (now.saturating_duration_since(self.from)).as_secs() as usize;
        let second = self.second(second);
        if let Some(second) = second {
            second.failures += u64::from(failed);
            if !failed {
                second.latency.saturating_record(latency);
            }
        }
    }

    /// A request that was due and never sent: whoever had sent it would have waited at least so long.
    pub(super) fn unsent(&mut self, expect: Expect, due: Instant, waited: Duration) {
        if due >= self.from {
            self.unsent += 1;
            self.of(expect).saturating_record(nanoseconds(waited));
        }
    }

    pub(super) fn fault(&mut self, trouble: Trouble, count: u64) {
        let place = Fault::ALL.iter().position(|fault| *fault == trouble.fault);
        if let Some(fault) = place.and_then(|place| self.faults.get_mut(place)) {
            fault.count += count;
            if fault.example.is_empty() {
                fault.example = trouble.text;
            }
        }
    }

    /// From when latencies count, and when the last answer came.
    pub(super) fn measured(&self) -> (Instant, Instant) {
        (self.from, self.ended)
    }

    pub(super) fn failures(&self) -> u64 {
        self.faults.iter().map(|fault| fault.count).sum()
    }

    fn of(&mut self, expect: Expect) -> &mut Histogram<u64> {
        match expect {
            Expect::Page => &mut self.pages,
            Expect::Refusal => &mut self.refusals,
            Expect::Pass => &mut self.passed,
        }
    }

    fn second(&mut self, second: usize) -> Option<&mut SecondTally> {
        let most = limits::LOAD_SECONDS as usize + limits::LOAD_TIMEOUT_MS as usize / 1000 + 1;
        while self.seconds.len() <= second && self.seconds.len() < most {
            // Two digits are enough for a picture.
            self.seconds.push(SecondTally { latency: of_digits(2), failures: 0 });
        }
        self.seconds.get_mut(second)
    }

    /// The last second that is over, for whoever watches.
    pub(super) fn last_p99_us(&self) -> Option<u64> {
        let second = self.seconds.len().checked_sub(2).and_then(|last| self.seconds.get(last))?;
        Some(second.latency.value_at_quantile(0.99) / 1_000)
    }

    /// Adds what another thread counted.
    pub(super) fn add(&mut self, other: Self) {
        let pairs = [
            (&mut self.pages, &other.pages),
            (&mut self.refusals, &other.refusals),
            (&mut self.passed, &other.passed),
            (&mut self.lag, &other.lag),
        ];
        for (mine, theirs) in pairs {
            // All have the same bounds, so that nothing is out of range.
            mine.add(theirs).ok();
        }
        for (second, theirs) in other.seconds.iter().enumerate() {
            if let Some(mine) = self.second(second) {
                mine.failures += theirs.failures;
                mine.latency.add(&theirs.latency).ok();
            }
        }
        for (mine, theirs) in self.faults.iter_mut().zip(other.faults) {
            mine.count += theirs.count;
            if mine.example.is_empty() {
                mine.example = theirs.example;
            }
        }
        self.ids.extend(other.ids);
        self.late += other.late;
        self.sent += other.sent;
        self.refused += other.refused;
        self.unsent += other.unsent;
        self.renewed += other.renewed;
        self.cpu += other.cpu;
        self.ended = self.ended.max(other.ended);
        self.cut = self.cut.max(other.cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_sent_counts_when_it_was_due_after_the_warm_up() {
        let from = Instant::now() + Duration::from_secs(2);
        let mut tally = Tally::new(from, false, 0);
        tally.unsent(Expect::Page, from - Duration::from_secs(1), Duration::from_secs(9));
        assert_eq!((tally.unsent, tally.pages.len()), (0, 0));
        tally.unsent(Expect::Page, from, Duration::from_secs(8));
        assert_eq!((tally.unsent, tally.pages.len()), (1, 1));
    }
}
