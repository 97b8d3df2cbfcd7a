//! Processes that are measured: where they run, what they use of a processor, and how much memory they hold.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A command that is bound to one core when one is named.
pub fn command(program: &str, core: Option<usize>) -> Command {
    let program = found(program);
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

/// Where a program is: Debian keeps servers in a directory that only root searches.
fn found(program: &str) -> String {
    let beside = Path::new("/usr/sbin").join(program);
    if beside.is_file() { beside.display().to_string() } else { program.to_owned() }
}

/// Whether a program is installed.
pub fn is_installed(program: &str) -> bool {
    Command::new(found(program)).arg("-v").output().is_ok()
}

/// What a program says to an option, from standard output and error.
pub fn said(program: &str, option: &str) -> String {
    let output = Command::new(found(program)).arg(option).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

/// Addresses on this machine that nobody uses; taken together, so that they differ.
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let bound: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    bound.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// A process and its children.
pub fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
    std::iter::once(pid).chain(children.flat_map(family)).collect()
}

/// Processor time a process has used so far, in microseconds: user and system. Nothing for one that has ended.
pub fn cpu_us(pid: u32) -> (f64, f64) {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return (0.0, 0.0) };
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // Clock ticks of 10 ms, as Linux shows them on every platform: fields 14 and 15 of proc(5).
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap() * 10_000.0;
    (ticks(11), ticks(12))
}

/// The same for several.
pub fn cpu_of(pids: &[u32]) -> (f64, f64) {
    pids.iter().map(|pid| cpu_us(*pid)).fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// Memory of several processes in KiB; what they share is counted once (proc_pid_smaps(5), `Pss`).
pub fn memory_kib(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0");
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap()
    };
    pids.iter().map(of).sum()
}

/// Waits until memory stays as it is, within two percent for two seconds, a minute at most; how much it is, in KiB.
/// Processes are looked for each time: those that have ended count no more.
pub fn steady_memory_kib(pids: impl Fn() -> Vec<u32>) -> u64 {
    let began = Instant::now();
    let (mut first, mut since) = (memory_kib(&pids()), began);
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = memory_kib(&pids());
        if now.abs_diff(first) * 50 > first {
            (first, since) = (now, Instant::now());
        } else if since.elapsed() > Duration::from_secs(2) || began.elapsed() > Duration::from_secs(60) {
            return now;
        }
    }
}

/// Waits until processes have nothing left to do, ten seconds at most.
pub fn wait_for_rest(pids: &[u32]) {
    let began = Instant::now();
    let total = || {
        let (user, system) = cpu_of(pids);
        user + system
    };
    let mut before = total();
    while began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(250));
        let now = total();
        // Two ticks of 250 ms are what timers and housekeeping take.
        if now - before < 20_001.0 {
            return;
        }
        before = now;
    }
}
