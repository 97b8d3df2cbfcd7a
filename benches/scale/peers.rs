//! HAProxy and nginx on the same names: memory a name and time to load.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::edge::process::memory_kib;
use crate::edge::server::{Haproxy, Nginx, Server};
use crate::{LISTS, list};

pub fn measure(count: usize) {
    let names: Vec<String> = (0..LISTS).map(|number| list(number, count / LISTS)).collect();
    let names: HashSet<&str> = names.iter().flat_map(|text| text.lines()).collect();
    println!("peers, {} names", names.len());
    for (program, start) in [("haproxy", haproxy as fn(&HashSet<&str>) -> Option<Server>), ("nginx", nginx)] {
        let (Some(full), Some(empty)) = (start(&names), start(&HashSet::new())) else {
            println!("  {program}: not measured, it is not installed or did not start");
            continue;
        };
        let [full_kib, empty_kib] = [&full, &empty].map(|server| memory_kib(&server.pids()));
        let a_name = (full_kib.saturating_sub(empty_kib) * 1024) as f64 / names.len() as f64;
        println!("  {program}: {a_name:.0} bytes a name, master and worker; ready after {:.1?}", full.took);
    }
}

fn haproxy(names: &HashSet<&str>) -> Option<Server> {
    let sections = |addresses: &[SocketAddr], home: &Path| {
        let map: String = names.iter().map(|name| format!("{name} 1\n")).collect();
        fs::write(home.join("names.map"), map).unwrap();
        format!(
            "frontend f\n  bind {}\n\
             \x20 http-request return status 451 if {{ req.hdr(host),map_str({}/names.map) -m found }}\n\
             \x20 http-request return status 200\n",
            addresses[0],
            home.display()
        )
    };
    Haproxy { core: None, listeners: 1, logs: false, sections: &sections }.start(tempfile::tempdir().unwrap())
}

fn nginx(names: &HashSet<&str>) -> Option<Server> {
    let http = |addresses: &[SocketAddr], home: &Path| {
        let map: String = names.iter().map(|name| format!("{name} 1;\n")).collect();
        fs::write(home.join("names.conf"), map).unwrap();
        format!(
            "access_log off; map_hash_max_size {}; map_hash_bucket_size 128;\n\
             map $host $blocked {{ hostnames; default 0; include {}/names.conf; }}\n\
             server {{ listen {}; if ($blocked) {{ return 451; }} return 200; }}",
            (names.len() * 2).max(1024),
            home.display(),
            addresses[0]
        )
    };
    Nginx { core: None, workers: 1, listeners: 1, http: &http }.start(tempfile::tempdir().unwrap())
}
