//! HAProxy and nginx on the same names: memory a name and time to load.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{LISTS, list};

pub fn measure(count: usize) {
    let home = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..LISTS).map(|number| list(number, count / LISTS)).collect();
    let names: Vec<&str> = names.iter().flat_map(|text| text.lines()).collect();
    println!("peers, {} names", names.len());
    for (program, configure) in [("haproxy", haproxy as Configure), ("nginx", nginx)] {
        let full = start(program, home.path(), configure, &names);
        let empty = start(program, home.path(), configure, &[]);
        let (Some((full, took)), Some((empty, _))) = (full, empty) else {
            println!("  {program}: not measured, it is not installed or did not start");
            continue;
        };
        let a_name = (full.saturating_sub(empty) * 1024) as f64 / names.len() as f64;
        println!("  {program}: {a_name:.0} bytes a name, ready after {took:.1?}");
    }
}

/// Writes the files of a server and says how it is started.
type Configure = fn(&Path, SocketAddr, &[&str]) -> Vec<String>;

fn haproxy(home: &Path, address: SocketAddr, names: &[&str]) -> Vec<String> {
    let map: String = names.iter().map(|name| format!("{name} 1\n")).collect();
    fs::write(home.join("names.map"), map).unwrap();
    let config = format!(
        "global\n  maxconn 100\ndefaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 5s\n\
         frontend f\n  bind {address}\n  http-request return status 451 if {{ req.hdr(host),map_str({}/names.map) -m found }}\n\
         \x20 http-request return status 200\n",
        home.display()
    );
    fs::write(home.join("haproxy.cfg"), config).unwrap();
    vec!["-db".to_owned(), "-f".to_owned(), home.join("haproxy.cfg").display().to_string()]
}

fn nginx(home: &Path, address: SocketAddr, names: &[&str]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let map: String =
        names.iter().filter(|name| seen.insert(**name)).map(|name| format!("{name} 1;\n")).collect();
    fs::write(home.join("names.conf"), map).unwrap();
    let buckets = (names.len() * 2).max(1024);
    let config = format!(
        "daemon off; master_process off; error_log /dev/null; pid {0}/nginx.pid; events {{ worker_connections 64; }}\n\
         http {{ access_log off; map_hash_max_size {buckets}; map_hash_bucket_size 128;\n\
         map $host $blocked {{ hostnames; default 0; include {0}/names.conf; }}\n\
         server {{ listen {address}; if ($blocked) {{ return 451; }} return 200; }} }}\n",
        home.display()
    );
    fs::write(home.join("nginx.conf"), config).unwrap();
    vec![
        "-p".to_owned(),
        home.display().to_string(),
        "-c".to_owned(),
        home.join("nginx.conf").display().to_string(),
    ]
}

/// Resident memory in KiB once it answers, and how long that took.
fn start(program: &str, home: &Path, configure: Configure, names: &[&str]) -> Option<(u64, Duration)> {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let arguments = configure(home, address, names);
    let began = Instant::now();
    let mut server =
        Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let found = ready(&mut server, address).then(|| (resident(server.id()), began.elapsed()));
    server.kill().ok();
    server.wait().ok();
    found
}

fn ready(server: &mut Child, address: SocketAddr) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(300) {
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        if server.try_wait().is_ok_and(|ended| ended.is_some()) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS")).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}
