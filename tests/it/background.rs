//! What stands back: work of its own behind requests, and floods behind everybody else.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use http::Request;

use crate::harness::audit::of_kind;
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

const BLOCKED: &str = "blocked.example";
const OTHER: &str = "other.example";

/// How nice each thread of this process is, by its name: the 19th field of its `stat` (proc(5)).
fn niceness(pid: i32) -> Vec<(String, i64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks
        .filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let stat = fs::read_to_string(task.path().join("stat")).ok()?;
            // The name, which may hold blanks, is in brackets; the 3rd field follows it.
            let fields = stat.rsplit_once(") ")?.1;
            Some((name.trim().to_owned(), fields.split(' ').nth(16)?.parse().ok()?))
        })
        .collect()
}

#[test]
fn sealing_and_compressing_stand_back_behind_the_threads_that_serve_requests() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("case", &[BLOCKED])).start();
    let pid = edge.process().pid().as_raw_pid();
    let of = |name: &str| niceness(pid).into_iter().find(|(thread, _)| thread == name).map(|(_, nice)| nice);
    let own = of("edge").unwrap();
    for behind in ["audit-seal", "audit-archive"] {
        wait_until("it stands back", || of(behind) == Some((own + 5).min(19)));
    }
    assert_eq!(of("audit-tend"), Some(own), "it makes room that requests may wait for");
    assert_eq!(of("keeper"), Some(own), "it brings the next case into force");
}

fn flooded(setup: Setup) -> Edge {
    setup.case(CaseFile::new("case", &[BLOCKED])).table("[limits]\nblocked_rate = 1").start()
}

#[test]
fn connections_that_flood_and_all_others_get_every_answer() {
    let origin = Origin::start();
    let edge = flooded(Setup::new().origin(&origin));
    let is_over = AtomicBool::new(false);
    let floods = thread::scope(|scope| {
        let flood = |_| {
            scope.spawn(|| {
                let mut client = edge.connect();
                for count in 0.. {
                    client.get(BLOCKED, "/").unwrap().assert_blocked(403);
                    if is_over.load(Ordering::Relaxed) {
                        // The same connection may ask for something else, which is judged by itself.
                        client.get(OTHER, "/").unwrap().assert_forwarded();
                        return count + 1;
                    }
                }
                unreachable!()
            })
        };
        let floods: Vec<_> = (0..30).map(flood).collect();
        let mut client = edge.connect();
        for _ in 0..150 {
            client.get(OTHER, "/").unwrap().assert_forwarded();
        }
        is_over.store(true, Ordering::Relaxed);
        floods.into_iter().map(|flood| flood.join().unwrap()).sum::<usize>()
    });
    assert_eq!(of_kind(&edge.finish(), "request.blocked").len(), floods);
    assert_eq!(origin.requests().len(), 150 + 30);
}

#[test]
fn streams_that_flood_leave_those_beside_them_their_answers() {
    let origin = Origin::start();
    let edge = flooded(Setup::new().origin(&origin));
    let mut clients = [edge.connect_h2(), edge.connect_h2()];
    let mut asked = 0;
    for round in 0..20 {
        for client in &mut clients {
            let hosts = (0..20).map(|index| if index % 5 == round % 5 { OTHER } else { BLOCKED });
            let get = |host| Request::get(format!("http://{host}/")).body(()).unwrap();
            let streams: Vec<_> = hosts.map(|host| (host, client.open(get(host), None).unwrap())).collect();
            for (host, stream) in streams {
                let status = if host == OTHER { 200 } else { 403 };
                assert_eq!(client.finish(stream).unwrap().status, status, "round {round}");
                asked += usize::from(host == BLOCKED);
            }
        }
    }
    assert_eq!(of_kind(&edge.finish(), "request.blocked").len(), asked);
    assert_eq!(origin.requests().len(), 2 * 20 * 4);
}
