//! Who floods lets others go first.
//!
//! A thread serves whatever is ready in the order in which it became so. Sixty connections that ask for what is blocked
//! as fast as they are answered are always ready, and a request for another host waits behind all of them, at each of
//! its steps. So the connections of a client network that is past its rate of whole answers pass a turnstile, in the
//! order in which they came: as many as there are threads, then whatever else has become ready, then the next ones. None of
//! it happens while nobody but floods is there.
//!
//! Nothing is held up for a fixed time, but for one thing. What a flood leaves behind has to be sealed and compressed, on
//! the same processors. Work that has to come forward for that is in everybody's way; work that stands aside is in
//! nobody's, but gets no processor where a flood always wants it. So floods rest for a moment when it starves.
//!
//! It is the fast path that passes: there floods are cheap enough to be always ready. With several threads a round is
//! what one of them had ready, and its turns may all be that one's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::background;
use crate::limits;

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct Turnstile {
    /// There was a request that is not blocked, not long ago.
    is_shared: AtomicBool,
    /// Connections that have passed.
    passed: AtomicU64,
    /// Connections that wait.
    waiting: AtomicUsize,
    /// Somebody sees to the rounds.
    is_turning: AtomicBool,
    /// Turns of this round; fair, and one that is given to a connection that goes away is the next one's.
    turns: Semaphore,
    /// Whether the work that floods leave behind gets no processor.
    starves: fn() -> bool,
}

/// A connection that waits, for as long as it does.
struct Waits<'t>(&'t Turnstile);

