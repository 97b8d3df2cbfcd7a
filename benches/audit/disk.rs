//! `acknowledge = "disk"`: many requests at a time wait for the group commit, at the rate of the goal and as fast as it
//! goes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use interdict::{
    audit::{Acknowledge, Audit, ClientPrivacy, Options},
    clock::SystemClock,
};

use crate::{
    attack::{Attack, Dice},
    measure::{Plain, bare_syncs, directory, judge, micros, process_cpu},
};

const THREADS: usize = 2;
/// Requests under way at a time, over all threads.
const WAITING: usize = 2_000;
/// Records of one task, and the time after which it starts no more.
const EACH: usize = 500;
const LONGEST: Duration = Duration::from_secs(10);
const GOAL_RATE: f64 = 100_000.0;
/// With so much time from one record of a task to its next, all of them make the rate of the goal.
const PACE: Duration = Duration::from_millis(20);
const GOAL_P99: Duration = Duration::from_millis(20);

pub(crate) fn run(plain: &Plain) {
    measure(plain, Some(PACE));
    measure(plain, None);
}

fn measure(plain: &Plain, pace: Option<Duration>) {
    let syncs = bare_syncs();
    let bare = syncs[syncs.len() / 2];
    let home = directory();
    let options = Options {
        client: ClientPrivacy::Full,
        acknowledge: Acknowledge::Disk,
        ..Options::new(home.path().join("audit"), "ams-1")
    };
    let audit = Arc::new(Audit::open(options, Arc::new(SystemClock)).unwrap().0);
    let (start, cpu) = (Instant::now(), process_cpu());
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let audit = Arc::clone(&audit);
            std::thread::spawn(move || requests(&audit, number, start, pace))
        })
        .collect();
    let mut waits: Vec<Duration> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let acknowledged = start.elapsed();
    audit.close().unwrap();
    let closed = start.elapsed();
    let cpu = process_cpu() - cpu;
    let counters = audit.counters();
    assert_eq!((counters.gap, counters.unsynced, counters.seq), (0, 0, waits.len() as u64));

    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let rate = waits.len() as f64 / acknowledged.as_secs_f64();
    judge(
        &match pace {
            Some(_) => format!("disk, {WAITING} clients, 100,000 records/s asked for"),
            None => format!("disk, {WAITING} requests at a time, as fast as it goes"),
        },
        format!("{rate:.0} records/s at p99 {}", millis(at(0.99))),
        "100,000/s at p99 < 20 ms",
        // Paced, the rate is asked for; what it loses it loses at the end.
        rate >= GOAL_RATE * 0.97 && at(0.99) < GOAL_P99,
    );
    println!(
        "  p50 {}, p99.9 {}, longest {}; {:.0} records/s until all is sealed; {:.2} µs of CPU a record ({:.1} × a write(2))",
        millis(at(0.5)),
        millis(at(0.999)),
        millis(at(1.0)),
        waits.len() as f64 / closed.as_secs_f64(),
        micros(cpu) / waits.len() as f64,
        micros(cpu) / waits.len() as f64 / micros(plain.write)
    );
    println!(
        "  beside it, a bare fdatasync of 4 KiB here: p50 {}, p99 {}; p50 of a request is {:.1} × that",
        millis(bare),
        millis(syncs[syncs.len() * 99 / 100]),
        at(0.5).as_secs_f64() / bare.as_secs_f64()
    );
}

/// A thread with its share of the requests; the time each waited.
fn requests(audit: &Arc<Audit>, number: usize, start: Instant, pace: Option<Duration>) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let attack = Arc::new(Attack::new());
    let tasks: Vec<_> = (0..WAITING / THREADS)
        .map(|task| {
            let (audit, attack) = (Arc::clone(audit), Arc::clone(&attack));
            runtime.spawn(async move {
                let mut dice = Dice::new((number * WAITING + task) as u64);
                let mut waits = Vec::with_capacity(EACH);
                // The first ones spread over one turn; from then on each keeps its own time.
                let mut due = start + pace.unwrap_or_default() * task as u32 / (WAITING / THREADS) as u32;
                while waits.len() < EACH && start.elapsed() < LONGEST {
                    if let Some(pace) = pace {
                        tokio::time::sleep_until(due.into()).await;
                        due += pace;
                    }
                    let asked = Instant::now();
                    let pending = audit.record(&attack.event(&mut dice));
                    assert!(pending.await.is_recorded());
                    waits.push(asked.elapsed());
                }
                waits
            })
        })
        .collect();
    runtime.block_on(async {
        let mut all = Vec::new();
        for task in tasks {
            all.append(&mut task.await.unwrap());
        }
        all
    })
}
