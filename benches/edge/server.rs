//! Servers of others that the edge is held against, each in a directory of its own.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::process::{command, cpu_of, family, free_addresses};

/// How long one may take until it listens: a million names are read in seconds.
const READY_AT_MOST: Duration = Duration::from_secs(300);

/// A running server. It ends with its children when it is dropped.
pub struct Server {
    /// Where it listens, in the order of its configuration.
    pub addresses: Vec<SocketAddr>,
    /// From its start until it listened.
    pub took: Duration,
    pub home: TempDir,
    process: Child,
}

/// What every nginx needs: where it runs, and what stands in its `http { … }`.
pub struct Nginx<'c> {
    pub core: Option<usize>,
    pub workers: usize,
    pub listeners: usize,
    /// Given its addresses and its directory.
    pub http: &'c dyn Fn(&[SocketAddr], &Path) -> String,
}

impl Nginx<'_> {
    /// Nothing when it is not installed or does not start.
    pub fn start(&self, home: TempDir) -> Option<Server> {
        let addresses = free_addresses(self.listeners);
        let path = home.path();
        let text = format!(
            "daemon off; worker_processes {workers}; worker_rlimit_nofile 65536; pid {home}/pid;\n\
             error_log {home}/errors; events {{ worker_connections 32768; }}\n\
             http {{ client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;\n\
             fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;\n\
             keepalive_requests 1000000000; server_tokens off;\n{http} }}\n",
            workers = self.workers,
            home = path.display(),
            http = (self.http)(&addresses, path),
        );
        let config = path.join("nginx.conf");
        std::fs::write(&config, text).unwrap();
        let arguments = ["-p".to_owned(), path.display().to_string(), "-c".to_owned()];
        let arguments = arguments.into_iter().chain([config.display().to_string()]);
        Server::start("nginx", arguments, self.core, addresses, home)
    }
}

/// HAProxy with one thread, as master and worker.
pub struct Haproxy<'c> {
    pub core: Option<usize>,
    pub listeners: usize,
    /// Whether requests are logged: to its standard output, which is a file.
    pub logs: bool,
    /// Its frontends and backends, given its addresses and its directory.
    pub sections: &'c dyn Fn(&[SocketAddr], &Path) -> String,
}

impl Haproxy<'_> {
    /// Nothing when it is not installed or does not start.
    pub fn start(&self, home: TempDir) -> Option<Server> {
        let addresses = free_addresses(self.listeners);
        let path = home.path();
        let (global, defaults) = match self.logs {
            true => ("  log stdout format raw local0 info\n", "  log global\n  option httplog\n"),
            false => ("", ""),
        };
        let text = format!(
            "global\n  nbthread 1\n  maxconn 1000\n  tune.ssl.default-dh-param 2048\n\
             \x20 stats socket {home}/control level admin\n{global}\
             defaults\n  mode http\n{defaults}  timeout client 60s\n  timeout server 60s\n\
             \x20 timeout connect 5s\n  http-reuse always\n{sections}",
            home = path.display(),
            sections = (self.sections)(&addresses, path),
        );
        let config = path.join("haproxy.cfg");
        std::fs::write(&config, text).unwrap();
        let arguments = ["-W".to_owned(), "-db".to_owned(), "-f".to_owned(), config.display().to_string()];
        Server::start("haproxy", arguments.into_iter(), self.core, addresses, home)
    }
}

impl Server {
    fn start(
        program: &str,
        arguments: impl Iterator<Item = String>,
        core: Option<usize>,
        addresses: Vec<SocketAddr>,
        home: TempDir,
    ) -> Option<Self> {
        let began = Instant::now();
        let process = command(program, core)
            .args(arguments)
            .stdout(File::create(home.path().join("stdout")).unwrap())
            .stderr(File::create(home.path().join("stderr")).unwrap())
            .spawn()
            .ok()?;
        let mut server = Self { addresses, took: Duration::ZERO, home, process };
        while began.elapsed() < READY_AT_MOST {
            if server.addresses.iter().all(|address| TcpStream::connect(address).is_ok()) {
                server.took = began.elapsed();
                return Some(server);
            }
            if server.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                let said = std::fs::read_to_string(server.home.path().join("stderr"));
                eprintln!("{program} ended: {}", said.unwrap_or_default());
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The process and its workers.
    pub fn pids(&self) -> Vec<u32> {
        family(self.pid())
    }

    /// Processor time of all of them so far, in microseconds: user and system.
    pub fn cpu_us(&self) -> (f64, f64) {
        cpu_of(&self.pids())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The master ends its workers.
        kill_process(Pid::from_child(&self.process), Signal::TERM).ok();
        self.process.wait().ok();
    }
}
