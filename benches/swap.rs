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
use std::time::Duration;

use edge::{Edge, origin, save_list};
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
            save_list(policies, &format!("L-{number}"), &list);
        }
    });
    let one = |round| edge.block(&format!("N-{round}"), &format!("new-{round}.example"));
    let mut times: Vec<Duration> = (0..ROUNDS).map(one).collect();
    times.sort();
    println!(
        "save to first block, {NAMES} names, {ROUNDS} rounds: median {:?}, worst {:?}, best {:?}",
        times[ROUNDS / 2],
        times[ROUNDS - 1],
        times[0]
    );
}
