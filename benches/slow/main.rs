//! Do thousands of slow clients slow down the others?
//!
//! 5,000 clients send their request head an octet a second, and come again as soon as they are closed; they are spread
//! over the ten seconds that a head may take, so that at any moment as many come as go. Meanwhile others ask at a steady
//! rate, half of them for a blocked host, and their latencies count from when each request was due. In turns: without
//! slow clients, with slow clients of the edge, and with as many slow clients of a server that does no more than read
//! what they say and answer 408 in time: what the machine itself makes of so many connections, clients and all.
//!
//! The edge has its own defaults. Two and a half minutes in all. The promise is for a machine that has nothing else to do: what
//! else it did is told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench may stop at a surprise"
)]
#![allow(unreachable_pub, reason = "a bench exports nothing")]

mod clients;
#[path = "../edge/mod.rs"]
mod edge;
mod reader;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clients::SlowClients;
use edge::process::{cpu_of, memory_kib, wait_for_rest};
use edge::{Edge, case, save};
use interdict::load::{self, Expect, Host, Plan, Protocol, Report};
use reader::Reader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The edge's default for a whole request head.
const DEADLINE: Duration = Duration::from_secs(10);
const SLOW: usize = 5_000;
/// Requests a second of the others.
const RATE: f64 = 3_000.0;
const WINDOW: Duration = Duration::from_secs(9);
const TURNS: usize = 3;
/// What the project promises of the 99th percentile of the others.
const AT_MOST: f64 = 1.2;
const BLOCKED: &str = "blocked.example";
const ALLOWED: &str = "allowed.example";

/// What one turn found.
struct Turn {
    latency: Report,
    /// Of a core, in percent, that the edge used.
    busy: f64,
    /// The same of everything on this machine but the edge and this bench: a machine with other work measures that.
    elsewhere: f64,
}

fn main() {
    raise_open_files();
    let edge = Edge::start(edge::origin(), |policies| {
        save(policies, "cases/b.toml", &case("B-1", &format!("hosts = [\"{BLOCKED}\"]")));
    });
    let reader = Reader::start(DEADLINE);
    others(&edge, Duration::from_secs(2));
    let (mut quiet, mut slow, mut machine) = (Vec::new(), Vec::new(), Vec::new());
    let (mut memory, mut ends) = (0, Vec::new());
    for _ in 0..TURNS {
        wait_for_rest(&[edge.pid()]);
        quiet.push(others(&edge, WINDOW));
        let before = memory_kib(&[edge.pid()]);
        let (turn, most) = beside(&edge, edge.address, &mut ends);
        slow.push(turn);
        memory = memory.max(most.saturating_sub(before));
        machine.push(beside(&edge, reader.address, &mut Vec::new()).0);
    }
    assert!(!ends.is_empty(), "no slow client was closed");
    ends.sort();
    let at = |of_1000: usize| ends[(ends.len() - 1) * of_1000 / 1000].as_secs_f64();
    println!(
        "{} slow clients closed with 408, from the first octet: p50 {:.2} s, p99 {:.2} s, at most {:.2} s",
        ends.len(),
        at(500),
        at(990),
        at(1000)
    );
    println!("memory of the edge for each of {SLOW}: {:.1} KiB at most", memory as f64 / SLOW as f64);
    let names = ["without slow clients", "beside slow clients of the edge", "beside those of a mere reader"];
    for (name, turns) in names.iter().zip([&quiet, &slow, &machine]) {
        let of = |percentile| median(turns.iter().map(|turn| turn.latency.all.percentile_us(percentile)));
        let busy = median(turns.iter().map(|turn| turn.busy));
        let elsewhere = median(turns.iter().map(|turn| turn.elsewhere));
        println!(
            "{name}: p50 {:.0} µs, p99 {:.0} µs; edge {busy:.1} % of a core, others on this machine {elsewhere:.0} %",
            of(50.0),
            of(99.0)
        );
    }
    let within = print_ratio("beside slow clients of the edge", &slow, &quiet);
    print_ratio("beside those of a mere reader", &machine, &quiet);
    println!("p99 of the others within {AT_MOST} ×: {}", if within { "yes" } else { "no" });
}

/// The latencies of the others while so many slow clients are under way, and the most memory the edge held.
fn beside(edge: &Edge, target: SocketAddr, ends: &mut Vec<Duration>) -> (Turn, u64) {
    let clients = SlowClients::start(target, SLOW, DEADLINE);
    // All are there, and the first are about to be closed.
    clients.wait_until_spread();
    let first = memory_kib(&[edge.pid()]);
    let turn = others(edge, WINDOW);
    let most = first.max(memory_kib(&[edge.pid()]));
    ends.extend(clients.finish());
    (turn, most)
}

/// The others: an open loop at a rate, every answer checked.
fn others(edge: &Edge, length: Duration) -> Turn {
    let host = |name: &str, expect| vec![Host { name: name.to_owned(), expect }];
    let plan = Plan {
        target: edge.address,
        protocol: Protocol::H1,
        blocked_share: 0.5,
        blocked: host(BLOCKED, Expect::Page),
        allowed: host(ALLOWED, Expect::Pass),
        path: "/".to_owned(),
        server_name: None,
        connections: 64,
        streams: 1,
        threads: 1,
        rate: RATE,
        duration: length,
        warm_up: Duration::from_millis(500),
        timeout: Duration::from_secs(10),
        seed: 1,
        keep_ids: false,
    };
    let used = || {
        let [edge, bench] = [edge.pid(), std::process::id()].map(|pid| cpu_of(&[pid]));
        (edge.0 + edge.1, busy_us() - edge.0 - edge.1 - bench.0 - bench.1)
    };
    let (before, began) = (used(), Instant::now());
    let latency = load::run(&plan, None, &mut |_| ()).unwrap().report();
    let (after, took) = (used(), began.elapsed().as_secs_f64());
    assert!(latency.is_sound(), "{}", latency.text());
    let percent = |before: f64, after: f64| (after - before) / 1e4 / took;
    Turn { latency, busy: percent(before.0, after.0), elsewhere: percent(before.1, after.1) }
}

/// Processor time that the whole machine has used so far, in microseconds (proc_stat(5)): idle and waiting apart.
fn busy_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let ticks: Vec<f64> =
        stat.lines().next().unwrap().split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else {
        panic!("not proc_stat(5): {stat}")
    };
    (user + nice + system + irq + softirq + steal) * 10_000.0
}

/// Prints what came of each pair of turns; whether the middle one is within bounds.
fn print_ratio(name: &str, turns: &[Turn], quiet: &[Turn]) -> bool {
    let ratios = |percentile| {
        let of = |turn: &Turn| turn.latency.all.percentile_us(percentile);
        let mut ratios: Vec<f64> =
            turns.iter().zip(quiet).map(|(turn, quiet)| of(turn) / of(quiet)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    };
    let (p50, p99) = (ratios(50.0), ratios(99.0));
    let text =
        |ratios: &[f64]| format!("{:.2} ({:.2} to {:.2})", ratios[TURNS / 2], ratios[0], ratios[TURNS - 1]);
    println!("{name}, ratio: p50 {}, p99 {}", text(&p50), text(&p99));
    p99[TURNS / 2] <= AT_MOST
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The clients, the server that only reads, and the others are all in this process.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(most > 2 * SLOW as u64 + 500, "too few open files are allowed (`ulimit -Hn`): {most}");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}
