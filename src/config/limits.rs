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
    /// Of a request's header fields: 16 to 256. Default: 128.
    pub header_fields: usize,
    /// Octets a second that a client sends of a body or takes of an answer at least, on average and beyond
    /// `client_timeout`: 0 (any) to 1 MiB. Default: 100.
    pub min_rate: u64,
    /// Client connections: 1 to 10 million. Default: 100,000.
    pub connections: usize,
    /// Connections of one client network, an IPv4 address or an IPv6 /64: 1 to 10 million. Default: 10,000: many
    /// people share an address, and so do the connections of an undeclared proxy.
    pub connections_per_network: usize,
    /// Requests a second of one client network that get the whole answer when they are blocked: 1 to 1 million.
    /// Default: 100.
    pub blocked_rate: u32,
    /// Streams of one HTTP/2 connection at a time: 1 to 10,000. Default: 100.
    pub http2_streams: u32,
    /// Octets of the decoded header list of one HTTP/2 request (RFC 9113 §6.5.2): 1 KiB to 1 MiB. Default: 16 KiB.
    pub http2_header_list_bytes: u32,
    /// Resets a second of one HTTP/2 connection: 1 to 1 million. Default: 50.
    pub http2_resets: u32,
    /// Cheap frames of one kind a second of one HTTP/2 connection: 1 to 1 million. Default: 500.
    pub http2_control_frames: u32,
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
            header_fields: 128,
            min_rate: 100,
            connections: 100_000,
            connections_per_network: 10_000,
            blocked_rate: 1000,
            http2_streams: 100,
            http2_header_list_bytes: 16 * 1024,
            http2_resets: 50,
            http2_control_frames: 500,
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
    let million = 1..=1_000_000;
    let settled = Limits {
        header_timeout: duration("header_timeout", minutes.clone(), default.header_timeout),
        idle_timeout: duration("idle_timeout", shortest..=hour, default.idle_timeout),
        head_bytes: number(table, "head_bytes", 1024..=1024 * 1024, default.head_bytes),
        client_timeout: duration("client_timeout", shortest..=hour, default.client_timeout),
        header_fields: number(table, "header_fields", 16..=256, default.header_fields),
        min_rate: number(table, "min_rate", 0..=1024 * 1024, default.min_rate),
        connections: number(table, "connections", 1..=10_000_000, default.connections),
        connections_per_network: number(
            table,
            "connections_per_network",
            1..=10_000_000,
            default.connections_per_network,
        ),
        blocked_rate: number(table, "blocked_rate", million.clone(), default.blocked_rate),
        http2_streams: number(table, "http2_streams", 1..=10_000, default.http2_streams),
        http2_header_list_bytes: number(
            table,
            "http2_header_list_bytes",
            1024..=1024 * 1024,
            default.http2_header_list_bytes,
        ),
        http2_resets: number(table, "http2_resets", million.clone(), default.http2_resets),
        http2_control_frames: number(table, "http2_control_frames", million, default.http2_control_frames),
        connect_timeout: duration("connect_timeout", minutes, default.connect_timeout),
        upstream_timeout: duration("upstream_timeout", shortest..=hour, default.upstream_timeout),
        stop_grace: duration("stop_grace", Duration::ZERO..=hour, default.stop_grace),
    };
    table.finish(upper);
    settled
}

/// A number of the section, or its default.
fn number<N: TryFrom<u64>>(
    table: &Table<'_>,
    key: &'static str,
    range: RangeInclusive<u64>,
    default: N,
) -> N {
    let written = table.optional(key).and_then(|value| value.integer(range));
    written.and_then(|number| N::try_from(number).ok()).unwrap_or(default)
}
