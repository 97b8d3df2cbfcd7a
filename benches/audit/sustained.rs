//! Records for as long as an attack lasts: how many a second end up sealed, and what memory that takes.
//!
//! Two threads record as fast as the sealer follows. The log is the one that the figures of sealed records are of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use interdict::{
    audit::{Audit, ClientPrivacy, Options},
    clock::SystemClock,
};

use crate::{
    attack::{Attack, Dice},
    measure::{Plain, directory, judge, micros, process_cpu, thread_cpu},
    request::{pseudonym, wait_sealed},
    sealed,
};

/// An hour's worth at 1,000 a second.
const RECORDS: u64 = 3_600_000;
/// The same log with pseudonyms; only its size is of interest.
const WITH_PSEUDONYMS: u64 = 1_000_000;
const PRODUCERS: u64 = 2;
/// Records that may wait to be sealed: the journal takes so many on a disk of any size.
const BACKLOG: u64 = 500_000;
/// Records between two looks at the backlog.
const STRIDE: u64 = 500;
const GOAL: f64 = 300_000.0;
/// Memory may differ by so much between the quarters.
const FLAT: u64 = 16 * 1024 * 1024;

struct Outcome {
    /// Until the last record was under a checkpoint, and until the log was closed, segments compressed.
    sealed: Duration,
    closed: Duration,
    /// Processor time of the whole process, and of the threads that record.
    cpu: Duration,
    producers: Duration,
    /// Resident memory after each quarter, and what of it is not a file's.
    resident: Vec<(u64, u64)>,
}

pub(crate) fn run(plain: &Plain) {
    let home = directory();
    let audit = home.path().join("audit");
    let options = Options { client: ClientPrivacy::Full, ..Options::new(&audit, "ams-1") };
    let outcome = record(options, RECORDS);
    let rate = RECORDS as f64 / outcome.closed.as_secs_f64();
    judge(
        "sustained, journaled and sealed until the log is closed",
        format!("{rate:.0} records/s over {:.1} s", outcome.closed.as_secs_f64()),
        "300,000/s",
        rate >= GOAL,
    );
    println!(
        "  of it, until the last record is under a checkpoint: {:.0} records/s",
        RECORDS as f64 / outcome.sealed.as_secs_f64()
    );
    let each = |time: Duration| micros(time) / RECORDS as f64;
    println!(
        "  processor time: {:.2} µs a record in all ({:.1} × a write(2) of the line), {:.3} µs of it on the threads that record",
        each(outcome.cpu),
        each(outcome.cpu) / micros(plain.write),
        each(outcome.producers)
    );
    memory(&outcome.resident);
    sealed::size("client in full", &audit, RECORDS);
    sealed::verified(&audit, RECORDS);

    let home = directory();
    let audit = home.path().join("audit");
    let options = Options { client: pseudonym(home.path()), ..Options::new(&audit, "ams-1") };
    record(options, WITH_PSEUDONYMS);
    sealed::size("client as a pseudonym", &audit, WITH_PSEUDONYMS);
}

fn memory(quarters: &[(u64, u64)]) {
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let shown = |part: fn(&(u64, u64)) -> u64| {
        quarters.iter().map(|quarter| mib(part(quarter))).collect::<Vec<_>>().join(", ")
    };
    let (least, most) =
        quarters.iter().fold((u64::MAX, 0), |(least, most), (all, _)| (least.min(*all), most.max(*all)));
    judge(
        &format!("resident memory after each quarter of {RECORDS} records"),
        format!("{} MiB", shown(|quarter| quarter.0)),
        "flat",
        most - least <= FLAT,
    );
    println!("  of it, memory that is no file's: {} MiB", shown(|quarter| quarter.1));
}

fn record(options: Options, records: u64) -> Outcome {
    let audit = Arc::new(Audit::open(options, Arc::new(SystemClock)).unwrap().0);
    let done = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), process_cpu());
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|number| {
            let (audit, done) = (Arc::clone(&audit), Arc::clone(&done));
            std::thread::spawn(move || produce(&audit, number, records / PRODUCERS, &done))
        })
        .collect();
    let mut resident = Vec::new();
    for quarter in 1..=4 {
        while done.load(Ordering::Relaxed) < quarter * records / 4 {
            std::thread::sleep(Duration::from_millis(2));
        }
        resident.push(crate::measure::resident());
    }
    let producers = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
    wait_sealed(&audit);
    let sealed = start.elapsed();
    audit.close().unwrap();
    let closed = start.elapsed();
    let counters = audit.counters();
    assert_eq!((counters.durable, counters.seq, counters.gap), (records, records, 0));
    Outcome { sealed, closed, cpu: process_cpu() - cpu, producers, resident }
}

/// Records, and returns the processor time that took.
fn produce(audit: &Audit, number: u64, records: u64, done: &AtomicU64) -> Duration {
    let (attack, mut dice) = (Attack::new(), Dice::new(number));
    let before = thread_cpu();
    for _ in 0..records / STRIDE {
        for _ in 0..STRIDE {
            assert!(audit.record(&attack.event(&mut dice)).is_recorded());
        }
        done.fetch_add(STRIDE, Ordering::Relaxed);
        loop {
            let counters = audit.counters();
            if counters.durable - counters.seq.min(counters.durable) < BACKLOG {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    thread_cpu() - before
}
