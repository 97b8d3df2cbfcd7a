//! Reading a file of a lane, while it is written or after its process is gone.

use std::{io, ops::Range};

use crate::{
    audit::files::{DiskFile, read_full_at},
    background::Breath,
};

use super::{
    codec::{self, Entry, FRAME, MAX_RECORD},
    header::{HEADER, Header},
    lane::{LANE_BYTES, SLOT},
    prepared::LEAST,
};

/// Read at a time; a record fits several times. Unit tests have small files.
const CHUNK: usize = if cfg!(test) { 96 * 1024 } else { 512 * 1024 };
const _: () = assert!(MAX_RECORD < CHUNK);

/// Whether a file that does not begin as a lane does was made ahead of time and not begun: nothing but zeros follows where
/// the header goes, which its process may have been killed in. One that was cut is not as long as any is made, and none is
/// made longer than a lane.
pub(in crate::audit) fn is_unused(file: &dyn DiskFile) -> io::Result<bool> {
    let length = file.state()?.length;
    if length < LEAST as u64 || length > LANE_BYTES as u64 {
        return Ok(false);
    }
    let (mut buffer, mut at) = (vec![0; CHUNK], HEADER as u64);
    while at < length {
        let read = read_full_at(file, &mut buffer, at)?;
        if read == 0 || buffer.iter().take(read).any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
}

/// A place in a file of a lane that moves on with what is written.
pub(in crate::audit) struct LaneReader {
    header: Header,
    /// Bytes of the file that may hold records.
    limit: u64,
    /// Records before this are done with.
    position: u64,
    /// Holds the file from `base` on, as far as `filled` says: it is made once, not for each read.
    buffer: Vec<u8>,
    filled: usize,
    base: u64,
    /// Where in `buffer` the record at `position` is, when it was found whole.
    found: Option<Range<usize>>,
}

impl LaneReader {
    /// `None` when the file does not begin as a lane does: it is not begun yet, or damaged.
    pub(in crate::audit) fn open(file: &dyn DiskFile) -> io::Result<Option<Self>> {
        let mut head = [0; HEADER];
        let read = read_full_at(file, &mut head, 0)?;
        let Some(header) = Header::parse(&head).filter(|_| read == HEADER) else { return Ok(None) };
        let limit = file.state()?.length.saturating_sub(2 * SLOT as u64).max(HEADER as u64);
        let position = HEADER as u64;
        Ok(Some(Self { header, limit, position, buffer: Vec::new(), filled: 0, base: position, found: None }))
    }

    pub(in crate::audit) fn header(&self) -> &Header {
        &self.header
    }

    pub(in crate::audit) fn position(&self) -> u64 {
        self.position
    }

    /// Goes back to an earlier position.
    pub(in crate::audit) fn rewind(&mut self, position: u64) {
        self.position = position;
        self.forget();
    }

    /// Forgets what was read ahead: the file may hold more by now.
    pub(in crate::audit) fn forget(&mut self) {
        self.filled = 0;
        self.base = self.position;
        self.found = None;
    }

    /// Looks for the record at the position. False at the end of what is there, whole, so far. An end is found with a
    /// read of a few bytes: whoever follows a lane that is written comes to its end again and again.
    pub(in crate::audit) fn look(&mut self, file: &dyn DiskFile) -> io::Result<bool> {
        if self.found.is_some() {
            return Ok(true);
        }
        if self.find() {
            return Ok(true);
        }
        // The rest of the buffer holds no whole record: it may be its end that is missing.
        self.forget();
        let most = usize::try_from(self.limit.saturating_sub(self.position)).unwrap_or(CHUNK).min(CHUNK);
        let mut frame = [0; FRAME];
        let read = read_full_at(file, &mut frame, self.base)?;
        if read.min(most) < FRAME || codec::announced(&frame).is_none() {
            return Ok(false);
        }
        if self.buffer.len() < most {
            self.buffer.resize(most, 0);
        }
        self.filled = read_full_at(file, self.buffer.get_mut(..most).unwrap_or_default(), self.base)?;
        Ok(self.find())
    }

    fn find(&mut self) -> bool {
        let Ok(start) = usize::try_from(self.position - self.base) else { return false };
        let rest = self.buffer.get(start..self.filled).unwrap_or_default();
        let Some(length) = codec::announced(rest) else { return false };
        if codec::decode(rest).is_none() {
            return false;
        }
        self.found = Some(start..start + FRAME + length);
        true
    }

    /// The record that [`Self::look`] found.
    pub(in crate::audit) fn entry(&self) -> Option<Entry<'_>> {
        codec::parse(self.buffer.get(self.found.clone()?)?)
    }

    /// Its bytes.
    pub(in crate::audit) fn record(&self) -> Option<&[u8]> {
        self.buffer.get(self.found.clone()?)
    }

    /// Goes on behind the record that was found.
    pub(in crate::audit) fn advance(&mut self) {
        if let Some(found) = self.found.take() {
            self.position += found.len() as u64;
        }
    }

    /// Bytes after the last whole record that are not zero: a record that was cut off, or damage. Up to the last
    /// such byte, as far as any file of a lane goes.
    pub(in crate::audit) fn remainder(&self, file: &dyn DiskFile) -> io::Result<Vec<u8>> {
        let limit = self.limit.min(LANE_BYTES as u64);
        let mut piece = vec![0; CHUNK];
        let (mut at, mut end) = (self.position, self.position);
        let mut breath = Breath::every(2);
        while at < limit {
            let most = usize::try_from(limit - at).unwrap_or(CHUNK).min(CHUNK);
            let read = read_full_at(file, piece.get_mut(..most).unwrap_or_default(), at)?;
            if read == 0 {
                break;
            }
            // Behind zeros there may be what was written before somebody wiped what is in front of it.
            let written = piece.get(..read).unwrap_or_default().iter().rposition(|byte| *byte != 0);
            end = written.map_or(end, |last| at + last as u64 + 1);
            at += read as u64;
            breath.tick();
        }
        if end == self.position {
            return Ok(Vec::new());
        }
        let mut rest = vec![0; usize::try_from(end - self.position).unwrap_or_default()];
        let read = read_full_at(file, &mut rest, self.position)?;
        rest.truncate(read);
        Ok(rest)
    }

    /// The gap record that the process had not come to write, if it is newer than `last`.
    pub(in crate::audit) fn kept_gap(&self, file: &dyn DiskFile, last: u64) -> io::Result<Option<Vec<u8>>> {
        let mut newest: Option<((u64, jiff::Timestamp), Vec<u8>)> = None;
        for turn in 0..2 {
            let mut slot = vec![0; SLOT];
            read_full_at(file, &mut slot, self.limit + turn * SLOT as u64)?;
            let Some((id, time)) = codec::decode(&slot).map(|entry| (entry.id, entry.time)) else { continue };
            // A gap that grows keeps its id: the later of two snapshots counts more.
            let rank = (id.ordinal(), time);
            let is_ours = rank.0 > last && id.nonce() == self.header.nonce;
            if is_ours && newest.as_ref().is_none_or(|(best, _)| *best < rank) {
                newest = Some((rank, slot));
            }
        }
        Ok(newest.map(|(_, slot)| slot))
    }
}
