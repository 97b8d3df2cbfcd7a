//! Blocked and allowed HTTP/1.1 requests: at the limit, and at half of nginx's.

use interdict::load::Expect;

use crate::Settings;
use crate::crowd::Request;
use crate::measure::{CONNECTIONS, Count, LIMIT, Load, TAIL, saturate, tail};
use crate::servers::{
    ALLOWED, BLOCKED, Contender, HAPROXY, HAPROXY_LOGGED, NGINX, NGINX_LOGGED, WHOLE_PAGES, Yard,
};
use crate::table::{Side, Table};

/// Blocked requests of all that block, in both ways; and half of nginx's highest rate.
pub fn blocked(yard: &Yard, settings: &Settings) -> (Table, Table, f64) {
    let contenders = [
        yard.edge(WHOLE_PAGES),
        yard.nginx(NGINX),
        yard.nginx(NGINX_LOGGED),
        yard.haproxy(HAPROXY),
        yard.haproxy(HAPROXY_LOGGED),
    ];
    let request = [Request::get(BLOCKED)];
    let limit = limits("blocked, HTTP/1.1, at the limit", &contenders, &request, settings, |contender| {
        contender.status
    });
    let half = (limit.row(NGINX).map_or(2.0, |row| row.median(0)) / 2.0).floor();
    let tails = tails("blocked, HTTP/1.1, at half of nginx's limit", &contenders, (BLOCKED, half), settings);
    (limit, tails, half)
}

/// Requests that pass, to one origin; and half of the lowest of their limits.
pub fn allowed(yard: &Yard, settings: &Settings) -> (Table, Table, f64) {
    let contenders = [yard.edge(WHOLE_PAGES), yard.bare(), yard.nginx(NGINX), yard.haproxy(HAPROXY)];
    let request = [Request::get(ALLOWED)];
    let limit = limits("allowed, HTTP/1.1, at the limit", &contenders, &request, settings, |_| 200);
    let least = limit.rows.iter().map(|row| row.median(0)).fold(f64::MAX, f64::min);
    let half = (least / 2.0).floor();
    let title = "allowed, HTTP/1.1, at half of the lowest limit";
    (limit, tails(title, &contenders, (ALLOWED, half), settings), half)
}

fn limits(
    title: &str,
    contenders: &[Contender],
    requests: &[Request],
    settings: &Settings,
    status: fn(&Contender) -> u16,
) -> Table {
    let side = |contender| {
        Side::new(Contender::name(contender), move || {
            let load = Load {
                target: contender.plain(),
                requests,
                status: status(contender),
                connections: CONNECTIONS,
                window: settings.window,
                count: Count::Whole,
            };
            saturate(&load, &contender.pids())
        })
    };
    Table::in_turns(title, &LIMIT, settings.turns, contenders.iter().map(side).collect())
}

fn tails(title: &str, contenders: &[Contender], (host, rate): (&str, f64), settings: &Settings) -> Table {
    let expect = if host == ALLOWED { Expect::Pass } else { Expect::Page };
    let side = |contender| {
        Side::new(Contender::name(contender), move || {
            tail(contender.plain(), host, expect, rate, settings.window)
        })
    };
    Table::in_turns(title, &TAIL, settings.turns, contenders.iter().map(side).collect())
}
