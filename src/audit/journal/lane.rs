//! The journal of one process: its *lane*, a row of mapped files.
//!
//! ```text
//! 0    magic, nonce, first ordinal, edge, CRC-32C       512 bytes
//! 512  records, one after the other, then zeros
//! end  two slots of 16 KiB: a gap record in the making, written in turns
//! ```
//!
//! The file is as long as it will ever be from the start, and its space is reserved, so that a record is a copy into
//! memory. So is its header: the next file has its name, `<nonce>-<number>.wal`, before there is anything in it, and is
//! *begun* when it has a header. The first ordinal of a file is the end of the one before it; a record there whose ordinal is not
//! below does not count. Of two that begin alike the one with the greater number comes second, so that nothing in the
//! other one counts.

use std::{io, sync::Arc};

use crate::audit::{
    files::{Disk, DiskFile, Identity, set_aside},
    handover::OwnFile,
    mapping::Mapped,
};

use super::{codec::FRAME, header::HEADER};

/// A gap record of the most counts it may hold fits.
pub(in crate::audit) const SLOT: usize = 16 * 1024;
/// The size of a file of a lane; unit tests open thousands.
pub(in crate::audit) const LANE_BYTES: usize = if cfg!(test) { 256 * 1024 } else { 16 * 1024 * 1024 };

/// A file of a lane, shared by whoever writes, syncs and seals it.
#[derive(Clone)]
pub(in crate::audit) struct LaneFile {
    pub(in crate::audit) disk: Arc<dyn Disk>,
    pub(in crate::audit) file: Arc<dyn DiskFile>,
    pub(in crate::audit) path: Arc<str>,
    pub(in crate::audit) length: u64,
    pub(in crate::audit) identity: Identity,
}

impl LaneFile {
    /// Whether the file is still under its name, and as long as it was.
    pub(in crate::audit) fn is_in_place(&self) -> io::Result<bool> {
        let state = self.file.state()?;
        let there = self.disk.identity(&self.path)?;
        Ok(state.links > 0 && state.length == self.length && there == Some(self.identity))
    }

    /// Makes a draft a file of its lane. What somebody has put there under that name is set aside.
    pub(in crate::audit) fn take_name(&mut self, path: &str) -> io::Result<()> {
        if self.disk.identity(path)?.is_some() {
            set_aside(self.disk.as_ref(), path, "aside")?;
        }
        self.disk.rename(&self.path, path)?;
        self.path = path.into();
        Ok(())
    }

    /// Removes the file, if its name is still its own.
    pub(in crate::audit) fn remove(&self) -> io::Result<()> {
        if self.disk.identity(&self.path)? == Some(self.identity) {
            self.disk.remove(&self.path)?;
        }
        Ok(())
    }
}

/// Errors that say *no space*, after which the same disk can be trusted.
pub(in crate::audit) fn is_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// The file of a lane that is being written.
pub(in crate::audit) struct Lane {
    file: LaneFile,
    memory: Box<dyn Mapped>,
    offset: usize,
    limit: usize,
    turn: usize,
}

impl Lane {
    /// Where the first record goes.
    pub(in crate::audit) const START: u64 = HEADER as u64;

    /// A file of this length that has just been begun.
    pub(super) fn new(file: LaneFile, memory: Box<dyn Mapped>, length: usize) -> Self {
        Self { file, memory, offset: HEADER, limit: length - 2 * SLOT, turn: 0 }
    }

    pub(in crate::audit) fn file(&self) -> &LaneFile {
        &self.file
    }

    /// The file, with what is recorded there so far.
    pub(in crate::audit) fn own_file(&self) -> OwnFile {
        OwnFile { file: self.file.clone(), end: self.end() }
    }

    /// The size of a file that has room for so many bytes of records.
    pub(in crate::audit) fn bytes_for(records: usize) -> usize {
        records.saturating_add(HEADER + 2 * SLOT)
    }

    /// Where the next record goes.
    pub(in crate::audit) fn end(&self) -> u64 {
        self.offset as u64
    }

    /// Whether a record of this length goes in.
    pub(in crate::audit) fn has_room(&self, length: usize) -> bool {
        length <= self.limit - self.offset
    }

    /// Appends a record, for which there must be room.
    pub(in crate::audit) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        if !self.has_room(record.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Err(error) = self.memory.write(self.offset, record) {
            // It may have landed all the same: an event that counts as missed may not be there as well.
            self.memory.write(self.offset, &[0; FRAME]).ok();
            return Err(error);
        }
        self.offset += record.len();
        Ok(())
    }

    /// Keeps a gap record that is not part of the lane yet: should this process end now, it is the lane's last.
    /// The slots take turns, so that one that is half written spoils nothing.
    pub(in crate::audit) fn keep_gap(&mut self, record: &[u8]) -> io::Result<()> {
        if record.len() > SLOT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.turn ^= 1;
        self.memory.write(self.limit + self.turn * SLOT, record)
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("path", &self.file.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
