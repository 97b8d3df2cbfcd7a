//! The cost of one record on the request path, in `process` mode, with the log's threads at work.
//!
//! Records come in bursts, and each burst is sealed before the next, so that no figure owes anything to a backlog.

use std::{path::Path, sync::Arc, time::Duration};

use interdict::{
    audit::{Audit, ClientPrivacy, Options, Period, Pseudonyms},
    clock::SystemClock,
};

use crate::{
    attack::{Attack, Dice},
    measure::{Plain, directory, judge, median, micros, thread_cpu},
    nginx,
};

/// How the clients of a log in this directory are recorded.
type Privacy = fn(&Path) -> ClientPrivacy;

const BURST: u32 = 20_000;
const BURSTS: usize = 11;
const GOAL_US: f64 = 0.3;

pub(crate) fn run(plain: &Plain) {
    println!("one line: {} bytes", plain.line.len());
    let mut most = Duration::ZERO;
    let modes: [(&str, Privacy); 2] =
        [("client in full", |_| ClientPrivacy::Full), ("client as a pseudonym", pseudonym)];
    for (name, privacy) in modes {
        let home = directory();
        let cost = burst(home.path(), privacy(home.path()));
        let value = format!("{:.3} µs of CPU", micros(cost));
        judge(&format!("request path, {name}"), value, &format!("< {GOAL_US} µs"), micros(cost) < GOAL_US);
        most = most.max(cost);
    }
    compare("a buffered write of the line", plain.buffered, most);
    compare("a write(2) of the line", plain.write, most);
    nginx::measure(|name, cost| compare(name, cost, most));
}

pub(crate) fn pseudonym(home: &Path) -> ClientPrivacy {
    ClientPrivacy::Pseudonym(Pseudonyms { keys: home.join("keys"), period: Period::Month })
}

fn compare(what: &str, cost: Duration, record: Duration) {
    let ratio = record.as_secs_f64() / cost.as_secs_f64();
    println!("  beside it, {what}: {:.3} µs of CPU; a record costs {ratio:.2} × that", micros(cost));
}

/// Processor time of one record: the median of some bursts.
fn burst(home: &Path, client: ClientPrivacy) -> Duration {
    let options = Options { client, ..Options::new(home.join("audit"), "ams-1") };
    let audit = Audit::open(options, Arc::new(SystemClock)).unwrap().0;
    let (attack, mut dice) = (Attack::new(), Dice::new(1));
    let cost = median(BURSTS, || {
        let before = thread_cpu();
        for _ in 0..BURST {
            assert!(audit.record(&attack.event(&mut dice)).is_recorded());
        }
        let cost = (thread_cpu() - before) / BURST;
        wait_sealed(&audit);
        cost
    });
    audit.close().unwrap();
    cost
}

/// Waits until every record is under a checkpoint.
pub(crate) fn wait_sealed(audit: &Audit) {
    loop {
        let counters = audit.counters();
        if counters.seq >= counters.durable {
            return;
        }
        assert!(counters.sealing_ok && counters.writing_ok, "{counters:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
