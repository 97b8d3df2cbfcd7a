//! The edge as a process: started, listened to, and ended by its own id.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

use super::{PATIENCE, wait_for};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_interdict");

/// A running edge that said `ready`.
pub struct Process {
    life: Life,
    /// Processes it has succeeded that may still drain.
    before: Vec<Child>,
    /// The first listener.
    pub address: SocketAddr,
    /// All of them, in the order of the configuration.
    pub listeners: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: SocketAddr,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    /// Its log, held open for nobody.
    #[expect(dead_code, reason = "it is closed with the process")]
    unread: Option<ChildStderr>,
}

/// What an edge finds where it is started.
#[derive(Default)]
pub struct Surroundings {
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Bound for it, as by a socket unit.
    pub socket: Option<OwnedFd>,
    /// Who takes its log.
    pub reader: LogReader,
}

/// Who is at the other end of an edge's standard error.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum LogReader {
    /// Somebody who takes every line.
    #[default]
    Attentive,
    /// Somebody who has stopped reading, and has the pipe still open.
    Asleep,
    /// Nobody: the pipe is closed once the edge is ready.
    Gone,
    /// A disk that is full.
    FullDisk,
}

impl LogReader {
    fn end(self) -> Stdio {
        match self {
            Self::FullDisk => File::options().write(true).open("/dev/full").unwrap().into(),
            _ => Stdio::piped(),
        }
    }
}

/// How a process is waited for.
enum Life {
    /// The test started it.
    Child(Child),
    /// Its predecessor did, at an upgrade. When that has ended, it is the test's to wait for.
    Grandchild(Pid),
}

impl Life {
    fn pid(&self) -> Pid {
        match self {
            Self::Child(child) => Pid::from_child(child),
            Self::Grandchild(pid) => *pid,
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        match self {
            Self::Child(child) => child.try_wait().unwrap(),
            // An error says that it still has its parent.
            Self::Grandchild(pid) => {
                let waited = waitpid(Some(*pid), WaitOptions::NOHANG).ok().flatten();
                waited.map(|(_, status)| ExitStatus::from_raw(status.as_raw()))
            }
        }
    }
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
    pub fn start(config: &Path, around: &Surroundings) -> Result<Self, Ended> {
        // Whom an upgrade leaves behind is waited for here, and not by the system's first process.
        set_child_subreaper(Some(getpid())).unwrap();
        let (mut command, stdin) = match &around.socket {
            Some(socket) => (activated(), Stdio::from(socket.try_clone().unwrap())),
            None => (Command::new(BINARY), Stdio::null()),
        };
        let mut child = command
            .args(["run", "--config"])
            .arg(config)
            .envs(around.environment.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(around.reader.end())
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut unread = child.stderr.take();
        let reader = unread
            .take_if(|_| around.reader == LogReader::Attentive)
            .map(|log| collect(log, Arc::clone(&stderr)));
        let lines = lines(child.stdout.take().unwrap());
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let life = Life::Child(child);
        let (before, listeners) = (Vec::new(), Vec::new());
        let unread = unread.filter(|_| around.reader == LogReader::Asleep);
        let mut process =
            Self { life, before, address: unset, listeners, admin: unset, stderr, reader, unread };
        if process.hear(&lines) { Ok(process) } else { Err(process.wait()) }
    }

    /// Takes in what it says until `ready`; false when it ended before.
    fn hear(&mut self, lines: &Receiver<String>) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("not ready in {PATIENCE:?}: {}", self.stderr()),
            };
            match line.split_once(' ') {
                Some(("listening", address)) => self.listeners.push(address.parse().unwrap()),
                Some(("admin", address)) => self.admin = address.parse().unwrap(),
                _ if line == "ready" => {
                    self.address =
                        *self.listeners.first().expect("a line `listening ADDRESS` before `ready`");
                    return true;
                }
                _ => panic!("unexpected line on standard output: `{line}`"),
            }
        }
    }

    /// Its place is another process's from now on; this one ends by itself.
    pub fn is_succeeded_by(&mut self, pid: u32) {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        match std::mem::replace(&mut self.life, Life::Grandchild(pid)) {
            Life::Child(child) => self.before.push(child),
            Life::Grandchild(before) => {
                let mut before = Life::Grandchild(before);
                let status = wait_for("the process before has ended", || before.ended());
                assert_eq!(status.code(), Some(0), "{}", self.stderr());
            }
        }
    }

    /// Waits until all processes that came before have ended, in order.
    #[track_caller]
    pub fn wait_for_those_before(&mut self) {
        for mut child in self.before.drain(..) {
            let status = wait_for("the process before has ended", || child.try_wait().unwrap());
            assert_eq!(status.code(), Some(0), "{}", self.stderr.lock().unwrap());
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

    /// Sends a signal and waits for the end of this one process; others may still write to its standard error.
    pub fn end_alone(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let status = wait_for("the edge has ended", || self.life.ended());
        self.reader = None;
        status
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.life.pid()
    }

    /// Processes it has started that still run.
    pub fn children(&self) -> Vec<Pid> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let of_thread =
            |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).ok();
        let lists: Vec<String> = threads.flatten().filter_map(of_thread).collect();
        let words = lists.iter().flat_map(|list| list.split_whitespace());
        words.filter_map(|word| Pid::from_raw(word.parse().unwrap())).collect()
    }

    /// Octets of memory it holds for itself; pages of files, such as its code and its journal, are the system's.
    pub fn resident_bytes(&self) -> u64 {
        let pages = std::fs::read_to_string(format!("/proc/{}/statm", self.pid().as_raw_nonzero())).unwrap();
        let pages: Vec<u64> = pages.split_whitespace().map(|count| count.parse().unwrap()).collect();
        (pages[1] - pages[2]) * rustix::param::page_size() as u64
    }

    /// How many places of the file system it listens to.
    pub fn places_watched(&self) -> usize {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fdinfo", self.pid())).unwrap();
        // Some are closed meanwhile.
        let texts = descriptors.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        texts.map(|text| text.lines().filter(|line| line.starts_with("inotify wd:")).count()).sum()
    }

    fn wait(&mut self) -> Ended {
        let status = wait_for("the edge has ended", || self.life.ended());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        Ended { status, stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // These fail only for those that have ended already.
        for child in &mut self.before {
            child.kill().ok();
            child.wait().ok();
        }
        match &mut self.life {
            Life::Child(child) => {
                child.kill().ok();
                child.wait().ok();
            }
            // Once it was waited for, its number may be another's.
            Life::Grandchild(pid) if self.reader.is_some() => {
                kill_process(*pid, Signal::KILL).ok();
                waitpid(Some(*pid), WaitOptions::empty()).ok();
            }
            Life::Grandchild(_) => {}
        }
        if thread::panicking() {
            eprintln!("--- standard error of the edge ---\n{}---", self.stderr());
        }
    }
}

/// The binary with its standard input as the first descriptor of a service manager's (`sd_listen_fds(3)`).
fn activated() -> Command {
    const SCRIPT: &str =
        "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=edge.socket; exec \"$@\" 3<&0 0</dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh", BINARY]);
    command
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
