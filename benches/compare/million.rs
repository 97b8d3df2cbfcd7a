//! A million names: memory, start, a reload of the whole list, and one more name.

use std::collections::HashSet;
use std::fmt::Display;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Settings;
use crate::edge::listed::{HAPROXY_LIST, NGINX_LIST, haproxy, haproxy_line, nginx, nginx_line};
use crate::edge::process::{memory_kib, steady_memory_kib, wait_for_rest};
use crate::edge::server::Server;
use crate::edge::{Edge, save_list, status, until};
use crate::names::Names;
use crate::servers::{ALLOWED, EDGE, Yard};
use crate::table::{Side, Table};

const NAMES: usize = 1_000_000;
const COLUMNS: [&str; 5] = [
    "octets of memory a name, just after",
    "octets of memory a name, at rest",
    "start, s",
    "reload, s",
    "one more name, ms",
];
pub const NGINX: &str = "nginx";
pub const HAPROXY: &str = "HAProxy";
/// The id of the case with the list.
const LIST: &str = "L-1";
/// Between two looks at whether a host is blocked.
const PAUSE: Duration = Duration::from_millis(1);
/// All that is asked for here is the name that is to be blocked, and by the time it could be, that is a blast.
const BLAST_IS_FINE: &str = "[guard]\nmax_blocked_requests_percent = 100\n";

/// Memory in KiB: once nothing is left to do, and once it stays as it is.
#[derive(Clone, Copy)]
struct Memory {
    just_after: u64,
    at_rest: u64,
}

/// Each turn starts anew. All names are exact ones.
pub fn measure(yard: &Yard, settings: &Settings) -> Table {
    let names: HashSet<String> = Names::new(7).take(NAMES).map(|name| name.to_string()).collect();
    let core = Some(yard.cores.server);
    let start_nginx = |names: &HashSet<String>| nginx(core, names).expect("nginx does not start");
    let start_haproxy = |names: &HashSet<String>| haproxy(core, names).expect("HAProxy does not start");
    let empty = HashSet::new();
    let bare = edge(yard, &empty).0;
    let base = [
        memory(|| (), || vec![bare.pid()]),
        of_server(&start_nginx(&empty)),
        of_server(&start_haproxy(&empty)),
    ];
    drop(bare);
    let row = |memory: Memory, base: Memory, start: Duration, reload: Duration, one_more: Duration| {
        let a_name = |kib: u64, base: u64| (kib.saturating_sub(base) * 1024) as f64 / names.len() as f64;
        vec![
            a_name(memory.just_after, base.just_after),
            a_name(memory.at_rest, base.at_rest),
            start.as_secs_f64(),
            reload.as_secs_f64(),
            one_more.as_secs_f64() * 1e3,
        ]
    };
    let sides = vec![
        Side::new(EDGE, || {
            let (edge, took) = edge(yard, &names);
            let memory = memory(|| edge.wait_until_kept(), || vec![edge.pid()]);
            let reload = reload_edge(&edge, &names);
            row(memory, base[0], took, reload, edge.block("N-1", "one-more.example"))
        }),
        Side::new(NGINX, || {
            let server = start_nginx(&names);
            let memory = of_server(&server);
            let again = |host: &str| reload(&server, NGINX_LIST, nginx_line, host, Signal::HUP);
            let reload = again("all-new.example");
            // There is no other way.
            row(memory, base[1], server.took, reload, again("one-more.example"))
        }),
        Side::new(HAPROXY, || {
            let server = start_haproxy(&names);
            let memory = of_server(&server);
            let reload = reload(&server, HAPROXY_LIST, haproxy_line, "all-new.example", Signal::USR2);
            row(memory, base[2], server.took, reload, one_more_haproxy(&server))
        }),
    ];
    Table::in_turns("a million names", &COLUMNS, settings.turns.min(3), sides)
}

/// `settle` waits for what a server has yet to do with its names after its first answer.
fn memory(settle: impl FnOnce(), pids: impl Fn() -> Vec<u32>) -> Memory {
    wait_for_rest(&pids());
    let just_after = memory_kib(&pids());
    settle();
    Memory { just_after, at_rest: steady_memory_kib(pids) }
}

/// Of one that does everything before it answers.
fn of_server(server: &Server) -> Memory {
    memory(|| (), || server.pids())
}

/// An edge, and how long it took from its start until it listened.
fn edge(yard: &Yard, names: &HashSet<String>) -> (Edge, Duration) {
    let list = list(names);
    let mut began = Instant::now();
    let edge = yard.edge_with(BLAST_IS_FINE, |policies| {
        // A list without a name is refused.
        save_list(policies, LIST, if names.is_empty() { "first.example\n" } else { &list });
        began = Instant::now();
    });
    let took = began.elapsed();
    assert_eq!(status(edge.address, ALLOWED), 200);
    (edge, took)
}

fn list(names: &HashSet<String>) -> String {
    names.iter().flat_map(|name| [name, "\n"]).collect()
}

fn reload_edge(edge: &Edge, names: &HashSet<String>) -> Duration {
    save_list(&edge.policies(), LIST, &(list(names) + "all-new.example\n"));
    let began = Instant::now();
    until(edge.address, "all-new.example", 403, PAUSE);
    began.elapsed()
}

/// Appends a host to a peer's list and has it all read again, until the host is blocked.
fn reload(
    server: &Server,
    file: &str,
    line: fn(&dyn Display) -> String,
    host: &str,
    signal: Signal,
) -> Duration {
    let path = server.home.path().join(file);
    fs::write(&path, fs::read_to_string(&path).unwrap() + &line(&host)).unwrap();
    assert_eq!(status(server.addresses[0], host), 200);
    let began = Instant::now();
    server.signal(signal);
    until(server.addresses[0], host, 451, PAUSE);
    began.elapsed()
}

/// By its control socket, into the map in memory.
fn one_more_haproxy(server: &Server) -> Duration {
    let home = server.home.path();
    let map = home.join(HAPROXY_LIST);
    let began = Instant::now();
    let mut control = UnixStream::connect(home.join("control")).unwrap();
    writeln!(control, "add map {} one-more.example 1", map.display()).unwrap();
    control.read_to_string(&mut String::new()).unwrap();
    until(server.addresses[0], "one-more.example", 451, PAUSE);
    began.elapsed()
}
