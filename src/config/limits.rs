//! `[limits]`: what a client or an origin may take.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::document::Table;

/// `[limits]`: durations are written with a unit, `"500ms"`, `"10s"`, `"5m"`, `"1h"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request to the end of its head: 10 ms to 10 min. Default: 10 s.
    pub header_timeout: Duration,
    /// Of a connection between two requests: 10 ms to 1 h. Default: 60 s.
    pub idle_timeout: Duration,
    /// Of a request's head, in bytes: 1 KiB to 1 MiB. Default: 64 KiB.
    pub head_bytes: usize,
    /// For a client that neither sends nor takes a piece of a message: 10 ms to 1 h. Default: 60 s.
    pub client_timeout: Duration,
    /// For one connection to an origin: 10 ms to 10 min. Default: 5 s.
    pub connect_timeout: Duration,
    /// For an origin that is silent: 10 ms to 1 h. Default: 60 s.
    pub upstream_timeout: Duration,
    /// For requests under way when the edge stops: 0 to 1 h. Default: 10 s.
    pub stop_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            head_bytes: 64 * 1024,
            client_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            upstream_timeout: Duration::from_secs(60),
            stop_grace: Duration::from_secs(10),
        }
    }
}

/// The section.
pub(super) fn settle(table: &Table<'_>, upper: &[&'static str]) -> Limits {
    let default = Limits::default();
    let shortest = Duration::from_millis(10);
    let (minutes, hour) = (shortest..=Duration::from_secs(600), Duration::from_secs(3600));
    let duration = |key, range: RangeInclusive<Duration>, default| {
        table.optional(key).and_then(|value| value.duration(range)).unwrap_or(default)
    };
    let head_bytes = table.optional("head_bytes").and_then(|value| value.integer(1024..=1024 * 1024));
    let settled = Limits {
        header_timeout: duration("header_timeout", minutes.clone(), default.header_timeout),
        idle_timeout: duration("idle_timeout", shortest..=hour, default.idle_timeout),
        head_bytes: head_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default.head_bytes),
        client_timeout: duration("client_timeout", shortest..=hour, default.client_timeout),
        connect_timeout: duration("connect_timeout", minutes, default.connect_timeout),
        upstream_timeout: duration("upstream_timeout", shortest..=hour, default.upstream_timeout),
        stop_grace: duration("stop_grace", Duration::ZERO..=hour, default.stop_grace),
    };
    table.finish(upper);
    settled
}
