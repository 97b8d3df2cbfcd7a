//! A real edge with its own directories, on ports of the system's choice.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::ClientConfig;
use tempfile::TempDir;

use super::audit::{self, Log, Record};
use super::ledger::Ledger;
use super::process::{Ended, Process, Surroundings};
use super::setup::TOKEN;
use super::status::{AuditCounters, Status};
use super::tools::{Output, interdict};
use super::{Client, Http2, PolicyDir, Response, wait_for};

/// An edge under test. When it goes out of scope it is stopped and its log is checked.
pub struct Edge {
    pub(super) home: TempDir,
    pub(super) policies: PolicyDir,
    pub(super) around: Surroundings,
    pub(super) process: Option<Process>,
    pub(super) ledger: Ledger,
    pub(super) starts: usize,
    pub(super) graceful: bool,
    pub(super) checked: bool,
}

impl Edge {
    /// Where its files are.
    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.home.path().join("edge.toml")
    }

    /// Its audit directory.
    pub fn audit_directory(&self) -> PathBuf {
        self.home.path().join("audit")
    }

    /// Its policy directory.
    pub fn policies(&self) -> &PolicyDir {
        &self.policies
    }

    /// The blocks its clients saw.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// The running process.
    #[track_caller]
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the edge runs")
    }

    /// The running process, to say what became of it.
    #[track_caller]
    pub fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("the edge runs")
    }

    /// Where it listens.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.process().address
    }

    /// Where its second listener is, which tests give TLS.
    #[track_caller]
    pub fn tls_address(&self) -> SocketAddr {
        *self.process().listeners.get(1).expect("a second listener")
    }

    /// A new HTTP/1 connection over TLS to the second listener.
    pub fn connect_tls(&self, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<Client> {
        Client::connect_tls(self.tls_address(), Arc::clone(config), name, self.ledger())
    }

    /// A new HTTP/2 connection over TLS to the second listener.
    pub fn connect_tls_h2(&self, config: &Arc<ClientConfig>, name: &str) -> Http2 {
        Http2::connect_tls(self.tls_address(), Arc::clone(config), name, self.ledger())
    }

    /// A new HTTP/1 connection.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address(), self.ledger()).unwrap()
    }

    /// A new HTTP/1 connection from another of this machine's loopback addresses.
    #[track_caller]
    pub fn connect_from(&self, source: [u8; 4]) -> Client {
        Client::connect_from(source, self.address(), self.ledger()).unwrap()
    }

    /// A new HTTP/2 connection.
    #[track_caller]
    pub fn connect_h2(&self) -> Http2 {
        Http2::connect(self.address(), self.ledger())
    }

    /// Sends raw HTTP/1 bytes on a fresh connection; `None` when it was closed without a byte.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> Option<Response> {
        self.connect().send(bytes).response()
    }

    /// `GET /` for a host on a fresh connection, answered with something.
    #[track_caller]
    pub fn get(&self, host: &str) -> Response {
        self.connect().get(host, "/").unwrap_or_else(|| panic!("no answer for {host}"))
    }

    /// A page of the admin listener.
    #[track_caller]
    pub fn admin(&self, path: &str) -> Response {
        let token = format!("Authorization: Bearer {TOKEN}");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\nConnection: close\r\n\r\n");
        let mut client = Client::connect(self.process().admin, Ledger::default()).unwrap();
        client.send(request).response().expect("an answer from the admin listener")
    }

    /// What it says of itself.
    #[track_caller]
    pub fn status(&self) -> Status {
        Status(self.admin("/status").json())
    }

    /// Changes the policy directory and waits until a new revision is in force.
    #[track_caller]
    pub fn change(&self, change: impl FnOnce(&PolicyDir)) -> Status {
        let before = self.status().revision();
        change(&self.policies);
        wait_for("a new revision is in force", || {
            let status = self.status();
            (status.revision() > before && status.last_result() == "applied").then_some(status)
        })
    }

    /// Stops it with SIGTERM.
    #[track_caller]
    pub fn stop(&mut self) -> Ended {
        let audit = self.status().audit();
        assert_eq!(audit.decided, audit.durable + audit.gap, "{audit:?}");
        let ended = self.process.take().expect("the edge runs").end(Signal::TERM);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        self.graceful = true;
        self.compare_with_the_log(&audit);
        ended
    }

    /// What the edge said it had written, and what it said it had missed, is on disk; the stop came after.
    #[track_caller]
    fn compare_with_the_log(&self, said: &AuditCounters) {
        let records = self.records();
        let start = records.iter().rposition(|record| record.kind() == "edge.started").unwrap_or(0);
        let (gaps, written): (Vec<&Record>, Vec<&Record>) =
            records[start..].iter().partition(|record| record.kind() == "audit.gap");
        assert!(written.len() as u64 > said.durable, "{} records, and {said:?}", written.len());
        let missed: u64 = gaps.iter().map(|gap| gap.number("missed")).sum();
        assert_eq!(missed, said.gap, "{said:?}");
    }

    /// Stops it with SIGTERM, while others may record in the same log.
    #[track_caller]
    pub fn terminate(&mut self) {
        let status = self.process.take().expect("the edge runs").end_alone(Signal::TERM);
        assert_eq!(status.code(), Some(0));
        self.graceful = true;
    }

    /// Ends it with SIGKILL.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.process.take().expect("the edge runs").end(Signal::KILL);
        self.graceful = false;
    }

    /// Ends it, if it runs, without the check of its log, of which records were taken away on purpose.
    #[track_caller]
    pub fn end_unchecked(mut self) {
        if self.process.is_some() {
            self.kill9();
        }
        self.checked = true;
    }

    /// Starts it again on the same files; ports are new.
    pub fn start_again(&mut self) -> Result<(), Ended> {
        self.process = Some(Process::start(&self.config(), &self.around)?);
        self.starts += 1;
        Ok(())
    }

    /// Another process has started on the same files; also one that failed once its log was open.
    pub fn note_start(&mut self) {
        self.starts += 1;
    }

    /// Stops it and starts it again.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start_again().unwrap_or_else(|ended| panic!("{}\n{}", ended.status, ended.stderr));
    }

    /// A command with this edge's configuration.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Output {
        let config = self.config();
        interdict(arguments.iter().copied().chain(["--config", config.to_str().unwrap()]))
    }

    /// All records so far, read while it runs.
    #[track_caller]
    pub fn records(&self) -> Vec<Record> {
        audit::export(&self.audit_directory())
    }

    /// Stops it, checks its log and hands over the records.
    #[track_caller]
    pub fn finish(mut self) -> Vec<Record> {
        self.conclude()
    }

    #[track_caller]
    fn conclude(&mut self) -> Vec<Record> {
        self.checked = true;
        if self.process.is_some() {
            self.stop();
        }
        let records = self.records();
        let log = Log { records: &records, starts: self.starts, stopped_gracefully: self.graceful };
        audit::check(&log, &self.ledger.seen());
        if self.graceful {
            audit::assert_verifies(&self.audit_directory());
        }
        records
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if !self.checked && !std::thread::panicking() {
            self.conclude();
        }
    }
}
