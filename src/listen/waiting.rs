//! What a connection listens to beside its client, armed once and kept from one request to the next.
//!
//! A timer and two lists of waiters, joined and left again with every request, cost more than the verdict does. What is
//! kept here stays in its list, and is looked at again only when it has rung.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use pingora::server::ShutdownWatch;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::leave::Leave;

/// Tells of changes, one after the other.
pub(super) trait Changes: Send {
    /// Returns true with the next change; false when there will be none any more.
    fn next(&mut self) -> impl Future<Output = bool> + Send;
}

impl Changes for watch::Receiver<u64> {
    async fn next(&mut self) -> bool {
        self.changed().await.is_ok()
    }
}

/// Notes that it was rung, and wakes a task.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // In this order: whoever is woken finds it rung.
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future that is polled again only when it has asked for it, or in another task.
pub(super) struct Armed<T> {
    future: Boxed<T>,
    bell: Option<Arc<Bell>>,
}

impl<T> Armed<T> {
    pub(super) fn new(future: Boxed<T>) -> Self {
        Self { future, bell: None }
    }

    /// Waits for it. It must not be asked again once it was ready.
    pub(super) async fn ready(&mut self) -> T {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let known = self.bell.take().filter(|bell| bell.task.will_wake(cx.waker()));
        let bell = match known {
            Some(bell) if !bell.rung.swap(false, Ordering::AcqRel) => {
                self.bell = Some(bell);
                return Poll::Pending;
            }
            Some(bell) => bell,
            None => Arc::new(Bell { rung: AtomicBool::new(false), task: cx.waker().clone() }),
        };
        let waker = Waker::from(Arc::clone(&bell));
        self.bell = Some(bell);
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// Changes of the rules, for one task that asks again and again.
pub(super) struct Standing {
    waiting: Armed<Option<watch::Receiver<u64>>>,
    /// There was a change that the connection has not been judged by.
    owed: bool,
}

impl Standing {
    /// Tells of what changes from now on.
    pub(super) fn new(changes: watch::Receiver<u64>) -> Self {
        Self { waiting: wait(changes), owed: false }
    }

    /// A request begins, which is judged by the rules of a later moment than this.
    pub(super) fn begin(&mut self) {
        self.owed = false;
    }

    /// Whether there was a change since the last request began.
    pub(super) fn is_owed(&self) -> bool {
        self.owed
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(changes) = ready!(self.waiting.poll(cx)) else {
            self.waiting = Armed::new(Box::pin(std::future::ready(None)));
            return Poll::Ready(false);
        };
        self.waiting = wait(changes);
        self.owed = true;
        Poll::Ready(true)
    }
}

impl Changes for Standing {
    async fn next(&mut self) -> bool {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

/// The next change, and then the changes after it; nothing when nobody can change anything any more.
fn wait(mut changes: watch::Receiver<u64>) -> Armed<Option<watch::Receiver<u64>>> {
    Armed::new(Box::pin(async move { changes.changed().await.is_ok().then_some(changes) }))
}

/// The time a client has until its next request.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// Goes off at the end of this time or of an earlier one.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    /// Returns `patience` from now. The timer is set the first time, and when it goes off for an earlier wait.
    pub(super) async fn over(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        std::future::poll_fn(|cx| {
            loop {
                ready!(timer.as_mut().poll(cx));
                if timer.deadline() >= end {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(end);
            }
        })
        .await;
    }
}

/// Whether the edge stops.
pub(super) struct Stopping {
    shutdown: ShutdownWatch,
    leave: Leave,
    waiting: Option<Armed<()>>,
}

impl Stopping {
    /// Returns when a connection without a request is to be closed because the edge stops.
    pub(super) async fn idle(&mut self) {
        let (shutdown, leave) = (&self.shutdown, &self.leave);
        let waiting = self.waiting.get_or_insert_with(|| {
            let (mut shutdown, leave) = (shutdown.clone(), leave.clone());
            Armed::new(Box::pin(async move { leave.idle(&mut shutdown).await }))
        });
        waiting.ready().await;
        // Whoever asks once more is told in the same way.
        self.waiting = None;
    }
}

/// All of it, for one connection.
pub(super) struct Waiting {
    pub(super) changes: Standing,
    pub(super) idle: Idle,
    pub(super) stopping: Stopping,
}

impl Waiting {
    /// For a connection that `changes` of the rules, a stop of the edge and its own silence may end.
    pub(super) fn new(changes: watch::Receiver<u64>, shutdown: &ShutdownWatch, leave: &Leave) -> Self {
        let stopping = Stopping { shutdown: shutdown.clone(), leave: leave.clone(), waiting: None };
        Self { changes: Standing::new(changes), idle: Idle::default(), stopping }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;

    fn poll(standing: &mut Standing) -> Poll<bool> {
        pin!(standing.next()).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn each_change_is_told_of_whenever_it_comes() {
        let sender = watch::Sender::new(0);
        let mut standing = Standing::new(sender.subscribe());
        let change = || sender.send_modify(|count| *count += 1);
        change();
        assert_eq!(poll(&mut standing), Poll::Ready(true), "before the first look");
        for _ in 0..3 {
            assert!(poll(&mut standing).is_pending());
            change();
            assert_eq!(poll(&mut standing), Poll::Ready(true));
            assert!(standing.is_owed());
            standing.begin();
            assert!(!standing.is_owed());
        }
        change();
        change();
        standing.begin();
        assert_eq!(poll(&mut standing), Poll::Ready(true), "two between two looks are one");
        assert!(poll(&mut standing).is_pending());
        drop(sender);
        assert_eq!(poll(&mut standing), Poll::Ready(false));
        assert_eq!(poll(&mut standing), Poll::Ready(false));
    }

    /// Rung is what waits, and nothing else that is polled beside it.
    #[tokio::test]
    async fn whoever_waits_is_woken_by_each_change() {
        let sender = watch::Sender::new(0);
        let mut standing = Standing::new(sender.subscribe());
        for _ in 0..3 {
            let change = async {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                sender.send_modify(|count| *count += 1);
            };
            let (told, ()) = tokio::join!(standing.next(), change);
            assert!(told);
        }
    }

    #[tokio::test]
    async fn another_task_is_woken_as_well() {
        let sender = watch::Sender::new(0);
        let mut standing = Standing::new(sender.subscribe());
        assert!(poll(&mut standing).is_pending());
        let waiting = tokio::spawn(async move { standing.next().await });
        tokio::task::yield_now().await;
        sender.send_modify(|count| *count += 1);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn the_time_is_counted_from_the_last_wait_with_one_timer() {
        let mut idle = Idle::default();
        let (short, long) = (Duration::from_millis(30), Duration::from_millis(200));
        assert!(timeout(Duration::ZERO, idle.over(short)).await.is_err());
        let began = Instant::now();
        idle.over(long).await;
        assert!(began.elapsed() >= long, "the timer of an earlier wait went off");
        let hour = Duration::from_secs(3600);
        assert!(timeout(Duration::ZERO, idle.over(hour)).await.is_err());
        // The settings may have become stricter.
        timeout(Duration::from_secs(60), idle.over(short)).await.unwrap();
    }
}
