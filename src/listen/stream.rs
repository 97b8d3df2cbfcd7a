//! The connection as Pingora sees it: our own stream type around Pingora's.
//!
//! Bytes are read here first, so that a request head is complete, bounded and judged against a
//! deadline before Pingora parses it. Pingora is then given exactly the bytes of that one request; what
//! a client has pipelined behind it stays here until its turn comes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, BufMut, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::limits;

/// How many more bytes of the connection belong to the request that is being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Budget {
    /// So many: a head, and a body of known length.
    Bytes(u64),
    /// Unknown until the message ends: chunked bodies, upgrades, HTTP/2.
    Unlimited,
}

impl Budget {
    /// How many bytes of a buffer of this length may go out.
    fn allows(self, wanted: usize) -> usize {
        match self {
            Self::Unlimited => wanted,
            Self::Bytes(left) => usize::try_from(left).unwrap_or(usize::MAX).min(wanted),
        }
    }

    /// The same budget for a request whose head has got another length.
    pub(super) fn resized(self, old_head: usize, new_head: usize) -> Self {
        match self {
            Self::Unlimited => self,
            Self::Bytes(left) => {
                Self::Bytes(left.saturating_sub(old_head as u64).saturating_add(new_head as u64))
            }
        }
    }

    fn spend(&mut self, used: usize) {
        if let Self::Bytes(left) = self {
            *left = left.saturating_sub(used as u64);
        }
    }
}

/// A client connection with a read buffer of ours in front.
#[derive(Debug)]
pub(super) struct EdgeStream {
    inner: Stream,
    /// Read from the connection, not yet given to Pingora.
    buffer: BytesMut,
    budget: Budget,
    /// The client has closed its side; what is in `buffer` is all there is.
    ended: bool,
}

impl EdgeStream {
    pub(super) fn new(inner: Stream) -> Self {
        Self { inner, buffer: BytesMut::new(), budget: Budget::Bytes(0), ended: false }
    }

    /// What has been read and not yet given away.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads more into the buffer. Returns how many bytes came; 0 means the client closed its side.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        self.buffer.reserve(limits::READ_BUFFER_BYTES);
        let count = self.inner.read_buf(&mut self.buffer).await?;
        self.ended = count == 0;
        Ok(count)
    }

    /// Puts another head in the place of the first `head_len` buffered bytes.
    pub(super) fn replace_head(&mut self, head_len: usize, head: &[u8]) {
        let rest = self.buffer.split_off(head_len.min(self.buffer.len()));
        self.buffer.clear();
        self.buffer.extend_from_slice(head);
        self.buffer.unsplit(rest);
    }

    /// Opens the gate for one request: from here on Pingora reads, at most `budget`.
    pub(super) fn admit(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Drops what is buffered; used when a connection is being closed.
    pub(super) fn discard_buffered(&mut self) {
        self.buffer.clear();
    }

    /// The request has had all its bytes. Pingora reads on only to learn whether the client goes away, so
    /// the next request's bytes are collected here and not shown.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.ended {
                return if self.buffer.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            if self.buffer.len() >= limits::PIPELINE_BYTES {
                // A client that floods requests ahead of its answers is not read any further.
                return Poll::Pending;
            }
            let mut space = [0u8; 4096];
            let mut space = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut space))?;
            self.ended = space.filled().is_empty();
            self.buffer.put_slice(space.filled());
        }
    }
}

impl AsyncRead for EdgeStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let allowed = this.budget.allows(buf.remaining());
        if allowed == 0 {
            return this.poll_closed(cx);
        }
        if !this.buffer.is_empty() {
            let count = allowed.min(this.buffer.len());
            buf.put_slice(this.buffer.get(..count).unwrap_or_default());
            this.buffer.advance(count);
            this.budget.spend(count);
            return Poll::Ready(Ok(()));
        }
        if this.ended {
            return Poll::Ready(Ok(()));
        }
        if allowed == buf.remaining() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let count = buf.filled().len() - before;
            this.ended = count == 0;
            this.budget.spend(count);
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(allowed));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
        let count = part.filled().len();
        buf.advance(count);
        this.ended = count == 0;
        this.budget.spend(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for EdgeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for EdgeStream {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(self.inner.as_mut()).await;
    }
}

impl UniqueID for EdgeStream {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for EdgeStream {
    fn get_ssl_digest(&self) -> Option<Arc<pingora::protocols::tls::SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

/// Peeking is left out on purpose: whoever is handed this stream has been told its protocol.
#[async_trait]
impl Peek for EdgeStream {}

impl GetTimingDigest for EdgeStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for EdgeStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for EdgeStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}
