//! The connection as Pingora sees it: our own stream type around Pingora's.
//!
//! Bytes are read here first, so that a request head is complete, bounded and judged against a
//! deadline before Pingora parses it. Pingora is then given exactly the bytes of that one request; what
//! a client has pipelined behind it stays here until its turn comes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::chunks::{BrokenChunks, Chunks};
use super::frames::{Alarm, FrameLimits, Meter};
use crate::limits;
use gather::Gathered;
pub(super) use gather::Hold;

/// How many more bytes of the connection belong to the request that is being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Budget {
    /// So many: a head, and a body of known length.
    Bytes(u64),
    /// What is left of a head, and then a chunked body.
    Chunked { head: u64 },
    /// What is left of a head, and nothing until an answer of 101 has gone out; then all.
    Upgrade { head: u64 },
    /// All: HTTP/2, and what follows an upgrade.
    Unlimited,
}

impl Budget {
    /// How many bytes of a buffer of this length may go out.
    fn allows(self, wanted: usize) -> usize {
        match self {
            Self::Unlimited => wanted,
            Self::Bytes(left) | Self::Chunked { head: left } | Self::Upgrade { head: left } => {
                usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
            }
        }
    }

    /// The same budget for a request whose head has got another length.
    pub(super) fn resized(self, old_head: usize, new_head: usize) -> Self {
        let resized = |left: u64| left.saturating_sub(old_head as u64).saturating_add(new_head as u64);
        match self {
            Self::Unlimited => self,
            Self::Bytes(left) => Self::Bytes(resized(left)),
            Self::Chunked { head } => Self::Chunked { head: resized(head) },
            Self::Upgrade { head } => Self::Upgrade { head: resized(head) },
        }
    }

    fn spend(&mut self, used: usize) {
        if let Self::Bytes(left) | Self::Chunked { head: left } | Self::Upgrade { head: left } = self {
            *left = left.saturating_sub(used as u64);
        }
    }
}

/// How long a client may keep the edge waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// For a client that takes nothing of what is written to it.
    pub(super) stall: Duration,
    /// Octets a second that a client takes at least while it is waited for, beyond `stall` in all; 0 for any.
    pub(super) least: u64,
}

/// A client connection with a read buffer of ours in front.
#[derive(Debug)]
pub(super) struct EdgeStream {
    inner: Stream,
    /// Read from the connection, not yet given to Pingora.
    buffer: BytesMut,
    budget: Budget,
    /// Follows the body of a chunked request.
    chunks: Chunks,
    /// The client has closed its side; what is in `buffer` is all there is.
    ended: bool,
    pace: Pace,
    /// Runs while the client takes nothing; with the time it began.
    stalled: Option<(Pin<Box<Sleep>>, Instant)>,
    /// How long the client has been waited for in all.
    waited: Duration,
    /// Octets that the client has taken.
    taken: u64,
    /// Counts the frames of an HTTP/2 connection.
    meter: Option<Box<(Meter, Arc<Alarm>)>>,
    /// What is known of the connection, for whoever has no more than a session of it.
    note: Option<Arc<ProxyDigest>>,
    /// Frames of an HTTP/2 connection that go out together.
    gathered: Option<Box<Gathered>>,
}

impl EdgeStream {
    pub(super) fn new(inner: Stream, pace: Pace) -> Self {
        Self {
            inner,
            buffer: BytesMut::new(),
            budget: Budget::Bytes(0),
            chunks: Chunks::default(),
            ended: false,
            pace,
            stalled: None,
            waited: Duration::ZERO,
            taken: 0,
            meter: None,
            note: None,
            gathered: None,
        }
    }

    /// Says from now on what is known of the connection.
    pub(super) fn note(&mut self, note: ProxyDigest) {
        self.note = Some(Arc::new(note));
    }

    /// From here on the connection is HTTP/2 and its frames are counted. What comes back rings when they are too
    /// many; nothing more is read then.
    pub(super) fn count_frames(&mut self, limits: FrameLimits) -> Arc<Alarm> {
        let alarm = Arc::new(Alarm::default());
        self.meter = Some(Box::new((Meter::new(limits), Arc::clone(&alarm))));
        alarm
    }

    /// Whether the bytes just read may be passed on.
    fn are_within_limits(&mut self, bytes: &[u8]) -> bool {
        let Some(meter) = &mut self.meter else { return true };
        let (meter, alarm) = meter.as_mut();
        match meter.see(bytes, Instant::now()) {
            Ok(()) => true,
            Err(flood) => {
                alarm.ring(flood);
                false
            }
        }
    }

    fn wrote(&mut self, octets: usize) {
        self.taken += octets as u64;
        self.earn(octets);
    }

    /// So many octets of answers make up for frames of the client.
    fn earn(&mut self, octets: usize) {
        if let Some(meter) = &mut self.meter {
            meter.0.wrote(octets);
        }
    }

