//! Work that nobody waits for, kept out of the way of what somebody does.
//!
//! A thread of low priority still has the processor for a slice of some milliseconds before one that serves requests
//! gets it. That is why such work stands aside wholly where it may, and everywhere offers the processor every few
//! hundred microseconds. What cannot wait for ever, as the sealing of records, goes on in pieces, with a rest after each.

mod aside;
mod class;
mod hunger;
mod patience;
mod pieces;
mod recall;

use std::time::Duration;

pub use aside::{
    Awaited, aside, asleep, come_forward, hurried, in_pieces, keep_up, prepare, rest, step_aside,
};
pub use class::shorten_slice;
pub use hunger::take_hunger;
pub use pieces::Backlog;
pub use recall::recall;

/// Items of work between two offers of the processor.
#[derive(Debug)]
pub struct Breath {
    every: u32,
    left: u32,
}

impl Breath {
    /// Offers the processor after `every` items, of which each is short.
    #[must_use]
    pub const fn every(every: u32) -> Self {
        Self { every, left: every }
    }

    /// One item is done.
    pub fn tick(&mut self) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.left = self.every;
            breathe();
        }
    }
}

/// Offers the processor to whoever waits for it, unless the thread has no time for that. One that has stood aside for long
/// enough comes forward.
pub fn breathe() {
    let _offered = aside::offer();
    #[cfg(test)]
    OFFERS.set(OFFERS.get() + usize::from(_offered));
}

/// Processor time that the calling thread has used so far.
fn used() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    used.try_into().unwrap_or_default()
}

#[cfg(test)]
thread_local! {
    static OFFERS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    static SLEEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often the calling thread says that it waits for a disk while it does this.
#[cfg(test)]
pub(crate) fn sleeps(act: impl FnOnce()) -> usize {
    let before = SLEEPS.get();
    act();
    SLEEPS.get() - before
}

/// How often the calling thread offers the processor while it does this.
#[cfg(test)]
pub(crate) fn offers(act: impl FnOnce()) -> usize {
    let before = OFFERS.get();
    act();
    OFFERS.get() - before
}

/// Has the calling thread, and those it starts, take what others leave of the processors, in small pieces: it is `by` nicer
/// than the first thread of the process, as `nice` counts. Linux counts it by thread, whatever the name of the call says. Where
/// the system refuses, the work competes as it did.
pub fn stand_back(by: i32) {
    let own = || rustix::process::getpriority_process(None);
    let first = || rustix::process::getpriority_process(Some(rustix::process::getpid()));
    let stood_back = first().and_then(|first| {
        let wanted = first.saturating_add(by).min(NICEST);
        // Without a privilege there is no way back.
        if own()? < wanted { rustix::process::setpriority_process(None, wanted) } else { Ok(()) }
    });
    if let Err(error) = stood_back {
        tracing::debug!(%error, "work in the background has the priority of requests");
    }
    shorten_slice();
}

/// The most that Linux knows.
const NICEST: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_stands_back_and_no_other() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let there = std::thread::spawn(move || {
            stand_back(7);
            let once = own();
            stand_back(3);
            (once, own())
        });
        let back = (before + 7).min(NICEST);
        assert_eq!((there.join().unwrap(), own()), ((back, back), before));
    }

    #[test]
    fn the_processor_is_offered_every_so_many_items() {
        let offered = |mut breath: Breath| (0..7).map(move |_| offers(|| breath.tick())).collect::<Vec<_>>();
        assert_eq!(offered(Breath::every(3)), [0, 0, 1, 0, 0, 1, 0]);
        assert_eq!(offered(Breath::every(1)), [1; 7]);
        assert_eq!(hurried(|| offered(Breath::every(1))), [0; 7]);
    }
}
