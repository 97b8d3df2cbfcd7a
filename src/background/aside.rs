//! Standing aside wholly: a thread that runs only while nobody else wants the processor.
//!
//! Linux's `SCHED_IDLE` gives way the moment another thread wakes, where one that is only nice keeps the processor for its
//! slice of up to three milliseconds. But it has some three thousandths of a processor that others want, and without a
//! privilege there is no way out of it: `CAP_SYS_NICE`, or an `RLIMIT_NICE` of 20, which `LimitNICE=+0` is under systemd
//! (sched(7)). A thread that could not come forward again when its work falls behind does not step aside.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::limits;

/// How the calling thread competes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// As the thread does that started it.
    Inherited,
    Forward,
    Aside(Patience),
}

/// For how long a thread that stands aside waits for the processor.
///
/// Of long work only waiting counts: where nobody else wants the processor, it is done no sooner in front of the others, and
/// disturbs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    at_most: Duration,
    began: Instant,
    /// Processor time that the thread had used by then, where only waiting counts.
    used: Option<Duration>,
    /// It cannot be over before.
    not_before: Instant,
}

impl Patience {
    /// From now on.
    fn new(at_most: Duration) -> Self {
        let began = Instant::now();
        Self { at_most, began, used: Some(used()), not_before: began + at_most }
    }

    /// The same for short work, of which all the time counts.
    fn of_short(at_most: Duration) -> Self {
        Self { used: None, ..Self::new(at_most) }
    }

    /// Whether it is over; `used` is asked when it may be.
    fn is_over(&mut self, now: Instant, used: impl FnOnce() -> Duration) -> bool {
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

/// Processor time that the calling thread has used so far.
fn used() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    used.try_into().unwrap_or_default()
}

/// How many wait for work that may stand aside.
static AWAITED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STAND: Cell<Stand> = const { Cell::new(Stand::Inherited) };
}

/// Somebody waits: as long as it is held, whoever stands aside comes forward when it offers the processor next.
#[derive(Debug)]
#[must_use]
pub struct Awaited(());

impl Awaited {
    /// From now on.
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        AWAITED.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        AWAITED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Has the calling thread run only while nobody else wants the processor, and come forward by itself when it offers the
/// processor ([`breathe`](super::breathe)) and has waited for it for `at_most` in all. So do the threads that it starts,
/// after [`limits::ASIDE_AT_MOST`]; both at once when somebody waits ([`Awaited`]). Where the system would not let it
/// come forward, nothing happens.
pub fn step_aside(at_most: Duration) {
    stand_aside(Patience::new(at_most));
}

fn stand_aside(patience: Patience) {
    if !is_awaited() && may_come_forward() && (is_aside() || change(libc::SCHED_IDLE).is_ok()) {
        STAND.set(Stand::Aside(patience));
    }
}

/// Has the calling thread compete as it did before it stepped aside.
pub fn come_forward() {
    if is_aside() {
        if let Err(error) = change(libc::SCHED_OTHER) {
            tracing::warn!(%error, "work in the background has to wait for every other thread");
        }
        // Where it is refused once, it always is.
        STAND.set(Stand::Forward);
    }
}

/// Does short work aside, for `at_most` of any time, and comes forward after it: what others wait for, such as a lock, is no
/// part of the work.
pub fn aside<T>(at_most: Duration, work: impl FnOnce() -> T) -> T {
    stand_aside(Patience::of_short(at_most));
    let done = work();
    come_forward();
    done
}

/// Finds out whether threads may step aside, from a thread that is as nice as any: the system asks more of those that are
/// less nice.
pub fn prepare() {
    may_come_forward();
}

/// For a thread that offers the processor: comes forward when it has been aside for long enough.
pub(super) fn come_forward_in_time() {
    match STAND.get() {
        Stand::Forward => {}
        Stand::Aside(mut patience) => {
            if is_awaited() || patience.is_over(Instant::now(), used) {
                come_forward();
            } else {
                STAND.set(Stand::Aside(patience));
            }
        }
        Stand::Inherited if is_idle() => STAND.set(Stand::Aside(Patience::new(limits::ASIDE_AT_MOST))),
        Stand::Inherited => STAND.set(Stand::Forward),
    }
}

fn is_awaited() -> bool {
    AWAITED.load(Ordering::Relaxed) > 0
}

fn is_aside() -> bool {
    match STAND.get() {
        Stand::Forward => false,
        Stand::Aside(_) => true,
        Stand::Inherited => is_idle(),
    }
}

/// Whether the system lets a thread of this process leave the class again: tried once, on a thread that is good for
/// nothing else.
fn may_come_forward() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    let try_it = || change(libc::SCHED_IDLE).and_then(|()| change(libc::SCHED_OTHER)).is_ok();
    *MAY.get_or_init(|| {
        let tried = std::thread::Builder::new().name("aside".to_owned()).spawn(try_it);
        let may = tried.is_ok_and(|thread| thread.join().unwrap_or(false));
        if !may {
            tracing::debug!(
                "work in the background keeps the priority it has: it could not come back from a lower one"
            );
        }
        may
    })
}

