//! The start of a lane's file, and the file's name.

use std::sync::Arc;

use crate::audit::{files::JOURNAL, id::Nonce};

/// Bytes before the first record.
pub(in crate::audit) const HEADER: usize = 512;
const MAGIC: &[u8; 8] = b"IDLANE1\n";
const MAX_EDGE: usize = 256;
const EDGE_AT: usize = 26;
/// Where the checksum of a header is.
const HEADER_CRC: usize = HEADER - 4;
/// What the name of a file ends with that is being made.
pub(in crate::audit) const DRAFT: &str = ".draft";
/// What the name of a file of a lane ends with.
const NAMED: &str = ".wal";

/// What the start of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) struct Header {
    pub(in crate::audit) nonce: Nonce,
    /// The least ordinal that counts in this file.
    pub(in crate::audit) first: u64,
    /// The edge's name, for the records.
    pub(in crate::audit) edge: Arc<str>,
}

impl Header {
    pub(super) fn to_bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..13].copy_from_slice(&self.nonce.0);
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        let mut end = self.edge.len().min(MAX_EDGE);
        while !self.edge.is_char_boundary(end) {
            end -= 1;
        }
        bytes[24..EDGE_AT].copy_from_slice(&(end as u16).to_le_bytes());
        if let (Some(room), Some(edge)) = (bytes.get_mut(EDGE_AT..EDGE_AT + end), self.edge.get(..end)) {
            room.copy_from_slice(edge.as_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..HEADER_CRC]);
        bytes[HEADER_CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` for bytes that are no header.
    pub(in crate::audit) fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let crc = u32::from_le_bytes(*bytes[HEADER_CRC..].first_chunk()?);
        if &bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..HEADER_CRC]) != crc {
            return None;
        }
        let length = usize::from(u16::from_le_bytes(*bytes[24..].first_chunk()?));
        let edge = bytes.get(EDGE_AT..EDGE_AT + length.min(MAX_EDGE))?;
        Some(Self {
            nonce: Nonce(*bytes[8..].first_chunk()?),
            first: u64::from_le_bytes(*bytes[16..].first_chunk()?),
            edge: String::from_utf8_lossy(edge).into(),
        })
    }

    /// The path of a file of a lane. `number` is one that no other file of its process has had.
    pub(in crate::audit) fn path(nonce: Nonce, number: u64) -> String {
        format!("{JOURNAL}/{nonce}-{number:020}{NAMED}")
    }

    /// Whose lane a file is of, and its number there, when the name is one of ours.
    pub(in crate::audit) fn parse_name(name: &str) -> Option<(Nonce, u64)> {
        let (nonce, number) = name.strip_suffix(NAMED)?.split_once('-')?;
        let digits = number.len() == 20 && number.bytes().all(|digit| digit.is_ascii_digit());
        Some((nonce.parse().ok()?, number.parse().ok().filter(|_| digits)?))
    }
}

/// The number in the path of a file of a lane.
pub(in crate::audit) fn number_of(path: &str) -> Option<u64> {
    Header::parse_name(path.rsplit('/').next()?).map(|(_, number)| number)
}
