//! `edge.toml`, settled: every path absolute or relative to where the file is, every number within bounds.

mod audit;
mod cache;
mod dns;
mod guard;
mod keys;
mod limits;
mod listen;
mod load;
mod origin;
mod parse;
mod route;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::guard::Guard;
pub use self::limits::Limits;
pub use self::listen::{Listen, Tls};
pub use self::load::ConfigError;
use crate::audit::merkle::Verifier;
use crate::audit::{Acknowledge, ClientPrivacy};
use crate::forward::{Dns, Routes};

/// Everything an edge is told at its start.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The name of this edge in its records. Default: the machine's host name.
    pub edge: EdgeName,
    /// How many threads serve requests; one for each processor when it is not set.
    pub threads: Option<usize>,
    /// Where requests come in; at least one.
    pub listen: Vec<Listen>,
    /// Where the cases are and how they are watched.
    pub policy: Policy,
    /// How large a change of policies may be that nobody has approved of.
    pub guard: Guard,
    /// Where and how records are kept.
    pub audit: Audit,
    /// Where requests that may pass go.
    pub routes: Routes,
    /// How their names are looked up.
    pub dns: Dns,
    /// Where an operator looks; nothing when `[admin]` is absent.
    pub admin: Option<Admin>,
    /// What is kept of the origins' answers; nothing when `[cache]` is absent.
    pub cache: Option<Cache>,
    /// Bounds on connections and requests.
    pub limits: Limits,
}

/// The name of an edge, `[A-Za-z0-9._-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeName(String);

impl EdgeName {
    /// Takes a text that is a valid name, or nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        ((1..=crate::limits::ID_CHARS).contains(&text.len()) && text.bytes().all(allowed))
            .then(|| Self(text.to_owned()))
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `edge`, for a machine whose own name is none.
impl Default for EdgeName {
    fn default() -> Self {
        Self("edge".to_owned())
    }
}

impl fmt::Display for EdgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What commands have to know of an edge to reach it, and to change what it enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// How it is called.
    pub edge: EdgeName,
    /// Where its policies and its state are.
    pub policy: Policy,
}

impl From<Config> for Node {
    fn from(config: Config) -> Self {
        Self { edge: config.edge, policy: config.policy }
    }
}

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The policy directory. Default: `policies`.
    pub directory: PathBuf,
    /// The last good ruleset and the revision counter. Default: `state`.
    pub state: PathBuf,
    /// How long the directory must be quiet before a change is read: `debounce_ms`, 0 to 60,000.
    /// Default: 20 ms.
    pub debounce: Duration,
    /// How many policy sets are kept to go back to: `keep_revisions`, 1 to 1,000. Default: 10.
    pub keep_revisions: usize,
    /// The URL of whoever runs this edge, for `Link: …; rel="blocked-by"` (RFC 7725 §4): `blocked_by`.
    pub blocked_by: Option<String>,
    /// Who may sign policy sets: `keys`. Default: none, and sets need no signature.
    pub keys: Vec<Verifier>,
    /// How many of these have to sign a set: `threshold`, 1 to 64. Default: 1.
    pub threshold: usize,
    /// Whether every case only watches, whatever its file says: `shadow`. Default: no.
    pub shadow: bool,
}

/// `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The log's directory. Default: `audit`.
    pub directory: PathBuf,
    /// How a client's address is written: `client`, `client_period`, `key`. Default: pseudonyms, a key a month, in
    /// `client.key` in the state directory.
    pub client: ClientPrivacy,
    /// When an event counts as recorded. Default: `process`.
    pub acknowledge: Acknowledge,
    /// How long events are collected for one flush, with `acknowledge = "disk"`: 100 µs to 100 ms. Default: 5 ms.
    pub commit_interval: Duration,
    /// A second directory, on another disk, for when the first takes nothing.
    pub spare: Option<PathBuf>,
    /// The size at which a segment ends, in bytes: 64 KiB to 16 GiB. Default: 64 MiB.
    pub segment_bytes: u64,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The address of `/status` and `/metrics`; loopback unless there is a token.
    pub listen: SocketAddr,
    /// A file whose first line every admin request has to bear as a token.
    pub token_file: Option<PathBuf>,
}

/// `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The most memory it takes, in bytes, with all that belongs to an object: 1 MiB to 1 TiB. Default: 256 MiB.
    pub bytes: usize,
    /// The largest content that is kept, in bytes: 1 KiB up to `bytes`. Default: 16 MiB.
    pub object_bytes: usize,
    /// How long an answer is fresh that says nothing of it: 1 s to 365 d. Default: such an answer is not kept.
    pub default_ttl: Option<Duration>,
    /// How long a request waits for another one that fetches the same object: 10 ms to 10 min. Default: 5 s.
    pub lock_timeout: Duration,
}
