//! Every bound in one place: what is refused, cut or counted beyond a size, and in which unit.
//!
//! A bound is there so that no input, broken or hostile, takes the edge's memory or time away from its
//! requests. None of them is a tuning knob: what an operator may change is in `[limits]` of `edge.toml`.

mod background;
mod http2;
mod load;

use std::time::Duration;

pub use background::*;
pub use http2::*;
pub use load::*;

/// Largest `edge.toml`, in bytes.
pub const CONFIG_FILE_BYTES: u64 = 1024 * 1024;

/// Largest case file, in bytes. Long lists of names belong into a host list.
pub const CASE_FILE_BYTES: u64 = 1024 * 1024;

/// Largest host list, in bytes: about three million names of a usual length.
pub const LIST_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Largest block page template, in bytes. It is held once per case and language.
pub const PAGE_FILE_BYTES: u64 = 256 * 1024;

/// Most files in one policy set: cases, lists and pages together.
pub const FILES_PER_SET: usize = 100_000;

/// Most bytes in one policy set, all files together.
pub const SET_BYTES: u64 = 1024 * 1024 * 1024;

/// Most characters in the path of a policy file, relative to the policy directory.
pub const PATH_CHARS: usize = 255;

/// Most host patterns in one policy set, lists included; a list that several cases name counts each time.
pub const HOSTS_PER_SET: usize = 20_000_000;

/// From so many names on a layer of the index is an image, which takes a third of the memory of a table and longer to make.
pub const IMAGE_FROM_NAMES: u64 = 65_536;

/// Most patterns written into `hosts` or `except` of one case file.
pub const HOSTS_PER_CASE_FILE: usize = 20_000;

/// Most lists, networks, exemptions or people that one case names, each.
pub const ITEMS_PER_CASE: usize = 10_000;

/// Longest line of a host list that is looked at, in bytes; a name has 253 at most.
pub const LIST_LINE_BYTES: usize = 1024;

/// Longest id of a case and longest name of an edge, in characters.
pub const ID_CHARS: usize = 64;

/// Longest short text of a case (customer, a person, an authority, a reference, a reason), in characters.
pub const SHORT_TEXT_CHARS: usize = 256;

/// Longest `summary` and `statement`, in characters.
pub const LONG_TEXT_CHARS: usize = 8_000;

/// Longest URL in a case, in bytes; it goes into a header field.
pub const URL_BYTES: usize = 2_000;

/// Most errors, and most warnings, that are kept with their text; the rest is counted.
pub const DIAGNOSTICS_KEPT: usize = 1_000;

/// Most errors, and most warnings, of one file that are kept with their text, so that one bad file leaves room
/// for the findings in others; the rest is counted.
pub const DIAGNOSTICS_KEPT_PER_FILE: usize = 100;

/// Most characters of somebody's text that a diagnostic repeats.
pub const EXCERPT_CHARS: usize = 80;

/// Largest TOML file whose syntax errors are all reported; of a larger one only the first is. A damaged
/// file can hold an error per byte.
pub const ALL_SYNTAX_ERRORS_BYTES: usize = 64 * 1024;

/// Longest word that a "did you mean" is looked for, in characters; the search is quadratic.
pub const SUGGESTION_CHARS: usize = 64;

/// Most `[[listen]]` and most `[[route]]` tables in `edge.toml`, each.
pub const TABLES_PER_CONFIG: usize = 10_000;

/// Most origins of one route.
pub const ORIGINS_PER_ROUTE: usize = 256;

/// The longest block page that is made from a template, in bytes.
pub const PAGE_BYTES: usize = 256 * 1024;

/// Steps a page template may take: an endless loop in a page must not stop a reload.
pub const PAGE_FUEL: u64 = 1_000_000;

/// How much of a statement goes into a `grpc-message`, in bytes before they are encoded.
pub const GRPC_MESSAGE_BYTES: usize = 512;

/// How many elements of an `Accept` or `Accept-Language` header are looked at.
pub const ACCEPT_ELEMENTS: usize = 32;

// ---- connections ----

