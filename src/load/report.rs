//! The results of a run, as they are kept: `--json` writes this, `compare` reads it.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::holding::Holding;
use super::plan::{Bound, Protocol};
use crate::limits;

/// The form of a report; one of another form is not read.
pub(super) const FORMAT: u32 = 1;

/// Everything that is known of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The form of this file.
    pub format: u32,
    /// The version of `interdict` that wrote it.
    pub version: String,
    /// When the first request was due.
    pub began: Timestamp,
    /// Where the edge listened.
    pub target: String,
    /// How it was spoken to.
    pub protocol: Protocol,
    /// Connections, or handshakes at a time.
    pub connections: usize,
    /// Streams of each at a time.
    pub streams: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Requests a second that were due.
    pub rate: f64,
    /// Seconds that were measured.
    pub duration_s: f64,
    /// Seconds before that.
    pub warm_up_s: f64,
    /// The part of the requests for blocked hosts, 0 to 1.
    pub blocked_share: f64,
    /// Hosts that were asked for: blocked or refused, and passing.
    pub hosts: [usize; 2],
    /// Which hosts in which order.
    pub seed: u64,
    /// Requests that were sent, those of the warm-up included.
    pub sent: u64,
    /// Requests a second that were answered as they should, while it was measured.
    pub answered_rate: f64,
    /// Requests that were due after the warm-up and never sent; they are in the latencies with the time they had waited.
    pub unsent: u64,
    /// Keep-alive connections that had ended and were made again.
    pub renewed: u64,
    /// What failed, each sort once.
    pub failures: Vec<Failures>,
    /// How the generator itself did.
    pub generator: Generator,
    /// All latencies.
    pub all: Latency,
    /// Those of block pages.
    pub blocked: Option<Latency>,
    /// Those of refusals.
    pub refused: Option<Latency>,
    /// Those of hosts that pass.
    pub allowed: Option<Latency>,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// Policies that were swapped meanwhile.
    pub swaps: Vec<Swap>,
    /// What the log says of the ids that came.
    pub audit: Option<Holding>,
    /// Why the log could not be asked, though it was to be.
    #[serde(default)]
    pub audit_problem: Option<String>,
    /// Whether it was told to stop before all was sent; it tells of what was sent until then.
    #[serde(default)]
    pub interrupted: bool,
    /// How the rate was found.
    pub search: Option<SearchReport>,
}

/// One sort of failure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failures {
    /// Which.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// The first one.
    pub example: String,
}

/// What of the latencies may be the generator's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Generator {
    /// How late requests were sent though a connection was free, in microseconds: the median.
    pub lag_p50_us: f64,
    /// The 99th percentile.
    pub lag_p99_us: f64,
    /// The most.
    pub lag_max_us: f64,
    /// Requests sent more than a millisecond late though a connection was free.
    pub late_sends: u64,
    /// The part of a processor that each of its threads used, 0 to 1.
    pub processor: f64,
    /// Whether it was the limit: then the latencies are no more than an upper bound.
    pub fell_behind: bool,
}

/// Latencies, in microseconds, from the moment a request was due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// The mean.
    pub mean_us: f64,
    /// Percentiles: of 100, and the latency that so many did not exceed.
    pub percentiles: Vec<(f64, f64)>,
    /// The greatest.
    pub max_us: f64,
    /// The histogram whole: latencies in nanoseconds, exact to a thousandth, and how many.
    pub histogram_ns: Vec<(u64, u64)>,
    /// The same in nanoseconds, as HdrHistogram's tools exchange it: V2, compressed, in base64. A report of an early
    /// version has none.
    #[serde(default)]
    pub hdr_histogram: Option<String>,
}

impl Latency {
    /// The latency that `percentile` of 100 did not exceed, in microseconds; read from the histogram.
    #[must_use]
    pub fn percentile_us(&self, percentile: f64) -> f64 {
        let rank = (self.count as f64 * percentile / 100.0).ceil().max(1.0) as u64;
        let mut below = 0;
        let found = self.histogram_ns.iter().find(|(_, count)| {
            below += count;
            below >= rank
        });
        found.map_or(self.max_us, |(latency, _)| *latency as f64 / 1e3)
    }
}

/// One second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Second {
    /// Requests answered as they should.
    pub requests: u64,
    /// Requests that failed.
    pub failures: u64,
    /// The median, in microseconds.
    pub p50_us: f64,
    /// The 99th percentile.
    pub p99_us: f64,
    /// The greatest.
    pub max_us: f64,
}

/// Policies swapped while requests were under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Swap {
    /// Seconds from the start of what is measured.
    pub at_s: f64,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// What the edge said of it.
    pub result: String,
    /// Whether nothing came of it.
    #[serde(default)]
    pub failed: bool,
}

/// How the highest rate was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SearchReport {
    /// What a rate had to hold.
    pub bound: Bound,
    /// The highest rate that held it; none when not even the first did.
    pub found: Option<f64>,
    /// What was tried, in order.
    pub steps: Vec<Step>,
}

/// One rate that was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// Requests a second.
    pub rate: f64,
    /// Those that were answered.
    pub answered_rate: f64,
    /// The latency at the quantile of the bound, in microseconds.
    pub latency_us: f64,
    /// Whether the generator was the limit.
    pub fell_behind: bool,
    /// Whether it held.
    pub held: bool,
}

/// Why a report cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file cannot be read.
    #[error("`{0}`: {1}")]
    Io(String, std::io::Error),
    /// It is no report.
    #[error("`{0}` is no report of `interdict load --json`: {1}")]
    Form(String, String),
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// When there is none, or it is of another form.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let name = || path.display().to_string();
        let io = |error| ReportError::Io(name(), error);
        if std::fs::metadata(path).map_err(io)?.len() > limits::LOAD_REPORT_BYTES {
            return Err(ReportError::Form(name(), "it is too large".to_owned()));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let report: Self =
            serde_json::from_slice(&bytes).map_err(|error| ReportError::Form(name(), error.to_string()))?;
        match report.format {
            FORMAT => Ok(report),
            other => Err(ReportError::Form(name(), format!("it is of form {other}, not {FORMAT}"))),
        }
    }

    /// How many failures there were.
    #[must_use]
    pub fn failure_count(&self) -> u64 {
        self.failures.iter().map(|failures| failures.count).sum()
    }

    /// Whether every answer was as it should be, every id is on record, every swap came about, and all of it was sent.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.failure_count() == 0
            && self.sent > 0
            && !self.interrupted
            && self.swaps.iter().all(|swap| !swap.failed)
            && self.audit_problem.is_none()
            && self.audit.as_ref().is_none_or(Holding::is_sound)
            && self.search.as_ref().is_none_or(|search| search.found.is_some())
    }
}
