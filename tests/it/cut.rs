//! What is under way when its host is blocked ends within a second; everything else goes on.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::harness::audit::{Record, of_kind, only};
use crate::harness::{CaseFile, Client, Edge, Origin, Setup, wait_until};

const DOOMED: &str = "doomed.example";
const SPARED: &str = "spared.example";

/// From the moment a revision is in force to silence.
const SOON: Duration = Duration::from_secs(1);

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn edge(origin: &Origin) -> Edge {
    Setup::new().origin(origin).start()
}

/// Blocks the doomed host; it is in force on return.
fn block(edge: &Edge) {
    edge.change(|policies| policies.write(&CaseFile::new("doom", &[DOOMED])));
}

fn websocket(edge: &Edge, host: &str) -> Client {
    let mut client = edge.connect();
    client.about(host).send(format!("GET /chat HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}\r\n"));
    assert_eq!(client.response().unwrap().status, 101);
    client
}

#[track_caller]
fn assert_echoes(client: &mut Client) {
    assert_eq!(client.send("ping").read_exact(4).unwrap(), b"ping");
}

fn cuts(records: &[Record]) -> Vec<&Record> {
    let cuts = of_kind(records, "connection.cut");
    assert!(cuts.iter().all(|cut| cut.text("host") == DOOMED && cut.text("case") == "doom"), "{cuts:?}");
    cuts
}

#[test]
fn a_websocket_is_cut_and_those_of_others_go_on() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let (mut doomed, mut spared) = (websocket(&edge, DOOMED), websocket(&edge, SPARED));
    assert_echoes(&mut doomed);
    assert_echoes(&mut spared);
    block(&edge);
    assert!(doomed.closes_within(SOON));
    assert_echoes(&mut spared);
    drop(spared);
    let records = edge.finish();
    let cut = only(&records, "connection.cut");
    assert_eq!((cut.text("host"), cut.text("path"), cut.text("method")), (DOOMED, "/chat", "GET"));
    assert_eq!(cut.number("bytes_sent"), 4);
    assert!(cut.number("age_ms") < 60_000 && cut.number("revision") == 2, "{}", cut.0);
    assert!(!cut.0["id"].is_null() && cut.0.get("status").is_none(), "{}", cut.0);
}

#[test]
fn a_long_download_is_cut_in_the_middle_and_those_of_others_arrive_whole() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut doomed = edge.connect();
    doomed.send(format!("GET /slow/2000 HTTP/1.1\r\nHost: {DOOMED}\r\n\r\n")).read_some(200);
    let mut spared = edge.connect();
    spared.send(format!("GET /slow/40 HTTP/1.1\r\nHost: {SPARED}\r\n\r\n"));
    block(&edge);
    assert!(doomed.closes_within(SOON));
    assert_eq!(spared.response().unwrap().assert_forwarded().body.len(), 40 * 8);
    let records = edge.finish();
    assert!(only(&records, "connection.cut").number("bytes_sent") > 0);
    cuts(&records);
}

#[test]
fn a_request_that_waits_for_its_origin_and_an_upload_get_the_page_instead() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut waiting = edge.connect();
    waiting.send(format!("GET /never HTTP/1.1\r\nHost: {DOOMED}\r\n\r\n"));
    let mut upload = edge.connect();
    upload.send(format!("POST /echo HTTP/1.1\r\nHost: {DOOMED}\r\nContent-Length: 100000\r\n\r\n"));
    upload.send([b'x'; 1000]);
    wait_until("the origin has the requests", || origin.connections() == 2);
    block(&edge);
    let began = Instant::now();
    for client in [&mut waiting, &mut upload] {
        client.about(DOOMED).response().unwrap().assert_blocked(403);
    }
    assert!(began.elapsed() < SOON);
    assert!(waiting.closes_within(SOON * 3) && upload.closes_within(SOON * 3));
    let records = edge.finish();
    assert_eq!((cuts(&records).len(), of_kind(&records, "request.blocked").len()), (2, 2));
}

/// The time between two steps of the edge, stretched: a handshake with an origin that says nothing.
#[test]
fn a_request_that_has_not_gone_out_yet_gets_the_page_and_never_does() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let route = format!(
        "[[route]]\nhosts = [\"{DOOMED}\"]\norigins = [\"{}\"]\ntls = {{ name = \"o.example\", verify = false }}",
        silent.local_addr().unwrap()
    );
    let edge = Setup::new().table(&route).start();
    let mut client = edge.connect();
    client.about(DOOMED).send(format!("GET / HTTP/1.1\r\nHost: {DOOMED}\r\n\r\n"));
    let (handshake, _) = silent.accept().unwrap();
    block(&edge);
    wait_until("it is cut", || edge.admin("/metrics").text().contains("kind=\"connection.cut\""));
    drop(handshake);
    client.response().unwrap().assert_blocked(403);
    silent.set_nonblocking(true).unwrap();
    assert!(silent.accept().is_err(), "nobody comes back");
    let records = edge.finish();
    assert_eq!(cuts(&records).len(), 1);
    assert_eq!(only(&records, "request.blocked").text("host"), DOOMED);
}

