//! What nginx's access log costs a request: the difference that the log makes to its processor time.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::measure::directory;

const REQUESTS: u32 = 60_000;
const TURNS: usize = 5;
/// As long as one of ours: the path and the user agent are in it.
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const LOGS: [(&str, &str); 2] = [
    ("nginx's access log", "access_log log combined"),
    ("nginx's access log, buffer=64k", "access_log log combined buffer=64k"),
];

/// Tells the processor time of one line of the access log, plain and buffered; says why when it cannot.
pub(crate) fn measure(mut tell: impl FnMut(&str, Duration)) {
    let Some(mut without) = Nginx::start("access_log off") else {
        println!("  beside it, nginx: skipped, it is not installed");
        return;
    };
    if !without.ask() {
        println!("  beside it, nginx: skipped, h2load is not installed");
        return;
    }
    let mut servers: Vec<Nginx> = LOGS.iter().filter_map(|(_, log)| Nginx::start(log)).collect();
    let mut costs = vec![Vec::new(); servers.len() + 1];
    // In turns, so that all see the same weather.
    for _ in 0..TURNS {
        for (server, costs) in std::iter::once(&mut without).chain(&mut servers).zip(&mut costs) {
            costs.push(server.cost());
        }
    }
    let middle = |costs: &mut Vec<Duration>| {
        costs.sort();
        costs[costs.len() / 2]
    };
    let base = middle(&mut costs[0]);
    println!("  nginx without a log: {:.2} µs of CPU a request", crate::measure::micros(base));
    for ((name, _), costs) in LOGS.iter().zip(&mut costs[1..]) {
        match middle(costs).checked_sub(base).filter(|cost| !cost.is_zero()) {
            Some(cost) => tell(name, cost),
            None => println!("  beside it, {name}: lost in the noise of this machine"),
        }
    }
}

/// One process, which serves and logs.
struct Nginx {
    address: SocketAddr,
    process: Child,
    _home: TempDir,
}

impl Nginx {
    fn start(log: &str) -> Option<Self> {
        let home = directory();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = home.path().join("nginx.conf");
        fs::write(&config, config_text(home.path(), address, log)).unwrap();
        let process = Command::new("nginx")
            .arg("-p")
            .arg(home.path())
            .arg("-c")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let nginx = Self { address, process, _home: home };
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return Some(nginx);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Sends all requests of a turn; false when nothing can send them.
    fn ask(&self) -> bool {
        let url = format!("http://{}/threads/2026/11/a-title-of-common-length", self.address);
        let output = Command::new("h2load")
            .args(["--h1", "-c", "32", "-t", "1", "-n", &REQUESTS.to_string(), "-H"])
            .arg(format!("user-agent: {AGENT}"))
            .arg(url)
            .output();
        let Ok(output) = output else { return false };
        String::from_utf8_lossy(&output.stdout).contains(&format!("{REQUESTS} done"))
    }

    /// Processor time of one request.
    fn cost(&mut self) -> Duration {
        let before = self.cpu();
        assert!(self.ask());
        (self.cpu() - before) / REQUESTS
    }

    /// Processor time so far, to the nanosecond.
    fn cpu(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.process.id())).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn config_text(home: &Path, address: SocketAddr, log: &str) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; pid {home}/pid; error_log /dev/null;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;\n\
         uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi; keepalive_requests 1000000000; {log};\n\
         server {{ listen {address}; return 403 \"blocked\"; }} }}\n",
        home = home.display()
    )
}