    /// Passes on the outcome of a write, unless the client has taken nothing for too long. Pingora has no
    /// such limit for response heads, nor for a whole HTTP/2 connection.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if let Some((_, since)) = self.stalled.take() {
                self.waited += since.elapsed();
            }
            if self.is_too_slow() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return written;
        }
        let stall = self.pace.stall;
        let (stalled, _) = self.stalled.get_or_insert_with(|| (Box::pin(sleep(stall)), Instant::now()));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether the client takes so little, however steadily, that it only keeps the edge busy. Time counts only while
    /// the edge waits for the client.
    fn is_too_slow(&self) -> bool {
        let beyond = self.waited.saturating_sub(self.pace.stall);
        (self.taken as f64) < self.pace.least as f64 * beyond.as_secs_f64()
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
        // What comes an octet at a time needs no more room with each: some clients do that on thousands of connections.
        if self.buffer.capacity() - self.buffer.len() < limits::SMALL_READ_BYTES {
            self.buffer.reserve(limits::READ_BUFFER_BYTES);
        }
        let count = self.inner.read_buf(&mut self.buffer).await?;
        self.ended = count == 0;
        Ok(count)
    }

    /// Reads what has come into the buffer, `room` octets of it at least when there are so many.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<()>> {
        self.buffer.reserve(room);
        // It keeps nothing between two polls, so that it may be made anew for each.
        let reading = std::pin::pin!(self.inner.read_buf(&mut self.buffer));
        self.ended = ready!(reading.poll(cx))? == 0;
        Poll::Ready(Ok(()))
    }

    /// Drops so many octets of the buffer: they were for the edge alone.
    pub(super) fn take_off(&mut self, octets: usize) {
        self.buffer.advance(octets.min(self.buffer.len()));
    }

    /// Drops the line ends at the start of the buffer.
    pub(super) fn skip_line_ends(&mut self) {
        let count = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.buffer.advance(count);
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
        self.chunks = Chunks::default();
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
            ready!(self.poll_fill(cx, limits::SMALL_READ_BYTES))?;
        }
    }

    /// As many bytes as belong to the chunked body, whose grammar is held to.
    fn poll_chunks(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while buf.remaining() > 0 {
            let here = self.buffer.len().min(buf.remaining());
            let count = self.chunks.follow(self.buffer.get(..here).unwrap_or_default());
            if count > 0 {
                buf.put_slice(self.buffer.get(..count).unwrap_or_default());
                self.buffer.advance(count);
                break;
            }
            if self.chunks.is_broken() {
                return Poll::Ready(Err(BrokenChunks.into()));
            }
            if self.ended {
                break;
            }
            ready!(self.poll_fill(cx, limits::SMALL_READ_BYTES))?;
        }
        Poll::Ready(Ok(()))
    }

    /// As many bytes as belong to the request.
    fn poll_budgeted(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.budget == (Budget::Chunked { head: 0 }) && !self.chunks.is_done() {
            return self.poll_chunks(cx, buf);
        }
        let allowed = self.budget.allows(buf.remaining());
        if allowed == 0 {
            return self.poll_closed(cx);
        }
        let is_small = buf.remaining() <= limits::SMALL_READ_BYTES;
        if is_small && self.budget == Budget::Unlimited && self.buffer.is_empty() && !self.ended {
            ready!(self.poll_fill(cx, limits::RECORD_BUFFER_BYTES))?;
        }
        if !self.buffer.is_empty() {
            let count = allowed.min(self.buffer.len());
            buf.put_slice(self.buffer.get(..count).unwrap_or_default());
            self.buffer.advance(count);
            self.budget.spend(count);
            return Poll::Ready(Ok(()));
        }
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        if allowed == buf.remaining() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            let count = buf.filled().len() - before;
            self.ended = count == 0;
            self.budget.spend(count);
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(allowed));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let count = part.filled().len();
        buf.advance(count);
        self.ended = count == 0;
        self.budget.spend(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for EdgeStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Whoever serves the connection has been told, and may poll once more before it ends it.
        if this.meter.as_ref().is_some_and(|meter| meter.1.has_rung()) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = ready!(this.poll_budgeted(cx, buf));
        if (read.is_err() || this.ended)
            && let Poll::Ready(Err(error)) = this.poll_send(cx)
        {
            // The library may not write again after this. A client that is gone has nothing to be sent.
            tracing::debug!(%error, "a client was gone before its answers");
        }
        read?;
        if this.are_within_limits(buf.filled().get(before..).unwrap_or_default()) {
            return Poll::Ready(Ok(()));
        }
        buf.set_filled(before);
        Poll::Pending
    }
}

impl AsyncWrite for EdgeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // Until then nobody knows whether what follows the head is a tunnel or the next request.
        if matches!(this.budget, Budget::Upgrade { .. }) && buf.starts_with(b"HTTP/1.1 101 ") {
            this.budget = Budget::Unlimited;
        }
        this.poll_out(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.waits_for_more() {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_send(cx))?;
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        ready!(this.in_time(cx, flushed))?;
        this.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        // With TLS it is a write.
        let shut = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.in_time(cx, shut)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_out(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

mod digests;
mod gather;
#[cfg(test)]
mod tests;
