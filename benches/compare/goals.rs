//! What had to hold, and whether it does.

use crate::flooded;
use crate::measure::COST;
use crate::servers::{BARE, EDGE, HAPROXY, NGINX, NGINX_LOGGED};
use crate::swaps;
use crate::table::{Table, cell};

/// One ratio and its bound.
pub struct Goal {
    what: &'static str,
    found: Option<f64>,
    most: f64,
}

impl Goal {
    fn new(what: &'static str, found: Option<f64>, most: f64) -> Self {
        Self { what, found, most }
    }
}

/// Those of blocked requests at the limit and at a rate.
pub fn of_blocked(limit: &Table, tails: &Table) -> Vec<Goal> {
    vec![
        Goal::new(
            "processor time of a blocked request, to nginx without a log",
            limit.ratio(EDGE, NGINX, COST),
            0.9,
        ),
        Goal::new("… user time alone", limit.ratio(EDGE, NGINX, 1), 0.9),
        Goal::new("… to nginx with its access log", limit.ratio(EDGE, NGINX_LOGGED, COST), 0.8),
        Goal::new("… to HAProxy without a log", limit.ratio(EDGE, HAPROXY, COST), 0.7),
        Goal::new("p99 of blocked requests, to nginx without a log", tails.ratio(EDGE, NGINX, 1), 1.0),
    ]
}

pub fn of_allowed(limit: &Table) -> Vec<Goal> {
    let found = limit.ratio(EDGE, BARE, COST);
    vec![Goal::new("processor time of an allowed request, to a bare Pingora proxy", found, 1.02)]
}

pub fn of_tls(blocked: &Table, refused: &Table) -> Vec<Goal> {
    let [h2, handshake] = [blocked, refused].map(|table| table.ratio(EDGE, NGINX, COST));
    vec![
        Goal::new("processor time of a blocked HTTP/2 request over TLS, to nginx", h2, 1.0),
        Goal::new("processor time of a refused handshake, to nginx", handshake, 1.0),
    ]
}

pub fn of_swaps(table: &Table) -> Vec<Goal> {
    let p999 = |to| table.ratio(swaps::SWAPPED, to, 2);
    vec![
        Goal::new("p99.9 while 390,000 names are swapped every 5 s, to no swap", p999(swaps::QUIET), 1.2),
        Goal::new("… to nginx that is not reloaded", p999(swaps::NGINX_QUIET), 1.2),
    ]
}

pub fn of_flooded(table: &Table) -> Vec<Goal> {
    let found = table.row(EDGE).map(|row| row.median(flooded::TIMES));
    vec![Goal::new("p99 of allowed requests under a flood of one blocked host, to none", found, 1.5)]
}

/// All of them as a table.
pub fn markdown(goals: &[Goal]) -> String {
    let mut text = "| ratio, median of the turns | found | goal | |\n|---|---:|---:|---|".to_owned();
    for Goal { what, found, most } in goals {
        let word = match found {
            Some(found) if found <= most => "met",
            Some(_) => "missed",
            None => "not measured",
        };
        let found = cell(found.unwrap_or(f64::NAN));
        text.push_str(&format!("\n| {what} | {found} | {most:.2} | {word} |"));
    }
    text
}
