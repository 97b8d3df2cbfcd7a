//! What does the edge cost beside a proxy that does nothing but forward, and beside nginx that only refuses?
//!
//! Processor time (user and system) of the serving process for one request or handshake, in alternating turns with its
//! peer. Each turn gives a ratio of its own, since absolute times drift with the machine; the medians are printed.
//!
//! * Forwarding: a bare `ProxyHttp` on the same Pingora, settings, allocator, TLS library and number of threads, over
//!   HTTP/1.1 and over HTTP/2 with TLS; once as bare as can be, and once with the features on that the edge has beside
//!   its enforcement (timeouts, bounds, what origins are told of clients). `h2load` asks (Debian: nghttp2-client).
//!   Both keep connections to the origin.
//! * Refusing a handshake for its server name: nginx with `ssl_reject_handshake on` and without a log. Ours is on record.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may stop at a surprise"
)]
#![allow(unreachable_pub, reason = "a bench exports nothing")]

mod client;
#[path = "../edge/mod.rs"]
mod edge;
mod nginx;

use std::net::SocketAddr;

use client::Protocol;
use edge::bare::{self, Bare};
use edge::process::cpu_of;
use edge::{Edge, case, certify, save};

const TURNS: usize = 7;
const REQUESTS: u32 = 60_000;
const HANDSHAKES: usize = 8_000;
const FREE: &str = "allowed.example";
const REFUSED: &str = "refused.example";

/// User time, and user and system time, in microseconds.
type Cost = (f64, f64);

fn main() {
    if bare::is_child() {
        bare::serve();
        return;
    }
    let origin = edge::origin();
    let home = tempfile::tempdir().unwrap();
    // Edge, bare proxy and nginx find it there.
    certify(&home.path().join("certs"), &[FREE]);
    let bare = Bare::start(origin, &home.path().join("certs").join(FREE), None);
    let nginx = nginx::start(home.path());
    let tls = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }\n";
    let edge = Edge::start_with(home, origin, tls, |policies| {
        let lines = format!("action = \"refuse\"\nhosts = [\"{REFUSED}\"]");
        save(policies, "cases/r.toml", &case("R-1", &lines));
    });
    if !client::has_h2load() {
        println!("h2load is not installed: nothing is forwarded");
    } else {
        let peers = [("bare Pingora with the same features", 2), ("bare Pingora", 0)];
        for (protocol, at) in [(Protocol::Http1, 0), (Protocol::Tls2, 1)] {
            for (peer, first) in peers {
                let ask = |address: SocketAddr| client::forward(address, FREE, REQUESTS, protocol);
                compare(
                    &format!("forwarded over {protocol:?}"),
                    f64::from(REQUESTS),
                    ("interdict", &|| ask(edge.listeners[at]), &|| vec![edge.pid()]),
                    (peer, &|| ask(bare.listeners[first + at]), &|| vec![bare.pid()]),
                );
            }
        }
    }
    match &nginx {
        Some(nginx) => compare(
            "a handshake refused",
            HANDSHAKES as f64,
            ("interdict, recorded", &|| client::be_refused(edge.listeners[1], REFUSED, HANDSHAKES), &|| {
                vec![edge.pid()]
            }),
            (
                "nginx, ssl_reject_handshake",
                &|| client::be_refused(nginx.addresses[0], REFUSED, HANDSHAKES),
                &|| nginx.pids(),
            ),
        ),
        None => println!("nginx is not installed: no handshake is refused"),
    }
}

/// A name, one turn of load, and the processes that serve it.
type Side<'s> = (&'s str, &'s dyn Fn(), &'s dyn Fn() -> Vec<u32>);

/// Measures both in turns and prints medians and ratios.
fn compare(what: &str, count: f64, ours: Side<'_>, theirs: Side<'_>) {
    let sides = [ours, theirs];
    let mut costs: [Vec<Cost>; 2] = Default::default();
    for turn in 0..=TURNS {
        // Who goes first changes with every turn.
        for at in [turn % 2, (turn + 1) % 2] {
            let cost = cost(&sides[at], count);
            // The first turn warms up.
            if turn > 0 {
                costs[at].push(cost);
            }
        }
    }
    println!("{what} (medians of {TURNS} turns):");
    for (side, costs) in sides.iter().zip(&costs) {
        let (user, all) = (median(costs.iter().map(|cost| cost.0)), median(costs.iter().map(|cost| cost.1)));
        println!("  {}: {user:.2} µs user, {all:.2} µs user + sys", side.0);
    }
    let ratios = |of: fn(&Cost) -> f64| {
        let mut ratios: Vec<f64> =
            costs[0].iter().zip(&costs[1]).map(|(ours, theirs)| of(ours) / of(theirs)).collect();
        ratios.sort_by(f64::total_cmp);
        format!("{:.3} ({:.3} to {:.3})", median(ratios.iter().copied()), ratios[0], ratios[ratios.len() - 1])
    };
    println!("  ratio: user {}, user + sys {}", ratios(|cost| cost.0), ratios(|cost| cost.1));
}

fn cost((_, load, pids): &Side<'_>, count: f64) -> Cost {
    let before = cpu_of(&pids());
    load();
    let after = cpu_of(&pids());
    let user = after.0 - before.0;
    (user / count, (user + after.1 - before.1) / count)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
