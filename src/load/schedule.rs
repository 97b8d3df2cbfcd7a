//! When which request is due, to a fraction of a millisecond.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

use super::stop::Stop;

/// The schedule of one thread: every `threads`th request is its own.
///
/// Workers that are free wait in line; the first one waits for the next request to be due. The runtime's own timers
/// know milliseconds only, which would be most of what is measured, so this one is the kernel's.
pub(super) struct Schedule {
    start: Instant,
    stop: Instant,
    rate: f64,
    threads: u64,
    turn: Mutex<Turn>,
    /// Nothing is begun once it is told.
    until: Stop,
}

struct Turn {
    next: u64,
    end: u64,
    timer: AsyncFd<OwnedFd>,
    /// When the schedule was broken off, if it was.
    cut: Option<Instant>,
}

/// One request that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    /// Which one.
    pub(super) number: u64,
    /// When it was due.
    pub(super) due: Instant,
    /// What the generator was late, though a worker was free.
    pub(super) lag: Duration,
}

impl Schedule {
    /// The requests below `end` of the thread `thread`; none is begun after `stop`.
    pub(super) fn new(
        (thread, threads): (u64, u64),
        (start, stop): (Instant, Instant),
        rate: f64,
        end: u64,
        until: Stop,
    ) -> std::io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor is open as long as it is here"
        )]
        let timer = AsyncFd::new(timer)?;
        let turn = Mutex::new(Turn { next: thread, end, timer, cut: None });
        Ok(Self { start, stop, rate, threads, turn, until })
    }

    /// Waits until the next request is due; nothing when there are no more.
    pub(super) async fn next(&self) -> std::io::Result<Option<Ticket>> {
        let asked = Instant::now();
        let mut turn = self.turn.lock().await;
        if turn.next >= turn.end || turn.is_cut(&self.until) {
            return Ok(None);
        }
        let number = turn.next;
        let due = self.due(number);
        let mut now = Instant::now();
        if now > self.stop {
            return Ok(None);
        }
        while now < due {
            tokio::select! {
                biased;
                waited = turn.wait(due - now) => waited?,
                () = self.until.told() => {}
            }
            if turn.is_cut(&self.until) {
                return Ok(None);
            }
            now = Instant::now();
        }
        turn.next += self.threads;
        Ok(Some(Ticket { number, due, lag: now - due.max(asked) }))
    }

    /// Those that were due and not begun, because every worker was busy to the end: which, when each was due, and how
    /// long it had waited. Returns when the schedule was broken off, if it was.
    pub(super) async fn left(&self, mut each: impl FnMut(u64, Instant, Duration)) -> Option<Instant> {
        let turn = self.turn.lock().await;
        let stop = turn.cut.unwrap_or(self.stop);
        for number in (turn.next..turn.end).step_by(self.threads.max(1) as usize) {
            let due = self.due(number);
            if due >= stop {
                break;
            }
            each(number, due, stop - due);
        }
        turn.cut
    }

    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos((number as f64 * 1e9 / self.rate) as u64)
    }
}

impl Turn {
    fn is_cut(&mut self, until: &Stop) -> bool {
        if self.cut.is_none() && until.is_told() {
            self.cut = Some(Instant::now());
        }
        self.cut.is_some()
    }

    async fn wait(&self, wait: Duration) -> std::io::Result<()> {
        let it_value = Timespec {
            tv_sec: wait.as_secs() as i64,
            // Zero would stop the timer.
            tv_nsec: i64::from(wait.subsec_nanos()).max(1),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        // Set anew, it tells of its next end by itself: nothing has to be read.
        self.timer.readable().await?.clear_ready();
        Ok(())
    }
}
