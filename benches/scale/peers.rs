//! HAProxy and nginx on the same names: memory a name and time to load.

use std::collections::HashSet;

use crate::edge::listed::{haproxy, nginx};
use crate::edge::process::steady_memory_kib;
use crate::edge::server::Server;
use crate::{LISTS, list};

pub fn measure(count: usize) {
    let names: Vec<String> = (0..LISTS).map(|number| list(number, count / LISTS)).collect();
    let names: HashSet<&str> = names.iter().flat_map(|text| text.lines()).collect();
    println!("peers, {} names", names.len());
    type Start<'n> = fn(Option<usize>, &HashSet<&'n str>) -> Option<Server>;
    for (program, start) in [("haproxy", haproxy as Start<'_>), ("nginx", nginx)] {
        let (Some(full), Some(empty)) = (start(None, &names), start(None, &HashSet::new())) else {
            println!("  {program}: not measured, it is not installed or did not start");
            continue;
        };
        let [full_kib, empty_kib] = [&full, &empty].map(|server| steady_memory_kib(|| server.pids()));
        let a_name = (full_kib.saturating_sub(empty_kib) * 1024) as f64 / names.len() as f64;
        println!("  {program}: {a_name:.0} bytes a name, master and worker; ready after {:.1?}", full.took);
    }
}
