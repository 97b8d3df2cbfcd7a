//! One whole request head, read below HTTP against one deadline.
//!
//! Pingora's own limit is a time per read, so a byte a minute keeps a connection for ever (pingora #447).
//! Here the clock starts with the first byte of a head and runs until its last.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use http::HeaderName;
use tokio::time::timeout;

use super::framing::{Framing, FramingError, Length};
use super::stream::{Budget, EdgeStream};
use crate::limits;

/// The client connection preface of HTTP/2 (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the next bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A complete HTTP/1 head of so many buffered bytes.
    Head(usize),
    /// The start of an HTTP/2 connection; nothing has been taken from the buffer.
    Http2,
    /// The client went away in the middle of a head.
    Broken,
    /// The head took longer than allowed.
    Slow,
    /// The head is larger than allowed.
    TooLarge,
}

/// Waits for the first byte of a request. Returns whether one came; a client that goes away between two
/// requests, or breaks the connection there, is no error.
pub(super) async fn await_first_byte(stream: &mut EdgeStream) -> bool {
    loop {
        // Empty lines before a request line begin nothing (RFC 9112 §2.2).
        stream.skip_line_ends();
        if !stream.buffered().is_empty() {
            return true;
        }
        if !matches!(stream.fill().await, Ok(count) if count > 0) {
            return false;
        }
    }
}

/// Reads until one head is complete: `whole` is the time for all of it, `max` its octets, line ends included.
pub(super) async fn read_head(stream: &mut EdgeStream, whole: Duration, max: usize) -> io::Result<Next> {
    let mut scan = Scan::default();
    // Nearly every head is there with its first byte, and needs no deadline.
    if let Some(next) = classify(stream.buffered(), &mut scan, max) {
        return Ok(next);
    }
    let rest = async {
        loop {
            if stream.fill().await? == 0 {
                return Ok(Next::Broken);
            }
            if let Some(next) = classify(stream.buffered(), &mut scan, max) {
                return Ok(next);
            }
        }
    };
    // One timer for all of it: a client that sends an octet at a time does not set one with each.
    timeout(whole, rest).await.unwrap_or(Ok(Next::Slow))
}

/// Where the search for the end of a head has got to, so that no byte is looked at twice.
#[derive(Debug, Default)]
pub(super) struct Scan {
    searched: usize,
}

pub(super) fn classify(buffer: &[u8], scan: &mut Scan, max: usize) -> Option<Next> {
    if buffer.starts_with(HTTP2_PREFACE) {
        return Some(Next::Http2);
    }
    if !buffer.is_empty() && HTTP2_PREFACE.starts_with(buffer) {
        return None;
    }
    match end_of_head(buffer, scan) {
        Some(end) if end <= max => Some(Next::Head(end)),
        Some(_) => Some(Next::TooLarge),
        None if buffer.len() >= max => Some(Next::TooLarge),
        None => None,
    }
}

/// The length of the head: through the first empty line. Lines end in LF, with or without CR, as the
/// parser behind accepts both; empty lines before the request line are skipped (RFC 9112 §2.2).
fn end_of_head(buffer: &[u8], scan: &mut Scan) -> Option<usize> {
    let start = buffer.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let mut from = scan.searched.max(start);
    while let Some(offset) = memchr::memchr(b'\n', buffer.get(from..)?) {
        let line_end = from + offset;
        match buffer.get(line_end + 1..)? {
            [b'\n', ..] => return Some(line_end + 2),
            [b'\r', b'\n', ..] => return Some(line_end + 3),
            [] | [b'\r'] => {
                scan.searched = line_end;
                return None;
            }
            _ => from = line_end + 1,
        }
    }
    scan.searched = buffer.len();
    None
}

