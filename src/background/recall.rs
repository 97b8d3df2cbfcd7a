//! Threads that stand aside, brought forward from outside.
//!
//! On a machine where others always want the processor, a thread that stands aside runs once in a second or less often. It
//! finds out late that it has stood there for long enough, and is late again with each offer of the processor. So somebody
//! who runs anyway looks after it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::aside::is_awaited;
use super::class::{Class, Thread};
use super::hunger::Short;

/// Who stands aside, and until when; some until somebody waits for them. Each thread puts itself in and takes itself out.
static ASIDE: Mutex<Vec<(Thread, Option<Instant>)>> = Mutex::new(Vec::new());

/// The calling thread is looked after as long as this is held. It is taken before the thread steps aside, and the thread has
/// come forward when it is given back: one that stands aside would keep all others from the lock.
pub(super) struct LookedAfter {
    thread: Thread,
    /// For a short while, and not asleep.
    short: Option<Short>,
}

impl LookedAfter {
    /// It may stand aside until then; for as long as it wants where there is no such time.
    pub(super) fn until(end: Option<Instant>) -> Self {
        let thread = Thread::current();
        lock().push((thread, end));
        Self { thread, short: end.map(|_| Short::begin()) }
    }

    /// The thread wants no processor. Says whether it wanted one, of those that are aside for a short while.
    pub(super) fn asleep(mut self) -> (Self, bool) {
        let was_awake = self.short.take().is_some();
        (self, was_awake)
    }

    /// It wants one again.
    pub(super) fn awake(mut self) -> Self {
        self.short = Some(Short::begin());
        self
    }
}

impl Drop for LookedAfter {
    fn drop(&mut self) {
        // Also one that ends where it stands.
        Class::Other.give(self.thread).ok();
        // With the lock held, nobody moves a thread that has ended since, or another of its number.
        lock().retain(|(thread, _)| *thread != self.thread);
    }
}

/// Brings forward who does short work aside and has done so for long enough, and all where somebody waits. To be called every
/// now and then: who is about to step aside may do so just after it.
pub fn recall() {
    let (now, is_awaited) = (Instant::now(), is_awaited());
    for (thread, end) in lock().iter() {
        // It finds out when it offers the processor.
        if (is_awaited || end.is_some_and(|end| end <= now))
            && let Err(error) = Class::Other.give(*thread)
        {
            tracing::debug!(%error, "work in the background has to wait for every other thread");
        }
    }
}

fn lock() -> MutexGuard<'static, Vec<(Thread, Option<Instant>)>> {
    ASIDE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Awaited, aside, come_forward, step_aside};
    use super::*;

    #[test]
    fn whoever_has_been_aside_for_long_enough_is_brought_forward_without_its_doing() {
        let is_idle = || Class::Idle.is_entered();
        let stands = std::thread::spawn(move || {
            let is_known = || lock().iter().any(|(thread, _)| *thread == Thread::current());
            let recalled = |at_most| {
                aside(at_most, || {
                    let before = is_idle();
                    recall();
                    (before, is_idle())
                })
            };
            (recalled(Duration::ZERO), recalled(Duration::from_secs(60)), is_idle() || is_known())
        });
        let ((before, recalled), (aside, kept), after) = stands.join().unwrap();
        // Where no thread may stand aside, none does.
        assert_eq!((recalled, aside, kept, after), (false, before, before, false));
    }

    #[test]
    fn all_who_stand_aside_come_forward_when_somebody_waits() {
        let stands = std::thread::spawn(|| {
            step_aside(Duration::from_secs(60));
            let before = Class::Idle.is_entered();
            recall();
            let kept = Class::Idle.is_entered();
            let _waiting = Awaited::new();
            let awaited = Class::Idle.is_entered();
            come_forward();
            (before, kept, awaited)
        });
        let (before, kept, awaited) = stands.join().unwrap();
        assert_eq!((kept, awaited), (before, false));
    }

    #[test]
    fn a_thread_that_ends_aside_is_not_looked_after_any_more() {
        let ended = std::thread::spawn(|| {
            step_aside(Duration::from_secs(60));
            Thread::current()
        });
        let ended = ended.join().unwrap();
        assert!(lock().iter().all(|(thread, _)| *thread != ended));
    }
}
