//! The segment that is being written.

use std::io;

use rustix::io::Errno;

use super::disk::{Disk, Place, SegmentFile};

/// Space at the end of each segment that only a gap record may use, so that what was missed can be written down on
/// stop even when the disk stays full. A gap record of the most counts it may hold fits.
pub(super) const RESERVE: u64 = 16 * 1024;
/// The smallest space a segment starts with on a disk that is nearly full.
const LEAST: u64 = 64 * 1024;

pub(super) struct Segment {
    file: Box<dyn SegmentFile>,
    /// The `seq` of its first record, also its name.
    first: u64,
    /// Bytes of whole, acknowledged lines; the next one is written here.
    length: u64,
    /// Where the reserve ends.
    limit: u64,
}

/// A line that did not go in.
pub(super) struct Refused {
    pub(super) error: io::Error,
    /// The segment is as it was before, and may be written again.
    pub(super) intact: bool,
}

impl Segment {
    /// Makes a new segment and reserves its space: `wanted` bytes, or what the disk gives, halving down to what
    /// `line` more bytes need. A file system that cannot reserve is used without.
    ///
    /// Calls: `openat(O_CREAT|O_EXCL)`, `fallocate(KEEP_SIZE)`. Neither the file nor its name is synced here: a
    /// killed process leaves both in the kernel's hands, and syncing waits for [`super::Audit::retry`].
    pub(super) fn create(disk: &dyn Disk, first: u64, wanted: u64, line: u64) -> io::Result<Self> {
        let place = Place::Segment(first);
        let file = match disk.create(&place) {
            // No acknowledged record can be in there, since its name says that it starts with the next one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                set_aside(disk, first)?;
                disk.create(&place)?
            }
            other => other?,
        };
        let least = LEAST.min(wanted).max(line + RESERVE);
        match reserve(file.as_ref(), wanted.max(least), least) {
            Ok(limit) => Ok(Self { file, first, length: 0, limit }),
            Err(error) => {
                disk.remove(&place)?;
                Err(error)
            }
        }
    }

    /// Goes on with a segment of an earlier process, `length` bytes long.
    pub(super) fn resume(disk: &dyn Disk, first: u64, length: u64, wanted: u64) -> io::Result<Self> {
        let file = disk.open(&Place::Segment(first))?;
        // When there is no space to reserve, the segment counts as full and only its own blocks are used.
        let limit = reserve(file.as_ref(), wanted.max(length), length + LEAST).unwrap_or(length);
        Ok(Self { file, first, length, limit })
    }

    /// A segment over any file, for tests.
    #[cfg(test)]
    pub(super) fn over(file: Box<dyn SegmentFile>) -> Self {
        Self { file, first: 1, length: 0, limit: LEAST }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Bytes that ordinary records may still take.
    pub(super) fn room(&self) -> u64 {
        self.limit.saturating_sub(RESERVE).saturating_sub(self.length)
    }

    /// Appends one line by one `pwrite`. When that fails the file is cut back to its last whole line.
    pub(super) fn append(&mut self, line: &[u8]) -> Result<(), Refused> {
        let written = loop {
            match self.file.write_at(line, self.length) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let error = match written {
            Ok(count) if count == line.len() => {
                self.length += line.len() as u64;
                return Ok(());
            }
            // A short write is how a full disk shows first.
            Ok(_) => io::Error::from(Errno::NOSPC),
            Err(error) => error,
        };
        // A failed write may have landed in part or whole: nothing after the last whole line may stay.
        let cut = self.file.truncate(self.length).and_then(|()| self.file.state());
        let intact = is_space(&error) && cut.is_ok_and(|state| state.length == self.length);
        if intact {
            // Cutting gave back the reserved space as well; without it the segment still works.
            self.file.preallocate(self.limit).ok();
        }
        Err(Refused { error, intact })
    }

    /// Gives back the reserved space that was not used.
    pub(super) fn trim(&self) -> io::Result<()> {
        self.file.truncate(self.length)
    }

    pub(super) fn into_file(self) -> Box<dyn SegmentFile> {
        self.file
    }

    /// Whether the file at our path is still the one we write, as long as we left it.
    pub(super) fn condition(&self, disk: &dyn Disk) -> io::Result<Condition> {
        let state = self.file.state()?;
        let there = disk.identity(&Place::Segment(self.first))?;
        Ok(if state.links == 0 || there != Some(state.identity) {
            Condition::Gone
        } else if state.length != self.length {
            Condition::Changed
        } else {
            Condition::Sound
        })
    }

    /// Puts the records of a deleted or replaced segment back under their name: the open file still has them.
    pub(super) fn rescue(&self, disk: &dyn Disk) -> io::Result<Box<dyn SegmentFile>> {
        let place = Place::Segment(self.first);
        if disk.identity(&place)?.is_some() {
            set_aside(disk, self.first)?;
        }
        let draft = free_place(disk, &format!("{:020}.rescue", self.first))?;
        let copy = disk.create(&draft)?;
        let copied = copy_range(self.file.as_ref(), copy.as_ref(), 0, self.length);
        match copied.and_then(|()| disk.rename(&draft, &place)) {
            Ok(()) => Ok(copy),
            Err(error) => {
                disk.remove(&draft)?;
                Err(error)
            }
        }
    }
}

/// What became of the file under us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Sound,
    /// Its name is gone or leads to another file.
    Gone,
    /// Somebody else cut it or wrote to it.
    Changed,
}

/// Copies `from..to` of one file to the start of another.
pub(super) fn copy_range(
    source: &dyn SegmentFile,
    target: &dyn SegmentFile,
    from: u64,
    to: u64,
) -> io::Result<()> {
    let mut buffer = vec![0u8; 256 * 1024];
    let mut at = from;
    while at < to {
        let most = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = source.read_at(buffer.get_mut(..most).unwrap_or_default(), at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = buffer.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            let written = target.write_at(rest, at - from)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = rest.get(written..).unwrap_or_default();
            at += written as u64;
        }
    }
    Ok(())
}

/// Moves whatever has a segment's name out of the way; nothing is ever deleted or written over.
pub(super) fn set_aside(disk: &dyn Disk, first: u64) -> io::Result<()> {
    let aside = free_place(disk, &format!("{first:020}.aside"))?;
    disk.rename(&Place::Segment(first), &aside)
}

/// A name among what was set aside that is not taken yet.
pub(super) fn free_place(disk: &dyn Disk, stem: &str) -> io::Result<Place> {
    for number in 0..10_000u32 {
        let place = Place::Aside(format!("{stem}.{number}"));
        if disk.identity(&place)?.is_none() {
            return Ok(place);
        }
    }
    Err(io::Error::other("too many files in `torn`"))
}

/// Errors that say *no space*, after which the same file can be trusted.
fn is_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Reserves `wanted` bytes of a file, or half as often as it takes, but at least `least`.
fn reserve(file: &dyn SegmentFile, wanted: u64, least: u64) -> io::Result<u64> {
    let mut size = wanted.max(least);
    loop {
        match file.preallocate(size) {
            Ok(()) => return Ok(size),
            Err(error) if is_space(&error) && size > least => size = (size / 2).max(least),
            Err(error) if is_space(&error) => return Err(error),
            // The file system cannot reserve space (or failed to): writes will show what it can.
            Err(_) => return Ok(wanted.max(least)),
        }
    }
}
