
// ---- connections ----

/// Octets read from a connection at once.
pub const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Octets of requests sent ahead of their turn that are kept for one connection; then it is not read.
pub const PIPELINE_BYTES: usize = 64 * 1024;
/// Header fields of one HTTP/1 request.
pub const HEADER_FIELDS: usize = 128;
/// Octets of the decoded header list of one HTTP/2 request (RFC 9113 §6.5.2).
pub const HTTP2_HEADER_LIST_BYTES: u32 = 32 * 1024;
/// Streams of one HTTP/2 connection at a time.
pub const HTTP2_STREAMS: u32 = 100;
/// Between two pieces of a request body.
pub const CLIENT_READ: Duration = Duration::from_secs(60);
/// For a client to take one piece of an answer.
pub const CLIENT_WRITE: Duration = Duration::from_secs(60);
/// How long a connection that has its answer is still read, so that the answer is not lost to a reset.
pub const LINGER: Duration = Duration::from_secs(2);
/// Octets read in that time.
pub const LINGER_BYTES: usize = 1024 * 1024;
/// How long a stopping edge waits at least, so that what was accepted last is counted.
pub const STOP_SETTLES: Duration = Duration::from_millis(100);

// ---- origins ----

/// Addresses tried for one request.
pub const UPSTREAMS_TRIED: usize = 16;
/// To open a connection to an origin.
pub const UPSTREAM_CONNECT: Duration = Duration::from_secs(5);
/// Between two pieces of an origin's answer.
pub const UPSTREAM_READ: Duration = Duration::from_secs(60);
/// For an origin to take one piece of a request.
pub const UPSTREAM_WRITE: Duration = Duration::from_secs(60);
/// How long an idle connection to an origin is kept.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(60);
/// How long an answer of the resolver is used without asking again.
pub const RESOLVED_FRESH: Duration = Duration::from_secs(5);
/// How long it is used when the resolver fails.
pub const RESOLVED_USABLE: Duration = Duration::from_secs(300);
/// For the resolver to answer.
pub const RESOLVE_AT_MOST: Duration = Duration::from_secs(5);

// ---- reloads ----

/// How often a directory that changes while it is read is read again.
pub const SOURCE_ATTEMPTS: usize = 5;
/// How deep lists may lie in directories.
pub const SOURCE_DEPTH: usize = 8;
/// How long the policy directory must be still, unless the configuration says otherwise.
pub const SETTLE_QUIET: Duration = Duration::from_millis(20);
/// How long it must be still after something was taken away.
pub const SETTLE_AFTER_REMOVAL: Duration = Duration::from_millis(200);
/// How long changes are waited out at most.
pub const SETTLE_AT_MOST: Duration = Duration::from_secs(2);
/// How often the directory is compared with what was read, for changes inotify cannot tell.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often replaced rulesets, gaps of the log and the clock are looked after.
pub const TEND_EVERY: Duration = Duration::from_millis(250);
/// Policy sets kept in the state directory.
pub const KEPT_REVISIONS: usize = 10;
/// Diagnostics of one reload that go into the log, the status and the record.
pub const REPORTED_DIAGNOSTICS: usize = 20;
/// Requests for a reload that wait at a time.
pub const RELOAD_REQUESTS: usize = 16;

// ---- control and tools ----

/// Octets of one line on the control socket.
pub const CONTROL_LINE_BYTES: u64 = 4096;
/// For a caller of the control socket to send its line.
pub const CONTROL_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to accept on the control socket when the system refuses.
pub const CONTROL_RETRY: Duration = Duration::from_millis(100);
/// How often `audit tail --follow` looks for new records.
pub const TAIL_EVERY: Duration = Duration::from_millis(100);
