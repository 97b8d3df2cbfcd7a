//! How long from saving a case file to the first blocked request, with 390,000 names loaded?
//!
//! Fifty times: one more case file is saved, and a client asks for its host until it is blocked. Wall time,
//! since it is waiting that counts here; median and worst are printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may stop at a surprise"
)]

mod edge;
mod names;

use std::fmt::Write;
use std::time::{Duration, Instant};

use edge::{Edge, case, origin, save, status};
use names::Names;

const NAMES: usize = 390_000;
const LISTS: usize = 3;
const ROUNDS: usize = 50;

fn main() {
    let edge = Edge::start(origin(), |policies| {
        for number in 0..LISTS {
            let list =
                Names::new(number as u64 + 1).take(NAMES / LISTS).fold(String::new(), |mut text, name| {
                    writeln!(text, "{name}").unwrap();
                    text
                });
            save(policies, &format!("lists/list-{number}.txt"), &list);
            let lines = format!("host_lists = [\"lists/list-{number}.txt\"]");
            save(policies, &format!("cases/L-{number}.toml"), &case(&format!("L-{number}"), &lines));
        }
    });
    let mut times: Vec<Duration> = (0..ROUNDS).map(|round| save_to_block(&edge, round)).collect();
    times.sort();
    println!(
        "save to first block, {NAMES} names, {ROUNDS} rounds: median {:?}, worst {:?}, best {:?}",
        times[ROUNDS / 2],
        times[ROUNDS - 1],
        times[0]
    );
}

fn save_to_block(edge: &Edge, round: usize) -> Duration {
    let host = format!("new-{round}.example");
    assert_eq!(status(edge.address, &host), 200);
    let text = case(&format!("N-{round}"), &format!("hosts = [\"{host}\"]"));
    let began = Instant::now();
    save(&edge.policies(), &format!("cases/N-{round}.toml"), &text);
    while status(edge.address, &host) != 403 {
        assert!(began.elapsed() < Duration::from_secs(30), "the case never came into force");
    }
    began.elapsed()
}
