//! The generator of load.

use std::time::Duration;

/// Requests of one run of `interdict load`, of which the ids are kept.
pub const LOAD_REQUESTS: u64 = 20_000_000;
/// Requests a second.
pub const LOAD_RATE: u64 = 1_000_000;
/// Seconds that are measured in one run.
pub const LOAD_SECONDS: u64 = 3600;
/// Connections.
pub const LOAD_CONNECTIONS: usize = 10_000;
/// Open files of the generator beside its connections.
pub const LOAD_FILES_BESIDE: u64 = 64;
/// Streams at a time of one HTTP/2 connection.
pub const LOAD_STREAMS: usize = 1_000;
/// Threads of the generator.
pub const LOAD_THREADS: usize = 64;
/// The longest wait for one answer, in milliseconds.
pub const LOAD_TIMEOUT_MS: u64 = 60_000;
/// Hosts that are asked for.
pub const LOAD_HOSTS: usize = 100_000;
/// Octets of a response head that are read.
pub const LOAD_HEAD_BYTES: usize = 64 * 1024;
/// Header fields of a response.
pub const LOAD_FIELDS: usize = 128;
/// Runs of one search for the highest rate.
pub const LOAD_STEPS: usize = 24;
/// How long one of them measures.
pub const LOAD_STEP: Duration = Duration::from_secs(2);
/// A send that is later than this, though a worker was free, is the generator's fault.
pub const LOAD_LATE: Duration = Duration::from_millis(1);
/// How long requests that were due are still begun after the end.
pub const LOAD_OVERTIME: Duration = Duration::from_secs(2);
/// Largest report that is read back, in bytes.
pub const LOAD_REPORT_BYTES: u64 = 64 * 1024 * 1024;
/// A kept connection that was used a shorter time ago has no reason to end without an answer: no server gives up idle
/// connections so soon.
pub const LOAD_IDLE: Duration = Duration::from_secs(1);
/// How often a case file is read anew that somebody else changes while it is touched.
pub const LOAD_TOUCH_TRIES: usize = 5;
/// How long an edge may take to read its policies when a run asks for it.
pub const LOAD_RELOAD_PATIENCE: Duration = Duration::from_secs(30);