/// Octets read from a connection at once.
pub const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Octets read at once for whoever asks for so little at a time as TLS does: one of its records, the largest there is
/// (RFC 8446 §5.2).
pub const RECORD_BUFFER_BYTES: usize = 5 + 16 * 1024 + 256;
/// Octets that are little to ask for.
pub const SMALL_READ_BYTES: usize = 4 * 1024;
/// Octets of requests sent ahead of their turn that are kept for one connection; then it is not read.
pub const PIPELINE_BYTES: usize = 64 * 1024;
/// Octets of answers to pipelined blocked requests that wait for one another.
pub const PIPELINED_ANSWER_BYTES: usize = 64 * 1024;
/// Octets between two pieces of a chunked body, extensions included, and those of all its trailers together.
pub const CHUNK_OVERHEAD_BYTES: usize = 4 * 1024;
/// For an answer that has begun to end by itself before it is cut; shorter than [`CUTS_SETTLE`].
pub const CUT_GRACE: Duration = Duration::from_millis(100);
/// For a request that lost its origin to a cut to get the answer of its case instead; then it ends without one.
pub const CUT_ANSWER: Duration = Duration::from_millis(400);
/// The most that `header_fields` can be set to: what Pingora's own parser takes.
pub const HEADER_FIELDS: usize = 256;
/// Octets of a PROXY protocol header; version 2 allows 64 KiB, of which nobody has use for more than this.
pub const PROXY_HEADER_BYTES: usize = 4096;
/// Addresses of `X-Forwarded-For` or `Forwarded` that are looked at, from the right.
pub const FORWARDED_ELEMENTS: usize = 64;
/// Networks in one `trusted_proxies`.
pub const TRUSTED_PROXIES: usize = 10_000;
/// Threads that count by themselves; with more, some share a counter. A power of two.
pub const COUNTERS_APART: usize = 64;
/// From here on threads count by themselves: a case that is hardly asked for needs one counter.
pub const COUNTED_TOGETHER: u64 = 1000;
/// Parts of the table of client networks that count their connections; each has a lock.
pub const ADMISSION_SHARDS: usize = 64;
/// Client networks whose rates are kept at a time.
pub const RATE_NETWORKS: usize = 64 * 1024;
/// Parts of the table of rates, which are made when they are needed.
pub const RATE_PARTS: usize = 64;
/// Places in a row at which a network's rate may be.
pub const RATE_PROBES: usize = 32;
/// How many seconds' worth of blocked requests one client network gets the whole answer for at once.
pub const BLOCKED_BURST_SECONDS: u32 = 2;
/// Largest file of a certificate chain or key, in bytes.
pub const CERTIFICATE_FILE_BYTES: u64 = 1024 * 1024;
/// How often the directories of certificates are looked at; a change counts when it is seen twice in a row.
pub const CERTIFICATES_LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a connection that has its answer is still read, so that the answer is not lost to a reset.
pub const LINGER: Duration = Duration::from_secs(2);
/// Octets read in that time.
pub const LINGER_BYTES: usize = 1024 * 1024;
/// How long a stopping edge waits at least, so that what was accepted last is counted.
pub const STOP_SETTLES: Duration = Duration::from_millis(100);
/// The same for an edge that was succeeded: nobody waits for its end.
pub const LEAVE_SETTLES: Duration = Duration::from_secs(1);
/// How long an edge that was succeeded waits for one more request on an idle connection.
pub const LEAVE_IDLE: Duration = Duration::from_secs(2);
/// Descriptors of a connection to an origin: its socket twice, so that it can be ended while somebody waits on it.
pub const DESCRIPTORS_PER_ORIGIN_CONNECTION: u64 = 2;
/// Descriptors for everything but connections: files, listeners, tools that ask.
pub const DESCRIPTORS_BESIDE: u64 = 200;

// ---- origins ----

