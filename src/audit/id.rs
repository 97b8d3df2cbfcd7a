//! Event ids: UUIDv7 (RFC 9562), unique across restarts, strictly increasing within a process.
//!
//! ```text
//! 48 bit  milliseconds since 1970, never going back within a process
//! 12 bit  counter within the millisecond, high part     (`rand_a`)
//! 22 bit  counter within the millisecond, low part      (`rand_b`, after the variant)
//! 40 bit  nonce, drawn once per process from the kernel (`rand_b`, the rest)
//! ```

use std::{fmt, io, str::FromStr};

use jiff::Timestamp;
use uuid::{Builder, Uuid, Variant, Version};

/// The id of one event, also the `enforcement-id` header of its answer.
///
/// Shown as the 36 characters of RFC 9562 §4 in lower case; ids sort by the time they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

/// The text is not an event id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an event id: a UUID of version 7 in 36 characters is needed")]
pub struct EventIdError(String);

impl EventId {
    /// The 128 bits of the id.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    #[cfg(test)]
    pub(super) fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// The 36 characters, lower case.
    pub(super) fn encode(self, buffer: &mut [u8; 36]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_hyphenated(), f)
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || EventIdError(text.chars().take(64).collect());
        // `Uuid` reads braces and bare hex as well; an id has one spelling only, up to letter case.
        if text.len() != 36 {
            return Err(error());
        }
        let uuid = Uuid::try_parse(text).map_err(|_| error())?;
        match (uuid.get_version(), uuid.get_variant()) {
            (Some(Version::SortRand), Variant::RFC4122) => Ok(Self(uuid)),
            _ => Err(error()),
        }
    }
}

/// Bits of the counter within one millisecond.
const COUNTER_BITS: u32 = 34;

/// Gives out ids; owned by the journal's lock.
pub(super) struct Ids {
    nonce: [u8; 5],
    millis: u64,
    counter: u64,
}

impl Ids {
    /// Draws this process's nonce from the kernel.
    pub(super) fn from_kernel() -> io::Result<Self> {
        let mut nonce = [0; 5];
        super::privacy::fill_random(&mut nonce)?;
        Ok(Self { nonce, millis: 0, counter: 0 })
    }

    /// The next id, greater than all before it even when the clock was set back.
    pub(super) fn next(&mut self, now: Timestamp) -> EventId {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        if millis > self.millis {
            (self.millis, self.counter) = (millis, 0);
        } else {
            self.counter += 1;
            if self.counter >> COUNTER_BITS != 0 {
                (self.millis, self.counter) = (self.millis + 1, 0);
            }
        }
        let high = ((self.counter >> 22) as u16).to_be_bytes();
        let low = ((self.counter & 0x3f_ffff) as u32).to_be_bytes();
        let [n0, n1, n2, n3, n4] = self.nonce;
        let bytes = [high[0], high[1], low[1], low[2], low[3], n0, n1, n2, n3, n4];
        EventId(Builder::from_unix_timestamp_millis(self.millis, &bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_read_back() {
        let mut ids = Ids::from_kernel().unwrap();
        let id = ids.next("2026-11-20T22:30:00.123456Z".parse().unwrap());
        let text = id.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "7");
        assert_eq!(text.parse::<EventId>().unwrap(), id);
        let millis = u64::from_str_radix(&text.replace('-', "")[..12], 16).unwrap();
        assert_eq!(millis, 1_795_213_800_123);
    }

    #[test]
    fn ids_increase_within_a_millisecond_over_field_borders_and_when_the_clock_goes_back() {
        let mut ids = Ids { nonce: [0xff; 5], millis: 0, counter: 0 };
        let now: Timestamp = "2026-11-20T22:30:00Z".parse().unwrap();
        let mut last = ids.next(now);
        for start in [0u64, (1 << 22) - 5, (1 << 34) - 5] {
            ids.counter = start;
            for step in 0..10 {
                let id = ids.next(if step % 2 == 0 { now } else { Timestamp::UNIX_EPOCH });
                assert!(id > last, "{id} after {last}");
                assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
                last = id;
            }
        }
    }

    #[test]
    fn what_is_no_version_7_uuid_is_refused() {
        for text in [
            "",
            "0192",
            "{01930000-0000-7000-8000-000000000000}",
            "01930000000070008000000000000000",
            "01930000-0000-4000-8000-000000000000",
            "01930000-0000-7000-c000-000000000000",
            "01930000-0000-7000-8000-00000000000g",
        ] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }
}
