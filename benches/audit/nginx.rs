//! What nginx's access log costs a request: the difference that the log makes to its processor time.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use crate::{
    edge::server::{Nginx, Server},
    measure::directory,
};

const REQUESTS: u32 = 60_000;
const TURNS: usize = 5;
/// As long as one of ours: the path and the user agent are in it.
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const LOGS: [(&str, &str); 2] = [
    ("nginx's access log", "access_log log combined"),
    ("nginx's access log, buffer=64k", "access_log log combined buffer=64k"),
];

/// Tells the processor time of one line of the access log, plain and buffered; says why when it cannot.
pub(crate) fn measure(mut tell: impl FnMut(&str, Duration)) {
    let Some(without) = start("access_log off") else {
        println!("  beside it, nginx: skipped, it is not installed");
        return;
    };
    if !ask(&without) {
        println!("  beside it, nginx: skipped, h2load is not installed");
        return;
    }
    let servers: Vec<Server> = LOGS.iter().filter_map(|(_, log)| start(log)).collect();
    let mut costs = vec![Vec::new(); servers.len() + 1];
    // In turns, so that all see the same weather.
    for _ in 0..TURNS {
        for (server, costs) in std::iter::once(&without).chain(&servers).zip(&mut costs) {
            costs.push(cost(server));
        }
    }
    let middle = |costs: &mut Vec<Duration>| {
        costs.sort();
        costs[costs.len() / 2]
    };
    let base = middle(&mut costs[0]);
    println!("  nginx without a log: {:.2} µs of CPU a request", crate::measure::micros(base));
    for ((name, _), costs) in LOGS.iter().zip(&mut costs[1..]) {
        match middle(costs).checked_sub(base).filter(|cost| !cost.is_zero()) {
            Some(cost) => tell(name, cost),
            None => println!("  beside it, {name}: lost in the noise of this machine"),
        }
    }
}

/// One worker, which logs as it is told.
fn start(log: &str) -> Option<Server> {
    let http = |addresses: &[SocketAddr], _: &Path| {
        format!("{log};\nserver {{ listen {}; return 403 \"blocked\"; }}", addresses[0])
    };
    Nginx { core: None, workers: 1, listeners: 1, http: &http }.start(directory())
}

/// Sends all requests of a turn; false when nothing can send them.
fn ask(server: &Server) -> bool {
    let url = format!("http://{}/threads/2026/11/a-title-of-common-length", server.addresses[0]);
    let output = Command::new("h2load")
        .args(["--h1", "-c", "32", "-t", "1", "-n", &REQUESTS.to_string(), "-H"])
        .arg(format!("user-agent: {AGENT}"))
        .arg(url)
        .output();
    let Ok(output) = output else { return false };
    String::from_utf8_lossy(&output.stdout).contains(&format!("{REQUESTS} done"))
}

/// Processor time of one request.
fn cost(server: &Server) -> Duration {
    let before = cpu(server);
    assert!(ask(server));
    (cpu(server) - before) / REQUESTS
}

/// Processor time of master and worker so far, to the nanosecond.
fn cpu(server: &Server) -> Duration {
    let of = |pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    server.pids().into_iter().map(of).sum()
}