/// Addresses tried for one request.
pub const UPSTREAMS_TRIED: usize = 16;
/// Attempts after the first, unless the route says otherwise.
pub const RETRIES: usize = 5;
/// Streams of one HTTP/2 connection to an origin at a time.
pub const UPSTREAM_STREAMS: usize = 100;
/// How often an HTTP/2 connection to an origin is asked whether it is still there.
pub const UPSTREAM_PING: Duration = Duration::from_secs(15);
/// Between two health checks of an origin, unless the route says otherwise.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// For one health check, unless the route says otherwise.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Octets of the answer to a health check that are read, for an answer that never ends.
pub const HEALTH_BODY_BYTES: usize = 64 * 1024;
/// Parts of the list of open connections to origins: request threads that use connections of different parts do not
/// wait for each other.
pub const DOOR_SHARDS: usize = 64;
/// Clients that are known by name of one connection to an origin; with more, any client could be on it.
pub const CONNECTION_USERS: usize = 32;
/// Octets of a list of addresses that a trusted proxy sent and is passed on.
pub const FORWARDED_BYTES: usize = 4096;
/// Sockets that the service manager may hand over.
pub const ACTIVATED_SOCKETS: usize = 1024;
/// Between a change of the rules and the end of connections to origins that no cut has ended.
pub const CUTS_SETTLE: Duration = Duration::from_millis(250);
/// Origins that the status names.
pub const REPORTED_ORIGINS: usize = 1_000;
/// How long an idle connection to an origin is kept.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(60);
/// The shortest time that an answer of a name server holds, unless the configuration says otherwise.
pub const RESOLVED_AT_LEAST: Duration = Duration::from_secs(1);
/// The longest.
pub const RESOLVED_AT_MOST: Duration = Duration::from_secs(3600);
/// How long lapsed addresses are kept when they cannot be renewed, unless the configuration says otherwise. RFC 8767
/// §5 speaks of one to three days.
pub const RESOLVED_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long what the hosts file says holds.
pub const HOSTS_FRESH: Duration = Duration::from_secs(5);
/// For one look-up, whatever is tried.
pub const RESOLVE_AT_MOST: Duration = Duration::from_secs(5);
/// For one attempt at a name server.
pub const RESOLVE_ATTEMPT: Duration = Duration::from_secs(2);
/// How long requests wait for a look-up when there are lapsed addresses to go on with (RFC 8767 §5).
pub const RESOLVE_WAIT: Duration = Duration::from_secs(1);
/// From a look-up that failed to the next one; twice as long with each that fails after it.
pub const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// The longest of these pauses.
pub const RESOLVE_AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// Look-ups at a time; each asks for both families. The others wait.
pub const RESOLVES_AT_ONCE: usize = 32;
/// Name servers of one configuration.
pub const NAME_SERVERS: usize = 8;
/// Addresses of one name that are used.
pub const ADDRESSES_PER_NAME: usize = 64;

// ---- cache ----

/// Parts of the cache with a lock of their own.
pub const CACHE_SHARDS: usize = 16;
/// What an object takes beside its content, its fields and the name of its host, in bytes. Generous.
pub const CACHE_OBJECT_OVERHEAD: usize = 640;
/// Variants (RFC 9110 §12.5.5) of one URI that are kept: a client that makes up field values pushes out none but
/// those of this URI.
pub const CACHE_VARIANTS: usize = 32;
/// Octets of an object that are handed to a connection at once.
pub const CACHE_PIECE_BYTES: usize = 64 * 1024;
/// Octets of a URI that are kept as a key; a longer one is not cached.
pub const CACHE_KEY_BYTES: usize = 8 * 1024;
/// URIs remembered as not to be kept, in each of 16 parts, so that requests for them need not wait for each other.
pub const CACHE_UNCACHEABLE_PER_PART: usize = 4096;
/// Lapsed names in the roll of hosts before it is swept for the first time.
pub const CACHE_ROLL_SWEEP: usize = 1024;

// ---- reloads ----

