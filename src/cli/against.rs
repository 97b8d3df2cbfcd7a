//! `check --against`: what a policy set would have done to recorded traffic.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::plural::some;
use super::{Exit, complain};
use crate::audit::{self, Kind, Query};
use crate::decide::{Subject, Verdict, decide};
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::Ruleset;

/// Counts what a ruleset would do, request by request.
struct Trial<'r> {
    ruleset: &'r Ruleset,
    now: Timestamp,
    requests: u64,
    /// Lines that name no host.
    unread: u64,
    blocked: u64,
    shadowed: u64,
    exempted: u64,
    cases: BTreeMap<String, u64>,
    newly: Hosts,
    no_longer: Hosts,
}

/// Requests, and how many of them each host had.
#[derive(Default)]
struct Hosts {
    requests: u64,
    by_host: BTreeMap<Hostname, u64>,
}

impl Hosts {
    fn add(&mut self, host: &Hostname) {
        self.requests += 1;
        if self.by_host.len() < limits::AGAINST_HOSTS || self.by_host.contains_key(host) {
            *self.by_host.entry(host.clone()).or_default() += 1;
        }
    }

    /// The busiest first.
    fn print(&self, what: &str) {
        if self.requests == 0 {
            return;
        }
        say!("{what}: {}", self.requests);
        let mut hosts: Vec<_> = self.by_host.iter().collect();
        hosts.sort_by(|a, b| b.1.cmp(a.1));
        for (host, count) in hosts.into_iter().take(limits::REPORTED_DIAGNOSTICS) {
            say!("  {host} {count}");
        }
    }
}

/// Prints what `ruleset` would do now to the requests in `log`: an audit directory, or a file with one request a line,
/// a JSON object with `host` and perhaps `client`, or just the host and perhaps the client.
pub(super) fn run(ruleset: &Ruleset, log: &Path, now: Timestamp) -> Exit {
    let mut trial = Trial {
        ruleset,
        now,
        requests: 0,
        unread: 0,
        blocked: 0,
        shadowed: 0,
        exempted: 0,
        cases: BTreeMap::new(),
        newly: Hosts::default(),
        no_longer: Hosts::default(),
    };
    let read = if log.is_dir() { trial.read_audit(log) } else { trial.read_lines(log) };
    if let Err(error) = read {
        return complain(Exit::Io, &format!("`{}`: {error}", log.display()));
    }
    trial.print(log);
    Exit::Fine
}

impl Trial<'_> {
    fn read_audit(&mut self, directory: &Path) -> Result<(), String> {
        let kinds = vec![Kind::RequestBlocked, Kind::RequestShadowed, Kind::RequestExempted];
        let query = Query { kinds, ..Query::default() };
        let searched = audit::find(directory, &query, &mut |line| {
            self.take_line(line);
            ControlFlow::Continue(())
        });
        let searched = searched.map_err(|error| error.to_string())?;
        searched.problems.iter().for_each(|problem| note!("interdict: {problem}"));
        Ok(())
    }

    fn read_lines(&mut self, path: &Path) -> Result<(), String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = io::Read::take(&mut reader, limits::AGAINST_LINE_BYTES);
            let length = bounded.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
            if length == 0 {
                return Ok(());
            }
            self.take_line(line.trim_ascii());
        }
    }

    fn take_line(&mut self, line: &[u8]) {
        if line.is_empty() || line.starts_with(b"#") {
            return;
        }
        let taken = if line.starts_with(b"{") { self.take_object(line) } else { self.take_words(line) };
        if taken.is_none() {
            self.unread += 1;
        }
    }

    /// A record of an audit log, or a line of an access log in JSON.
    fn take_object(&mut self, line: &[u8]) -> Option<()> {
        let record: Value = serde_json::from_slice(line).ok()?;
        let host = host_of(record.get("host")?.as_str()?)?;
        let client = record.get("client").and_then(Value::as_str).and_then(|client| client.parse().ok());
        let kind = record.get("kind").and_then(Value::as_str);
        // Allowed traffic is not in an audit log: what has no kind was not blocked.
        self.judge(&host, client, kind == Some(Kind::RequestBlocked.as_str()));
        Some(())
    }

    fn take_words(&mut self, line: &[u8]) -> Option<()> {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let host = host_of(words.next()?)?;
        let client = words.next().and_then(|client| client.parse().ok());
        self.judge(&host, client, false);
        Some(())
    }

    fn judge(&mut self, host: &Hostname, client: Option<IpAddr>, was_blocked: bool) {
        self.requests += 1;
        let subject = Subject {
            names: std::slice::from_ref(host),
            client: client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        let verdict = decide(self.ruleset, &subject, self.now);
        let (count, found) = match &verdict {
            Verdict::Allow => {
                if was_blocked {
                    self.no_longer.add(host);
                }
                return;
            }
            Verdict::Block(found) => (&mut self.blocked, found),
            Verdict::Shadow(found) => (&mut self.shadowed, found),
            Verdict::Exempt(found) => (&mut self.exempted, found),
        };
        *count += 1;
        *self.cases.entry(found.case.id.to_string()).or_default() += 1;
        match (matches!(verdict, Verdict::Block(_)), was_blocked) {
            (true, false) => self.newly.add(host),
            (false, true) => self.no_longer.add(host),
            _ => {}
        }
    }

    fn print(&self, log: &Path) {
        let Self { requests, blocked, shadowed, exempted, .. } = self;
        say!(
            "{} of `{}`: {blocked} blocked, {shadowed} shadowed, {exempted} exempted",
            some(*requests, "request"),
            log.display()
        );
        if self.unread > 0 {
            say!("no host is named by {}", some(self.unread, "line"));
        }
        self.newly.print("newly blocked");
        self.no_longer.print("no longer blocked");
        for (case, count) in &self.cases {
            say!("case {case}: {count}");
        }
    }
}

fn host_of(text: &str) -> Option<Hostname> {
    Hostname::parse_authority(text.as_bytes()).ok().map(|(host, _port)| host)
}
