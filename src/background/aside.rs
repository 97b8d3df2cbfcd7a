//! Standing aside wholly: a thread that runs only while nobody else wants the processor.
//!
//! Linux's `SCHED_IDLE` gives way the moment another thread wakes, where one that is only nice keeps the processor for its
//! slice of up to three milliseconds. But it has some three thousandths of a processor that others want, and without a
//! privilege there is no way out of it: `CAP_SYS_NICE`, or an `RLIMIT_NICE` of 20, which `LimitNICE=+0` is under systemd
//! (sched(7)). A thread that could not come forward again when its work falls behind does not step aside.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::class::Class;
use super::hunger;
use super::patience::Patience;
use super::pieces::{Backlog, Pieces};
use super::recall::{LookedAfter, recall};
use super::used;
use crate::limits;

/// How the calling thread competes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// As the thread does that started it.
    Inherited,
    Forward,
    Aside(Patience),
    /// Rests between pieces of its work.
    InPieces(Pieces),
    /// Without a pause, as there is no time for any.
    Hurried,
}

/// How many wait for work that may stand aside.
static AWAITED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STAND: Cell<Stand> = const { Cell::new(Stand::Inherited) };
    /// While it stands aside by its own will.
    static LOOKED_AFTER: Cell<Option<LookedAfter>> = const { Cell::new(None) };
}

/// Somebody waits: whoever stands aside comes forward, and as long as it is held nobody stays there who offers the
/// processor.
#[derive(Debug)]
#[must_use]
pub struct Awaited(());

impl Awaited {
    /// From now on.
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        AWAITED.fetch_add(1, Ordering::Relaxed);
        recall();
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
    if is_awaited() || !may_come_forward() {
        return;
    }
    if !is_aside() {
        // In this order: a thread is known by its number alone.
        LOOKED_AFTER.set(None);
        LOOKED_AFTER.set(Some(LookedAfter::until(patience.end_of_short())));
        if Class::Idle.enter().is_err() {
            LOOKED_AFTER.set(None);
            return;
        }
    }
    STAND.set(Stand::Aside(patience));
}

/// Has the calling thread compete as it did before it stepped aside.
pub fn come_forward() {
    if is_aside()
        && let Err(error) = Class::Other.enter()
    {
        tracing::warn!(%error, "work in the background has to wait for every other thread");
    }
    LOOKED_AFTER.set(None);
    // Where it is refused once, it always is.
    STAND.set(Stand::Forward);
}

/// Does short work aside for `at_most` of any time, and in pieces after that, or from the start where a thread may not stand
/// aside. It has come forward when that is over: what others wait for, such as a lock, is no part of the work. Somebody has
/// to [`recall`](super::recall()) it, where others leave it no processor to find out with that its time is over.
pub fn aside<T>(at_most: Duration, work: impl FnOnce() -> T) -> T {
    stand_aside(Patience::of_short(at_most));
    if is_aside() { to_the_end(work) } else { in_pieces(work) }
}

/// Does work in pieces, with a rest after each.
pub fn in_pieces<T>(work: impl FnOnce() -> T) -> T {
    go_on_in_pieces(Backlog::Small.rest());
    to_the_end(work)
}

fn to_the_end<T>(work: impl FnOnce() -> T) -> T {
    let done = work();
    come_forward();
    done
}

fn go_on_in_pieces(rest: u32) {
    come_forward();
    if !is_awaited() {
        STAND.set(Stand::InPieces(Pieces::new(rest)));
    }
}

/// Has work that is done [aside](aside()) go as fast as it has to for what is left to do. With a small backlog one that still
/// stands aside goes on doing so. Elsewhere nothing happens.
pub fn keep_up(backlog: Backlog) {
    match STAND.get() {
        Stand::Aside(_) if backlog == Backlog::Small => {}
        Stand::Aside(_) | Stand::InPieces(_) => go_on_in_pieces(backlog.rest()),
        Stand::Inherited | Stand::Forward | Stand::Hurried => {}
    }
}