/// Moves the calling thread to another scheduling class.
#[expect(unsafe_code, reason = "no kept library sets the class and leaves the niceness as it is")]
fn change(class: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a whole value that outlives the call, which only reads it.
    match unsafe { libc::sched_setscheduler(0, class, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the calling thread is in the class of those that stand aside.
#[expect(unsafe_code, reason = "no kept library asks for the class")]
fn is_idle() -> bool {
    // SAFETY: it takes a number and returns one.
    unsafe { libc::sched_getscheduler(0) == libc::SCHED_IDLE }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// On a thread of its own, which ends with its class.
    fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    #[test]
    fn a_thread_steps_aside_only_where_it_may_come_forward_again() {
        let stands = apart(|| {
            step_aside(Duration::from_secs(60));
            let aside = is_idle();
            come_forward();
            (aside, is_idle())
        });
        assert_eq!(stands, (may_come_forward(), false));
        assert!(!is_idle(), "the thread that asked for another one stands where it stood");
    }

    #[test]
    fn whoever_has_been_aside_for_long_enough_or_is_awaited_comes_forward_when_it_offers_the_processor() {
        if !may_come_forward() {
            return;
        }
        let stands = apart(|| {
            step_aside(Duration::from_secs(60));
            super::super::breathe();
            let early = is_idle();
            step_aside(Duration::ZERO);
            let again = is_idle();
            super::super::breathe();
            let late = is_idle();
            step_aside(Duration::from_secs(60));
            let _waiting = Awaited::new();
            super::super::breathe();
            let awaited = is_idle();
            step_aside(Duration::from_secs(60));
            (early, again, late, awaited, is_idle())
        });
        assert_eq!(stands, (true, true, false, false, false));
    }

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

    #[test]
    fn a_thread_that_does_not_run_waits_and_one_that_runs_does_not() {
        let (asleep, busy) = apart(|| {
            let before = used();
            thread::sleep(Duration::from_millis(20));
            let asleep = used() - before;
            let mut number = 0_u64;
            while used() - before < Duration::from_millis(5) {
                number = std::hint::black_box(number + 1);
            }
            (asleep, number)
        });
        assert!(asleep < Duration::from_millis(20) && busy > 0, "{asleep:?}, {busy}");
    }

    #[test]
    fn what_is_done_aside_is_over_when_others_are_met() {
        let stands = apart(|| (aside(Duration::from_secs(60), is_idle), is_idle()));
        assert!(!stands.1, "{stands:?}");
    }

    #[test]
    fn a_thread_that_one_aside_starts_knows_it_and_comes_forward_itself() {
        if !may_come_forward() {
            return;
        }
        let stands = apart(|| {
            step_aside(Duration::from_secs(60));
            apart(|| {
                let inherited = (is_idle(), STAND.get());
                come_forward_in_time();
                let learnt = matches!(STAND.get(), Stand::Aside(_));
                come_forward();
                (inherited, learnt, is_idle())
            })
        });
        assert_eq!(stands, ((true, Stand::Inherited), true, false));
    }
}
