//! What is sent, where, how often and for how long.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;

/// How the target is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Cleartext HTTP/1.1, keep-alive.
    H1,
    /// Cleartext HTTP/2, with prior knowledge.
    H2,
    /// HTTP/1.1 over TLS.
    TlsH1,
    /// HTTP/2 over TLS.
    TlsH2,
    /// A connection and a ClientHello each, which is to be refused.
    Handshake,
}

impl Protocol {
    /// The word for it on the command line and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::TlsH1 => "tls-h1",
            Self::TlsH2 => "tls-h2",
            Self::Handshake => "handshake",
        }
    }

    /// Whether the target has to speak TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::TlsH1 | Self::TlsH2 | Self::Handshake)
    }

    pub(super) const fn is_http2(self) -> bool {
        matches!(self, Self::H2 | Self::TlsH2)
    }
}

/// What has to come back for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A block page with an `enforcement-id`.
    Page,
    /// No answer: a close without a byte, a stream reset, an alert.
    Refusal,
    /// An answer without an `enforcement-id`.
    Pass,
}

/// A host that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name, as it is sent.
    pub name: String,
    /// What has to come back.
    pub expect: Expect,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the edge listens.
    pub target: SocketAddr,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Hosts that are blocked or refused.
    pub blocked: Vec<Host>,
    /// Hosts that pass.
    pub allowed: Vec<Host>,
    /// The part of the requests that goes to `blocked`, 0 to 1.
    pub blocked_share: f64,
    /// The path that is asked for.
    pub path: String,
    /// The server name of TLS connections.
    pub server_name: Option<String>,
    /// Connections, or handshakes at a time.
    pub connections: usize,
    /// Streams at a time of one HTTP/2 connection.
    pub streams: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Requests a second.
    pub rate: f64,
    /// How long is measured.
    pub duration: Duration,
    /// How long is sent before anything is measured; what comes back is checked all the same.
    pub warm_up: Duration,
    /// For one answer.
    pub timeout: Duration,
    /// Which hosts are asked for in which order.
    pub seed: u64,
    /// Whether ids are kept, to be held against each other and against the log.
    pub keep_ids: bool,
}

/// Why a plan is none.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is nobody to ask for.
    #[error("no hosts: name them with --host, --hosts or --policies, and hosts that pass with --allowed")]
    NoHosts,
    /// Hosts of one sort are missing.
    #[error("--blocked {0} needs hosts that pass too: name some with --allowed")]
    NoAllowed(String),
    /// Hosts of the other sort are missing.
    #[error("--blocked {0} needs hosts that are blocked: name them with --host, --hosts or --policies")]
    NoBlocked(String),
    /// One host in two groups, which cannot both be right.
    #[error("`{0}` is named twice, and two different things are to come back for it")]
    Twice(String),
    /// The path is none.
    #[error("--path `{0}` is no path: it starts with `/` and has no spaces")]
    Path(String),
    /// More requests than one run may send.
    #[error(
        "{requests} requests are more than {} in one run: lower the rate or the duration",
        limits::LOAD_REQUESTS
    )]
    TooMany {
        /// How many it would be.
        requests: u64,
    },
    /// A number beyond its bounds.
    #[error("{name} has to be {least} to {most}, not {given}")]
    OutOfRange {
        /// The option.
        name: &'static str,
        /// The least it can be.
        least: u64,
        /// The most it can be.
        most: u64,
        /// What was given.
        given: String,
    },
}

impl Plan {
    /// Whether it can be run, within the bounds of [`limits`].
    ///
    /// # Errors
    /// What is missing or too large.
    pub fn check(&self) -> Result<(), PlanError> {
        let percent = format!("{} %", self.blocked_share * 100.0);
        match (self.blocked.is_empty(), self.allowed.is_empty()) {
            (true, true) => return Err(PlanError::NoHosts),
            (false, true) if self.blocked_share < 1.0 => return Err(PlanError::NoAllowed(percent)),
            (true, false) if self.blocked_share > 0.0 => return Err(PlanError::NoBlocked(percent)),
            _ => {}
        }
        self.check_hosts()?;
        if !self.path.starts_with('/') || !self.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PlanError::Path(self.path.escape_debug().to_string()));
        }
        let within = |name, least: u64, most: u64, given: u64| match (least..=most).contains(&given) {
            true => Ok(()),
            false => Err(PlanError::OutOfRange { name, least, most, given: given.to_string() }),
        };
        within("--connections", 1, limits::LOAD_CONNECTIONS as u64, self.connections as u64)?;
        within("--streams", 1, limits::LOAD_STREAMS as u64, self.streams as u64)?;
        within("--threads", 1, limits::LOAD_THREADS as u64, self.threads as u64)?;
        within("--rate", 1, limits::LOAD_RATE, self.rate as u64)?;
        within("--duration in seconds", 1, limits::LOAD_SECONDS, self.duration.as_secs())?;
        within("--warm-up in seconds", 0, limits::LOAD_SECONDS, self.warm_up.as_secs())?;
        within("--timeout in milliseconds", 1, limits::LOAD_TIMEOUT_MS, self.timeout.as_millis() as u64)?;
        match self.requests() {
            requests if requests > limits::LOAD_REQUESTS => Err(PlanError::TooMany { requests }),
            _ => Ok(()),
        }
    }

    /// Whether one thing is to come back for every host.
    fn check_hosts(&self) -> Result<(), PlanError> {
        let mut expected = HashMap::new();
        let clash = self
            .hosts()
            .find(|host| *expected.entry(host.name.as_str()).or_insert(host.expect) != host.expect);
        clash.map_or(Ok(()), |host| Err(PlanError::Twice(host.name.clone())))
    }

    /// How many requests it sends, those of the warm-up included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        ((self.warm_up + self.duration).as_secs_f64() * self.rate).ceil() as u64
    }

    /// The host of the request `number`, the same in every run with this seed.
    pub(super) fn choose(&self, number: u64) -> usize {
        let random = mixed(self.seed ^ mixed(number));
        let share = (random >> 32) as f64 / f64::from(u32::MAX);
        let (from, among) = match share < self.blocked_share {
            true => (0, self.blocked.len()),
            false => (self.blocked.len(), self.allowed.len()),
        };
        from + (random & 0xFFFF_FFFF) as usize % among.max(1)
    }

    /// All hosts in the order of [`Plan::choose`].
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.blocked.iter().chain(&self.allowed)
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): every number has
/// its random one, without a state.
pub(super) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A latency that a quantile must not exceed: `p99=5ms`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// 0 to 1.
    pub quantile: f64,
    /// The latency, in microseconds.
    pub most_us: f64,
}