/// Does work without a pause: there is no time for any.
pub fn hurried<T>(work: impl FnOnce() -> T) -> T {
    let before = STAND.replace(Stand::Hurried);
    let done = work();
    STAND.set(before);
    done
}

/// Finds out whether threads may step aside, from a thread that is as nice as any: the system asks more of those that are
/// less nice.
pub fn prepare() {
    may_come_forward();
}

/// Offers the processor as a thread does that stands as the calling one; false if it does not. One that has stood aside for
/// long enough comes forward.
pub(super) fn offer() -> bool {
    match STAND.get() {
        Stand::Hurried => return false,
        Stand::InPieces(_) if is_awaited() => come_forward(),
        Stand::InPieces(pieces) if pieces.is_whole() => return false,
        Stand::InPieces(pieces) => STAND.set(Stand::InPieces(pieces.rested())),
        Stand::Forward | Stand::Aside(_) | Stand::Inherited => {
            std::thread::yield_now();
            come_forward_in_time();
        }
    }
    true
}

/// Rests, where the thread works in pieces. Others go on as they are: they may hold what everybody waits for.
pub fn rest() {
    if let Stand::InPieces(_) = STAND.get() {
        offer();
    }
}

fn come_forward_in_time() {
    match STAND.get() {
        Stand::Forward | Stand::InPieces(_) | Stand::Hurried => {}
        Stand::Aside(patience) => stay_aside(patience, Instant::now()),
        Stand::Inherited if is_awaited() => come_forward(),
        Stand::Inherited if Class::Idle.is_entered() => {
            STAND.set(Stand::Aside(Patience::new(limits::ASIDE_AT_MOST)));
        }
        Stand::Inherited => STAND.set(Stand::Forward),
    }
}

fn stay_aside(mut patience: Patience, now: Instant) {
    match patience.is_over(now, used) {
        _ if is_awaited() => come_forward(),
        true if patience.is_of_short() => go_on_in_pieces(Backlog::Small.rest()),
        true => come_forward(),
        false => STAND.set(Stand::Aside(patience)),
    }
    if patience.is_of_short() {
        hunger::ran(now);
    }
}

/// Waits for a disk: a thread that stands aside wants no processor meanwhile.
pub fn asleep<T>(wait: impl FnOnce() -> T) -> T {
    #[cfg(test)]
    super::SLEEPS.set(super::SLEEPS.get() + 1);
    let looked_after = LOOKED_AFTER.take().map(LookedAfter::asleep);
    let was_awake = looked_after.as_ref().is_some_and(|(_, was_awake)| *was_awake);
    LOOKED_AFTER.set(looked_after.map(|(looked_after, _)| looked_after));
    let done = wait();
    if was_awake {
        LOOKED_AFTER.set(LOOKED_AFTER.take().map(LookedAfter::awake));
    }
    done
}

pub(super) fn is_awaited() -> bool {
    AWAITED.load(Ordering::Relaxed) > 0
}

fn is_aside() -> bool {
    match STAND.get() {
        Stand::Forward | Stand::InPieces(_) | Stand::Hurried => false,
        Stand::Aside(_) => true,
        Stand::Inherited => Class::Idle.is_entered(),
    }
}

