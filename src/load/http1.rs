//! HTTP/1.1 over one keep-alive connection: prepared bytes out, one response in.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::drive::{Prepared, Trouble};
use super::judge::{self, Answer, Fault};
use super::plan::Expect;
use super::wire::{Duplex, Reach};
use crate::limits;

/// One connection, made again when it has ended.
pub(super) struct Client {
    reach: Arc<Reach>,
    wire: Option<Box<dyn Duplex>>,
    buffer: Vec<u8>,
    /// When the connection was made, or the last answer on it was in.
    used: Instant,
    /// Connections that had ended between two requests, as they may.
    pub(super) renewed: u64,
}

/// How a body ends.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
    Close,
}

/// What of a response head matters here.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    bytes: usize,
    status: u16,
    id: Option<u128>,
    body: Body,
    closes: bool,
}

impl Client {
    pub(super) fn new(reach: Arc<Reach>) -> Self {
        let buffer = Vec::with_capacity(limits::READ_BUFFER_BYTES);
        Self { reach, wire: None, buffer, used: Instant::now(), renewed: 0 }
    }

    /// Makes the connection before it is needed.
    pub(super) async fn open(&mut self) -> Result<(), Trouble> {
        self.buffer.clear();
        self.wire = Some(self.reach.connect().await.map_err(|error| Trouble::new(Fault::Connect, error))?);
        self.used = Instant::now();
        Ok(())
    }

    /// Lets go of a connection on which an answer may still come.
    pub(super) fn abandon(&mut self) {
        self.wire = None;
    }

    /// Asks once; a second time only when the connection may have ended before the request was seen (RFC 9112 §9.3.1):
    /// it ended without a byte, and was idle so long that its server may have given it up. One that was used a moment
    /// ago and ends without a byte has lost a request.
    pub(super) async fn ask(&mut self, request: &Prepared) -> Result<Answer, Trouble> {
        // What ended before anything was sent on it has lost nothing.
        if self.wire.take_if(|wire| wire.has_ended()).is_some() {
            self.renewed += 1;
        }
        let reused = self.wire.is_some();
        if !reused {
            self.open().await?;
        }
        let idle = self.used.elapsed();
        let came = self.exchange(request).await;
        self.used = Instant::now();
        match came {
            Ok(Answer::Refused) if reused && request.expect != Expect::Refusal => {
                if idle < limits::LOAD_IDLE {
                    return Err(Trouble::new(
                        Fault::Broken,
                        format_args!("closed without a byte, and used {} ms before", idle.as_millis()),
                    ));
                }
                self.renewed += 1;
                self.open().await?;
                self.exchange(request).await
            }
            other => other,
        }
    }

    async fn exchange(&mut self, request: &Prepared) -> Result<Answer, Trouble> {
        let Some(mut wire) = self.wire.take() else { return Ok(Answer::Refused) };
        self.buffer.clear();
        if let Err(error) = wire.write_all(&request.bytes).await {
            return ended(error);
        }
        let head = loop {
            match parse(&self.buffer)? {
                // 100 and its like come before the answer.
                Some(head) if head.status < 200 => drop(self.buffer.drain(..head.bytes)),
                Some(head) => break head,
                None if self.buffer.len() > limits::LOAD_HEAD_BYTES => {
                    return Err(garbled("a head without an end"));
                }
                None => match wire.read_buf(&mut self.buffer).await {
                    Ok(0) if self.buffer.is_empty() => return Ok(Answer::Refused),
                    Ok(0) => return Err(garbled("the connection ended within a head")),
                    Ok(_) => {}
                    Err(error) if self.buffer.is_empty() => return ended(error),
                    Err(error) => return Err(Trouble::new(Fault::Broken, error)),
                },
            }
        };
        self.buffer.drain(..head.bytes);
        self.body(&mut wire, &head.body).await?;
        if !head.closes {
            self.wire = Some(wire);
        }
        Ok(Answer::Response { status: head.status, id: head.id })
    }

