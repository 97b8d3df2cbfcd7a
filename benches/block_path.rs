//! What does one blocked request cost, the record included?
//!
//! A real edge, 64 keep-alive connections, HTTP/1.1; processor time of the edge's process by user and system,
//! divided by the requests. nginx with a `map` and `return 451`, and no log, is measured in turns with it when
//! it is installed, and the ratio is printed: absolute times drift with the machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may stop at a surprise"
)]

mod edge;

use std::net::SocketAddr;

use edge::process::cpu_of;
use edge::server::{Nginx, Server};
use edge::{Edge, case, origin, save};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;
const REQUESTS: usize = 2_000;
const TURNS: usize = 5;
const HOST: &str = "blocked.example";

fn main() {
    let edge = Edge::start(origin(), |policies| {
        save(policies, "cases/b.toml", &case("B-1", "hosts = [\".blocked.example\"]"));
    });
    let nginx = nginx();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut costs: [Vec<(f64, f64)>; 3] = Default::default();
    for _ in 0..TURNS {
        costs[0].push(cost(&runtime, edge.address, HOST, &[edge.pid()]));
        costs[1].push(cost(&runtime, edge.address, "allowed.example", &[edge.pid()]));
        if let Some(nginx) = &nginx {
            costs[2].push(cost(&runtime, nginx.addresses[0], HOST, &nginx.pids()));
        }
    }
    let blocked = show("interdict, blocked and recorded", &mut costs[0]);
    show("interdict, forwarded to an origin", &mut costs[1]);
    if nginx.is_some() {
        let peer = show("nginx map + return 451, no log", &mut costs[2]);
        println!("ratio to nginx: user {:.2}, user + sys {:.2}", blocked.0 / peer.0, blocked.1 / peer.1);
    } else {
        println!("nginx is not installed: no ratio");
    }
}

/// Prints the medians, user and user + sys, and returns them.
fn show(what: &str, costs: &mut [(f64, f64)]) -> (f64, f64) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let user = median(costs.iter().map(|cost| cost.0).collect());
    let all = median(costs.iter().map(|cost| cost.0 + cost.1).collect());
    println!("{what}: {user:.1} µs user, {all:.1} µs user + sys a request (median of {TURNS} turns)");
    (user, all)
}

/// Processor time of `pids` for one request, in microseconds.
fn cost(runtime: &tokio::runtime::Runtime, address: SocketAddr, host: &str, pids: &[u32]) -> (f64, f64) {
    runtime.block_on(load(address, host, REQUESTS / 10));
    let before = cpu_of(pids);
    runtime.block_on(load(address, host, REQUESTS));
    let after = cpu_of(pids);
    let requests = (CONNECTIONS * REQUESTS) as f64;
    ((after.0 - before.0) / requests, (after.1 - before.1) / requests)
}

async fn load(address: SocketAddr, host: &str, requests: usize) {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n");
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(ask(address, request.clone().into_bytes(), requests)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn ask(address: SocketAddr, request: Vec<u8>, requests: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..requests {
        stream.write_all(&request).await.unwrap();
        let mut filled = 0;
        loop {
            filled += stream.read(&mut buffer[filled..]).await.unwrap();
            if let Some(length) = whole_answer(&buffer[..filled]) {
                assert_eq!(filled, length);
                break;
            }
        }
    }
}

/// The length of the answer when all of it is there.
fn whole_answer(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap().to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1)?.split('\r').next()?;
    let whole = head + length.parse::<usize>().unwrap();
    (bytes.len() >= whole).then_some(whole)
}

/// nginx with two workers, for the same hosts.
fn nginx() -> Option<Server> {
    let http = |addresses: &[SocketAddr], _: &std::path::Path| {
        format!(
            "access_log off; map $host $blocked {{ hostnames; default 0; .blocked.example 1; }}\n\
             server {{ listen {}; if ($blocked) {{ return 451 \"This site's service was ended.\"; }}\n\
             location / {{ return 200 ok; }} }}",
            addresses[0]
        )
    };
    Nginx { core: None, workers: 2, listeners: 1, http: &http }.start(tempfile::tempdir().unwrap())
}
