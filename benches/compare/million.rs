//! A million names: memory, start, a reload of the whole list, and one more name.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::tempdir;

use crate::Settings;
use crate::edge::process::{memory_kib, wait_for_rest};
use crate::edge::server::{Haproxy, Nginx, Server};
use crate::edge::{Edge, case, save, status};
use crate::names::Names;
use crate::servers::{ALLOWED, EDGE, Yard};
use crate::table::{Side, Table};

const NAMES: usize = 1_000_000;
const COLUMNS: [&str; 4] = ["octets of memory a name", "start, s", "reload, s", "one more name, ms"];
pub const NGINX: &str = "nginx";
pub const HAPROXY: &str = "HAProxy";

/// Each turn starts anew. All names are exact ones.
pub fn measure(yard: &Yard, settings: &Settings) -> Table {
    let names: HashSet<String> = Names::new(7).take(NAMES).map(|name| name.to_string()).collect();
    let empty = HashSet::new();
    let base = [
        rested(&[edge(yard, &empty).0.pid()]),
        rested(&nginx(yard, &empty).pids()),
        rested(&haproxy(yard, &empty).pids()),
    ];
    let a_name = |kib: u64, base: u64| (kib.saturating_sub(base) * 1024) as f64 / names.len() as f64;
    let sides = vec![
        Side::new(EDGE, || {
            let (edge, took) = edge(yard, &names);
            let memory = a_name(rested(&[edge.pid()]), base[0]);
            let reload = reload_edge(&edge, &names);
            vec![memory, took.as_secs_f64(), reload.as_secs_f64(), millis(one_more_edge(&edge))]
        }),
        Side::new(NGINX, || {
            let server = nginx(yard, &names);
            let memory = a_name(rested(&server.pids()), base[1]);
            let reload = reload(&server, "names.conf", "all-new.example 1;\n", Signal::HUP);
            // There is no other way.
            let one_more = self::reload(&server, "names.conf", "one-more.example 1;\n", Signal::HUP);
            vec![memory, server.took.as_secs_f64(), reload.as_secs_f64(), millis(one_more)]
        }),
        Side::new(HAPROXY, || {
            let server = haproxy(yard, &names);
            let memory = a_name(rested(&server.pids()), base[2]);
            let reload = reload(&server, "names.map", "all-new.example 1\n", Signal::USR2);
            vec![memory, server.took.as_secs_f64(), reload.as_secs_f64(), millis(one_more_haproxy(&server))]
        }),
    ];
    Table::in_turns("a million names", &COLUMNS, settings.turns.min(3), sides)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Memory once nothing is left to do.
fn rested(pids: &[u32]) -> u64 {
    wait_for_rest(pids);
    memory_kib(pids)
}

fn lines(names: &HashSet<String>, behind: &str) -> String {
    let mut text = String::with_capacity(names.len() * 28);
    for name in names {
        writeln!(text, "{name}{behind}").unwrap();
    }
    text
}

/// Waits until a host is blocked.
fn until(address: SocketAddr, host: &str, code: u16) -> Duration {
    let began = Instant::now();
    while status(address, host) != code {
        assert!(began.elapsed() < Duration::from_secs(120), "`{host}` was never blocked");
        thread::sleep(Duration::from_millis(1));
    }
    began.elapsed()
}

fn edge(yard: &Yard, names: &HashSet<String>) -> (Edge, Duration) {
    let list = lines(names, "");
    // A list without a name is refused.
    let hosts = match names.is_empty() {
        true => "hosts = [\"first.example\"]",
        false => "hosts = [\"first.example\"]\nhost_lists = [\"lists/names.txt\"]",
    };
    let mut began = Instant::now();
    let edge = yard.edge_with("", |policies| {
        if !names.is_empty() {
            save(policies, "lists/names.txt", &list);
        }
        save(policies, "cases/L.toml", &case("L-1", hosts));
        began = Instant::now();
    });
    let took = began.elapsed();
    assert_eq!(status(edge.address, ALLOWED), 200);
    (edge, took)
}

fn reload_edge(edge: &Edge, names: &HashSet<String>) -> Duration {
    let list = lines(names, "") + "all-new.example\n";
    save(&edge.policies(), "lists/names.txt", &list);
    until(edge.address, "all-new.example", 403)
}

fn one_more_edge(edge: &Edge) -> Duration {
    save(&edge.policies(), "cases/N.toml", &case("N-1", "hosts = [\"one-more.example\"]"));
    until(edge.address, "one-more.example", 403)
}

/// Appends a line to a peer's list and has it all read again, until the host in the line is blocked.
fn reload(server: &Server, file: &str, line: &str, signal: Signal) -> Duration {
    let path = server.home.path().join(file);
    fs::write(&path, fs::read_to_string(&path).unwrap() + line).unwrap();
    let host = line.split(' ').next().unwrap();
    assert_eq!(status(server.addresses[0], host), 200);
    let began = Instant::now();
    server.signal(signal);
    until(server.addresses[0], host, 451);
    began.elapsed()
}

/// By its control socket, into the map in memory.
fn one_more_haproxy(server: &Server) -> Duration {
    let home = server.home.path();
    let map = home.join("names.map");
    let began = Instant::now();
    let mut control = UnixStream::connect(home.join("control")).unwrap();
    writeln!(control, "add map {} one-more.example 1", map.display()).unwrap();
    control.read_to_string(&mut String::new()).unwrap();
    until(server.addresses[0], "one-more.example", 451);
    began.elapsed()
}

fn nginx(yard: &Yard, names: &HashSet<String>) -> Server {
    let http = |addresses: &[SocketAddr], home: &Path| {
        fs::write(home.join("names.conf"), lines(names, " 1;")).unwrap();
        format!(
            "access_log off; map_hash_max_size {}; map_hash_bucket_size 128;\n\
             map $host $blocked {{ hostnames; default 0; include {}/names.conf; }}\n\
             server {{ listen {}; if ($blocked) {{ return 451; }} return 200; }}",
            (names.len() * 2).max(1024),
            home.display(),
            addresses[0]
        )
    };
    let nginx = Nginx { core: Some(yard.cores.server), workers: 1, listeners: 1, http: &http };
    nginx.start(tempdir().unwrap()).expect("nginx does not start")
}

fn haproxy(yard: &Yard, names: &HashSet<String>) -> Server {
    let sections = |addresses: &[SocketAddr], home: &Path| {
        fs::write(home.join("names.map"), lines(names, " 1")).unwrap();
        format!(
            "frontend f\n  bind {}\n\
             \x20 http-request return status 451 if {{ req.hdr(host),map_str({}/names.map) -m found }}\n\
             \x20 http-request return status 200\n",
            addresses[0],
            home.display()
        )
    };
    let haproxy = Haproxy { core: Some(yard.cores.server), listeners: 1, logs: false, sections: &sections };
    haproxy.start(tempdir().unwrap()).expect("HAProxy does not start")
}
