//! What an edge under test is set up with.

use std::fmt::Write as _;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use tempfile::TempDir;

use super::guarded;
use super::ledger::Ledger;
use super::process::{Ended, LogReader, Process, Surroundings};
use super::{CaseFile, Edge, Origin, PolicyDir};

/// An edge that is still being set up.
pub struct Setup {
    home: TempDir,
    policies: PolicyDir,
    pub(super) policy_keys: String,
    pub(super) guard_keys: String,
    audit_keys: String,
    admin_keys: String,
    listen_keys: String,
    top: String,
    tables: String,
    around: Surroundings,
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
            guard_keys: String::new(),
            audit_keys: String::new(),
            admin_keys: String::new(),
            listen_keys: String::new(),
            top: String::new(),
            tables: String::new(),
            around: Surroundings::default(),
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

    /// One more line under `[policy]`.
    pub fn policy(mut self, line: &str) -> Self {
        writeln!(self.policy_keys, "{line}").unwrap();
        self
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
        self.around.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it as a service manager does that has bound this socket.
    pub fn activated(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.around.socket = Some(socket.into());
        self
    }

    /// Leaves its log to this reader.
    pub fn log_read_by(mut self, reader: LogReader) -> Self {
        self.around.reader = reader;
        self
    }

    /// One more line under `[[listen]]`.
    pub fn listen(mut self, line: &str) -> Self {
        writeln!(self.listen_keys, "{line}").unwrap();
        self
    }

    /// One more line at the top.
    pub fn top(mut self, line: &str) -> Self {
        writeln!(self.top, "{line}").unwrap();
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
        let Self { home, policies, policy_keys, guard_keys, audit_keys, admin_keys, listen_keys, .. } = self;
        let (tables, around, top) = (self.tables, self.around, self.top);
        let guard = guarded::table(&guard_keys);
        let client = if audit_keys.contains("client =") { "" } else { "client = \"full\"\n" };
        let config = format!(
            "edge = \"edge-under-test\"\n{top}\n[[listen]]\naddress = \"127.0.0.1:0\"\n{listen_keys}\n\
             [policy]\ndirectory = \"policies\"\nstate = \"state\"\n{policy_keys}\n\
             {guard}\n\
             [audit]\ndirectory = \"audit\"\n{client}{audit_keys}\n\
             {tables}[admin]\nlisten = \"127.0.0.1:0\"\n{admin_keys}"
        );
        let path = home.path().join("edge.toml");
        fs::write(&path, config).unwrap();
        match Process::start(&path, &around) {
            Err(ended) => Err((home, ended)),
            Ok(process) => Ok(Edge {
                home,
                policies,
                around,
                process: Some(process),
                ledger: Ledger::default(),
                starts: 1,
                graceful: false,
                checked: false,
            }),
        }
    }
}
