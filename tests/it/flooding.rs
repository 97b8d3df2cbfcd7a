//! Floods stand back behind everybody else, and everybody gets every answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use http::Request;

use crate::harness::audit::of_kind;
use crate::harness::{CaseFile, Edge, Origin, Setup};

const BLOCKED: &str = "blocked.example";
const OTHER: &str = "other.example";

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