#[test]
fn an_upgrade_that_waits_for_its_101_gets_the_page_instead() {
    let silent = Origin::named("silent", "127.0.0.1:0");
    let edge = edge(&silent);
    let mut waiting = edge.connect();
    waiting.send(format!("GET /hangs HTTP/1.1\r\nHost: {DOOMED}\r\n{UPGRADE}\r\n"));
    let mut spared = edge.connect();
    spared.send(format!("GET /hangs HTTP/1.1\r\nHost: {SPARED}\r\n{UPGRADE}\r\n"));
    wait_until("the origin has the requests", || silent.requests().len() == 2);
    block(&edge);
    let began = Instant::now();
    waiting.about(DOOMED).response().unwrap().assert_blocked(403);
    assert!(began.elapsed() < SOON);
    assert!(waiting.closes_within(SOON * 3));
    wait_until("the origin is let go of", || silent.open() == 1);
    drop(spared);
    let records = edge.finish();
    assert_eq!((cuts(&records).len(), of_kind(&records, "request.blocked").len()), (1, 1));
}

#[test]
fn a_request_that_waits_for_the_origin_of_a_refused_host_is_closed_without_a_byte() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut waiting = edge.connect();
    waiting.send(format!("GET /never HTTP/1.1\r\nHost: {DOOMED}\r\n\r\n"));
    wait_until("the origin has the request", || origin.requests().len() == 1);
    edge.change(|policies| policies.write(&CaseFile::new("doom", &[DOOMED]).refuse()));
    waiting.assert_closed();
    cuts(&edge.finish());
}

#[test]
fn on_http_2_the_stream_is_cut_and_its_siblings_go_on() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect_h2();
    let request =
        |host: &str, path: &str| http::Request::get(format!("http://{host}{path}")).body(()).unwrap();
    let doomed = client.open(request(DOOMED, "/slow/2000"), None).unwrap();
    let waiting = client.open(request(DOOMED, "/never"), None).unwrap();
    let spared = client.open(request(SPARED, "/slow/60"), None).unwrap();
    client.work_until("the origin has the requests", || origin.requests().len() == 3);
    block(&edge);
    let began = Instant::now();
    let error = client.finish(doomed).unwrap_err();
    assert!(error.is_reset() || error.is_remote(), "{error}");
    client.finish(waiting).unwrap().assert_blocked(403);
    assert!(began.elapsed() < SOON);
    assert_eq!(client.finish(spared).unwrap().assert_forwarded().body.len(), 60 * 8);
    client.get(DOOMED, "/").unwrap().assert_blocked(403);
    client.get(SPARED, "/").unwrap().assert_forwarded();
    drop(client);
    assert_eq!(cuts(&edge.finish()).len(), 2);
}

#[test]
fn an_idle_connection_that_served_the_host_alone_is_closed_and_a_shared_one_stays() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let (mut doomed, mut shared, mut spared) = (edge.connect(), edge.connect(), edge.connect());
    doomed.get(DOOMED, "/").unwrap().assert_forwarded();
    doomed.get(DOOMED, "/again").unwrap().assert_forwarded();
    shared.get(SPARED, "/").unwrap().assert_forwarded();
    shared.get(DOOMED, "/").unwrap().assert_forwarded();
    spared.get(SPARED, "/").unwrap().assert_forwarded();
    let mut http2 = edge.connect_h2();
    http2.get(DOOMED, "/").unwrap().assert_forwarded();
    block(&edge);
    assert!(doomed.closes_within(SOON));
    assert!(http2.closes_within(SOON));
    shared.get(SPARED, "/").unwrap().assert_forwarded();
    shared.get(DOOMED, "/").unwrap().assert_blocked(403);
    spared.get(SPARED, "/").unwrap().assert_forwarded();
    let records = edge.finish();
    let cuts = cuts(&records);
    assert_eq!(cuts.len(), 2);
    assert!(cuts.iter().all(|cut| cut.0["idle"] == true), "{cuts:?}");
}

#[test]
fn a_stream_that_comes_after_the_change_gets_the_page_and_the_one_before_is_cut() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect_h2();
    let request = |path: &str| http::Request::get(format!("http://{DOOMED}{path}")).body(()).unwrap();
    let download = client.open(request("/slow/2000"), None).unwrap();
    client.work_until("the origin has the request", || origin.requests().len() == 1);
    block(&edge);
    // Judged as any other, on the connection of the stream that ends.
    client.get(DOOMED, "/").unwrap().assert_blocked(403);
    assert!(client.finish(download).is_err());
    drop(client);
    assert!(!cuts(&edge.finish()).is_empty());
}