/// What the edge needs to know of a head before Pingora reads it.
#[derive(Debug)]
pub(super) struct Head<'b> {
    pub(super) method: &'b str,
    pub(super) target: &'b [u8],
    pub(super) http10: bool,
    pub(super) hosts: smallvec::SmallVec<[&'b [u8]; 1]>,
    pub(super) user_agent: Option<&'b [u8]>,
    /// What the client would like, as far as it says so once.
    pub(super) accept: Option<&'b [u8]>,
    pub(super) accept_language: Option<&'b [u8]>,
    /// Set by a field that asks for more than the fast path can tell, whatever that is.
    pub(super) is_special: bool,
    /// Whether this is the last request of its connection, as the client says.
    pub(super) closes: bool,
    says_connection: bool,
    /// The values of the client header, from left to right.
    pub(super) forwarded: smallvec::SmallVec<[&'b [u8]; 1]>,
    /// How many bytes of the connection belong to this request, its head included.
    pub(super) budget: Budget,
}

/// Why a head cannot be understood. Every one of them is the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    #[error("the request head is malformed: {0}")]
    Malformed(httparse::Error),
    #[error("the request has too many header fields")]
    TooManyFields,
    #[error("the request head is cut short")]
    Incomplete,
    #[error("the length of the request is unclear: {0}")]
    Framing(FramingError),
}

impl HeadError {
    /// The status that tells the client (RFC 9110 §15.5.1, RFC 6585 §5).
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Incomplete => 400,
            Self::TooManyFields => 431,
            Self::Framing(error) => error.status(),
        }
    }
}

impl<'b> Head<'b> {
    /// Parses a complete head of at most so many fields; `client_header` is the field that names the client.
    pub(super) fn parse(
        bytes: &'b [u8],
        most_fields: usize,
        client_header: Option<&HeaderName>,
    ) -> Result<Self, HeadError> {
        let mut fields = [const { MaybeUninit::uninit() }; limits::HEADER_FIELDS];
        let fields = fields.get_mut(..most_fields).ok_or(HeadError::TooManyFields)?;
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, fields) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(HeadError::Incomplete),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyFields),
            Err(error) => return Err(HeadError::Malformed(error)),
        }
        let method = request.method.ok_or(HeadError::Incomplete)?;
        let http10 = request.version == Some(0);
        let mut head = Self {
            method,
            target: request.path.ok_or(HeadError::Incomplete)?.as_bytes(),
            http10,
            hosts: smallvec::SmallVec::new(),
            user_agent: None,
            accept: None,
            accept_language: None,
            is_special: false,
            closes: false,
            says_connection: false,
            forwarded: smallvec::SmallVec::new(),
            budget: Budget::Unlimited,
        };
        let mut framing = Framing::default();
        for field in request.headers.iter() {
            head.note(field.name, field.value);
            if client_header.is_some_and(|name| field.name.eq_ignore_ascii_case(name.as_str())) {
                head.forwarded.push(field.value);
            }
            framing.note(field.name, field.value);
        }
        let length = framing.length(http10).map_err(HeadError::Framing)?;
        if method != "CONNECT" {
            head.budget = budget(bytes.len() as u64, length);
        }
        Ok(head)
    }

    /// Takes in one field. The length of a name tells nearly all of them apart.
    fn note(&mut self, name: &str, value: &'b [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("host") => self.hosts.push(value),
            6 if is("accept") => self.is_special |= self.accept.replace(value).is_some(),
            6 if is("expect") => self.is_special = true,
            7 if is("upgrade") || is("trailer") => self.is_special = true,
            10 if is("user-agent") => {
                self.user_agent.get_or_insert(value);
            }
            10 if is("connection") => {
                // Whoever has a second one to read may take the other.
                let is_first = !std::mem::replace(&mut self.says_connection, true);
                self.closes = value.eq_ignore_ascii_case(b"close");
                self.is_special |= !is_first || !(self.closes || value.eq_ignore_ascii_case(b"keep-alive"));
            }
            12 if is("content-type") => self.is_special = true,
            14 if is("content-length") => self.is_special = true,
            15 if is("accept-language") => self.is_special |= self.accept_language.replace(value).is_some(),
            17 if is("transfer-encoding") => self.is_special = true,
            _ => {}
        }
    }
}

/// How many octets Pingora may see: only what is asked for here, not what a client has sent behind it.
fn budget(head: u64, length: Length) -> Budget {
    match length {
        Length::Known(length) => Budget::Bytes(length.saturating_add(head)),
        Length::Chunked => Budget::Chunked { head },
        Length::Upgrade => Budget::Upgrade { head },
    }
}

