//! What a closed segment holds, in a small file beside it, so that a search opens only segments that may answer it.

mod builder;

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bloom::{self, Filter};

pub use builder::IndexBuilder;

/// The version that is written.
const VERSION: u32 = 2;
/// The first version that is read.
const OLDEST: u32 = 1;
/// From this version on the filter has every host that a record names; before, it had the `host` field alone.
const EVERY_HOST: u32 = 2;

/// A Merkle hash, as [`crate::audit::merkle`] has it.
type Hash = [u8; 32];

/// The index of one segment: a JSON object on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentIndex {
    version: u32,
    /// The epoch whose tree its lines are in.
    pub epoch: u64,
    /// The `seq` of its first line.
    pub first_seq: u64,
    /// Its lines.
    pub records: u64,
    /// Bytes of its text, uncompressed.
    pub bytes: u64,
    /// The earliest time of a record.
    pub first_time: Option<Timestamp>,
    /// The latest time of a record.
    pub last_time: Option<Timestamp>,
    /// The largest revision of a record; 0 when none has one.
    pub last_revision: u64,
    /// How many records there are of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// The perfect subtrees that cover its leaves, left to right.
    #[serde(with = "hashes")]
    pub range: Vec<Hash>,
    /// What it may hold.
    pub filter: Filter,
}

/// The bytes are no index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// No JSON of this shape.
    #[error("not the index of a segment: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Written by another version of the edge.
    #[error("version {0} of the index is unknown, {OLDEST} to {VERSION} are known")]
    Version(u32),
}

/// Something to look for: its text must be as it stands in a record, unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term<'a> {
    /// A case's id.
    Case(&'a str),
    /// A canonical hostname: that of the request, or another one of its names.
    Host(&'a str),
    /// A client as the record shows it: address, network or pseudonym.
    Client(&'a str),
}

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Case(text) => write!(f, "case:{text}"),
            Self::Host(text) => write!(f, "host:{text}"),
            Self::Client(text) => write!(f, "client:{text}"),
        }
    }
}

impl SegmentIndex {
    /// Reads the bytes of an `.idx` file.
    ///
    /// # Errors
    /// When they are no index, or one of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        // A newer version may have other fields: say the version first.
        match serde_json::from_slice(bytes)? {
            Versioned { version: OLDEST..=VERSION } => Ok(serde_json::from_slice(bytes)?),
            Versioned { version } => Err(IndexError::Version(version)),
        }
    }

    /// The `seq` of the first line and the number of lines, from the start of an `.idx` file.
    pub(super) fn extent(start: &[u8]) -> Option<(u64, u64)> {
        let text = std::str::from_utf8(start).ok()?;
        let mut fields = text.strip_prefix('{')?.split(',');
        let mut number = |name: &str| fields.next()?.strip_prefix(name)?.parse::<u64>().ok();
        let version = number("\"version\":")?;
        number("\"epoch\":")?;
        let extent = (number("\"first_seq\":")?, number("\"records\":")?);
        (u64::from(OLDEST)..=u64::from(VERSION)).contains(&version).then_some(extent)
    }

    /// The bytes of an `.idx` file: one line.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists always serialize.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The `seq` that the next segment starts with.
    #[must_use]
    pub fn end_seq(&self) -> u64 {
        self.first_seq.saturating_add(self.records)
    }

    /// Whether a record with this term may be in the segment; false is certain.
    #[must_use]
    pub fn may_hold(&self, term: Term<'_>) -> bool {
        if matches!(term, Term::Host(_)) && self.version < EVERY_HOST {
            return true;
        }
        self.filter.may_contain(bloom::hash(&term.to_string()))
    }

    /// Whether a record from `since` (included) to `until` (left out) may be in the segment; false is certain.
    #[must_use]
    pub fn may_hold_time(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> bool {
        match (self.first_time, self.last_time) {
            (Some(first), Some(last)) => {
                since.is_none_or(|since| since <= last) && until.is_none_or(|until| first < until)
            }
            _ => false,
        }
    }
}

/// Hashes as base64.
mod hashes {
    use serde::{Deserializer, Serializer, de::Error};

    use super::{Deserialize, Engine, Hash, STANDARD};

    pub(super) fn serialize<S: Serializer>(hashes: &[Hash], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(hashes.iter().map(|hash| STANDARD.encode(hash)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hash>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let hash = |text: String| {
            let bytes = STANDARD.decode(&text).map_err(D::Error::custom)?;
            bytes.try_into().map_err(|_| D::Error::custom("a hash has 32 bytes"))
        };
        texts.into_iter().map(hash).collect()
    }
}

#[cfg(test)]
mod tests;