#[test]
fn unblocking_shadowing_and_blocking_others_cut_nothing() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("other", &["other.example"])).start();
    let mut client = websocket(&edge, DOOMED);
    edge.change(|policies| policies.write(&CaseFile::new("watch", &[DOOMED]).shadow()));
    let court = CaseFile::new("court", &[DOOMED]).by_court_order();
    edge.change(|policies| policies.write(&court.table("territory = [\"198.51.100.0/24\"]")));
    edge.change(|policies| policies.remove_case("other"));
    assert_echoes(&mut client);
    drop(client);
    assert!(of_kind(&edge.finish(), "connection.cut").is_empty());
}

#[test]
fn a_scheduled_start_and_the_end_of_an_exemption_cut_on_time() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut scheduled = websocket(&edge, DOOMED);
    let at = Timestamp::now() + SignedDuration::from_secs(2);
    edge.change(|policies| policies.write(&CaseFile::new("doom", &[DOOMED]).effective(at)));
    assert_echoes(&mut scheduled);
    assert!(scheduled.closes_within(SOON * 4));
    assert!(Timestamp::now() >= at && Timestamp::now() < at + SignedDuration::from_secs(1));

    let mut exempt = websocket(&edge, "exempt.example");
    let lapse = Timestamp::now() + SignedDuration::from_secs(2);
    let exemption =
        format!("[[exempt]]\nclients = [\"127.0.0.0/16\"]\nreason = \"evidence\"\nexpires = {lapse:.3}");
    edge.change(|policies| policies.write(&CaseFile::new("lapse", &["exempt.example"]).table(&exemption)));
    assert_echoes(&mut exempt);
    assert!(exempt.closes_within(SOON * 4));
    assert!(Timestamp::now() >= lapse && Timestamp::now() < lapse + SignedDuration::from_secs(1));
    assert_eq!(of_kind(&edge.finish(), "connection.cut").len(), 2);
}

#[test]
fn a_closed_origin_network_cuts_what_is_connected_to_it() {
    let (closed, open) = (Origin::named("closed", "127.0.0.2:0"), Origin::named("open", "127.0.0.1:0"));
    let edge = Setup::new()
        .route(&["doomed.example"], &[&closed.address().to_string()])
        .route(&["*"], &[&open.address().to_string()])
        .start();
    let (mut doomed, mut spared) = (websocket(&edge, DOOMED), websocket(&edge, SPARED));
    let case = CaseFile::new("doom", &["named.example"]).key("origins = [\"127.0.0.2/32\"]");
    edge.change(|policies| policies.write(&case));
    assert!(doomed.closes_within(SOON));
    assert_echoes(&mut spared);
    drop(spared);
    let records = edge.finish();
    let cut = only(&records, "connection.cut");
    assert_eq!((cut.text("host"), cut.text("matched")), (DOOMED, "127.0.0.2/32"));
    assert_eq!(cut.text("upstream"), closed.address().to_string());
}

#[test]
fn idle_connections_to_the_origin_of_a_blocked_host_leave_the_pool_and_those_of_others_stay() {
    let (doomed, spared) = (Origin::start(), Origin::start());
    let exemption = "[[exempt]]\nclients = [\"127.0.0.9/32\"]\nreason = \"evidence\"";
    let edge = Setup::new()
        .route(&[DOOMED], &[&doomed.address().to_string()])
        .route(&["*"], &[&spared.address().to_string()])
        .start();
    edge.get(DOOMED).assert_forwarded();
    edge.connect().get(SPARED, "/").unwrap().assert_forwarded();
    assert_eq!((doomed.open(), spared.open()), (1, 1));
    let began = Instant::now();
    edge.change(|policies| policies.write(&CaseFile::new("doom", &[DOOMED]).table(exemption)));
    wait_until("the origin of the blocked host is let go of", || doomed.open() == 0);
    assert!(began.elapsed() < SOON * 10, "{:?}: that was the end of its idle time", began.elapsed());
    // Whoever is let through has one all the same, as long as that holds.
    let mut exempt = edge.connect_from([127, 0, 0, 9]);
    exempt.get(DOOMED, "/").unwrap().assert_forwarded();
    edge.change(|policies| policies.write(&CaseFile::new("other", &["other.example"])));
    exempt.get(DOOMED, "/").unwrap().assert_forwarded();
    edge.get(SPARED).assert_forwarded();
    assert_eq!((doomed.connections(), spared.connections()), (2, 1));
    edge.change(|policies| policies.write(&CaseFile::new("doom", &[DOOMED])));
    wait_until("it is let go of again", || doomed.open() == 0);
}

#[test]
fn a_thousand_connections_are_cut_within_a_second_and_each_is_on_record() {
    const CONNECTIONS: usize = 1000;
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut doomed: Vec<Client> = (0..CONNECTIONS).map(|_| websocket(&edge, DOOMED)).collect();
    let mut spared = websocket(&edge, SPARED);
    doomed.iter_mut().for_each(assert_echoes);
    block(&edge);
    let began = Instant::now();
    for client in &mut doomed {
        assert!(client.closes_within(SOON.saturating_sub(began.elapsed()).max(Duration::from_millis(1))));
    }
    assert_echoes(&mut spared);
    drop(spared);
    assert_eq!(cuts(&edge.finish()).len(), CONNECTIONS);
}
