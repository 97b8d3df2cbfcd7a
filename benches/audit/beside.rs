//! What a lane that holds nothing costs the sealer: the other process of a graceful upgrade, at rest.
//!
//! Two logs share a directory as two processes would, and one of them seals for both.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use interdict::{
    audit::{Audit, ClientPrivacy, Options},
    clock::SystemClock,
};

use crate::{
    attack::{Attack, Dice},
    measure::{directory, judge, micros, process_cpu},
};

const RECORDS: u64 = 200_000;
/// Sealing beside a lane at rest may cost so much of what it costs alone.
const GOAL: f64 = 1.15;

/// Who records, and whether another process is there.
#[derive(Clone, Copy)]
enum Lanes {
    Alone,
    TheOneThatSeals,
    TheOneBeside,
}

pub(crate) fn run() {
    let (_, alone) = measure(Lanes::Alone);
    println!("sealing one lane alone: {:.2} µs of CPU a record", micros(alone) / RECORDS as f64);
    let cases = [
        ("the one that seals records", Lanes::TheOneThatSeals),
        ("the other one records", Lanes::TheOneBeside),
    ];
    for (what, lanes) in cases {
        let (took, cpu) = measure(lanes);
        let ratio = cpu.as_secs_f64() / alone.as_secs_f64();
        judge(
            &format!("sealing beside a lane at rest, {what}"),
            format!("{:.2} µs of CPU a record, {ratio:.2} × alone", micros(cpu) / RECORDS as f64),
            "< 1.15 × alone",
            ratio < GOAL,
        );
        println!("  {:.0} records/s until all is sealed", RECORDS as f64 / took.as_secs_f64());
    }
}

/// Time and processor time from the first record until all are under a checkpoint.
fn measure(lanes: Lanes) -> (Duration, Duration) {
    let home = directory();
    let (seals, beside) = (open(home.path(), false), open(home.path(), true));
    let beside = if matches!(lanes, Lanes::Alone) {
        beside.close().unwrap();
        None
    } else {
        Some(beside)
    };
    let records = match (&beside, lanes) {
        (Some(beside), Lanes::TheOneBeside) => beside,
        _ => &seals,
    };
    let (attack, mut dice) = (Attack::new(), Dice::new(1));
    let (start, cpu) = (Instant::now(), process_cpu());
    for _ in 0..RECORDS {
        assert!(records.record(&attack.event(&mut dice)).is_recorded());
    }
    while seals.counters().seq < RECORDS {
        assert!(seals.counters().sealing_ok);
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = (start.elapsed(), process_cpu() - cpu);
    seals.close().unwrap();
    beside.into_iter().for_each(|beside| beside.close().unwrap());
    took
}

fn open(home: &Path, succeed: bool) -> Audit {
    let options =
        Options { client: ClientPrivacy::Full, succeed, ..Options::new(home.join("audit"), "ams-1") };
    Audit::open(options, Arc::new(SystemClock)).unwrap().0
}
