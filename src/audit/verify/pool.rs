//! Reads segments on all processors and hands them over in their order.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use super::scan::{Found, Task, scan};

/// How often progress is told.
const EVERY: Duration = Duration::from_millis(100);

/// Reads each task's segment; `each` gets them in order, `progress` the bytes done so far.
pub(super) fn scan_all(
    directory: &Path,
    tasks: &[Task],
    progress: &dyn Fn(u64),
    mut each: impl FnMut(&Task, Found),
) {
    let next = AtomicUsize::new(0);
    let done = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for _ in 0..threads {
            let send = send.clone();
            let (next, done) = (&next, &done);
            scope.spawn(move || work(directory, tasks, next, done, &send));
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut handed = 0;
        loop {
            match receive.recv_timeout(EVERY) {
                Ok((number, found)) => drop(waiting.insert(number, found)),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            while let Some(found) = waiting.remove(&handed) {
                if let Some(task) = tasks.get(handed) {
                    each(task, found);
                }
                handed += 1;
            }
            progress(done.load(Ordering::Relaxed));
        }
    });
}

fn work(
    directory: &Path,
    tasks: &[Task],
    next: &AtomicUsize,
    done: &AtomicU64,
    send: &mpsc::Sender<(usize, Found)>,
) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(task) = tasks.get(number) else { return };
        let mut told = 0;
        let found = scan(directory, task, &mut |bytes| {
            done.fetch_add(bytes.saturating_sub(told), Ordering::Relaxed);
            told = told.max(bytes);
        });
        if send.send((number, found)).is_err() {
            return;
        }
    }
}