/// Links in a policy directory whose files are watched where they stand; what is written where others lead is found by
/// [`LOOK_EVERY`] alone.
pub const LINKS_WATCHED: usize = 1000;
/// Octets of file changes read from inotify at once.
pub const INOTIFY_BUFFER_BYTES: usize = 16 * 1024;
/// How many of these are read without a pause: what the kernel keeps by default.
pub const INOTIFY_BUFFERS_AT_ONCE: usize = 256;
/// Names of a case that is ended beside a download that are held against what is still to come; a case with more waits.
pub const NAMES_ASKED_FOR: u64 = 100_000;
/// New cases that are tried one by one when together they are over a limit of the guard.
pub const CASES_TRIED: usize = 32;
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
/// How long a list is waited for whose writer has stopped in the middle: a download may stall.
pub const LIST_STALLS_AFTER: Duration = Duration::from_secs(10);
/// How often the directory is compared with what was read, for changes inotify cannot tell.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often replaced rulesets, gaps of the log and the clock are looked after.
pub const TEND_EVERY: Duration = Duration::from_millis(250);
/// Until a set that the disk has refused to keep is tried again.
pub const KEEP_AGAIN: Duration = Duration::from_secs(2);
/// Octets of new lists that stay in memory until their set is kept: what is deleted or written over meanwhile is kept as
/// it came into force. Longer ones are read again.
pub const LISTS_AT_HAND_BYTES: u64 = 8 << 20;
/// Threads that serve requests.
pub const THREADS: u64 = 1024;
/// Largest revision of a set, and largest serial of a signed one: what every reader of JSON can hold (RFC 8259 §6).
pub const LARGEST_NUMBER: u64 = (1 << 53) - 1;
/// Octets that are read of a file that holds a number.
pub const NUMBER_BYTES: u64 = 64;
/// Policy sets kept in the state directory.
pub const KEPT_REVISIONS: usize = 10;
/// Diagnostics of one reload that go into the log, the status and the record.
pub const REPORTED_DIAGNOSTICS: usize = 20;
/// Requests for a reload that wait at a time.
pub const RELOAD_REQUESTS: usize = 16;
/// Commands that wait for a file that is being written, before those that were given up are forgotten.
pub const RELOADS_WAITING: usize = 256;
/// For a command to move its files while the keeper holds still.
pub const CHANGE_AT_MOST: Duration = Duration::from_secs(10);
/// Octets of the line that says that a change is complete: so many names of 255 octets, in quotes.
pub const CHANGE_LINE_BYTES: u64 = 32 * 1024;
/// Octets of the answer to it.
pub const CHANGE_ANSWER_BYTES: u64 = 4 * 1024 * 1024;
/// Names that a command asks about after a change.
pub const CHANGE_HOSTS: usize = 100;
/// How long before its end a case or an exemption is announced as ending, in seconds: a week.
pub const EXPIRING_WITHIN_SECONDS: i64 = 7 * 24 * 3600;
/// Cases that end soon that the status names.
pub const REPORTED_EXPIRIES: usize = 1_000;

// ---- guard rails ----

/// Names that are new or gone in one swap, up to which one that several cases have is counted once: eight octets each.
pub const GUARD_NAMES_TOLD_APART: usize = 1 << 20;
/// Lists that the guard tells of one by one, of each rail.
pub const GUARD_LISTS_TOLD: usize = 10;
/// Names, cases and hosts that a finding of the guard tells.
pub const GUARD_NAMES_TOLD: usize = 5;
/// Hosts that routes must name before a share of them says anything.
pub const GUARD_ROUTES_AT_LEAST: u64 = 10;
/// Starts of cases to come at which the guard looks what would be blocked.
pub const GUARD_STARTS: usize = 16;
/// Octets of the line that says what a dry run is about: a whole case file, and what JSON makes of it.
pub const REHEARSAL_LINE_BYTES: u64 = 2 * CASE_FILE_BYTES + 64 * 1024;
/// Dry runs that wait at a time.
pub const REHEARSALS: usize = 4;
/// Approvals that wait at a time.
pub const APPROVAL_REQUESTS: usize = 16;
/// How long one stretch of the sketch of traffic is.
pub const TRAFFIC_STRETCH: Duration = Duration::from_secs(300);
/// Stretches that make an hour.
pub const TRAFFIC_STRETCHES: usize = 12;
/// Requests of one stretch whose hosts are kept, chosen at random.
pub const TRAFFIC_SAMPLE: usize = 512;
/// Octets of the manifest of a policy set.
pub const MANIFEST_BYTES: u64 = 64 * 1024 * 1024;
/// Octets of the signatures of a policy set, and of a key.
pub const SIGNATURE_BYTES: u64 = 64 * 1024;
/// Keys that policies or approvals may be signed with.
pub const POLICY_KEYS: usize = 64;

