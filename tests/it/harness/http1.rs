//! An HTTP/1 client that sends exactly the bytes it is given.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use std::sync::Arc;

use rustix::net;
use rustls::ClientConfig;

use super::ledger::Ledger;
use super::tls::Wire;
use super::{PATIENCE, Response};

/// One connection.
pub struct Client {
    stream: Wire,
    unread: Vec<u8>,
    ledger: Ledger,
    host: Option<String>,
}

impl Client {
    /// Connects; blocks it sees go into `ledger`.
    pub fn connect(address: SocketAddr, ledger: Ledger) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?, ledger)
    }

    /// Connects from an address of the client's choice.
    pub fn connect_from(source: [u8; 4], address: SocketAddr, ledger: Ledger) -> io::Result<Self> {
        let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None)?;
        net::bind(&socket, &SocketAddr::from((source, 0)))?;
        net::connect(&socket, &address)?;
        Self::over(TcpStream::from(socket), ledger)
    }

    fn over(stream: TcpStream, ledger: Ledger) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Wire::Plain(stream), unread: Vec::new(), ledger, host: None })
    }

    /// Connects over TLS; `name` is the server name asked for.
    pub fn connect_tls(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &str,
        ledger: Ledger,
    ) -> io::Result<Self> {
        let plain = Self::connect(address, ledger)?;
        let Wire::Plain(stream) = plain.stream else { unreachable!("a new connection is cleartext") };
        Ok(Self { stream: Wire::tls(stream, config, name)?, ..plain })
    }

    /// Says which canonical host the requests from here on are about, for the audit check.
    pub fn about(&mut self, host: &str) -> &mut Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Sends bytes as they are. A peer that has closed already is noticed when reading.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if !is_close(&error) => panic!("cannot send: {error}"),
            _ => self,
        }
    }

    /// Sends the same bytes again and again until the peer takes no more, without ever reading.
    pub fn send_until_full(&mut self, bytes: &[u8]) {
        self.stream.socket().set_nonblocking(true).unwrap();
        while self.stream.write(bytes).is_ok() {}
        self.stream.socket().set_nonblocking(false).unwrap();
    }

    /// Closes the sending side and goes on reading. A peer that has closed already is noticed when reading.
    pub fn end_sending(&mut self) -> &mut Self {
        match self.stream.socket().shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => panic!("cannot end: {error}"),
            _ => self,
        }
    }

    /// Sends `GET path` for a host and reads the answer; `None` when the peer closed without a byte.
    #[track_caller]
    pub fn get(&mut self, host: &str, path: &str) -> Option<Response> {
        self.about(host).send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).response()
    }

    /// Reads one response; `None` when the peer closed without a byte.
    #[track_caller]
    pub fn response(&mut self) -> Option<Response> {
        self.try_response(false).unwrap_or_else(|error| panic!("no whole response: {error}"))
    }

    /// Reads the response to a HEAD request, which has no content whatever its fields say.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Option<Response> {
        self.try_response(true).unwrap_or_else(|error| panic!("no whole response: {error}"))
    }

    /// As [`Client::response`], for tests in which the edge may die in between.
    pub fn try_response(&mut self, to_head: bool) -> io::Result<Option<Response>> {
        let (mut interim, mut interim_fields) = (Vec::new(), Vec::new());
        loop {
            let Some(mut response) = self.head()? else { return Ok(None) };
            if (100..200).contains(&response.status) && response.status != 101 {
                interim.push(response.status);
                interim_fields.extend(response.fields);
                continue;
            }
            if let Some(id) = response.enforcement_id() {
                self.ledger.note(id, self.host.as_deref());
            }
            (response.interim, response.interim_fields) = (interim, interim_fields);
            if !to_head && !matches!(response.status, 101 | 204 | 304) {
                response.body = self.body(&response)?;
            }
            return Ok(Some(response));
        }
    }

    /// Reads until there are at least `count` octets of whatever comes.
    #[track_caller]
    pub fn read_some(&mut self, count: usize) {
        while self.unread.len() < count {
            assert!(self.fill().unwrap(), "closed after {} octets", self.unread.len());
        }
    }

    /// Reads until these octets have come.
    #[track_caller]
    pub fn read_past(&mut self, what: &[u8]) {
        while !self.unread.windows(what.len()).any(|window| window == what) {
            assert!(self.fill().unwrap(), "closed after {}", String::from_utf8_lossy(&self.unread));
        }
    }

    /// Reads all there is, and says whether the peer closed within `patience`.
    pub fn closes_within(&mut self, patience: std::time::Duration) -> bool {
        self.stream.socket().set_read_timeout(Some(patience)).unwrap();
        let deadline = std::time::Instant::now() + patience;
        loop {
            match self.fill() {
                Ok(false) => return true,
                Ok(true) if std::time::Instant::now() < deadline => {}
                _ => return false,
            }
        }
    }

    /// Fails unless the peer has closed, or closes now, without a further byte.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        assert!(self.unread.is_empty(), "unread bytes: {:?}", String::from_utf8_lossy(&self.unread));
        let more = self.fill().unwrap_or_else(|error| panic!("neither bytes nor a close: {error}"));
        assert!(!more, "bytes instead of a close: {:?}", String::from_utf8_lossy(&self.unread));
    }

    /// Reads exactly `count` bytes, for what comes after an upgrade.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// Reads more bytes; false when the peer has closed.
    fn fill(&mut self) -> io::Result<bool> {
        let mut block = [0; 16 * 1024];
        match self.stream.read(&mut block) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.unread.extend_from_slice(&block[..count]);
                Ok(true)
            }
            // A close with unread request bytes in the peer's buffer arrives as a reset.
            Err(error) if is_close(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn head(&mut self) -> io::Result<Option<Response>> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut fields);
            let parsed = head.parse(&self.unread).map_err(|error| io::Error::other(error.to_string()))?;
            if let httparse::Status::Complete(length) = parsed {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let fields = head.headers.iter().map(|f| (f.name.to_ascii_lowercase(), text(f.value)));
                let response = Response {
                    status: head.code.unwrap_or_default(),
                    fields: fields.collect(),
                    ..Response::default()
                };
                self.unread.drain(..length);
                return Ok(Some(response));
            }
            let nothing_yet = self.unread.is_empty();
            if !self.fill()? {
                return if nothing_yet { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    fn body(&mut self, head: &Response) -> io::Result<Vec<u8>> {
        if head.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.chunked();
        }
        if let Some(length) = head.field("content-length") {
            return self.read_exact(length.parse().map_err(io::Error::other)?);
        }
        while self.fill()? {}
        Ok(std::mem::take(&mut self.unread))
    }

    fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.read_exact(size)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn is_close(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}
