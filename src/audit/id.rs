//! Event ids: UUIDv7 (RFC 9562), unique across restarts, strictly increasing within a process.
//!
//! ```text
//! 48 bit  milliseconds since 1970, never going back within a process
//! 12 bit  ordinal, high part                            (`rand_a`)
//! 22 bit  ordinal, low part                             (`rand_b`, after the variant)
//! 40 bit  nonce, drawn once per process from the kernel (`rand_b`, the rest)
//! ```
//!
//! The ordinal counts the events of a process from 1 and skips none; an event that could only be counted takes one as
//! well. So the ids alone show whether one is missing: the holes among the ordinals of a nonce must be as many as its
//! `audit.gap` records count.

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

    /// The id with these bits, when it is one.
    pub(super) fn from_bits(bits: u128) -> Option<Self> {
        let uuid = Uuid::from_u128(bits);
        is_event_id(&uuid).then_some(Self(uuid))
    }

    /// Which event of its process it is: 1, 2, 3 …
    #[must_use]
    pub fn ordinal(self) -> u64 {
        let bits = self.as_u128();
        let high = (bits >> 64) as u64 & 0xfff;
        let low = (bits >> 40) as u64 & 0x3f_ffff;
        high << 22 | low
    }

    /// The process it comes from.
    #[must_use]
    pub fn nonce(self) -> Nonce {
        let [.., n0, n1, n2, n3, n4] = *self.0.as_bytes();
        Nonce([n0, n1, n2, n3, n4])
    }

    #[cfg(test)]
    pub(super) fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// The 36 characters, lower case.
    pub(crate) fn encode(self, buffer: &mut [u8; 36]) -> &str {
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
        if is_event_id(&uuid) { Ok(Self(uuid)) } else { Err(error()) }
    }
}

fn is_event_id(uuid: &Uuid) -> bool {
    matches!((uuid.get_version(), uuid.get_variant()), (Some(Version::SortRand), Variant::RFC4122))
}

/// Tells the processes of an edge apart: 40 random bits, drawn at start. Shown as ten hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub(super) [u8; 5]);

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Nonce {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.len() == 10 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let number = u64::from_str_radix(text, 16).ok().filter(|_| plain);
        let [_, _, _, nonce @ ..] =
            number.ok_or_else(|| EventIdError(text.chars().take(64).collect()))?.to_be_bytes();
        Ok(Self(nonce))
    }
}

/// The greatest ordinal.
const MAX_ORDINAL: u64 = (1 << 34) - 1;

/// Gives out ids; owned by the journal's lock.
pub(super) struct Ids {
    nonce: Nonce,
    millis: u64,
    ordinal: u64,
}

impl Ids {
    /// Draws this process's nonce from the kernel.
    pub(super) fn from_kernel() -> io::Result<Self> {
        let mut nonce = [0; 5];
        super::privacy::fill_random(&mut nonce)?;
        Ok(Self { nonce: Nonce(nonce), millis: 0, ordinal: 0 })
    }

    pub(super) fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The ordinal of the id given out last.
    pub(super) fn last(&self) -> u64 {
        self.ordinal
    }

    /// Whether a new nonce is needed soon: ordinals are never given out twice.
    pub(super) fn is_nearly_used_up(&self) -> bool {
        self.ordinal > MAX_ORDINAL - 1024
    }

    /// The next id, greater than all before it even when the clock was set back.
    pub(super) fn next(&mut self, now: Timestamp) -> EventId {
        self.millis = self.millis.max(u64::try_from(now.as_millisecond()).unwrap_or(0));
        self.ordinal = (self.ordinal + 1).min(MAX_ORDINAL);
        let high = ((self.ordinal >> 22) as u16).to_be_bytes();
        let low = ((self.ordinal & 0x3f_ffff) as u32).to_be_bytes();
        let [n0, n1, n2, n3, n4] = self.nonce.0;
        let bytes = [high[0], high[1], low[1], low[2], low[3], n0, n1, n2, n3, n4];
        EventId(Builder::from_unix_timestamp_millis(self.millis, &bytes).into_uuid())
    }

    /// Goes on under another nonce, with ordinals from 1.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        let millis = self.millis + 1;
        *self = Self { millis, ..Self::from_kernel()? };
        Ok(())
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
    fn ids_increase_over_field_borders_and_when_the_clock_goes_back_and_show_their_ordinal() {
        let mut ids = Ids { nonce: Nonce([0xff; 5]), millis: 0, ordinal: 0 };
        let now: Timestamp = "2026-11-20T22:30:00Z".parse().unwrap();
        let mut last = ids.next(now);
        assert_eq!(last.ordinal(), 1);
        for start in [1u64, (1 << 22) - 5, MAX_ORDINAL - 12] {
            ids.ordinal = start;
            for step in 1..10 {
                let id = ids.next(if step % 2 == 0 { now } else { Timestamp::UNIX_EPOCH });
                assert!(id > last, "{id} after {last}");
                assert_eq!((id.ordinal(), id.nonce()), (start + step, ids.nonce()));
                assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
                assert_eq!(EventId::from_bits(id.as_u128()), Some(id));
                last = id;
            }
        }
        assert!(ids.is_nearly_used_up());
        ids.renew().unwrap();
        assert!(!ids.is_nearly_used_up());
        let id = ids.next(now);
        assert!(id > last && id.ordinal() == 1 && id.nonce() != last.nonce());
    }

    #[test]
    fn a_nonce_has_one_spelling() {
        let nonce = Nonce([0, 1, 0xab, 0xff, 9]);
        assert_eq!(nonce.to_string(), "0001abff09");
        assert_eq!("0001abff09".parse::<Nonce>().unwrap(), nonce);
        for text in ["", "0001ABFF09", "+001abff09", "0001abff0", "0001abff090", "0001abff0g"] {
            assert!(text.parse::<Nonce>().is_err(), "{text}");
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
