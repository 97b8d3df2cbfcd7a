//! What runs here: cores, kernel, versions.

use std::fs;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::edge::process::{is_installed, said};

/// Where servers run, and where everything else does.
#[derive(Clone, Copy)]
pub struct Cores {
    pub server: usize,
    pub client: usize,
}

impl Cores {
    /// The first two that this process may use; nothing when there is one only.
    pub fn find() -> Option<Self> {
        let allowed = sched_getaffinity(None).unwrap();
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Some(Self { server: cores.next()?, client: cores.next()? })
    }

    /// Binds this process, which is the client, and all threads that it starts from now on.
    pub fn take_client(self) {
        let mut set = CpuSet::new();
        set.set(self.client);
        sched_setaffinity(None, &set).unwrap();
    }
}

/// Ten thousand connections take as many files.
pub fn take_all_files() {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
}

/// Programs that are absent.
pub fn missing() -> Vec<&'static str> {
    let wanted = ["nginx", "haproxy", "h2load", "taskset", "chrt"];
    wanted.into_iter().filter(|program| !is_installed(program)).collect()
}

/// Lines for the head of the report.
pub fn describe(cores: Cores) -> String {
    let processor = first_of("/proc/cpuinfo", "model name");
    let count = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let count = count.lines().filter(|line| line.starts_with("processor")).count();
    let memory = first_of("/proc/meminfo", "MemTotal");
    let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    format!(
        "* machine: {count} cores of {processor}, {} GiB; Linux {}; load {load} at the start\n\
         * servers on core {}, clients and origin on core {}\n\
         * interdict {}{}; {}; {}; {}",
        memory / (1024 * 1024),
        kernel.trim(),
        cores.server,
        cores.client,
        env!("CARGO_PKG_VERSION"),
        commit(),
        said("nginx", "-v"),
        said("haproxy", "-v"),
        said("h2load", "--version"),
    )
}

fn first_of(path: &str, field: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
}

/// Which state of the source, where git knows.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    match output {
        Ok(output) if output.status.success() => {
            format!(" ({})", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => String::new(),
    }
}
