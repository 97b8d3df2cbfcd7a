//! Somebody else's Pingora proxy with the guard in it: the shipped example, as a process of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::audit::{export, of_kind, only};
use crate::harness::ledger::Ledger;
use crate::harness::{CaseFile, Client, Origin, PolicyDir, wait_until};

struct Embedder {
    process: Child,
    address: SocketAddr,
    home: tempfile::TempDir,
}

impl Embedder {
    fn start(origin: &Origin, cases: &[CaseFile]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let policies = PolicyDir::create(home.path().join("policies"));
        cases.iter().for_each(|case| policies.write(case));
        // The example takes a port, not a socket: this one was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(example("embed"))
            .current_dir(home.path())
            .args(["policies", &address.to_string(), &origin.address().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the example listens", || TcpStream::connect(address).is_ok());
        Self { process, address, home }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address, Ledger::default()).unwrap()
    }

    fn log(&self) -> std::path::PathBuf {
        self.home.path().join("run/embed/audit")
    }
}

impl Drop for Embedder {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Examples are built beside the binary whenever the tests are.
fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_BIN_EXE_interdict")).with_file_name("examples").join(name)
}

#[test]
fn an_embedding_proxy_blocks_records_and_forwards_the_rest() {
    let origin = Origin::start();
    let embedder = Embedder::start(&origin, &[CaseFile::new("site", &[".blocked.example"])]);
    let blocked = embedder.connect().get("WWW.Blocked.example.", "/x?y").unwrap();
    blocked.assert_blocked(403);
    origin.assert_untouched();
    embedder.connect().get("free.example", "/").unwrap().assert_forwarded();
    let records = export(&embedder.log());
    let record = only(&records, "request.blocked");
    assert_eq!(Some(record.text("id")), blocked.enforcement_id());
    assert_eq!((record.text("host"), record.text("path")), ("www.blocked.example", "/x"));
}

#[test]
fn an_embedding_proxy_connects_to_no_refused_origin() {
    let origin = Origin::start();
    let case = CaseFile::new("network", &["other.example"]).key("origins = [\"127.0.0.0/16\"]");
    let embedder = Embedder::start(&origin, &[case]);
    embedder.connect().get("free.example", "/").unwrap().assert_blocked(403);
    origin.assert_untouched();
    assert_eq!(of_kind(&export(&embedder.log()), "upstream.refused").len(), 1);
}

#[test]
fn an_embedding_proxy_refuses_what_names_no_host() {
    let origin = Origin::start();
    let embedder = Embedder::start(&origin, &[]);
    let answer = embedder.connect().send("GET / HTTP/1.1\r\n\r\n").response().unwrap();
    assert_eq!(answer.status, 400);
    origin.assert_untouched();
}
