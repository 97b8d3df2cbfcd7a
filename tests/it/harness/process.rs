//! The edge as a process: started, listened to, and ended by its own id.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_for};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_interdict");

/// A running edge that said `ready`.
pub struct Process {
    child: Child,
    /// The first listener.
    pub address: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// An edge that ended, by itself or when told to.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// All it wrote to standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `interdict run` and waits for `ready`.
    pub fn start(config: &Path) -> Result<Self, Ended> {
        let mut child = Command::new(BINARY)
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let reader = collect(child.stderr.take().unwrap(), Arc::clone(&stderr));
        let lines = lines(child.stdout.take().unwrap());
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self { child, address: unset, admin: unset, stderr, reader: Some(reader) };
        if process.hear(&lines) { Ok(process) } else { Err(process.wait()) }
    }

    /// Takes in what it says until `ready`; false when it ended before.
    fn hear(&mut self, lines: &Receiver<String>) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut addresses = Vec::new();
        loop {
            let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("not ready in {PATIENCE:?}: {}", self.stderr()),
            };
            match line.split_once(' ') {
                Some(("listening", address)) => addresses.push(address.parse().unwrap()),
                Some(("admin", address)) => self.admin = address.parse().unwrap(),
                _ if line == "ready" => {
                    self.address = *addresses.first().expect("a line `listening ADDRESS` before `ready`");
                    return true;
                }
                _ => panic!("unexpected line on standard output: `{line}`"),
            }
        }
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends a signal and waits for the end.
    pub fn end(mut self, signal: Signal) -> Ended {
        self.signal(signal);
        self.wait()
    }

    /// Octets of memory it holds for itself; pages of files, such as its code and its journal, are the system's.
    pub fn resident_bytes(&self) -> u64 {
        let pages = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: Vec<u64> = pages.split_whitespace().map(|count| count.parse().unwrap()).collect();
        (pages[1] - pages[2]) * rustix::param::page_size() as u64
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn wait(&mut self) -> Ended {
        let status = wait_for("the edge has ended", || self.child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        Ended { status, stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!("--- standard error of the edge ---\n{}---", self.stderr());
        }
    }
}

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut block = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut block) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&block[..count]));
        }
    })
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
