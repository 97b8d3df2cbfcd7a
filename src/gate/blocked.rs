//! The answer of a block, held back until the block is on record.

use bytes::Bytes;
use http::{HeaderValue, Response};
use jiff::Timestamp;

use crate::act::{Answer, Prepared};
use crate::audit::Pending;

/// A block that is on record. Its answer comes when the record is acknowledged as configured.
#[derive(Debug)]
#[must_use = "a blocked request is answered"]
pub struct Blocked {
    pub(super) prepared: Prepared,
    pub(super) pending: Pending,
    pub(super) is_excess: bool,
    pub(super) at: Timestamp,
}

impl Blocked {
    /// Whether the client's network asks more often than it gets whole answers.
    #[must_use]
    pub fn is_excess(&self) -> bool {
        self.is_excess
    }

    /// When it was judged, as its record says.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The answer, as soon as the record is safe: at once, or after the disk has it.
    pub async fn acknowledged(self) -> Answer {
        let receipt = self.pending.await;
        self.prepared.answer(&receipt)
    }

    /// The same as HTTP/2 sends it; see [`Prepared::response`].
    pub async fn response(self, date: HeaderValue) -> Option<Response<Bytes>> {
        let receipt = self.pending.await;
        self.prepared.response(&receipt, date)
    }

    /// The same, appended to `out` as HTTP/1.1 sends it; see [`Prepared::write_http1`]. False when there is no answer.
    pub async fn write_http1(self, date: &HeaderValue, close: bool, out: &mut Vec<u8>) -> bool {
        let receipt = self.pending.await;
        self.prepared.write_http1(&receipt, date, close, out)
    }
}
