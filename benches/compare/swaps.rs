//! Blocked requests while policies of 390,000 names are swapped every five seconds.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use interdict::load::Expect;
use rustix::process::Signal;
use tempfile::tempdir;

use crate::Settings;
use crate::edge::listed::nginx_map;
use crate::edge::server::{Nginx, Server};
use crate::edge::{Edge, case, save, until};
use crate::measure::{TAIL, tail, tail_of_answered};
use crate::names::Names;
use crate::servers::{BLOCKED, SOME_ID, WHOLE_PAGES, Yard};
use crate::table::{Side, Table};

const NAMES: usize = 390_000;
const EVERY: Duration = Duration::from_secs(5);
/// Swaps of one turn.
const SWAPS: u32 = 2;
const NEW_LIST: &str = "lists/names.txt";
pub const QUIET: &str = "interdict, 390,000 names, no swap";
pub const SWAPPED: &str = "interdict, 390,000 names, swapped every 5 s";
pub const NGINX_QUIET: &str = "nginx, 390,000 names, no reload";
pub const NGINX_SWAPPED: &str = "nginx, 390,000 names, reloaded every 5 s";

/// At `rate`, with and without swaps; nginx does a whole reload for one.
pub fn measure(yard: &Yard, settings: &Settings, rate: f64) -> Table {
    // Each once, as nginx wants them.
    let mut names: HashSet<String> = Names::new(1).take(NAMES).map(|name| name.to_string()).collect();
    let list: String = names.iter().map(|name| format!("{name}\n")).collect();
    names.insert(BLOCKED.to_owned());
    let edge = yard.edge_with(WHOLE_PAGES, |policies| {
        save(policies, NEW_LIST, &list);
        let lines = format!("hosts = [\"{BLOCKED}\"]\nhost_lists = [\"{NEW_LIST}\"]");
        save(policies, "cases/b.toml", &case("B-1", &lines));
    });
    let nginx = nginx(yard, &names);
    let length = EVERY * SWAPS - Duration::from_secs(1);
    let ask = |address: SocketAddr| tail(address, BLOCKED, Expect::Page, rate, length);
    let answered = |address: SocketAddr| tail_of_answered(address, BLOCKED, Expect::Page, rate, length);
    let mut round = 0;
    let sides = vec![
        Side::new(QUIET, || ask(edge.address)),
        Side::new(SWAPPED, || {
            round += 1;
            swapped_edge(&edge, &list, round, || ask(edge.address))
        }),
        Side::new(NGINX_QUIET, || ask(nginx.addresses[0])),
        Side::new(NGINX_SWAPPED, || {
            every(SWAPS, |_| nginx.signal(Signal::HUP), || answered(nginx.addresses[0]))
        }),
    ];
    let title = "blocked, HTTP/1.1, at half of nginx's limit, while policies swap";
    Table::in_turns(title, &TAIL, settings.turns, sides)
}

/// Lists are written before, each with one more name, and moved in their place meanwhile.
fn swapped_edge(edge: &Edge, names: &str, round: u32, ask: impl FnOnce() -> Vec<f64>) -> Vec<f64> {
    let host = |swap: u32| format!("swap-{round}-{swap}.example");
    let beside = edge.home.path();
    let lists: Vec<PathBuf> = (0..SWAPS)
        .map(|swap| {
            let path = beside.join(format!("list-{swap}"));
            fs::write(&path, format!("{names}{}\n", host(swap))).unwrap();
            path
        })
        .collect();
    let place = edge.policies().join(NEW_LIST);
    let figures = every(SWAPS, |swap| fs::rename(&lists[swap as usize], &place).unwrap(), ask);
    // The last of them came into force, and so were all of them read.
    until(edge.address, &host(SWAPS - 1), 403, Duration::from_millis(20));
    figures
}

/// Does something so many times, every five seconds, while `ask` runs.
fn every(times: u32, mut act: impl FnMut(u32) + Send, ask: impl FnOnce() -> Vec<f64>) -> Vec<f64> {
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The first one comes a second after the warm-up.
            let mut wait = Duration::from_millis(1500);
            for time in 0..times {
                if stopped.recv_timeout(wait) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
                act(time);
                wait = EVERY;
            }
        });
        let figures = ask();
        drop(stop);
        figures
    })
}

fn nginx(yard: &Yard, names: &HashSet<String>) -> Server {
    let http = |addresses: &[SocketAddr], home: &Path| {
        format!(
            "access_log off; default_type text/html; {}\n\
             map $blocked $id {{ default \"\"; 1 {SOME_ID}; }}\n\
             server {{ listen {}; {} location / {{ return 200 ok; }} }}",
            nginx_map(names, home),
            addresses[0],
            yard.nginx_block()
        )
    };
    let nginx = Nginx { core: Some(yard.cores.server), workers: 1, listeners: 1, http: &http };
    nginx.start(tempdir().unwrap()).expect("nginx does not start")
}
