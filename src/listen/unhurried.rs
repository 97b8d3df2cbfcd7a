//! A connection to an origin whose answer is never read before the request is known to be whole.
//!
//! Pingora sends the head of an upgrade request, and a moment later it notes that no content follows it. When the
//! origin's 101 is read in between, the note counts as the end of the upgraded stream, and a WebSocket that was just
//! opened is closed (seen with pingora-proxy 0.9.1, `proxy_handle_upstream`, in about one of two hundred on loopback,
//! where an origin answers at once). Both halves run in one task: when the first reads after a write come back empty,
//! the note is taken first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Reads after a write that find nothing: the task runs once more after each, and needs two turns.
const EMPTY_READS: u8 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Unhurried {
    stream: TcpStream,
    empty_reads: u8,
}

impl Unhurried {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, empty_reads: 0 }
    }
}

impl AsyncRead for Unhurried {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.empty_reads > 0 {
            this.empty_reads -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Unhurried {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.empty_reads = EMPTY_READS;
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl VirtualSocket for Unhurried {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            // No keep-alive is asked for; the read timeout of the route ends a silent origin.
            _ => Ok(()),
        }
    }
}