/// Whether the system lets a thread of this process leave the class again: tried once, on a thread that is good for
/// nothing else.
fn may_come_forward() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    let try_it = || Class::Idle.enter().and_then(|()| Class::Other.enter()).is_ok();
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
            let aside = Class::Idle.is_entered();
            come_forward();
            (aside, Class::Idle.is_entered())
        });
        assert_eq!(stands, (may_come_forward(), false));
        assert!(!Class::Idle.is_entered(), "the thread that asked for another one stands where it stood");
    }

    #[test]
    fn whoever_has_been_aside_for_long_enough_or_is_awaited_comes_forward_when_it_offers_the_processor() {
        if !may_come_forward() {
            return;
        }
        let stands = apart(|| {
            step_aside(Duration::from_secs(60));
            super::super::breathe();
            let early = Class::Idle.is_entered();
            step_aside(Duration::ZERO);
            let again = Class::Idle.is_entered();
            super::super::breathe();
            let late = Class::Idle.is_entered();
            step_aside(Duration::from_secs(60));
            let _waiting = Awaited::new();
            super::super::breathe();
            let awaited = Class::Idle.is_entered();
            step_aside(Duration::from_secs(60));
            (early, again, late, awaited, Class::Idle.is_entered())
        });
        assert_eq!(stands, (true, true, false, false, false));
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
        let is_idle = || Class::Idle.is_entered();
        let stands = apart(|| (aside(Duration::from_secs(60), is_idle), is_idle()));
        assert!(!stands.1, "{stands:?}");
    }

    #[test]
    fn short_work_that_has_waited_goes_on_in_pieces_with_rests_that_go_by_what_is_left() {
        let rest = || match STAND.get() {
            Stand::InPieces(pieces) => Some(pieces.rest),
            _ => None,
        };
        let (rests, after) = apart(|| {
            let rests = aside(Duration::ZERO, || {
                super::super::breathe();
                let waited = rest();
                let left = [9, 8, 2].map(|waiting| {
                    keep_up(Backlog::of(waiting, 2, 8));
                    rest()
                });
                (waited, left, Class::Idle.is_entered())
            });
            (rests, STAND.get())
        });
        let [small, large, huge] =
            [Backlog::Small, Backlog::Large, Backlog::Huge].map(|one| Some(one.rest()));
        assert_eq!((rests, after), ((small, [huge, large, small], false), Stand::Forward));
    }

    #[test]
    fn what_is_not_done_aside_is_as_fast_as_it_was_whatever_is_left() {
        let stands = apart(|| {
            keep_up(Backlog::Large);
            let inherited = STAND.get();
            come_forward();
            keep_up(Backlog::Huge);
            let forward = STAND.get();
            let hurried = hurried(|| {
                keep_up(Backlog::Large);
                STAND.get()
            });
            (inherited, forward, hurried, STAND.get())
        });
        assert_eq!(stands, (Stand::Inherited, Stand::Forward, Stand::Hurried, Stand::Forward));
    }

    #[test]
    fn whoever_is_awaited_rests_no_longer() {
        let stands = apart(|| {
            go_on_in_pieces(200);
            let _waiting = Awaited::new();
            super::super::breathe();
            let awaited = STAND.get();
            (awaited, in_pieces(|| STAND.get()))
        });
        assert_eq!(stands, (Stand::Forward, Stand::Forward));
    }

    #[test]
    fn only_what_works_in_pieces_rests() {
        // One that rests begins a new piece; one that only offered the processor would know how it stands by then.
        let stands = apart(|| {
            rest();
            let inherited = STAND.get();
            go_on_in_pieces(200);
            let began = STAND.get();
            while STAND.get() == began {
                rest();
            }
            (inherited, matches!(STAND.get(), Stand::InPieces(_)))
        });
        assert_eq!(stands, (Stand::Inherited, true));
    }

    #[test]
    fn a_thread_that_one_aside_starts_knows_it_and_comes_forward_itself() {
        if !may_come_forward() {
            return;
        }
        let stands = apart(|| {
            step_aside(Duration::from_secs(60));
            apart(|| {
                let inherited = (Class::Idle.is_entered(), STAND.get());
                come_forward_in_time();
                let learnt = matches!(STAND.get(), Stand::Aside(_));
                come_forward();
                (inherited, learnt, Class::Idle.is_entered())
            })
        });
        assert_eq!(stands, ((true, Stand::Inherited), true, false));
    }
}
