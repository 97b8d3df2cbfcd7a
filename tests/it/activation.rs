//! Sockets that the service manager has bound before the edge is there.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use crate::harness::{CaseFile, Client, Edge, Origin, Response, Setup};

/// A socket as a socket unit has it.
fn unit() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A setup whose second listener has this address.
fn listening(origin: &Origin, address: SocketAddr) -> Setup {
    Setup::new()
        .origin(origin)
        .case(CaseFile::new("page", &["blocked.example"]))
        .table(&format!("[[listen]]\naddress = \"{address}\""))
}

fn client(edge: &Edge, address: SocketAddr) -> Client {
    Client::connect(address, edge.ledger()).unwrap()
}

fn get(edge: &Edge, address: SocketAddr, host: &str) -> Response {
    client(edge, address).get(host, "/").expect("an answer")
}

#[test]
fn a_socket_is_taken_for_the_address_it_listens_on_and_the_others_are_bound() {
    let origin = Origin::start();
    let (socket, address) = unit();
    let edge = listening(&origin, address).activated(socket).start();
    // Bound already, so that the edge could not have done it itself.
    assert_eq!(edge.tls_address(), address);
    get(&edge, address, "free.example").assert_forwarded();
    get(&edge, address, "blocked.example").assert_blocked(403);
    edge.get("blocked.example").assert_blocked(403);
    drop(edge);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn who_connects_while_the_edge_is_not_there_waits_and_is_served() {
    let origin = Origin::start();
    let (socket, address) = unit();
    let ledger = crate::harness::ledger::Ledger::default();
    let mut early = Client::connect(address, ledger).unwrap();
    early.send("GET /early HTTP/1.1\r\nHost: free.example\r\n\r\n");
    let mut edge = listening(&origin, address).activated(socket).start();
    early.response().unwrap().assert_forwarded();
    drop(early);
    edge.stop();
    let mut late = client(&edge, address);
    late.about("blocked.example").send("GET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n");
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    late.response().unwrap().assert_blocked(403);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn an_upgrade_hands_the_socket_on_and_a_process_started_later_does_not_take_it_for_its_own() {
    let origin = Origin::start();
    let (socket, address) = unit();
    let mut edge = listening(&origin, address).activated(socket).start();
    edge.upgrade();
    get(&edge, address, "free.example").assert_forwarded();
    edge.upgrade();
    get(&edge, address, "blocked.example").assert_blocked(403);
}

/// How a start with this descriptor fails.
fn refused(setup: Setup, descriptor: impl Into<OwnedFd>) -> String {
    let (_home, ended) = setup.activated(descriptor).try_start().err().expect("it does not start");
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn a_socket_that_nobody_asks_for_stops_the_start() {
    let origin = Origin::start();
    let (socket, address) = unit();
    let stderr = refused(Setup::new().origin(&origin), socket);
    let message = format!("a socket on `{address}`, and neither `[[listen]]` nor `[admin]` has this address");
    assert!(stderr.contains(&message), "{stderr}");
}

#[test]
fn what_is_no_listening_socket_stops_the_start() {
    let origin = Origin::start();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stderr = refused(Setup::new().origin(&origin), datagrams);
    assert!(stderr.contains("socket `edge.socket` of the service manager does not listen"), "{stderr}");
    let (listener, address) = unit();
    let connected = std::net::TcpStream::connect(address).unwrap();
    let stderr = refused(Setup::new().origin(&origin), connected);
    assert!(stderr.contains("does not listen for TCP connections"), "{stderr}");
    drop(listener);
}

#[test]
fn what_was_meant_for_another_process_is_left_alone() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).environment("LISTEN_PID", "1").environment("LISTEN_FDS", "7");
    setup.start().get("free.example").assert_forwarded();
}
