//! The journal of one process: its *lane*, a row of mapped files.
//!
//! ```text
//! 0    magic, nonce, first ordinal, edge, CRC-32C       512 bytes
//! 512  records, one after the other, then zeros
//! end  two slots of 16 KiB: a gap record in the making, written in turns
//! ```
//!
//! The file is as long as it will ever be from the start, and its space is reserved, so that a record is a copy into
//! memory. `<nonce>-<first ordinal>.wal`: the first ordinal of a file is the end of the one before it; a record there
//! whose ordinal is not below does not count.

use std::{io, sync::Arc};

use crate::audit::{
    files::{Disk, DiskFile, Identity, JOURNAL, write_all_at},
    id::Nonce,
    mapping::Mapped,
};

use super::codec::MAX_RECORD;

/// Bytes before the first record.
pub(in crate::audit) const HEADER: usize = 512;
const MAGIC: &[u8; 8] = b"IDLANE1\n";
const MAX_EDGE: usize = 256;
const EDGE_AT: usize = 26;
/// Where the checksum of a header is.
const HEADER_CRC: usize = HEADER - 4;
/// A gap record of the most counts it may hold fits.
pub(in crate::audit) const SLOT: usize = 16 * 1024;
/// The size of a file of a lane; unit tests open thousands.
pub(in crate::audit) const LANE_BYTES: usize = if cfg!(test) { 256 * 1024 } else { 16 * 1024 * 1024 };
/// What a file is made with on a disk that is nearly full: the largest record fits.
const LEAST: usize = HEADER + 2 * SLOT + 2 * MAX_RECORD;
/// A file takes at most this part of the space that is free.
const FREE_SHARE: u64 = 8;
/// What the name of a file ends with that has no header yet.
pub(in crate::audit) const DRAFT: &str = ".draft";
/// Zeros are written in pieces of this.
const PIECE: usize = 1024 * 1024;

/// What the start of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) struct Header {
    pub(in crate::audit) nonce: Nonce,
    /// The least ordinal that counts in this file.
    pub(in crate::audit) first: u64,
    /// The edge's name, for the records.
    pub(in crate::audit) edge: String,
}

impl Header {
    fn to_bytes(&self) -> [u8; HEADER] {
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
            edge: String::from_utf8_lossy(edge).into_owned(),
        })
    }

    /// The name of the file, in `journal/`.
    pub(in crate::audit) fn path(&self) -> String {
        format!("{JOURNAL}/{}-{:020}.wal", self.nonce, self.first)
    }

    /// What a name says, when it is one of ours.
    pub(in crate::audit) fn parse_name(name: &str) -> Option<(Nonce, u64)> {
        let (nonce, first) = name.strip_suffix(".wal")?.split_once('-')?;
        let digits = first.len() == 20 && first.bytes().all(|digit| digit.is_ascii_digit());
        Some((nonce.parse().ok()?, first.parse().ok().filter(|_| digits)?))
    }
}

/// A file of a lane, shared by whoever writes, syncs and seals it.
#[derive(Clone)]
pub(in crate::audit) struct LaneFile {
    pub(in crate::audit) disk: Arc<dyn Disk>,
    pub(in crate::audit) file: Arc<dyn DiskFile>,
    pub(in crate::audit) path: String,
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

    /// Makes a draft a file of its lane. The file `replaced` gives way to it in one step, so that there is no moment
    /// without either; any other under that name is set aside.
    pub(in crate::audit) fn take_name(
        &mut self,
        header: &Header,
        replaced: Option<Identity>,
    ) -> io::Result<()> {
        let path = header.path();
        let there = self.disk.identity(&path)?;
        if there.is_some() && there != replaced {
            crate::audit::files::set_aside(self.disk.as_ref(), &path, "aside")?;
        }
        self.disk.rename(&self.path, &path)?;
        self.path = path;
        Ok(())
    }
}

/// A file made ahead of time, without a header.
pub(in crate::audit) struct Prepared {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    memory: Box<dyn Mapped>,
    path: String,
    length: usize,
}

impl Prepared {
    /// Makes a file and reserves its space, or half of it as often as it takes. With `settled`, what is in it is
    /// synced as well, so that a later `fdatasync` has nothing to write but records.
    pub(in crate::audit) fn make(
        disk: &Arc<dyn Disk>,
        name: &str,
        bytes: usize,
        settled: bool,
    ) -> io::Result<Self> {
        let path = format!("{JOURNAL}/{name}{DRAFT}");
        if disk.identity(&path)?.is_some() {
            disk.remove(&path)?;
        }
        let file: Arc<dyn DiskFile> = disk.create(&path)?.into();
        if !file.try_lock()? {
            return Err(io::Error::other("another process holds a new journal file"));
        }
        // Sealing needs space as well: on a disk that is nearly full the journal takes no more than a share of it.
        let share =
            disk.free().map_or(usize::MAX, |free| usize::try_from(free / FREE_SHARE).unwrap_or(usize::MAX));
        match shape(&file, bytes.min(share).max(LEAST), settled) {
            Ok((length, memory)) => Ok(Self { disk: Arc::clone(disk), file, memory, path, length }),
            Err(error) => {
                disk.remove(&path)?;
                Err(error)
            }
        }
    }

