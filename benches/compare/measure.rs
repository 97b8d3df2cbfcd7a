//! One turn of one server: at its limit, or at a rate that it holds.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use interdict::load::{self, Expect, Host, Plan, Protocol, Report};

use crate::crowd::{Crowd, Request};
use crate::edge::process::{cpu_of, cpu_us, wait_for_rest};

const WARM_UP: Duration = Duration::from_millis(500);
pub const CONNECTIONS: usize = 64;

/// The columns of [`saturate`].
pub const LIMIT: [&str; 7] = [
    "requests/s",
    "µs user",
    "µs sys",
    "µs user + sys",
    "server core, % busy",
    "client core, % busy",
    "octets an answer",
];
/// The column of user and system time.
pub const COST: usize = 3;
/// The columns of [`tail`].
pub const TAIL: [&str; 4] = ["p50, µs", "p99, µs", "p99.9, µs", "sent late, % of requests"];

/// Whose processor time counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// That of everything, from the first connection until the server has come to rest: with records sealed and logs
    /// written.
    Whole,
    /// That of the time that is measured, where many connections would count for more than their requests.
    Window,
}

/// What is asked of a server at its limit.
#[derive(Clone, Copy)]
pub struct Load<'r> {
    pub target: SocketAddr,
    pub requests: &'r [Request],
    pub status: u16,
    pub connections: usize,
    pub window: Duration,
    pub count: Count,
}

/// As much as it bears.
pub fn saturate(load: &Load<'_>, pids: &[u32]) -> Vec<f64> {
    let me = std::process::id();
    wait_for_rest(pids);
    let first = cpu_of(pids);
    let mut crowd = Crowd::open(load.target, load.requests, load.status, load.connections);
    let warm = crowd.run_for(WARM_UP.max(load.window / 8));
    let (server, client, began) = (cpu_of(pids), cpu_us(me), Instant::now());
    let answers = crowd.run_for(load.window);
    let took = began.elapsed().as_secs_f64();
    let (server_after, client_after) = (cpu_of(pids), cpu_us(me));
    let bytes = crowd.answer_bytes();
    assert!(crowd.renewed * 100 <= answers, "{} connections were ended", crowd.renewed);
    let rest = crowd.settle();
    drop(crowd);
    let (user, sys) = match load.count {
        Count::Window => cost(server, server_after, answers),
        Count::Whole => {
            wait_for_rest(pids);
            cost(first, cpu_of(pids), warm + answers + rest)
        }
    };
    let busy = |from: (f64, f64), to: (f64, f64)| (to.0 + to.1 - from.0 - from.1) / took / 1e4;
    let rate = answers as f64 / took;
    vec![rate, user, sys, user + sys, busy(server, server_after), busy(client, client_after), bytes as f64]
}

/// What each of `count` costs, user and system.
pub fn cost(from: (f64, f64), to: (f64, f64), count: u64) -> (f64, f64) {
    let each = |from: f64, to: f64| (to - from) / count.max(1) as f64;
    (each(from.0, to.0), each(from.1, to.1))
}

/// A run of `interdict load`'s engine: an open loop at a rate, every answer checked.
pub fn tail(target: SocketAddr, host: &str, expect: Expect, rate: f64, length: Duration) -> Vec<f64> {
    let report = report(target, host, expect, rate, length);
    assert!(report.is_sound(), "{}", report.text());
    latencies(&report)
}

/// How a report names them.
const BROKEN: &str = "connections that broke";

/// The same with a server that breaks connections under requests when it reloads: those requests are left out.
pub fn tail_of_answered(
    target: SocketAddr,
    host: &str,
    expect: Expect,
    rate: f64,
    length: Duration,
) -> Vec<f64> {
    let report = report(target, host, expect, rate, length);
    let broken = report.failure_count();
    let only_broken = report.failures.iter().all(|failures| failures.kind == BROKEN);
    assert!(only_broken && broken * 100 < report.sent, "{}", report.text());
    if broken > 0 {
        println!("  {broken} of {} requests were not answered: their connections were broken", report.sent);
    }
    latencies(&report)
}

fn latencies(report: &Report) -> Vec<f64> {
    let late = report.generator.late_sends as f64 / report.sent.max(1) as f64 * 100.0;
    let at = |percentile| report.all.percentile_us(percentile);
    vec![at(50.0), at(99.0), at(99.9), late]
}

fn report(target: SocketAddr, host: &str, expect: Expect, rate: f64, length: Duration) -> Report {
    let host = vec![Host { name: host.to_owned(), expect }];
    let (blocked, allowed) = if expect == Expect::Pass { (Vec::new(), host) } else { (host, Vec::new()) };
    let plan = Plan {
        target,
        protocol: Protocol::H1,
        blocked_share: f64::from(u8::from(allowed.is_empty())),
        blocked,
        allowed,
        path: "/".to_owned(),
        server_name: None,
        connections: CONNECTIONS,
        streams: 1,
        threads: 1,
        rate,
        duration: length.max(Duration::from_secs(1)),
        warm_up: WARM_UP,
        timeout: Duration::from_secs(10),
        seed: 1,
        keep_ids: false,
    };
    load::run(&plan, None, &mut |_| ()).unwrap().report()
}
