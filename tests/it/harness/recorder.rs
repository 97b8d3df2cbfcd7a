//! A process that does nothing but record, made of this test binary: to be killed, traced and succeeded.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use interdict::audit::{self, Acknowledge, Audit, Enforcement, Event, Kind, Options, RequestFacts};
use interdict::clock::SystemClock;

use super::{wait_for, wait_until};

/// Where the child records.
const DIRECTORY: &str = "INTERDICT_TEST_RECORDER";
/// How many events; without it, until its standard input ends.
const EVENTS: &str = "INTERDICT_TEST_RECORDER_EVENTS";
/// Set when another process may have the directory.
const SUCCEED: &str = "INTERDICT_TEST_RECORDER_SUCCEED";
/// Set when the disk acknowledges.
const SETTLE: &str = "INTERDICT_TEST_RECORDER_SETTLE";

/// How the child opens its log.
pub fn options(directory: &Path) -> Options {
    Options { segment_bytes: audit::MIN_SEGMENT_BYTES, ..Options::new(directory, "ams-1") }
}

/// The command that starts a recorder; `arguments` go in front, for a program that runs it.
pub fn command(wrapper: &[&str], directory: &Path, events: Option<u32>, acknowledge: Acknowledge) -> Command {
    let binary = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        None => Command::new(&binary),
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&binary);
            command
        }
    };
    let child = "harness::recorder::child_that_records";
    command.args([child, "--exact", "--nocapture", "--test-threads", "1"]).env(DIRECTORY, directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(events) = events {
        command.env(EVENTS, events.to_string());
    }
    if acknowledge == Acknowledge::Disk {
        command.env(SETTLE, "1");
    }
    command
}

/// Not a test by itself: records, and prints each id once its receipt is there.
#[test]
fn child_that_records() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let is_set = |name| std::env::var_os(name).is_some();
    let acknowledge = if is_set(SETTLE) { Acknowledge::Disk } else { Acknowledge::Process };
    let options = Options { succeed: is_set(SUCCEED), acknowledge, ..options(&directory) };
    // The test harness has begun a line already.
    say("");
    let audit = match Audit::open(options, Arc::new(SystemClock)) {
        Ok((audit, _)) => audit,
        Err(error) => return say(&format!("refused {error}")),
    };
    say("opened");
    match std::env::var(EVENTS) {
        Ok(events) => (0..events.parse().unwrap()).for_each(|_| record(&audit)),
        Err(_) => record_until_told(&audit),
    }
    let closed = audit.close().is_ok();
    let counters = audit.counters();
    assert_eq!(counters.decided, counters.durable + counters.gap);
    say(&format!("closed {closed} {} {}", counters.durable, counters.gap));
}

fn record_until_told(audit: &Audit) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    record(audit);
                    // A pace, so that the log stays small.
                    thread::sleep(Duration::from_micros(500));
                }
            });
        }
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        done.store(true, Ordering::Relaxed);
    });
}

fn record(audit: &Audit) {
    let receipt = audit
        .record(&Event {
            kind: Kind::RequestBlocked,
            revision: 1,
            enforcement: Some(Enforcement {
                case: "TS-1",
                customer: "cust-1",
                basis: "abuse",
                action: "page",
                status: Some(403),
                matched: "forum.example",
                also: &[],
            }),
            request: Some(RequestFacts {
                host: "forum.example",
                names: &[b"forum.example"],
                method: "GET",
                path: &[b'/'; 1500],
                client: IpAddr::from([192, 0, 2, 1]),
                listener: "127.0.0.1:8080",
                protocol: "HTTP/1.1",
                tls: None,
                user_agent: None,
                upstream: None,
            }),
            detail: None,
        })
        .wait();
    say(&format!("{} {}", if receipt.is_recorded() { "receipt" } else { "missed" }, receipt.id()));
}

/// One line in one system call: a kill leaves it whole or away.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What a recorder said.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The ids it had a receipt for.
    pub receipts: Vec<String>,
    /// The ids it could only count.
    pub missed: Vec<String>,
    /// Whether it could open its log.
    pub opened: bool,
    /// On an orderly end: whether all went well, and the events recorded and missed.
    pub closed: Option<(bool, u64, u64)>,
}

impl Said {
    /// Takes in one line; one without its end was not handed over.
    pub fn hear(&mut self, line: &str) {
        let Some(line) = line.strip_suffix('\n') else { return };
        match *line.split(' ').collect::<Vec<_>>() {
            ["receipt", id] => self.receipts.push(id.to_owned()),
            ["missed", id] => self.missed.push(id.to_owned()),
            ["opened"] => self.opened = true,
            ["closed", fine, durable, gap] => {
                self.closed = Some((fine == "true", durable.parse().unwrap(), gap.parse().unwrap()));
            }
            _ => {}
        }
    }
}

/// A recorder at work.
pub struct Recorder {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Said>>,
    reader: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts one that records until it is stopped or killed, and waits until it has begun.
    pub fn start(directory: &Path, succeed: bool) -> Self {
        let mut command = command(&[], directory, None, Acknowledge::Process);
        if succeed {
            command.env(SUCCEED, "1");
        }
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        let reader = thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap() > 0 {
                heard.lock().unwrap().hear(&line);
                line.clear();
            }
        });
        let recorder = Self { stdin: child.stdin.take(), child, said, reader: Some(reader) };
        recorder.wait_for_receipts(50);
        recorder
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many receipts it has.
    pub fn receipts(&self) -> usize {
        self.said.lock().unwrap().receipts.len()
    }

    /// Waits until it has this many more.
    #[track_caller]
    pub fn wait_for_receipts(&self, more: usize) {
        let wanted = self.receipts() + more;
        wait_until("there are more receipts", || self.receipts() >= wanted);
    }

    /// Stops it in order.
    pub fn stop(mut self) -> Said {
        drop(self.stdin.take());
        self.end()
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) -> Said {
        self.child.kill().unwrap();
        self.end()
    }

    fn end(&mut self) -> Said {
        wait_for("the recorder has ended", || self.child.try_wait().unwrap());
        self.reader.take().unwrap().join().unwrap();
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
