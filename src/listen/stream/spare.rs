//! Room to read into, shared by the connections of a thread.
//!
//! Most connections wait most of the time. One that reads into room of its own holds eight kibibytes meanwhile, and those
//! of thousands are in no cache when something comes. What comes is mostly a few hundred octets: they are read into room
//! that is in the cache, and copied.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

use crate::limits;

thread_local! {
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reads what has come, and puts it behind what is in `buffer`; says how much that is.
pub(super) fn read(
    from: &mut (impl AsyncRead + Unpin + ?Sized),
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut room = ROOM.take();
    room.resize(limits::READ_BUFFER_BYTES, 0);
    let mut into = ReadBuf::new(&mut room);
    let polled = Pin::new(from).poll_read(cx, &mut into);
    let came = into.filled();
    buffer.extend_from_slice(came);
    let count = came.len();
    ROOM.set(room);
    ready!(polled)?;
    Poll::Ready(Ok(count))
}
