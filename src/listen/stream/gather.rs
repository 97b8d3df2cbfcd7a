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
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::Pace;
    use super::*;

    fn connection(between: usize) -> (EdgeStream, Arc<Hold>, DuplexStream) {
        let (edge, client) = duplex(between);
        let pace = Pace { stall: Duration::from_secs(5), least: 0 };
        let mut edge = EdgeStream::new(Box::new(edge), pace);
        let hold = edge.gather();
        (edge, hold, client)
    }

    /// What has come to the client, without waiting for more.
    async fn come(client: &mut DuplexStream) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut piece = [0; 4096];
            tokio::select! {
                biased;
                count = client.read(&mut piece) => match count.unwrap() {
                    0 => return all,
                    count => all.extend_from_slice(&piece[..count]),
                },
                () = std::future::ready(()) => return all,
            }
        }
    }

    #[tokio::test]
    async fn what_is_flushed_while_there_is_more_to_do_goes_out_before_the_waiting() {
        let (mut edge, hold, mut client) = connection(100_000);
        for turn in 0..3u8 {
            let done = hold.while_busy(async {
                edge.write_all(&[turn; 100]).await.unwrap();
                edge.flush().await.unwrap();
            });
            done.await;
            assert_eq!(come(&mut client).await, b"");
        }
        // It flushes as often as it is polled, as the library does, and then has nothing to do.
        let idle = hold.while_busy(std::future::poll_fn(|cx| {
            assert!(Pin::new(&mut edge).poll_flush(cx).is_ready());
            Poll::<()>::Pending
        }));
        tokio::select! {
            biased;
            () = idle => unreachable!(),
            () = std::future::ready(()) => {}
        }
        assert_eq!(come(&mut client).await, [[0; 100], [1; 100], [2; 100]].concat());
        let gathered = edge.gathered.as_ref().unwrap();
        assert_eq!((gathered.octets.capacity(), gathered.sent), (0, 0), "it holds nothing");
    }

    #[tokio::test]
    async fn nothing_waits_beyond_a_record_and_all_of_it_comes_in_order() {
        let (mut edge, hold, mut client) = connection(1_000_000);
        hold.is_on.store(true, Ordering::Relaxed);
        let mut expected = Vec::new();
        for (turn, length) in (0u8..).zip([10, limits::HTTP2_GATHERED_BYTES - 10, 1, 50_000, 7, 16_000, 500])
        {
            let octets = vec![turn; length];
            edge.write_all(&octets).await.unwrap();
            edge.flush().await.unwrap();
            expected.extend_from_slice(&octets);
            assert!(edge.gathered.as_ref().unwrap().octets.len() <= limits::HTTP2_GATHERED_BYTES);
        }
        let early = come(&mut client).await;
        assert_eq!(early.len(), expected.len() - 500, "only the last has room to wait");
        hold.release();
        edge.flush().await.unwrap();
        let rest = come(&mut client).await;
        assert_eq!([early, rest].concat(), expected);
    }

    #[tokio::test]
    async fn an_end_in_order_sends_what_waits_and_a_slow_client_gets_it_in_pieces() {
        let (mut edge, hold, mut client) = connection(64);
        hold.is_on.store(true, Ordering::Relaxed);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            all
        });
        edge.write_all(&[b'x'; 5_000]).await.unwrap();
        edge.shutdown().await.unwrap();
        assert_eq!(reading.await.unwrap(), [b'x'; 5_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_however_often_the_connection_is_driven() {
        let (mut edge, hold, _client) = connection(64);
        edge.write_all(&[b'x'; 5_000]).await.unwrap();
        let driving = std::future::poll_fn(|cx| Pin::new(&mut edge).poll_flush(cx));
        let mut driving = pin!(hold.while_busy(async {
            // As the library does: it flushes with every poll, and is driven by whatever else the connection hears.
            let mut driving = pin!(driving);
            std::future::poll_fn(|cx| match driving.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => Poll::Pending,
                other => other,
            })
            .await
        }));
        let began = tokio::time::Instant::now();
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut driving => break outcome,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        };
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test]
    async fn what_is_gathered_goes_out_when_the_client_has_ended_its_side() {
        let (mut edge, hold, mut client) = connection(100_000);
        edge.admit(super::super::Budget::Unlimited);
        hold.is_on.store(true, Ordering::Relaxed);
        edge.write_all(b"answer").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(edge.read(&mut [0; 16]).await.unwrap(), 0);
        assert_eq!(come(&mut client).await, b"answer");
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_an_error() {
        let (mut edge, _hold, client) = connection(64);
        drop(client);
        edge.write_all(b"x").await.unwrap();
        assert_eq!(edge.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
