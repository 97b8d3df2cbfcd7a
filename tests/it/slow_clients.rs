//! Clients that take their time: with a handshake, with their answers, and between their streams.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{self, sockopt};

use crate::floods::rejected;
use crate::harness::tls::Authority;
use crate::harness::{Canned, CaseFile, Edge, Origin, PATIENCE, Setup, wait_until};

/// A connection with a small receive buffer, so that what is not read is soon not sent either.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 32 * 1024).unwrap();
    net::connect(&socket, &address).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Asks for `/large` and takes so many octets a second of it; how many came in all.
fn taken(edge: &Edge, rate: f64) -> usize {
    let mut stream = narrow(edge.address());
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").unwrap();
    let (mut all, mut block, began) = (0, [0; 4096], Instant::now());
    loop {
        match stream.read(&mut block) {
            Ok(0) => return all,
            Ok(count) => all += count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("neither octets nor an end: {error}"),
        }
        let due = Duration::from_secs_f64(all as f64 / rate);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
}

/// The same below HTTP and in a second is in `listen/stream/tests.rs`. Here the system takes megabytes for the client
/// before the edge waits at all, and lets it go on only when a good part of them has been read.
#[test]
fn a_client_that_takes_its_answer_too_slowly_is_ended_however_steadily_it_reads() {
    const LARGE: usize = 32 * 1024 * 1024;
    if std::env::var_os("INTERDICT_SOAK").is_none() {
        return;
    }
    let origin = Origin::start();
    origin.answers("/large", Canned::new("no-store").body(vec![b'x'; LARGE]));
    let setup = || Setup::new().origin(&origin);
    let limits = |rate: u32| format!("[limits]\nclient_timeout = \"8s\"\nmin_rate = {rate}");
    let slow = 600_000.0;
    let all = taken(&setup().table(&limits(1024 * 1024)).start(), slow);
    assert!(all > 0 && all < LARGE, "{all} octets");
    wait_until("the origin is let go of", || origin.open() == 0);
    // As slow, and slow enough for this one: it is the rate that ended the other.
    assert!(taken(&setup().table(&limits(1000)).start(), slow) > LARGE);
}

fn tls(authority: &Authority, origin: &Origin, limits: &str) -> Edge {
    let setup = Setup::new().origin(origin);
    authority.issue(&setup.home().join("certs"), "a.example", &["a.example"]);
    setup
        .table("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }")
        .table(&format!("[limits]\n{limits}"))
        .start()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn a_handshake_of_http2_that_is_never_made_or_an_octet_at_a_time_ends_at_one_deadline() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let edge = tls(&authority, &origin, "header_timeout = \"400ms\"\nidle_timeout = \"60s\"");
    let config = Arc::new(authority.client(&["h2"]));
    let mut silent = edge.connect_tls(&config, "a.example").unwrap();
    assert!(silent.closes_within(PATIENCE));
    wait_until("it is counted", || rejected(&edge, "slow") == 1);

    let mut slow = edge.connect_tls(&config, "a.example").unwrap();
    let began = Instant::now();
    for octet in PREFACE.iter().take(PREFACE.len() - 1) {
        slow.send([*octet]);
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(began.elapsed() > Duration::from_millis(400));
    assert!(slow.closes_within(PATIENCE));
    wait_until("it is counted", || rejected(&edge, "slow") == 2);

    // In cleartext, where nothing else tells the protocol.
    let mut cleartext = edge.connect();
    cleartext.send(&PREFACE[..PREFACE.len() - 1]);
    assert_eq!(cleartext.response().unwrap().status, 408);
    cleartext.assert_closed();

    // Who makes it in time is not hurried after it.
    let mut good = edge.connect_tls_h2(&config, "a.example");
    good.get("a.example", "/slow/40").unwrap().assert_forwarded();
    assert_eq!(rejected(&edge, "slow"), 3);
}

#[test]
fn an_http2_connection_that_is_idle_again_after_a_late_stream_closes_on_its_idle_timeout() {
    let origin = Origin::start();
    let idle = Duration::from_millis(500);
    let edge = Setup::new().origin(&origin).table("[limits]\nidle_timeout = \"500ms\"").start();
    let mut client = edge.connect_h2();
    client.get("a.example", "/").unwrap().assert_forwarded();
    let began = Instant::now();
    client.work_until("half of the time is over", || began.elapsed() > idle / 2);
    // Longer than the timeout, and begun before it.
    let late = http::Request::get("http://a.example/slow/50").body(()).unwrap();
    let late = client.open(late, None).unwrap();
    assert_eq!(client.finish(late).unwrap().assert_forwarded().body.len(), 50 * 8);
    let ended = Instant::now();
    assert!(!client.closes_within(idle / 4), "it had just served a stream");
    assert!(client.closes_within(PATIENCE));
    assert!(ended.elapsed() < idle * 8, "after {:?}", ended.elapsed());
    let connections = || edge.admin("/status").json()["connections"].as_u64().unwrap();
    wait_until("the edge has let go of it", || connections() == 0);
}

#[test]
fn answers_that_nobody_takes_are_not_piled_up() {
    const CLIENTS: usize = 12;
    let case = CaseFile::new("page", &["page.example"]);
    let edge = Setup::new().case(case).table("[limits]\nblocked_rate = 1000000").start();
    let mut other = edge.connect();
    other.get("page.example", "/").unwrap().assert_blocked(403);
    let before = edge.process().resident_bytes();
    // As many as the edge reads ahead. Their pages are five megabytes, of which the system takes a part.
    let ahead = "GET / HTTP/1.1\r\nHost: page.example\r\n\r\n".repeat(1_700);
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| narrow(edge.address())).collect();
    for mut client in &clients {
        client.write_all(ahead.as_bytes()).unwrap();
    }
    wait_until("no more of them are answered", || {
        let decided = edge.status().audit().decided;
        for _ in 0..20 {
            other.get("page.example", "/").unwrap().assert_blocked(403);
        }
        edge.status().audit().decided == decided + 20
    });
    let taken = edge.process().resident_bytes().saturating_sub(before);
    assert!(taken < CLIENTS as u64 * 2_500_000, "{} KiB for a client", taken / 1024 / CLIENTS as u64);
}