/// The same head with its absolute-form target put into origin-form (RFC 9112 §3.2.1): Pingora compares an
/// absolute-form's authority with `Host` octet by octet, which would refuse other spellings of one name.
pub(super) fn with_target(head: &[u8], old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let at = head.windows(old.len()).position(|window| window == old)?;
    let mut rewritten = Vec::with_capacity(head.len() - old.len() + new.len());
    rewritten.extend_from_slice(head.get(..at)?);
    rewritten.extend_from_slice(new);
    rewritten.extend_from_slice(head.get(at + old.len()..)?);
    Some(rewritten)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(bytes: &[u8]) -> Option<usize> {
        end_of_head(bytes, &mut Scan::default())
    }

    #[test]
    fn a_head_ends_at_its_first_empty_line() {
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"), Some(27));
        assert_eq!(end(b"GET / HTTP/1.1\nHost: a\n\nbody"), Some(24));
        assert_eq!(end(b"\r\n\r\nGET / HTTP/1.0\r\n\r\n"), Some(22));
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(end(b"\r\n\r\n"), None);
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_found_at_the_same_place() {
        let head = b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n";
        let mut scan = Scan::default();
        for count in 0..head.len() {
            assert_eq!(end_of_head(&head[..count], &mut scan), None, "after {count} bytes");
        }
        assert_eq!(end_of_head(head, &mut scan), Some(head.len()));
    }

    #[test]
    fn the_preface_of_http2_is_told_from_a_request() {
        let mut scan = Scan::default();
        assert_eq!(classify(b"PRI * HTTP/2.0\r\n\r\n", &mut scan, 1000), None);
        assert_eq!(classify(HTTP2_PREFACE, &mut scan, 1000), Some(Next::Http2));
        let head = b"PRINT / HTTP/1.1\r\n\r\n";
        assert_eq!(classify(head, &mut Scan::default(), 1000), Some(Next::Head(head.len())));
    }

    #[test]
    fn a_head_larger_than_the_limit_is_found_out_before_its_end() {
        assert_eq!(classify(&[b'a'; 100], &mut Scan::default(), 100), Some(Next::TooLarge));
        assert_eq!(classify(&[b'a'; 99], &mut Scan::default(), 100), None);
    }

    #[test]
    fn the_budget_follows_the_announced_length() {
        let budget = |head: &str| Head::parse(head.as_bytes(), 128, None).unwrap().budget;
        assert_eq!(budget("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Budget::Bytes(27));
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(budget(post), Budget::Bytes(post.len() as u64 + 5));
        let with = |field: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        let chunked = with("Transfer-Encoding: chunked");
        assert_eq!(budget(&chunked), Budget::Chunked { head: chunked.len() as u64 });
        let upgrade = with("Upgrade: websocket");
        assert_eq!(budget(&upgrade), Budget::Upgrade { head: upgrade.len() as u64 });
    }

    #[test]
    fn an_unclear_length_is_no_head() {
        let twice = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n";
        let error = Head::parse(twice, 128, None).unwrap_err();
        assert_eq!((error, error.status()), (HeadError::Framing(FramingError::Length), 400));
    }

    #[test]
    fn fields_are_counted_and_the_client_header_is_found_among_them() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 192.0.2.1\r\nx-real-ip: 192.0.2.2\r\n\r\n";
        let name = HeaderName::from_static("x-real-ip");
        let parsed = Head::parse(head, 3, Some(&name)).unwrap();
        assert_eq!(parsed.forwarded.as_slice(), [b"192.0.2.1", b"192.0.2.2"]);
        assert!(Head::parse(head, 3, None).unwrap().forwarded.is_empty());
        assert_eq!(Head::parse(head, 2, None).unwrap_err(), HeadError::TooManyFields);
    }

    #[test]
    fn only_the_target_is_rewritten() {
        let head = b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let rewritten = with_target(head, b"http://a.example/x", b"/x").unwrap();
        assert_eq!(rewritten, b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    }
}
