//! Answers that a test has an origin give, and when.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};

use super::origin::Received;

/// What an origin says to every request for one target.
#[derive(Debug, Clone, Default)]
pub struct Canned {
    status: u16,
    fields: String,
    body: Option<Vec<u8>>,
    is_chunked: bool,
    breaks_off: bool,
    latch: Option<Latch>,
    interim: String,
    head_latch: Option<Latch>,
    has_no_end: bool,
    trailers: String,
    octets: Option<Vec<u8>>,
}

/// Something that waits until it is opened.
#[derive(Debug, Clone, Default)]
pub struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    /// Lets everybody go on.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

impl Canned {
    /// 200 with this `Cache-Control`, and a content that tells how often the target was asked for.
    pub fn new(control: &str) -> Self {
        let fields = format!("Cache-Control: {control}\r\n");
        Self { status: 200, fields, ..Self::default() }
    }

    /// Another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// One more field. With an `ETag`, a request that names it gets 304.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields += &format!("{name}: {value}\r\n");
        self
    }

    /// Exactly this content.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Without a length.
    pub fn chunked(mut self) -> Self {
        self.is_chunked = true;
        self
    }

    /// Half of the content, and then the end of the connection.
    pub fn broken_off(mut self) -> Self {
        self.breaks_off = true;
        self
    }

    /// The second half of the content comes when the latch is open.
    pub fn held_by(mut self, latch: &Latch) -> Self {
        self.latch = Some(latch.clone());
        self
    }

    /// First a 103 with this `Link` (RFC 8297), and the rest when the latch is open.
    pub fn after_hints(self, link: &str, latch: &Latch) -> Self {
        self.begun_by(latch).interim(103, &format!("Link: {link}"))
    }

    /// These octets, and then the end of the connection.
    pub fn exactly(octets: impl Into<Vec<u8>>) -> Self {
        Self { octets: Some(octets.into()), ..Self::default() }
    }

    /// First, or after those that came first, an interim response with this field.
    pub fn interim(mut self, status: u16, field: &str) -> Self {
        self.interim += &format!("HTTP/1.1 {status} Interim\r\n{field}\r\n\r\n");
        self
    }

    /// All of it comes when the latch is open.
    pub fn begun_by(mut self, latch: &Latch) -> Self {
        self.head_latch = Some(latch.clone());
        self
    }

    /// No final answer: the connection ends after what comes before it.
    pub fn without_end(mut self) -> Self {
        self.has_no_end = true;
        self
    }

    /// Without a length, and this field after the content (RFC 9112 §7.1.2).
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers += &format!("{name}: {value}\r\n");
        self.chunked()
    }

    fn is_known_to(&self, request: &Received) -> bool {
        let etag = self.fields.lines().find_map(|line| line.strip_prefix("ETag: "));
        etag.is_some_and(|etag| request.field("if-none-match").iter().any(|known| known == etag))
    }

    /// Answers the request, the `count`th for its target.
    pub(super) fn write(
        &self,
        stream: &mut impl Write,
        request: &Received,
        name: &str,
        count: usize,
    ) -> io::Result<()> {
        stream.write_all(self.interim.as_bytes())?;
        stream.flush()?;
        if let Some(latch) = &self.head_latch {
            latch.pass();
        }
        if self.has_no_end {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some(octets) = &self.octets {
            stream.write_all(octets)?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let fields = format!("origin: {name}\r\n{}", self.fields);
        if self.is_known_to(request) {
            return write!(stream, "HTTP/1.1 304 Not Modified\r\n{fields}\r\n");
        }
        let line = request.line();
        let target = line.split(' ').nth(1).unwrap_or_default();
        let body = self.body.clone().unwrap_or_else(|| {
            format!("{target} of {} #{count}", request.field("host").join(", ")).into_bytes()
        });
        let framing = match self.is_chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {}", body.len()),
        };
        write!(stream, "HTTP/1.1 {} Canned\r\n{fields}{framing}\r\n\r\n", self.status)?;
        if line.starts_with("HEAD ") {
            return Ok(());
        }
        let (first, second) = body.split_at(body.len() / 2);
        self.write_part(stream, first)?;
        if self.breaks_off {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some(latch) = &self.latch {
            stream.flush()?;
            latch.pass();
        }
        self.write_part(stream, second)?;
        if self.is_chunked { write!(stream, "0\r\n{}\r\n", self.trailers) } else { Ok(()) }
    }

    fn write_part(&self, stream: &mut impl Write, part: &[u8]) -> io::Result<()> {
        if !self.is_chunked {
            return stream.write_all(part);
        }
        if part.is_empty() {
            return Ok(());
        }
        write!(stream, "{:x}\r\n", part.len())?;
        stream.write_all(part)?;
        stream.write_all(b"\r\n")
    }
}