impl<'t> Waits<'t> {
    fn new(turnstile: &'t Turnstile) -> Self {
        turnstile.waiting.fetch_add(1, Ordering::SeqCst);
        Self(turnstile)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Turnstile {
    pub(super) fn new() -> Arc<Self> {
        Self::asking(background::take_hunger)
    }

    fn asking(starves: fn() -> bool) -> Arc<Self> {
        Arc::new(Self {
            is_shared: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            is_turning: AtomicBool::new(false),
            turns: Semaphore::new(0),
            starves,
        })
    }

    /// There is somebody whom a flood may be in the way of.
    pub(super) fn note_other(&self) {
        // A line of memory that all threads read is written only when that changes it.
        if !self.is_shared.load(Ordering::Relaxed) {
            self.is_shared.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there was somebody like that since the last time.
    pub(super) fn take_others(&self) -> bool {
        self.is_shared.swap(false, Ordering::Relaxed)
    }

    /// How many times somebody has had to pass.
    pub(super) fn passes(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Waits for the turn of one connection of a flood.
    pub(super) async fn pass(self: &Arc<Self>) {
        if !self.is_shared.load(Ordering::Relaxed) {
            return;
        }
        let waits = Waits::new(self);
        self.keep_turning();
        if let Ok(turn) = self.turns.acquire().await {
            turn.forget();
        }
        drop(waits);
        // Whoever else is there says so again.
        let passed = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if passed.is_multiple_of(limits::FLOOD_TURNS_REMEMBERED) {
            self.is_shared.store(false, Ordering::Relaxed);
        }
    }

    /// Sees to it that rounds go on for as long as somebody waits.
    fn keep_turning(self: &Arc<Self>) {
        if !self.is_turning.swap(true, Ordering::SeqCst) {
            let turnstile = Arc::clone(self);
            tokio::spawn(async move { turnstile.turn().await });
        }
    }

    async fn turn(&self) {
        let threads = Handle::current().metrics().num_workers();
        let turns = (limits::FLOOD_TURNS * threads).min(limits::FLOOD_TURNS_AT_MOST);
        loop {
            // Comes back when everything that is ready has had its turn, what the system tells of by then included.
            tokio::task::yield_now().await;
            if self.waiting.load(Ordering::SeqCst) > 0 && (self.starves)() {
                tokio::time::sleep(limits::FLOOD_REST).await;
            }
            let waiting = self.waiting.load(Ordering::SeqCst);
            if waiting > 0 {
                // What was not used is not saved up.
                let more = turns.min(waiting).saturating_sub(self.turns.available_permits());
                self.turns.add_permits(more);
                continue;
            }
            if self.stops_turning() {
                return;
            }
        }
    }

    /// Ends the rounds, unless somebody has come in between and found them going on.
    fn stops_turning(&self) -> bool {
        self.is_turning.store(false, Ordering::SeqCst);
        self.waiting.load(Ordering::SeqCst) == 0 || self.is_turning.swap(true, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::Mutex;
    use std::time::Instant;

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

    /// Until nobody sees to the rounds any more.
    async fn at_rest(turnstile: &Turnstile) {
        while turnstile.is_turning.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert_eq!(turnstile.waiting.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn nobody_waits_while_only_floods_are_there() {
        run(async {
            let turnstile = Turnstile::asking(|| false);
            tokio::select! {
                biased;
                () = turnstile.pass() => {}
                () = std::future::ready(()) => panic!("it waits"),
            }
        });
    }

    #[test]
    fn others_come_between_a_few_connections_of_a_flood_which_pass_in_order() {
        run(async {
            let (turnstile, events) = (Turnstile::asking(|| false), Events::default());
            turnstile.note_other();
            let mut all = flood(&turnstile, &events, 50);
            all.push(tokio::spawn(other(Arc::clone(&events), 10)));
            for one in all {
                one.await.unwrap();
            }
            at_rest(&turnstile).await;
            let events = events.lock().unwrap().clone();
            let steps = events.split(|event| *event == OTHER).collect::<Vec<_>>();
            assert_eq!(steps.len(), 11);
            // Whoever steps back comes again in the reverse order each time: two rounds may meet.
            let most = 2 * limits::FLOOD_TURNS;
            assert!(steps.iter().take(10).all(|between| between.len() <= most), "{events:?}");
            let passed: Vec<u32> = events.into_iter().filter(|event| *event != OTHER).collect();
            assert_eq!(passed, (0..50).collect::<Vec<_>>());
            assert_eq!(turnstile.turns.available_permits(), 0, "nothing is saved up for the next ones");
        });
    }

    #[test]
    fn a_connection_that_goes_away_while_it_waits_holds_nobody_up() {
        run(async {
            let (turnstile, events) = (Turnstile::asking(|| false), Events::default());
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
            at_rest(&turnstile).await;
            // And the next ones come through as before.
            for one in flood(&turnstile, &events, 20) {
                one.await.unwrap();
            }
        });
    }

    #[test]
    fn turns_that_nobody_takes_are_not_saved_up() {
        run(async {
            let turnstile = Turnstile::asking(|| false);
            // They have got their turns, on a thread that has not come to them yet.
            let waiting: Vec<_> = (0..3 * limits::FLOOD_TURNS).map(|_| Waits::new(&turnstile)).collect();
            turnstile.keep_turning();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(turnstile.turns.available_permits(), limits::FLOOD_TURNS);
            drop(waiting);
            at_rest(&turnstile).await;
        });
    }

    #[test]
    fn rounds_do_not_end_behind_somebody_who_has_found_them_going_on() {
        let turnstile = Turnstile::asking(|| false);
        turnstile.is_turning.store(true, Ordering::SeqCst);
        let waits = Waits::new(&turnstile);
        assert!(!turnstile.stops_turning() && turnstile.is_turning.load(Ordering::SeqCst));
        drop(waits);
        assert!(turnstile.stops_turning() && !turnstile.is_turning.load(Ordering::SeqCst));
    }

    #[test]
    fn a_flood_rests_before_each_round_while_the_work_it_leaves_behind_starves() {
        run(async {
            let (turnstile, events) = (Turnstile::asking(|| true), Events::default());
            turnstile.note_other();
            let began = Instant::now();
            for one in flood(&turnstile, &events, 20 * limits::FLOOD_TURNS as u32) {
                one.await.unwrap();
            }
            assert!(began.elapsed() >= 20 * limits::FLOOD_REST, "{:?}", began.elapsed());
            at_rest(&turnstile).await;
        });
    }

    #[test]
    fn others_who_do_not_come_again_are_forgotten() {
        run(async {
            let turnstile = Turnstile::asking(|| false);
            turnstile.note_other();
            for _ in 0..=limits::FLOOD_TURNS_REMEMBERED {
                turnstile.pass().await;
            }
            assert!(!turnstile.is_shared.load(Ordering::Relaxed));
        });
    }

    #[test]
    fn several_threads_let_everybody_through() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
        runtime.block_on(async {
            let (turnstile, events) = (Turnstile::asking(|| false), Events::default());
            for _ in 0..20 {
                turnstile.note_other();
                for one in flood(&turnstile, &events, 200) {
                    one.await.unwrap();
                }
            }
            assert_eq!(events.lock().unwrap().len(), 4_000);
            at_rest(&turnstile).await;
        });
    }
}
