//! Answers on the wire.

use http::header::{HeaderName, HeaderValue};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::stream::{Budget, EdgeStream};
use crate::act::Answer;
use crate::limits;

/// Gives the answer of an enforcement, which has been recorded.
pub(super) async fn give(session: &mut Session, answer: Answer) -> Result<()> {
    match answer {
        Answer::Page { status, headers, body } => {
            let header = header(status, headers)?;
            finish(session, header, body).await
        }
        Answer::Refuse => {
            refuse(session);
            Ok(())
        }
    }
}

/// The head of an answer, with room for what the proxy adds.
fn header(status: u16, fields: Vec<(HeaderName, HeaderValue)>) -> Result<ResponseHeader> {
    let mut header = ResponseHeader::build(status, Some(fields.len() + 2))?;
    for (name, value) in fields {
        header.insert_header(name, value)?;
    }
    Ok(header)
}

/// No answer at all. HTTP/1: the connection closes without a byte. HTTP/2: the stream's handle is dropped
/// without an answer, which resets this stream and no other.
fn refuse(session: &mut Session) {
    session.set_keepalive(None);
}

/// A short answer of the edge's own, in plain text.
pub(super) async fn write_plain(session: &mut Session, status: u16, reason: &str) -> Result<()> {
    let body = format!("{reason}\n");
    let mut header = ResponseHeader::build(status, Some(4))?;
    header.insert_header(http::header::CONTENT_TYPE, PLAIN_TEXT)?;
    header.insert_header(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    header.insert_header(http::header::CACHE_CONTROL, NO_STORE)?;
    if session.is_process_shutting_down() {
        session.set_keepalive(None);
    }
    finish(session, header, body.into()).await
}

/// The answer to a request that could not be forwarded.
pub(super) async fn write_failure(session: &mut Session, status: u16) -> Result<()> {
    let reason = match status {
        502 | 504 => "the origin of this site cannot be reached",
        400 => "the request cannot be understood",
        408 => "the request took too long",
        503 => "the origins of this site are busy",
        _ => "the request cannot be served",
    };
    write_plain(session, status, reason).await
}

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

async fn finish(session: &mut Session, header: ResponseHeader, body: bytes::Bytes) -> Result<()> {
    let silent = session.req_header().method == http::Method::HEAD || body.is_empty();
    let header = Box::new(header);
    match session.as_downstream_mut() {
        // The header block itself ends the stream: gRPC's Trailers-Only asks for it.
        ServerSession::H2(stream) if silent => return stream.write_response_header(header, true),
        _ => session.write_response_header(header, silent).await?,
    }
    session.write_response_body((!silent).then_some(body), true).await?;
    linger(session).await;
    Ok(())
}

/// Closes the sending side and takes in, for a short while, what the client is still sending: closing a
/// socket with unread bytes resets it, and the answer would be lost on its way (RFC 9112 §9.6).
async fn linger(session: &mut Session) {
    if session.is_http2() || session.is_body_done() {
        return;
    }
    let downstream = session.as_downstream_mut();
    let drain = async {
        downstream.shutdown().await;
        let mut taken = 0;
        while let Ok(Some(part)) = downstream.read_request_body().await {
            taken += part.len();
            if taken > limits::LINGER_BYTES {
                return;
            }
        }
    };
    // Whether it ends by itself or is cut off, the connection closes now.
    timeout(limits::LINGER, drain).await.ok();
}

/// Refuses a request that never became one: a plain answer and the end of the connection.
pub(super) async fn reject(stream: &mut EdgeStream, status: u16, reason: &str) {
    let phrase = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let answer = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{reason}\n",
        phrase = phrase.unwrap_or("Refused"),
        length = reason.len() + 1,
    );
    let exchange = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        stream.discard_buffered();
        stream.admit(Budget::Bytes(limits::LINGER_BYTES as u64));
        let mut sink = [0u8; 4096];
        while stream.read(&mut sink).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    // A client that does not take its answer, or never stops sending, is left after a short while.
    timeout(limits::LINGER, exchange).await.ok();
}
