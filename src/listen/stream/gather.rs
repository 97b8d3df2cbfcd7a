//! Frames of HTTP/2 that go out together.
//!
//! The library flushes after every frame with content. Answers to streams that came together would each be a write of
//! their own, and with TLS a record of their own. Here they wait for each other for as long as the connection has
//! something to do, and at most until they fill a record.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::EdgeStream;
use crate::limits;

thread_local! {
    /// Room for what is gathered: a connection that has sent everything holds none.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Whether what is written waits, shared by the connection's stream and whoever drives the connection.
#[derive(Debug, Default)]
pub(in crate::listen) struct Hold {
    is_on: AtomicBool,
    /// Something waits that was to be flushed.
    is_owed: AtomicBool,
}

impl Hold {
    /// Polls what drives the connection: while it has something to do, what it flushes waits; before it has nothing to
    /// do, all of that goes out. Nothing waits while `driving` is pending.
    pub(in crate::listen) async fn while_busy<F: Future>(&self, driving: F) -> F::Output {
        let mut driving = pin!(driving);
        std::future::poll_fn(|cx| {
            self.is_on.store(true, Ordering::Relaxed);
            let polled = driving.as_mut().poll(cx);
            if polled.is_ready() {
                return polled;
            }
            self.release();
            if self.is_owed.swap(false, Ordering::Relaxed) { driving.as_mut().poll(cx) } else { polled }
        })
        .await
    }

    /// From here on nothing waits: the next flush sends what does.
    pub(in crate::listen) fn release(&self) {
        self.is_on.store(false, Ordering::Relaxed);
    }
}

/// What has been written and has not gone out.
#[derive(Debug)]
pub(super) struct Gathered {
    octets: Vec<u8>,
    /// So many of them have gone out.
    sent: usize,
    /// Something has gone out since the last flush.
    is_unflushed: bool,
    hold: Arc<Hold>,
}

impl EdgeStream {
    /// From here on what is written is gathered; the answer says until when.
    pub(in crate::listen) fn gather(&mut self) -> Arc<Hold> {
        let hold = Arc::new(Hold::default());
        let gathered = Gathered { octets: Vec::new(), sent: 0, is_unflushed: false, hold: Arc::clone(&hold) };
        self.gathered = Some(Box::new(gathered));
        hold
    }

    /// Writes, or gathers what is to go out with more.
    pub(super) fn poll_out(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.gathered.is_some() { self.poll_gather(cx, pieces) } else { self.poll_through(cx, pieces) }
    }

    fn poll_through(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let inner = Pin::new(&mut self.inner);
        let written = match pieces {
            [piece] => inner.poll_write(cx, piece),
            pieces => inner.poll_write_vectored(cx, pieces),
        };
        if let Poll::Ready(Ok(count)) = written {
            self.wrote(count);
        }
        self.in_time(cx, written)
    }

    /// Takes all of `pieces` where they find room, and writes them where they are more than that.
    fn poll_gather(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let more: usize = pieces.iter().map(|piece| piece.len()).sum();
        let held = self.gathered.as_ref().map_or(0, |gathered| gathered.octets.len());
        if held.saturating_add(more) > limits::HTTP2_GATHERED_BYTES {
            ready!(self.poll_send(cx))?;
        }
        match &mut self.gathered {
            Some(gathered) if more <= limits::HTTP2_GATHERED_BYTES => {
                if gathered.octets.capacity() == 0 {
                    gathered.octets = ROOM.take();
                }
                let room = limits::HTTP2_GATHERED_BYTES.saturating_sub(gathered.octets.len());
                gathered.octets.reserve_exact(room);
                pieces.iter().for_each(|piece| gathered.octets.extend_from_slice(piece));
                // A client earns by what it is answered, however that is put together.
                self.earn(more);
                Poll::Ready(Ok(more))
            }
            Some(gathered) => {
                gathered.is_unflushed = true;
                self.poll_through(cx, pieces)
            }
            None => self.poll_through(cx, pieces),
        }
    }

    /// Whether a flush has to wait for what comes next. It must not look at the connection then: that it could, without
    /// anything to write, would pass for a client that takes something.
    pub(super) fn waits_for_more(&self) -> bool {
        let Some(gathered) = &self.gathered else { return false };
        let waits = gathered.hold.is_on.load(Ordering::Relaxed);
        if waits && (gathered.is_unflushed || !gathered.octets.is_empty()) {
            gathered.hold.is_owed.store(true, Ordering::Relaxed);
        }
        waits
    }

    /// Everything is out.
    pub(super) fn flushed(&mut self) {
        if let Some(gathered) = &mut self.gathered {
            gathered.is_unflushed = false;
        }
    }

    /// Sends all that is gathered.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(gathered) = &mut self.gathered
            && let Some(rest) = gathered.octets.get(gathered.sent..).filter(|rest| !rest.is_empty())
        {
            let written = Pin::new(&mut self.inner).poll_write(cx, rest);
            if let Poll::Ready(Ok(count)) = written {
                gathered.sent += count;
                gathered.is_unflushed = true;
                self.taken += count as u64;
            }
            if ready!(self.in_time(cx, written))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        if let Some(gathered) = &mut self.gathered
            && gathered.sent > 0
        {
            let mut room = std::mem::take(&mut gathered.octets);
            gathered.sent = 0;
            room.clear();
            ROOM.set(room);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
