//! Records of what was done. (Stub: the receipt and its id only.)

use std::fmt;

use uuid::Uuid;

/// The id of an event, a UUIDv7 (RFC 9562 §5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId(Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Proof that an event was recorded.
#[derive(Debug)]
pub struct Receipt {
    id: EventId,
}

impl Receipt {
    /// The id of the record.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// A receipt for tests of what may only be done with one.
    #[cfg(test)]
    pub(crate) fn for_test(id: u128) -> Self {
        Self { id: EventId(Uuid::from_u128(id)) }
    }
}
