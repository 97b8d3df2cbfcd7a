//! A flood of one blocked host: what becomes of allowed requests to others?
//!
//! The flood comes from a process of its own that runs only when the core of the client has nothing else to do, so that
//! what is measured is the server and not the client's place in the queue for its core.

use std::env;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use interdict::load::Expect;

use crate::Settings;
use crate::crowd::{Crowd, Request};
use crate::edge::process::command;
use crate::measure::{CONNECTIONS, tail};
use crate::servers::{ALLOWED, BLOCKED, Contender, HAPROXY, NGINX, Yard};
use crate::table::{Side, Table};

/// Tells a child to be the flood: where to, the status that comes, how many seconds.
const TASK: &str = "INTERDICT_BENCH_FLOOD";
const RATE: f64 = 1_000.0;
const COLUMNS: [&str; 6] = [
    "quiet: p50, µs",
    "quiet: p99, µs",
    "flooded: p50, µs",
    "flooded: p99, µs",
    "p99, times",
    "flood, requests/s",
];
/// The column of what the flood does to the 99th percentile.
pub const TIMES: usize = 4;

/// Whether this process is to be the flood.
pub fn is_child() -> bool {
    env::var_os(TASK).is_some()
}

/// Floods for its time, and writes how many answers a second came.
pub fn flood() {
    let task = env::var(TASK).unwrap();
    let words: Vec<&str> = task.split(' ').collect();
    let requests = [Request::get(BLOCKED)];
    let target: SocketAddr = words[0].parse().unwrap();
    let mut crowd = Crowd::open(target, &requests, words[1].parse().unwrap(), CONNECTIONS);
    let length = Duration::from_secs_f64(words[2].parse().unwrap());
    let began = Instant::now();
    let answers = crowd.run_for(length);
    let took = began.elapsed().as_secs_f64();
    crowd.settle();
    println!("{}", answers as f64 / took);
}

/// With the edge's own bound on pages, since that is what a flood meets.
pub fn measure(yard: &Yard, settings: &Settings) -> Table {
    let contenders = [yard.edge(""), yard.nginx(NGINX), yard.haproxy(HAPROXY)];
    let side = |contender| {
        Side::new(Contender::name(contender), move || {
            let ask = || tail(contender.plain(), ALLOWED, Expect::Pass, RATE, settings.window);
            let quiet = ask();
            let mut child = start(contender, yard.cores.client, settings.window);
            let flooded = ask();
            let mut rate = String::new();
            child.stdout.take().unwrap().read_to_string(&mut rate).unwrap();
            assert!(child.wait().unwrap().success());
            let rate = rate.trim().parse().unwrap();
            vec![quiet[0], quiet[1], flooded[0], flooded[1], flooded[1] / quiet[1], rate]
        })
    };
    let title = "allowed, 1,000 a second, while one blocked host is flooded";
    Table::in_turns(title, &COLUMNS, settings.turns, contenders.iter().map(side).collect())
}

/// For longer than is measured.
fn start(contender: &Contender, core: usize, window: Duration) -> Child {
    let seconds = window.as_secs_f64() + 1.5;
    let program = env::current_exe().unwrap();
    command("chrt", Some(core))
        .args(["--idle", "0"])
        .arg(program)
        .env(TASK, format!("{} {} {seconds}", contender.plain(), contender.status))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
