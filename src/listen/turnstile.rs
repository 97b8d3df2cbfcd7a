//! Who floods lets others go first.
//!
//! A thread serves whatever is ready in the order in which it became so. Sixty connections that ask for what is blocked
//! as fast as they are answered are always ready, and a request for another host waits behind all of them, at each of
//! its steps. So the connections of a client network that is past its rate of whole answers pass a turnstile, in the
//! order in which they came: a few of them, then whatever else has become ready, then a few more. Nothing is held up for
//! a fixed time, and none of it happens while nobody but floods is there.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use crate::limits;

/// Shared by all connections. Its counters are a matter of order alone: nothing is published by them.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    /// There was a request that is not blocked, not long ago.
    is_shared: AtomicBool,
    /// Connections that have passed since that was forgotten last.
    passed: AtomicU64,
    /// How often everything that was ready has had its turn.
    round: AtomicU64,
    /// Tickets that were given out.
    issued: AtomicU64,
    /// Tickets below this one may pass.
    admitted: AtomicU64,
}

/// A connection that waits for its turn.
struct Ticket {
    number: u64,
    /// The round in which it was put back.
    round: u64,
}

impl Turnstile {
    /// There is somebody whom a flood may be in the way of.
    pub(super) fn note_other(&self) {
        // A line of memory that all threads read is written only when that changes it.
        if !self.is_shared.load(Ordering::Relaxed) {
            self.is_shared.store(true, Ordering::Relaxed);
        }
    }

    /// Waits for the turn of one connection of a flood.
    pub(super) async fn pass(&self) {
        let mut ticket = None;
        std::future::poll_fn(|cx| self.poll_pass(&mut ticket, cx)).await;
    }

    fn poll_pass(&self, ticket: &mut Option<Ticket>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_shared.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let round = self.round.load(Ordering::Relaxed);
        let Some(ticket) = ticket else {
            *ticket = Some(Ticket { number: self.issued.fetch_add(1, Ordering::Relaxed), round });
            return put_back(cx);
        };
        // The first that comes back begins the next round: all that was ready has had its turn.
        if ticket.round == round
            && self.round.compare_exchange(round, round + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.admitted.fetch_add(limits::FLOOD_TURNS, Ordering::Relaxed);
            // What was not used is not saved up.
            self.admitted.fetch_min(self.issued.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        if ticket.number < self.admitted.load(Ordering::Relaxed) {
            self.forget_sometimes();
            return Poll::Ready(());
        }
        ticket.round = self.round.load(Ordering::Relaxed);
        put_back(cx)
    }

    /// Whoever is there says so again.
    fn forget_sometimes(&self) {
        let passed = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if passed.is_multiple_of(limits::FLOOD_TURNS_REMEMBERED) {
            self.is_shared.store(false, Ordering::Relaxed);
        }
    }
}

/// Has the task wait until everything else that is ready has had its turn, what the system tells of by then included.
fn put_back(cx: &mut Context<'_>) -> Poll<()> {
    // The first poll does that, and keeps nothing that has to live on.
    pin!(tokio::task::yield_now()).poll(cx)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What happened, in its order.
    type Events = Arc<Mutex<Vec<u32>>>;
    /// Another request, among the numbers of connections of the flood.
    const OTHER: u32 = u32::MAX;

    fn run(scenario: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(scenario);
    }

    fn flood(
        turnstile: &Arc<Turnstile>,
        events: &Events,
        connections: u32,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let one = |number| {
            let (turnstile, events) = (Arc::clone(turnstile), Arc::clone(events));
            tokio::spawn(async move {
                turnstile.pass().await;
                events.lock().unwrap().push(number);
            })
        };
        (0..connections).map(one).collect()
    }

    /// A request that becomes ready after each of its own steps.
    async fn other(events: Events, steps: u32) {
        for _ in 0..steps {
            events.lock().unwrap().push(OTHER);
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn nobody_waits_while_only_floods_are_there() {
        run(async {
            let turnstile = Turnstile::default();
            let mut waiting = pin!(turnstile.pass());
            let polled = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_ready())).await;
            assert!(polled);
        });
    }

    #[test]
    fn others_come_between_a_few_connections_of_a_flood_which_pass_in_order() {
        run(async {
            let (turnstile, events) = (Arc::new(Turnstile::default()), Events::default());
            turnstile.note_other();
            let mut all = flood(&turnstile, &events, 50);
            all.push(tokio::spawn(other(Arc::clone(&events), 10)));
            for one in all {
                one.await.unwrap();
            }
            let events = events.lock().unwrap().clone();
            let steps = events.split(|event| *event == OTHER).collect::<Vec<_>>();
            assert_eq!(steps.len(), 11);
            let most = limits::FLOOD_TURNS as usize;
            // Whoever steps back comes again in the reverse order each time: two rounds may meet.
            assert!(steps.iter().take(10).all(|between| between.len() <= 2 * most), "{events:?}");
            // Those of one round in any order.
            let mut passed: Vec<u32> = events.into_iter().filter(|event| *event != OTHER).collect();
            passed.chunks_mut(most).for_each(<[u32]>::sort_unstable);
            assert_eq!(passed, (0..50).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_connection_that_goes_away_while_it_waits_holds_nobody_up() {
        run(async {
            let (turnstile, events) = (Arc::new(Turnstile::default()), Events::default());
            turnstile.note_other();
            let all = flood(&turnstile, &events, 60);
            tokio::task::yield_now().await;
            for (index, one) in all.into_iter().enumerate() {
                if index % 2 == 0 {
                    one.abort();
                } else {
                    one.await.unwrap();
                }
            }
            assert!(events.lock().unwrap().len() >= 30);
        });
    }

    #[test]
    fn others_who_do_not_come_again_are_forgotten() {
        run(async {
            let turnstile = Turnstile::default();
            turnstile.note_other();
            for _ in 0..=limits::FLOOD_TURNS_REMEMBERED {
                turnstile.pass().await;
            }
            assert!(!turnstile.is_shared.load(Ordering::Relaxed));
        });
    }

    #[test]
    fn several_threads_let_everybody_through() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
        runtime.block_on(async {
            let (turnstile, events) = (Arc::new(Turnstile::default()), Events::default());
            for _ in 0..20 {
                turnstile.note_other();
                for one in flood(&turnstile, &events, 200) {
                    one.await.unwrap();
                }
            }
            assert_eq!(events.lock().unwrap().len(), 4_000);
        });
    }
}
