//! Tests of the door.

use smallvec::smallvec;
use tokio::net::TcpListener;

use super::*;
use crate::hostname::Hostname;
use crate::server::{Enforcement, Options};

#[test]
fn a_connection_that_is_used_by_one_client_at_a_time_is_open_for_the_last() {
    let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let mut users = Users::Clients(SmallVec::from_elem(one, 1));
    users.add(other, true);
    assert!(matches!(&users, Users::Clients(clients) if clients.as_slice() == [other]));
}

#[test]
fn a_shared_connection_is_open_for_all_its_clients_and_then_for_anybody() {
    let mut users = Users::Clients(SmallVec::new());
    for last in 0..limits::CONNECTION_USERS {
        users.add(IpAddr::from([192, 0, 2, last as u8]), false);
        users.add(IpAddr::from([192, 0, 2, 0]), false);
    }
    assert!(matches!(&users, Users::Clients(clients) if clients.len() == limits::CONNECTION_USERS));
    users.add(IpAddr::from([192, 0, 3, 1]), false);
    assert!(matches!(users, Users::Anybody));
}

/// Enforcement of one case with these lines, and the directory it lives in.
fn enforcement(lines: &str) -> (tempfile::TempDir, Enforcement) {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir_all(at("policies/cases")).unwrap();
    let case = format!(
        "id = \"networks\"\ncustomer = \"c\"\nbasis = \"abuse\"\ndecided = 2026-01-05T09:00:00Z\ndecided_by = [\"j.doe\"]\n\
         summary = \"s\"\nstatement = \"s\"\nhosts = [\"customer.example\"]\n{lines}\n"
    );
    std::fs::write(at("policies/cases/networks.toml"), case).unwrap();
    let options = Options::new("edge", at("policies"), at("state"), at("audit"));
    let enforcement = Enforcement::start(options).unwrap();
    (home, enforcement)
}

const PATIENCE: Duration = Duration::from_secs(10);

