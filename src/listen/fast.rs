//! The fast path of a blocked request over HTTP/1 or HTTP/2: judged, recorded and answered below Pingora.
//!
//! Under attack most requests are for what is blocked, and nearly all of them are of one kind: a whole head, no content,
//! one `Host`. Such a request needs nothing of a proxy. It takes the fast path when there is only one way to read it,
//! and when it is blocked; everything else goes the full path, with every octet where it was. The fast path can only
//! block: it judges by the same gate, records the same event and gives the same octets, which
//! [`probe`](super::probe) holds both to.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use pingora::protocols::http::v2::server::HttpSession;
use tokio::io::AsyncWriteExt;

use super::date::date_of;
use super::enforce::{self, About};
use super::facts::Connection;
use super::head::{Head, Next, Scan, classify};
use super::stream::EdgeStream;
use crate::act::Ask;
use crate::gate::{Asked, Blocked, Gate};
use crate::hostname::Hostname;
use crate::identify::{self, IdentifyError, Identity, RequestParts, Version};
use crate::limits;

/// A request that is blocked and on record.
#[derive(Debug)]
pub(super) struct Block {
    blocked: Blocked,
    /// The host it is about.
    pub(super) host: Hostname,
    /// The client wants the connection closed afterwards.
    closes: bool,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It goes on.
    Reuse,
    /// It ends in order.
    Close,
}

/// Blocks the request of this head if a case does and it may go the fast path. Nothing has happened when it may not.
pub(super) fn block(
    gate: &Gate,
    head: &Head<'_>,
    identity: &Identity,
    connection: &Connection,
) -> Option<Block> {
    if !is_plain(head) {
        return None;
    }
    let blocked = gate.block(&Asked {
        identity,
        client: connection.client_of(head.forwarded.iter().copied()),
        listener: connection.listener_text(),
        tls: connection.tls_version(),
        protocol: Version::Http11.as_str(),
        method: head.method,
        path: head.target,
        user_agent: head.user_agent,
        ask: Ask {
            head: head.method == "HEAD",
            accept: head.accept,
            accept_language: head.accept_language,
            content_type: None,
        },
    })?;
    Some(Block { blocked, host: identity.host.clone(), closes: head.closes })
}

/// Whether there is only one way to read the request, and no content to be read away.
fn is_plain(head: &Head<'_>) -> bool {
    let is_read = matches!(head.method, "GET" | "HEAD");
    is_read && !head.http10 && !head.is_special && head.hosts.len() == 1 && head.target.starts_with(b"/")
}

/// The same for the request of an HTTP/2 stream, whose head is read already.
pub(super) fn block_stream(
    gate: &Gate,
    session: &HttpSession,
    identity: &Identity,
    connection: &Connection,
) -> Option<Block> {
    let request = session.req_header();
    let is_read = matches!(request.method, http::Method::GET | http::Method::HEAD);
    // Content may be without end, and trailers may follow it.
    let is_whole = session.is_body_done() && !request.headers.contains_key(http::header::CONTENT_LENGTH);
    if !is_read || !is_whole || request.headers.contains_key(http::header::CONTENT_TYPE) {
        return None;
    }
    let about = About {
        identity,
        client: enforce::named_in(connection, request),
        listener: connection.listener_text(),
        tls: connection.tls_version(),
    };
    let blocked = about.with_request(request, |asked| gate.block(asked))?;
    Some(Block { blocked, host: identity.host.clone(), closes: false })
}

impl Block {
    /// Whether the client's network asks more often than it gets whole answers.
    pub(super) fn is_excess(&self) -> bool {
        self.blocked.is_excess()
    }

    /// Answers the stream once the record is acknowledged. A refusal is no answer: the stream is reset.
    pub(super) async fn answer_stream(self, mut session: HttpSession) {
        let date = date_of(self.blocked.at());
        let Some(answer) = self.blocked.response(date).await else { return };
        let (head, body) = answer.into_parts();
        let silent = session.req_header().method == http::Method::HEAD || body.is_empty();
        let answering = async {
            session.write_response_header(Box::new(head.into()), silent)?;
            if silent { Ok(()) } else { session.write_body(body, true).await }
        };
        let answered: pingora::Result<()> = answering.await;
        if let Err(error) = answered {
            tracing::debug!(%error, "a stream was gone before its answer");
        }
    }
}

/// The names of the request before on the same connection: most requests are about the same.
#[derive(Debug, Default)]
pub(super) struct Memory {
    last: Option<(Box<[u8]>, Arc<Identity>)>,
}

impl Memory {
    /// The names a request is about.
    pub(super) fn identify(&mut self, parts: &RequestParts<'_>) -> Result<Arc<Identity>, IdentifyError> {
        // Where one place alone names the host, its text decides: the server name is the connection's, and so is the
        // version.
        let host = match (parts.hosts, parts.authority) {
            _ if !parts.target.starts_with(b"/") || parts.method == "CONNECT" => None,
            ([host], None) if parts.version != Version::Http2 => Some(*host),
            ([], Some(authority)) if parts.version == Version::Http2 => Some(authority),
            _ => None,
        };
        let Some(host) = host else { return identify::identify(parts).map(Arc::new) };
        if let Some((known, identity)) = &self.last
            && **known == *host
        {
            return Ok(Arc::clone(identity));
        }
        let identity = Arc::new(identify::identify(parts)?);
        self.last = Some((host.into(), Arc::clone(&identity)));
        Ok(identity)
    }
}

thread_local! {
    /// Answers in the making. It grows to the largest a thread has sent and is not allocated again.
    static OUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The answers of one connection that are still to be sent: those of pipelined requests go out together.
#[derive(Debug, Default)]
pub(super) struct Answers {
    out: Vec<u8>,
}

impl Answers {
    /// Gives the answer of a request once its record is acknowledged: at once, unless the next request is here as well
    /// and not too much is waiting.
    pub(super) async fn give(&mut self, block: Block, stream: &mut EdgeStream, head_bytes: usize) -> After {
        if self.out.capacity() == 0 {
            self.out = OUT.take();
        }
        let Block { blocked, closes, .. } = block;
        let date = date_of(blocked.at());
        let is_answered = blocked.write_http1(&date, closes, &mut self.out).await;
        // A refusal is no answer at all, and the end of the connection.
        let is_last = closes || !is_answered;
        let waits =
            !is_last && self.out.len() < limits::PIPELINED_ANSWER_BYTES && has_next(stream, head_bytes);
        let sent = if waits { Ok(()) } else { self.send(stream).await };
        match sent {
            Ok(()) if !is_last => After::Reuse,
            Ok(()) => {
                // Whoever has gone away already needs no farewell.
                stream.shutdown().await.ok();
                After::Close
            }
            Err(error) => {
                tracing::debug!(%error, "a client was gone before its answer");
                After::Close
            }
        }
    }

    /// Sends them.
    pub(super) async fn send(&mut self, stream: &mut EdgeStream) -> io::Result<()> {
        if !self.out.is_empty() {
            stream.write_all(&self.out).await?;
            stream.flush().await?;
            self.out.clear();
        }
        if self.out.capacity() == 0 {
            return Ok(());
        }
        // What is idle holds none, and what was refused gives back what it did not need.
        OUT.set(std::mem::take(&mut self.out));
        Ok(())
    }
}

/// Whether the whole head of another request of HTTP/1 is here already.
fn has_next(stream: &EdgeStream, head_bytes: usize) -> bool {
    matches!(classify(stream.buffered(), &mut Scan::default(), head_bytes), Some(Next::Head(_)))
}
