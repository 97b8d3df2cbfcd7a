//! Bounds of HTTP/2 connections of clients.

/// Streams of one HTTP/2 connection whose heads are malformed or too large, and streams that a client makes the edge
/// reset; then it is closed (CVE-2025-8671, "MadeYouReset").
pub const HTTP2_MALFORMED_STREAMS: usize = 32;
/// How many seconds' worth of one kind of HTTP/2 frame may come at once.
pub const HTTP2_BURST_SECONDS: u32 = 4;
/// SETTINGS frames a second and at once: a client sends one at the start and hardly ever another.
pub const HTTP2_SETTINGS: (u32, u32) = (5, 50);
/// CONTINUATION frames of one header block (CVE-2024-27316): with frames of the usual size they hold 256 KiB.
pub const HTTP2_CONTINUATIONS: u32 = 16;
/// Octets of one encoded header block, in multiples of `http2_header_list_bytes`; a block that is only too large when
/// it is decoded gets a 431.
pub const HTTP2_BLOCK_FACTOR: usize = 4;
/// Control frames that each request of a client makes room for: a gRPC client measures the line with a PING for
/// each answer.
pub const HTTP2_EARNED_PER_REQUEST: u32 = 4;
/// Octets written to a client that make room for one more control frame, since it gives back its window for them.
pub const HTTP2_EARNED_PER_OCTETS: usize = 512;
/// A write shorter than this is no answer, only acknowledgements, and makes no room.
pub const HTTP2_LEAST_ANSWER: usize = 64;
/// Octets of frames that wait to go out together: the content of one TLS record (RFC 8446 §5.1).
pub const HTTP2_GATHERED_BYTES: usize = 16 * 1024;