    async fn body(&mut self, wire: &mut Box<dyn Duplex>, body: &Body) -> Result<(), Trouble> {
        match body {
            Body::Length(length) => self.skip(wire, *length).await,
            Body::Close => {
                while wire
                    .read_buf(&mut self.buffer)
                    .await
                    .map_err(|error| Trouble::new(Fault::Broken, error))?
                    > 0
                {
                    self.buffer.clear();
                }
                Ok(())
            }
            Body::Chunked => loop {
                let line = self.line(wire).await?;
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size).ok().map(str::trim);
                let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
                match size {
                    Some(0) => {
                        while !self.line(wire).await?.is_empty() {}
                        return Ok(());
                    }
                    Some(size) => self.skip(wire, size.saturating_add(2)).await?,
                    None => return Err(garbled("a chunk without a size")),
                }
            },
        }
    }

    /// Reads `left` octets and forgets them.
    async fn skip(&mut self, wire: &mut Box<dyn Duplex>, mut left: usize) -> Result<(), Trouble> {
        loop {
            let here = left.min(self.buffer.len());
            self.buffer.drain(..here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.more(wire).await?;
        }
    }

    async fn line(&mut self, wire: &mut Box<dyn Duplex>) -> Result<Vec<u8>, Trouble> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let mut line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                line.truncate(end);
                return Ok(line);
            }
            if self.buffer.len() > limits::LOAD_HEAD_BYTES {
                return Err(garbled("a line without an end"));
            }
            self.more(wire).await?;
        }
    }

    async fn more(&mut self, wire: &mut Box<dyn Duplex>) -> Result<(), Trouble> {
        match wire.read_buf(&mut self.buffer).await {
            Ok(0) => Err(garbled("the connection ended within a body")),
            Ok(_) => Ok(()),
            Err(error) => Err(Trouble::new(Fault::Broken, error)),
        }
    }
}

fn garbled(what: &str) -> Trouble {
    Trouble::new(Fault::Broken, what)
}

/// A connection that ended before a byte came back is a refusal, also when it ended with a reset, and with TLS that
/// ended without a word.
fn ended(error: io::Error) -> Result<Answer, Trouble> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Ok(Answer::Refused),
        _ => Err(Trouble::new(Fault::Broken, error)),
    }
}

/// The head at the start of `bytes`, when all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Trouble> {
    let mut fields = [httparse::EMPTY_HEADER; limits::LOAD_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Trouble::new(Fault::Broken, error)),
    };
    let status = response.code.unwrap_or_default();
    let mut closes = response.version == Some(0);
    let (mut id, mut content, mut chunked) = (None, None, false);
    for field in response.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let text = || std::str::from_utf8(field.value).unwrap_or_default().trim();
        if is("enforcement-id") {
            // Two of them are as bad as one that is none.
            id = Some(if id.is_none() { judge::id(field.value) } else { 0 });
        } else if is("content-length") {
            content = text().parse().ok();
        } else if is("transfer-encoding") {
            chunked = text().to_ascii_lowercase().ends_with("chunked");
        } else if is("connection") {
            closes |= text().split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        }
    }
    let body = match (status, chunked, content) {
        (100..=199 | 204 | 304, _, _) => Body::Length(0),
        (_, true, _) => Body::Chunked,
        (_, false, Some(length)) => Body::Length(length),
        (_, false, None) => Body::Close,
    };
    closes |= body == Body::Close;
    Ok(Some(Head { bytes: length, status, id, body, closes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn the_end_of_a_body_is_told_as_rfc_9112_has_it() {
        assert_eq!(head("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n").body, Body::Length(12));
        assert_eq!(head("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n").body, Body::Chunked);
        assert_eq!(head("HTTP/1.1 304 No\r\nContent-Length: 12\r\n\r\n").body, Body::Length(0));
        let open = head("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!((open.body, open.closes), (Body::Close, true));
        assert!(head("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n").closes);
    }

    #[test]
    fn an_id_that_is_none_is_noticed_and_half_a_head_is_waited_for() {
        assert_eq!(head("HTTP/1.1 451 No\r\nEnforcement-Id: x\r\nContent-Length: 0\r\n\r\n").id, Some(0));
        let id = "Enforcement-Id: 01930000-0000-7000-8000-000000000000\r\n";
        let of = |ids: &str| head(&format!("HTTP/1.1 451 No\r\n{ids}Content-Length: 0\r\n\r\n")).id;
        assert!(of(id) > Some(0) && of(&id.repeat(2)) == Some(0), "two are none");
        assert_eq!(head("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").id, None);
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap().is_none());
        assert!(parse(b"SSH-2.0-OpenSSH\r\n").is_err());
    }
}
