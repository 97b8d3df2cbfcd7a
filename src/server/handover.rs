//! What an old and a new process say to each other at an upgrade.
//!
//! ```text
//! old                           new
//!   sockets ------------------>     takes the listening sockets
//!           <----------- prepared   configuration, sockets and audit log are fine
//!   state -------------------->     the old one has let go of the state directory and makes no revisions
//!           <-------------- ready   accepts, enforces, and can be spoken to
//!   yours -------------------->     is the one from now on
//!           <------------ settled   has put its control socket in place; the old one drains
//! ```
//!
//! Until `yours` the new process ends when the old one does; until `settled` the old one goes on as if nothing had
//! happened when the new one ends. They speak over a pair of sockets, of which the new process finds its end as its
//! standard input: the only descriptor that can be inherited and taken over without `unsafe`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use crate::limits;

/// Set for a process that is to succeed the one that starts it.
pub(super) const SUCCEED: &str = "INTERDICT_SUCCEED";

/// What a socket is for, and the address it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) admin: bool,
    pub(super) address: SocketAddr,
}

/// Listening sockets by their names.
pub(super) type Named = Vec<(Name, TcpListener)>;

/// One message.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Message {
    /// The names of listening sockets, which come with it; `more` when another such message follows.
    Sockets { names: Vec<Name>, more: bool },
    /// The new process could start, and asks for the state directory.
    Prepared,
    /// The state directory is free; the newest revision ever given.
    State { revision: u64 },
    /// The new process serves.
    Ready,
    /// The new process is the one from now on.
    Yours,
    /// It can be reached; the old one may go.
    Settled,
    /// It could not start.
    Failed { reason: String },
}

/// One end of the conversation.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// A new conversation: this end, and what becomes the other process's standard input.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self { socket: ours }, theirs))
    }

    /// The end that the process before this one has left here.
    pub(super) fn from_standard_input() -> io::Result<Self> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        if socket_type(&socket)? != SocketType::SEQPACKET {
            return Err(io::Error::other("standard input is no conversation with another edge"));
        }
        Ok(Self { socket })
    }

    pub(super) fn send(&self, message: &Message) -> io::Result<()> {
        self.send_with(message, &[])
    }

    fn send_with(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(limits::HANDOVER_SOCKETS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        let pieces = [IoSlice::new(&bytes)];
        rustix::io::retry_on_intr(|| sendmsg(&self.socket, &pieces, &mut ancillary, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Waits this long for the next message.
    pub(super) fn receive(&self, patience: Duration) -> io::Result<Message> {
        self.receive_with(patience).map(|(message, _)| message)
    }

    fn receive_with(&self, patience: Duration) -> io::Result<(Message, Vec<OwnedFd>)> {
        set_socket_timeout(&self.socket, Timeout::Recv, Some(patience))?;
        let mut bytes = vec![0; limits::HANDOVER_MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(limits::HANDOVER_SOCKETS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let pieces = &mut [IoSliceMut::new(&mut bytes)];
            recvmsg(&self.socket, pieces, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        });
        let received = match received {
            Ok(received) => received,
            Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        };
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::other("a message that was cut"));
        }
        let descriptors = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        Ok((serde_json::from_slice(bytes.get(..received.bytes).unwrap_or_default())?, descriptors))
    }

    /// Hands listening sockets over; both processes have them after this.
    pub(super) fn send_sockets(&self, sockets: &[(Name, TcpListener)]) -> io::Result<()> {
        let mut chunks = sockets.chunks(limits::HANDOVER_SOCKETS).peekable();
        while let Some(chunk) = chunks.next() {
            let names = chunk.iter().map(|(name, _)| *name).collect();
            let descriptors: Vec<BorrowedFd<'_>> = chunk.iter().map(|(_, socket)| socket.as_fd()).collect();
            self.send_with(&Message::Sockets { names, more: chunks.peek().is_some() }, &descriptors)?;
        }
        Ok(())
    }

    /// The other end of [`Self::send_sockets`].
    pub(super) fn receive_sockets(&self, patience: Duration) -> io::Result<Named> {
        let mut sockets = Vec::new();
        loop {
            let (message, descriptors) = self.receive_with(patience)?;
            let Message::Sockets { names, more } = message else {
                return Err(io::Error::other(format!("sockets were awaited, not {message:?}")));
            };
            if names.len() != descriptors.len() {
                return Err(io::Error::other("not every name has its socket"));
            }
            sockets.extend(names.into_iter().zip(descriptors.into_iter().map(TcpListener::from)));
            if !more {
                return Ok(sockets);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn channels() -> (Channel, Channel) {
        let (ours, theirs) = Channel::pair().unwrap();
        (ours, Channel { socket: theirs })
    }

    #[test]
    fn more_sockets_than_fit_into_one_message_arrive_under_their_names() {
        let (old, new) = channels();
        let bind = |_| TcpListener::bind("127.0.0.1:0").unwrap();
        let sent: Vec<_> = (0..limits::HANDOVER_SOCKETS + 3).map(bind).collect();
        let name = |socket: &TcpListener| Name { admin: false, address: socket.local_addr().unwrap() };
        let sent: Named = sent.into_iter().map(|socket| (name(&socket), socket)).collect();
        old.send_sockets(&sent).unwrap();
        let received = new.receive_sockets(PATIENCE).unwrap();
        assert_eq!(received.len(), sent.len());
        for ((received, socket), (sent, _)) in received.iter().zip(&sent) {
            assert_eq!((received, socket.local_addr().unwrap()), (sent, sent.address));
        }
    }

    #[test]
    fn messages_arrive_one_by_one_and_the_end_is_told_from_silence() {
        let (old, new) = channels();
        old.send(&Message::Prepared).unwrap();
        old.send(&Message::State { revision: 7 }).unwrap();
        assert_eq!(new.receive(PATIENCE).unwrap(), Message::Prepared);
        assert_eq!(new.receive(PATIENCE).unwrap(), Message::State { revision: 7 });
        let silence = new.receive(Duration::from_millis(1)).unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
        drop(old);
        assert_eq!(new.receive(PATIENCE).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
