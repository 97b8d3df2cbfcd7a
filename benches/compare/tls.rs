//! Blocked requests over HTTP/2 with TLS, and handshakes that are refused for their server name.

use std::net::SocketAddr;
use std::time::Instant;

use crate::Settings;
use crate::client;
use crate::edge::process::{command, wait_for_rest};
use crate::measure::cost;
use crate::servers::{BLOCKED, Contender, HAPROXY, NGINX, REFUSED, WHOLE_PAGES, Yard};
use crate::table::{Side, Table};

const COLUMNS: [&str; 4] = ["a second", "µs user", "µs sys", "µs user + sys"];
const HANDSHAKES: usize = 8_000;

/// Both, for the edge, nginx and HAProxy.
pub fn measure(yard: &Yard, settings: &Settings) -> [Table; 2] {
    let contenders = [yard.edge(WHOLE_PAGES), yard.nginx(NGINX), yard.haproxy(HAPROXY)];
    let blocked = |contender| {
        Side::new(Contender::name(contender), move || {
            turn(contender, || ask(contender.tls(), settings, yard.cores.client))
        })
    };
    let refused = |contender| {
        Side::new(Contender::name(contender), move || {
            turn(contender, || {
                let began = Instant::now();
                client::be_refused(Yard::refusing(contender), REFUSED, HANDSHAKES);
                (HANDSHAKES as u64, HANDSHAKES as f64 / began.elapsed().as_secs_f64())
            })
        })
    };
    let title = "blocked, HTTP/2 over TLS, 16 connections of 10 streams";
    let blocked = Table::in_turns(title, &COLUMNS, settings.turns, contenders.iter().map(blocked).collect());
    let title = "TLS handshakes refused";
    [blocked, Table::in_turns(title, &COLUMNS, settings.turns, contenders.iter().map(refused).collect())]
}

/// Processor time until the server has come to rest.
fn turn(contender: &Contender, load: impl FnOnce() -> (u64, f64)) -> Vec<f64> {
    wait_for_rest(&contender.pids());
    let before = contender.cpu_us();
    let (count, rate) = load();
    wait_for_rest(&contender.pids());
    let (user, sys) = cost(before, contender.cpu_us(), count);
    vec![rate, user, sys, user + sys]
}

/// h2load for as long as everything is measured: how many answers came, and how many a second.
fn ask(address: SocketAddr, settings: &Settings, core: usize) -> (u64, f64) {
    let output = command("h2load", Some(core))
        .args(["-c", "16", "-m", "10", "-t", "1", "-D", &settings.window.as_secs().max(1).to_string()])
        .args(["-H", "accept: text/html", &format!("--connect-to={address}")])
        .arg(format!("https://{BLOCKED}/"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let word = |after: &str, before: &str| -> f64 {
        let found = text.split(after).nth(1).and_then(|rest| rest.split(before).next());
        found.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
    };
    let (done, blocked) = (word("started, ", " done"), word("3xx, ", " 4xx"));
    // Answers that were under way at the end have a status and are not done.
    assert!(done > 0.0 && blocked >= done && text.contains("0 2xx, 0 3xx"), "{text}");
    let took = word("finished in ", "s,");
    (done as u64, done / took)
}