// ---- control and tools ----

/// Octets of one line of a log that `check --against` reads.
pub const AGAINST_LINE_BYTES: u64 = 64 * 1024;
/// Hosts that `check --against` tells apart on either side.
pub const AGAINST_HOSTS: usize = 100_000;
/// Octets of one line on the control socket.
pub const CONTROL_LINE_BYTES: u64 = 4096;
/// For a caller of the control socket to send its line.
pub const CONTROL_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to accept on the control socket when the system refuses.
pub const CONTROL_RETRY: Duration = Duration::from_millis(100);
/// How often `audit tail --follow` looks for new records.
pub const TAIL_EVERY: Duration = Duration::from_millis(100);

/// How often a log is verified that looks wrong and moves while it is verified.
pub const VERIFY_RUNS: u32 = 5;

// ---- upgrade and service manager ----

/// Octets of one message between the old and the new process.
pub const HANDOVER_MESSAGE_BYTES: usize = 64 * 1024;
/// Sockets in one such message; the kernel takes 253.
pub const HANDOVER_SOCKETS: usize = 64;
/// Characters of the reason why a new process did not start.
pub const HANDOVER_REASON_CHARS: usize = 8 * 1024;
/// For the new process to serve, from its start: it compiles all policies first.
pub const UPGRADE_AT_MOST: Duration = Duration::from_secs(300);
/// For each of the two to do what the other waits for, where it only has to answer.
pub const HANDOVER_PATIENCE: Duration = Duration::from_secs(30);
/// For a new process that failed to end by itself.
pub const SUCCESSOR_ENDS: Duration = Duration::from_secs(2);
/// How often the threads that serve say that they do.
pub const PULSE_EVERY: Duration = Duration::from_millis(100);
/// For the service manager to take one message.
pub const NOTIFY_PATIENCE: Duration = Duration::from_secs(1);
/// How long the keeper may be busy with one reload before the watchdog takes it for dead.
pub const KEEPER_BUSY_AT_MOST: Duration = Duration::from_secs(600);

/// How coarse the clock of a file system may be: a file changed so shortly before it was read is read again next time.
pub const FILE_CLOCK_COARSENESS: Duration = Duration::from_secs(1);

/// A list is hashed so many bytes at a time.
pub const HASH_PIECE_BYTES: usize = 256 * 1024;

/// From so many bytes on the sorted names of a list wait on the disk, not in memory, until they are compiled.
pub const SPOOLED_FROM_BYTES: usize = 1024 * 1024;

/// So much of each waiting list is read at once, twice at a time.
pub const SPOOL_BUFFER_BYTES: usize = 32 * 1024;
// ---- lists of others ----

/// Longest line of a list in the format of others, in bytes; dnsmasq and hosts files put several names on one.
pub const IMPORT_LINE_BYTES: usize = 8 * 1024;
/// Largest record of a zone file that spreads over lines, in bytes.
pub const IMPORT_RECORD_BYTES: usize = 64 * 1024;
/// Octets of such a list that are read at once.
pub const IMPORT_PIECE_BYTES: usize = 64 * 1024;
/// Most characters of a name in a response policy zone that is written: the name of the zone goes behind it, and both
/// have to fit into 253.
pub const RPZ_NAME_OCTETS: usize = 190;
/// Longest answer to a question of `case new`, in bytes.
pub const ANSWER_BYTES: u64 = 64 * 1024;

/// Names that could not be merged are merged again no sooner.
pub const MERGE_AGAIN_AFTER: Duration = Duration::from_secs(60);
