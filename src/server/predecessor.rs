//! A graceful upgrade, as the new process sees it.

use std::fmt::Display;
use std::io;

use super::handover::{Channel, Message, Named, SUCCEED};
use crate::limits;

/// The process that this one succeeds.
#[derive(Debug)]
pub(super) struct Predecessor {
    channel: Channel,
}

impl Predecessor {
    /// Looks whether another process has started this one to be succeeded by it, and takes its sockets.
    ///
    /// # Errors
    /// When it has, and does not say what it should.
    pub(super) fn find() -> io::Result<Option<(Self, Named)>> {
        if std::env::var_os(SUCCEED).is_none() {
            return Ok(None);
        }
        let channel = Channel::from_standard_input()?;
        let sockets = channel.receive_sockets(limits::HANDOVER_PATIENCE)?;
        Ok(Some((Self { channel }, sockets)))
    }

    /// Has it let go of the state directory. Returns the newest revision it has given.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn take_state(&self) -> io::Result<u64> {
        self.channel.send(&Message::Prepared)?;
        match self.channel.receive(limits::HANDOVER_PATIENCE)? {
            Message::State { revision } => Ok(revision),
            other => Err(unexpected(&other)),
        }
    }

    /// Says that this process serves, and waits until it is the one from now on.
    ///
    /// # Errors
    /// When the other one has ended or thought better of it: then this one ends, too.
    pub(super) fn take_over(&self) -> io::Result<()> {
        self.channel.send(&Message::Ready)?;
        match self.channel.receive(limits::HANDOVER_PATIENCE)? {
            Message::Yours => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The other one may go.
    pub(super) fn dismiss(&self) {
        if let Err(error) = self.channel.send(&Message::Settled) {
            tracing::warn!(%error, "the process before this one has gone early");
        }
    }

    /// Tells why this process does not come to serve.
    pub(super) fn disappoint(&self, error: &dyn Display) {
        let reason = error.to_string().chars().take(limits::HANDOVER_REASON_CHARS).collect();
        // When the other one has ended, there is nobody to tell.
        self.channel.send(&Message::Failed { reason }).ok();
    }
}

fn unexpected(message: &Message) -> io::Error {
    io::Error::other(format!("it said {message:?} out of turn"))
}
