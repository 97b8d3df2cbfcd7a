//! An event that was recorded and is not acknowledged yet.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{event::Receipt, journal::Commit};

/// The way to a [`Receipt`]: at once with `acknowledge = "process"`, after the group commit with `"disk"`.
///
/// Dropping it withdraws nothing: the event is recorded, and on its way to the disk.
#[derive(Debug)]
#[must_use = "the effect of an action waits for the receipt"]
pub struct Pending {
    receipt: Receipt,
    commit: Option<(Arc<Commit>, u64)>,
}

impl Pending {
    pub(super) fn ready(receipt: Receipt) -> Self {
        Self { receipt, commit: None }
    }

    pub(super) fn until(receipt: Receipt, commit: Arc<Commit>, ticket: u64) -> Self {
        Self { receipt, commit: Some((commit, ticket)) }
    }

    /// Blocks this thread until the event is acknowledged. Not for request threads: they `.await` it.
    pub fn wait(self) -> Receipt {
        if let Some((commit, ticket)) = &self.commit {
            commit.wait(*ticket);
        }
        self.receipt
    }

    /// Whether the event is in the journal, acknowledged or not.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.receipt.is_recorded()
    }

    /// The event's id, for tools and logs; it proves nothing.
    #[must_use]
    pub fn id(&self) -> super::EventId {
        self.receipt.id()
    }
}

impl Future for Pending {
    type Output = Receipt;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Receipt> {
        match &self.commit {
            Some((commit, ticket)) if !commit.poll(*ticket, context.waker()) => Poll::Pending,
            _ => Poll::Ready(self.receipt),
        }
    }
}
