//! Clocks, sizes, and the plain writes that everything is held against.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::attack::Attack;

const WRITES: u32 = 100_000;
const TURNS: usize = 5;
const SYNCS: usize = 100;

/// Processor time of the calling thread, user and system.
pub(crate) fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// Processor time of all threads of this process.
pub(crate) fn process_cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn clock(id: ClockId) -> Duration {
    clock_gettime(id).try_into().unwrap()
}

/// Memory of this process in bytes: all that is resident, and what of it is not a file's.
pub(crate) fn resident() -> (u64, u64) {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: Vec<u64> = text.split(' ').map_while(|field| field.parse().ok()).collect();
    (pages[1] * 4096, (pages[1] - pages[2]) * 4096)
}

/// An empty directory on the disk of the build, which is a real one where `/tmp` may be memory.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// What runs here.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().unwrap();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!(
        "{cores} cores, load {load} at the start; {}",
        file_system(Path::new(env!("CARGO_TARGET_TMPDIR")))
    )
}

/// The file system that `path` is on.
fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let holds = |fields: &Vec<&str>| fields.len() > 2 && path.starts_with(fields[1]);
    match fields.filter(holds).max_by_key(|fields| fields[1].len()) {
        Some(fields) => format!("{} on {}", fields[2], fields[0]),
        None => "a file system without a name".to_owned(),
    }
}

/// What the same line costs with less ado.
pub(crate) struct Plain {
    /// Bytes of the line.
    pub line: Vec<u8>,
    /// Processor time of a buffered write of it.
    pub buffered: Duration,
    /// Processor time of a `write(2)` of it.
    pub write: Duration,
}

impl Plain {
    pub(crate) fn measure() -> Self {
        let (home, line) = (directory(), Attack::new().line());
        let create = || File::create(home.path().join("plain")).unwrap();
        let buffered = median(TURNS, || {
            let mut file = BufWriter::with_capacity(64 * 1024, create());
            let before = thread_cpu();
            (0..WRITES).for_each(|_| file.write_all(&line).unwrap());
            file.flush().unwrap();
            (thread_cpu() - before) / WRITES
        });
        let write = median(TURNS, || {
            let mut file = create();
            let before = thread_cpu();
            (0..WRITES).for_each(|_| file.write_all(&line).unwrap());
            (thread_cpu() - before) / WRITES
        });
        Self { line, buffered, write }
    }
}

/// The median of some turns.
pub(crate) fn median(turns: usize, turn: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = std::iter::repeat_with(turn).take(turns).collect();
    times.sort();
    times[turns / 2]
}

/// The sorted times of bare `fdatasync` calls, each after 4 KiB into space that was written before.
pub(crate) fn bare_syncs() -> Vec<Duration> {
    use std::os::unix::fs::FileExt;
    let home = directory();
    let file = File::create(home.path().join("synced")).unwrap();
    file.write_all_at(&vec![0; 4096 * SYNCS], 0).unwrap();
    file.sync_all().unwrap();
    let sync = |at: usize| {
        file.write_all_at(&[1; 4096], (at * 4096) as u64).unwrap();
        let start = Instant::now();
        file.sync_data().unwrap();
        start.elapsed()
    };
    let mut times: Vec<Duration> = (0..SYNCS).map(sync).collect();
    times.sort();
    times
}

/// Microseconds with their fraction.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A figure and its goal, on one line.
pub(crate) fn judge(what: &str, value: String, goal: &str, is_met: bool) {
    println!("{what}: {value} (goal {goal}: {})", if is_met { "met" } else { "MISSED" });
}
