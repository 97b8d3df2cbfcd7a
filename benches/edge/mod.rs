//! A real edge process for benches that ask what the whole thing costs.

#![allow(dead_code, unreachable_pub, reason = "each bench uses its part")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub mod bare;
pub mod listed;
pub mod process;
pub mod server;

/// What is waited for comes within this time, or the bench ends.
const AT_MOST: Duration = Duration::from_secs(180);

/// An edge on free ports, with its files in a directory of its own.
pub struct Edge {
    pub address: SocketAddr,
    /// All of them, in the order of the configuration.
    pub listeners: Vec<SocketAddr>,
    pub home: tempfile::TempDir,
    core: Option<usize>,
    process: Child,
}

/// A case file that blocks `hosts`, given as TOML array items, with a page.
pub fn case(id: &str, lines: &str) -> String {
    format!(
        "id = \"{id}\"\ncustomer = \"cust-{id}\"\nbasis = \"terms-of-service\"\n\
         decided = 2026-11-20T22:15:00Z\ndecided_by = [\"j.doe\"]\nsummary = \"bench\"\n\
         statement = \"This site's service was ended.\"\n{lines}\n"
    )
}

/// Writes a file of the policy directory in one step, as a careful tool does.
pub fn save(policies: &Path, name: &str, text: &str) {
    let path = policies.join(name);
    let draft = path.with_file_name(".draft");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&draft, text).unwrap();
    fs::rename(draft, path).unwrap();
}

/// Writes `lists/ID.txt` with these names, one a line, and the case `ID` that blocks them.
pub fn save_list(policies: &Path, id: &str, names: &str) {
    save(policies, &format!("lists/{id}.txt"), names);
    save(policies, &format!("cases/{id}.toml"), &case(id, &format!("host_lists = [\"lists/{id}.txt\"]")));
}

/// A certificate for these hosts, as `FIRST.crt` and `FIRST.key` in a new directory.
pub fn certify(directory: &Path, hosts: &[&str]) {
    let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    fs::create_dir(directory).unwrap();
    fs::write(directory.join(format!("{}.crt", hosts[0])), made.cert.pem()).unwrap();
    fs::write(directory.join(format!("{}.key", hosts[0])), made.signing_key.serialize_pem()).unwrap();
}

impl Edge {
    /// Starts an edge on the policy files that `prepare` writes, with all routes to `origin`.
    pub fn start(origin: SocketAddr, prepare: impl FnOnce(&Path)) -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), origin, "", prepare)
    }

    /// The same in a directory that has been prepared, with these further tables in the configuration.
    pub fn start_with(
        home: tempfile::TempDir,
        origin: SocketAddr,
        tables: &str,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        Self::start_on(None, home, origin, tables, prepare)
    }

    /// The same, bound to one core.
    pub fn start_on(
        core: Option<usize>,
        home: tempfile::TempDir,
        origin: SocketAddr,
        tables: &str,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let policies = home.path().join("policies");
        fs::create_dir_all(policies.join("cases")).unwrap();
        prepare(&policies);
        let config = home.path().join("edge.toml");
        let text = format!(
            "edge = \"bench\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nhosts = [\"*\"]\n\
             origins = [\"{origin}\"]\n{tables}"
        );
        fs::write(&config, text).unwrap();
        let (process, listeners) = run(&config, core);
        Self { address: listeners[0], listeners, home, core, process }
    }

    /// Ends the edge and starts it again on its own files; tells how long it took from the start of the process to the
    /// first verdict.
    pub fn restart_timed(&mut self, what: &str, host: &str) {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.process),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        self.process.wait().unwrap();
        let began = Instant::now();
        (self.process, self.listeners) = run(&self.home.path().join("edge.toml"), self.core);
        self.address = self.listeners[0];
        let ready = began.elapsed();
        assert_eq!(status(self.address, host), 200);
        println!("  {what}: ready after {ready:.0?}, first verdict after {:.0?}", began.elapsed());
    }

    /// Saves a case that blocks one more host; tells how long it took until it did.
    pub fn block(&self, id: &str, host: &str) -> Duration {
        assert_eq!(status(self.address, host), 200);
        let text = case(id, &format!("hosts = [\"{host}\"]"));
        let began = Instant::now();
        save(&self.policies(), &format!("cases/{id}.toml"), &text);
        until(self.address, host, 403, Duration::ZERO);
        began.elapsed()
    }

    /// Waits until the names of the first set are merged and stand on the disk for the next start: their image gets its
    /// name last. A set without many names never has one.
    pub fn wait_until_kept(&self) {
        let image = self.home.path().join("state/names").join(env!("CARGO_PKG_VERSION")).join("image");
        let began = Instant::now();
        while !image.exists() {
            assert!(began.elapsed() < AT_MOST, "the names were never kept");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn policies(&self) -> PathBuf {
        self.home.path().join("policies")
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

/// Starts an edge and waits until it is ready.
fn run(config: &Path, core: Option<usize>) -> (Child, Vec<SocketAddr>) {
    let mut process = process::command(env!("CARGO_BIN_EXE_interdict"), core)
        .args(["run", "--config"])
        .arg(config)
        // Clients leave with answers under way; Pingora tells every one of them.
        .env("INTERDICT_LOG", "error,pingora_proxy=off")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    let listeners = lines
        .take_while(|line| line != "ready")
        .map(|line| line.strip_prefix("listening ").unwrap().parse().unwrap())
        .collect();
    (process, listeners)
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// One request on a new connection; the status of its answer, 0 when there is none: a request that is under way at the
/// moment of a swap may be cut.
pub fn status(edge: SocketAddr, host: &str) -> u16 {
    let mut stream = TcpStream::connect(edge).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Asks for a host, with this pause after each time, until it is answered with this status.
pub fn until(edge: SocketAddr, host: &str, code: u16, pause: Duration) {
    let began = Instant::now();
    while status(edge, host) != code {
        assert!(began.elapsed() < AT_MOST, "`{host}` was never answered with {code}");
        std::thread::sleep(pause);
    }
}

/// An origin that answers 200 to everything, one connection at a time in threads of its own.
pub fn origin() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(stream));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream) {
    let mut buffer = [0; 8192];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}
