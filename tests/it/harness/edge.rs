//! A real edge with its own directories, on ports of the system's choice.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::ClientConfig;
use tempfile::TempDir;

use super::audit::{self, Log, Record};
use super::ledger::Ledger;
use super::process::{Ended, Process};
use super::status::{AuditCounters, Status};
use super::{CaseFile, Client, Http2, Origin, PolicyDir, Response, wait_for};

/// An edge that is still being set up.
pub struct Setup {
    home: TempDir,
    policies: PolicyDir,
    policy_keys: String,
    audit_keys: String,
    admin_keys: String,
    listen_keys: String,
    tables: String,
    environment: Vec<(String, String)>,
    socket: Option<OwnedFd>,
}

/// What the harness shows on the admin listener, whether or not it is asked for.
pub const TOKEN: &str = "0123456789abcdef-of-the-harness";

impl Setup {
    /// One listener, one admin listener, an empty policy directory, no route.
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("interdict-test-").tempdir().unwrap();
        let policies = PolicyDir::create(home.path().join("policies"));
        Self {
            home,
            policies,
            policy_keys: "debounce_ms = 20\n".to_owned(),
            audit_keys: String::new(),
            admin_keys: String::new(),
            listen_keys: String::new(),
            tables: String::new(),
            environment: Vec::new(),
            socket: None,
        }
    }

    /// Where its files will be.
    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// The policy directory.
    pub fn policies(&self) -> &PolicyDir {
        &self.policies
    }

    /// Puts a case in.
    pub fn case(self, case: CaseFile) -> Self {
        self.policies.write(&case);
        self
    }

    /// Sends every host to one origin.
    pub fn origin(self, origin: &Origin) -> Self {
        self.route(&["*"], &[&origin.address().to_string()])
    }

    /// Sends some hosts to some origins, in this order.
    pub fn route(mut self, hosts: &[&str], origins: &[&str]) -> Self {
        writeln!(self.tables, "[[route]]\nhosts = {hosts:?}\norigins = {origins:?}\n").unwrap();
        self
    }

    /// Sends every host to these origins, with these further lines in the route.
    pub fn balanced(self, origins: &[&Origin], lines: &str) -> Self {
        let addresses: Vec<String> = origins.iter().map(|origin| origin.address().to_string()).collect();
        self.table(&format!("[[route]]\nhosts = [\"*\"]\norigins = {addresses:?}\n{lines}"))
    }

    /// One more line under `[audit]`.
    pub fn audit(mut self, line: &str) -> Self {
        writeln!(self.audit_keys, "{line}").unwrap();
        self
    }

    /// One more line under `[admin]`.
    pub fn admin(mut self, line: &str) -> Self {
        writeln!(self.admin_keys, "{line}").unwrap();
        self
    }

    /// One more variable of its environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it as a service manager does that has bound this socket.
    pub fn activated(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.socket = Some(socket.into());
        self
    }

    /// One more line under `[[listen]]`.
    pub fn listen(mut self, line: &str) -> Self {
        writeln!(self.listen_keys, "{line}").unwrap();
        self
    }

    /// One more table.
    pub fn table(mut self, text: &str) -> Self {
        writeln!(self.tables, "{text}\n").unwrap();
        self
    }

    /// Starts it; fails when it does not get ready.
    #[track_caller]
    pub fn start(self) -> Edge {
        match self.try_start() {
            Ok(edge) => edge,
            Err((_, ended)) => panic!("the edge did not start: {}\n{}", ended.status, ended.stderr),
        }
    }

    /// Starts it, or says how it ended; the files stay as long as the directory is held.
    pub fn try_start(self) -> Result<Edge, (TempDir, Ended)> {
        let Self { home, policies, policy_keys, audit_keys, admin_keys, listen_keys, tables, .. } = self;
        let (environment, socket) = (self.environment, self.socket);
        let client = if audit_keys.contains("client =") { "" } else { "client = \"full\"\n" };
        let config = format!(
            "edge = \"edge-under-test\"\n\n[[listen]]\naddress = \"127.0.0.1:0\"\n{listen_keys}\n\
             [policy]\ndirectory = \"policies\"\nstate = \"state\"\n{policy_keys}\n\
             [audit]\ndirectory = \"audit\"\n{client}{audit_keys}\n\
             {tables}[admin]\nlisten = \"127.0.0.1:0\"\n{admin_keys}"
        );
        let path = home.path().join("edge.toml");
        fs::write(&path, config).unwrap();
        match Process::start(&path, &environment, socket.as_ref()) {
            Err(ended) => Err((home, ended)),
            Ok(process) => Ok(Edge {
                home,
                policies,
                environment,
                socket,
                process: Some(process),
                ledger: Ledger::default(),
                starts: 1,
                graceful: false,
                checked: false,
            }),
        }
    }
}

/// An edge under test. When it goes out of scope it is stopped and its log is checked.
pub struct Edge {
    home: TempDir,
    policies: PolicyDir,
    environment: Vec<(String, String)>,
    socket: Option<OwnedFd>,
    process: Option<Process>,
    ledger: Ledger,
    starts: usize,
    graceful: bool,
    checked: bool,
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

    /// Ends it without the check of its log, of which records were taken away on purpose.
    #[track_caller]
    pub fn end_unchecked(mut self) {
        self.kill9();
        self.checked = true;
    }

    /// Starts it again on the same files; ports are new.
    pub fn start_again(&mut self) -> Result<(), Ended> {
        self.process = Some(Process::start(&self.config(), &self.environment, self.socket.as_ref())?);
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