    /// Gives the space back. A file that stays is written over by the next one.
    pub(in crate::audit) fn discard(self) {
        self.disk.remove(&self.path).ok();
    }

    /// Gives the file its header and name.
    pub(in crate::audit) fn begin(self, header: &Header) -> io::Result<Lane> {
        let mut lane = self.head(header)?;
        lane.file.take_name(header, None)?;
        Ok(lane)
    }

    /// Gives the file its header. Under the name of a draft nobody reads it yet.
    pub(in crate::audit) fn head(self, header: &Header) -> io::Result<Lane> {
        let Self { disk, file, mut memory, path, length } = self;
        memory.write(0, &header.to_bytes())?;
        let identity = file.state()?.identity;
        let file = LaneFile { disk, file, path, length: length as u64, identity };
        Ok(Lane { file, memory, offset: HEADER, limit: length - 2 * SLOT, turn: 0 })
    }
}

fn shape(file: &Arc<dyn DiskFile>, wanted: usize, settled: bool) -> io::Result<(usize, Box<dyn Mapped>)> {
    let mut length = wanted;
    loop {
        match shape_at(file, length, settled) {
            Err(error) if is_space(&error) && length > LEAST => length = (length / 2).max(LEAST),
            shaped => return shaped.map(|memory| (length, memory)),
        }
    }
}

fn shape_at(file: &Arc<dyn DiskFile>, length: usize, settled: bool) -> io::Result<Box<dyn Mapped>> {
    file.truncate(length as u64)?;
    let reserved = match file.preallocate(length as u64) {
        Err(error) if is_space(&error) => return Err(error),
        other => other,
    };
    let memory = match file.map(length) {
        Err(error) if is_space(&error) => return Err(error),
        // A file system that cannot share memory gets its records by `pwrite`. Where space cannot be reserved, zeros
        // reserve it.
        Err(_) => {
            if settled || reserved.is_err() {
                write_zeros(file.as_ref(), length)?;
            }
            Box::new(Written(Arc::clone(file)))
        }
        Ok(memory) => memory,
    };
    // Only now, since to map a file writes it. The first store into each page is a small fault again.
    if settled {
        file.sync()?;
    }
    Ok(memory)
}

fn write_zeros(file: &dyn DiskFile, length: usize) -> io::Result<()> {
    let zeros = vec![0; PIECE.min(length)];
    for at in (0..length).step_by(PIECE) {
        let piece = zeros.get(..PIECE.min(length - at)).unwrap_or_default();
        write_all_at(file, piece, at as u64)?;
    }
    Ok(())
}

/// Errors that say *no space*, after which the same disk can be trusted.
pub(in crate::audit) fn is_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Stands in for a mapping where there can be none.
struct Written(Arc<dyn DiskFile>);

impl Mapped for Written {
    fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        write_all_at(self.0.as_ref(), bytes, offset as u64)
    }
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
    pub(in crate::audit) fn file(&self) -> &LaneFile {
        &self.file
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
            self.memory.write(self.offset, &[0; super::codec::FRAME]).ok();
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

#[cfg(test)]
mod tests {
    use std::{fs::File, sync::Mutex};

    use super::*;
    use crate::audit::files::FileState;

    /// A file that can be mapped, and with it written, up to so many bytes.
    struct Tight {
        file: File,
        most: usize,
        done: Mutex<Vec<&'static str>>,
    }

    impl DiskFile for Tight {
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            self.done.lock().unwrap().push("write");
            DiskFile::write_at(&self.file, bytes, offset)
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            DiskFile::read_at(&self.file, buffer, offset)
        }
        fn truncate(&self, length: u64) -> io::Result<()> {
            self.file.truncate(length)
        }
        fn preallocate(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn sync(&self) -> io::Result<()> {
            self.done.lock().unwrap().push("sync");
            Ok(())
        }
        fn state(&self) -> io::Result<FileState> {
            self.file.state()
        }
        fn map(&self, length: usize) -> io::Result<Box<dyn Mapped>> {
            if length > self.most {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.done.lock().unwrap().push("map");
            self.file.map(length)
        }
        fn try_lock(&self) -> io::Result<bool> {
            DiskFile::try_lock(&self.file)
        }
    }

    #[test]
    fn a_disk_that_fills_while_a_file_is_mapped_makes_it_shorter_and_what_is_mapped_is_synced() {
        let shaped = |most, settled| {
            let tight = Tight { file: tempfile::tempfile().unwrap(), most, done: Mutex::default() };
            let tight = Arc::new(tight);
            let file: Arc<dyn DiskFile> = Arc::clone(&tight) as _;
            let length =
                shape(&file, 4 * LEAST, settled).map(|(length, _)| length).map_err(|error| error.kind());
            let done = tight.done.lock().unwrap().clone();
            (length, done)
        };
        assert_eq!(shaped(4 * LEAST, false), (Ok(4 * LEAST), vec!["map"]));
        assert_eq!(shaped(2 * LEAST, true), (Ok(2 * LEAST), vec!["map", "sync"]));
        assert_eq!(shaped(LEAST - 1, true), (Err(io::ErrorKind::StorageFull), vec![]));
    }
}
