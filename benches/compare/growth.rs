//! What a blocked request costs as cases, names and connections grow.

use std::path::Path;
use std::time::Duration;

use crate::Settings;
use crate::crowd::Request;
use crate::edge::{Edge, case, save, save_list};
use crate::measure::{CONNECTIONS, Count, LIMIT, Load, saturate};
use crate::names::Names;
use crate::servers::{BLOCKED, WHOLE_PAGES, Yard};
use crate::table::{Side, Table};

/// Hosts that are asked for, spread over all there are.
const ASKED: usize = 10_000;
const LARGEST: usize = 10_000_000;
/// Names of one list.
const A_LIST: usize = 1_000_000;

/// An edge, and which hosts it is asked for on how many connections.
struct Stage {
    name: String,
    edge: Edge,
    requests: Vec<Request>,
    connections: usize,
}

/// Every stage in turns, on the edge alone.
pub fn measure(yard: &Yard, settings: &Settings) -> Table {
    let mut stages: Vec<Stage> = [1, 100, 1_000].into_iter().map(|count| cases(yard, count)).collect();
    let mut sizes = vec![1_000, 100_000, 1_000_000];
    if settings.large {
        sizes.push(LARGEST);
    }
    stages.extend(sizes.into_iter().map(|count| names(yard, count)));
    stages.extend([1, 100, 1_000, 10_000].into_iter().map(|count| connections(yard, count)));
    let window = settings.window / 2;
    let sides = stages.iter().map(|stage| stage.side(window)).collect();
    Table::in_turns("blocked, HTTP/1.1, as work grows", &LIMIT, settings.turns.min(3), sides)
}

impl Stage {
    fn side(&self, window: Duration) -> Side<'_> {
        Side::new(self.name.clone(), move || {
            let load = Load {
                target: self.edge.address,
                requests: &self.requests,
                status: 403,
                connections: self.connections,
                window,
                count: Count::Window,
            };
            saturate(&load, &[self.edge.pid()])
        })
    }
}

fn stage(yard: &Yard, name: String, hosts: &[String], prepare: impl FnOnce(&Path)) -> Stage {
    let edge = yard.edge_with(WHOLE_PAGES, prepare);
    let requests = hosts.iter().map(|host| Request::get(host)).collect();
    Stage { name, edge, requests, connections: CONNECTIONS }
}

fn counted(count: usize, of: &str) -> String {
    match count {
        1 => format!("1 {of}"),
        count => format!("{} {of}s", crate::table::cell(count as f64)),
    }
}

/// So many cases with a host each.
fn cases(yard: &Yard, count: usize) -> Stage {
    let hosts: Vec<String> = (0..count).map(|number| format!("site-{number}.example")).collect();
    stage(yard, counted(count, "case"), &hosts, |policies| {
        for (number, host) in hosts.iter().enumerate() {
            let text = case(&format!("C-{number}"), &format!("hosts = [\"{host}\"]"));
            save(policies, &format!("cases/{number}.toml"), &text);
        }
    })
}

/// So many names, in a case and a list for each million of them.
fn names(yard: &Yard, count: usize) -> Stage {
    let names: Vec<String> = Names::new(count as u64).take(count).map(|name| name.to_string()).collect();
    let asked: Vec<String> = names.iter().step_by((count / ASKED).max(1)).cloned().collect();
    stage(yard, counted(count, "name"), &asked, |policies| {
        for (number, list) in names.chunks(A_LIST).enumerate() {
            save_list(policies, &format!("L-{number}"), &list.join("\n"));
        }
    })
}

fn connections(yard: &Yard, count: usize) -> Stage {
    let name = counted(count, "connection");
    let hosts = [BLOCKED.to_owned()];
    let stage = stage(yard, name, &hosts, |policies| {
        save(policies, "cases/b.toml", &case("B-1", &format!("hosts = [\"{BLOCKED}\"]")));
    });
    Stage { connections: count, ..stage }
}