fn client(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// Whoever was let through before a name moved, a retry, a health check: what counts is where a connection leads.
#[tokio::test]
async fn no_connection_is_opened_into_a_closed_network_under_any_spelling() {
    let (_home, enforcement) = enforcement("origins = [\"127.0.0.0/8\"]");
    let door = Door::new(enforcement.gate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for address in [format!("127.0.0.1:{port}"), format!("[::ffff:127.0.0.1]:{port}")] {
        for client in [None, client("192.0.2.1")] {
            let address: SocketAddr = address.parse().unwrap();
            let refused = door.connect(address, client, PATIENCE, false).await.unwrap_err();
            assert!(is_refusal(&refused), "{refused}");
        }
    }
    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "a connection was opened");
    enforcement.stop();
}

#[tokio::test]
async fn a_case_for_some_clients_lets_the_others_through_and_no_check() {
    let exempt = "origins = [\"127.0.0.0/8\"]\n[[exempt]]\nclients = [\"192.0.2.1\"]\nreason = \"evidence\"";
    let (_home, enforcement) = enforcement(exempt);
    let door = Door::new(enforcement.gate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(door.connect(address, None, PATIENCE, false).await.is_err());
    assert!(door.connect(address, client("192.0.2.2"), PATIENCE, false).await.is_err());
    let stream = door.connect(address, client("192.0.2.1"), PATIENCE, false).await.unwrap();
    assert_eq!(door.count(), 1);
    assert_eq!(door.close_what_is_closed(), 0);
    // Another client's request beside: its own flight is cut, and the connection stays for the one it is open to.
    door.note_user(stream.as_raw_fd(), "192.0.2.2".parse().unwrap(), false);
    assert_eq!(door.close_what_is_closed(), 0);
    // Alone on it: now it leads somewhere it must not.
    door.note_user(stream.as_raw_fd(), "192.0.2.2".parse().unwrap(), true);
    assert_eq!(door.close_what_is_closed(), 1);
    drop(stream);
    assert_eq!(door.count(), 0);
    enforcement.stop();
}

/// Both ways of an ended connection: the edge that waits on it, and the origin.
#[tokio::test]
async fn a_connection_that_is_ended_ends_at_once_on_both_sides() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let exempt = "origins = [\"127.0.0.0/8\"]\n[[exempt]]\nclients = [\"192.0.2.1\"]\nreason = \"evidence\"";
    let (_home, enforcement) = enforcement(exempt);
    let door = Door::new(enforcement.gate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut stream = door.connect(address, client("192.0.2.1"), PATIENCE, false).await.unwrap();
    let (mut origin, _) = listener.accept().await.unwrap();
    let descriptor = stream.as_raw_fd();
    let waiting = tokio::spawn(async move {
        let outcome = stream.read(&mut [0; 16]).await;
        let sent = stream.write_all(b"x").await;
        (outcome, sent)
    });
    tokio::task::yield_now().await;
    door.note_user(descriptor, "192.0.2.2".parse().unwrap(), true);
    assert_eq!(door.close_what_is_closed(), 1);
    let (outcome, sent) = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(!matches!(outcome, Ok(1..)), "{outcome:?}");
    assert!(sent.is_err(), "a byte was sent on a connection that was ended");
    let seen = tokio::time::timeout(PATIENCE, origin.read(&mut [0; 16])).await.unwrap();
    assert!(!matches!(seen, Ok(1..)), "{seen:?}");
    enforcement.stop();
}

fn identity(host: &str) -> Arc<Identity> {
    let host = Hostname::parse(host).unwrap();
    let (names, seen) = (smallvec![host.clone()], smallvec![host.as_str().as_bytes().to_vec()]);
    Arc::new(Identity { host, port: None, names, seen })
}

#[tokio::test]
async fn an_idle_connection_that_served_a_blocked_host_last_ends_and_who_comes_a_moment_later_is_told() {
    let (_home, enforcement) = enforcement("");
    let door = Door::new(enforcement.gate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = door.connect(address, None, PATIENCE, false).await.unwrap();
    let (blocked, free) = (identity("customer.example"), identity("free.example"));
    let next = || door.note_user(stream.as_raw_fd(), "192.0.2.1".parse().unwrap(), true).unwrap();
    let first = next();
    assert_eq!(door.close_what_is_closed(), 0, "a request is on it, which has its own cut");
    first.is_over(&free);
    assert_eq!(door.close_what_is_closed(), 0);
    let (second, third) = (next(), next());
    second.is_over(&blocked);
    assert_eq!(door.close_what_is_closed(), 0, "another request is on it by now");
    assert!(!third.is_late());
    third.is_over(&blocked);
    assert_eq!(door.close_what_is_closed(), 1);
    assert_eq!(door.close_what_is_closed(), 0, "it was ended already");
    assert!(next().is_late());
    enforcement.stop();
}

/// A connection of the pool is another request's a moment later, and a descriptor another connection's.
#[tokio::test]
async fn a_use_ends_its_connection_only_as_long_as_no_other_request_has_followed() {
    use tokio::io::AsyncWriteExt;
    let (_home, enforcement) = enforcement("");
    let door = Door::new(enforcement.gate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut stream = door.connect(address, None, PATIENCE, false).await.unwrap();
    let (descriptor, one) = (stream.as_raw_fd(), "192.0.2.1".parse().unwrap());
    let first = door.note_user(descriptor, one, true).unwrap();
    let second = door.note_user(descriptor, one, true).unwrap();
    assert!(!first.end());
    stream.write_all(b"x").await.unwrap();
    stream.flush().await.unwrap();
    assert!(second.end());
    assert!(stream.write_all(b"x").await.is_err() || stream.flush().await.is_err());
    drop(stream);
    assert!(!second.end() && door.note_user(descriptor, one, true).is_none());
    enforcement.stop();
}
