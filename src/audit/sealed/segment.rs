//! The segment that is being written.

use std::io;

use jiff::Timestamp;

use super::{
    names::{Form, segment},
    sum::Summing,
};
use crate::audit::{
    files::{Disk, DiskFile, Identity, free_name, read_full_at, set_aside, write_all_at},
    merkle::Range,
};

/// Bytes that are read back and copied at a time.
const CHUNK: usize = 64 * 1024;

pub(super) struct Segment {
    file: Box<dyn DiskFile>,
    identity: Identity,
    /// The `seq` of its first line, also its name.
    first: u64,
    /// Bytes of lines under a checkpoint.
    sealed: u64,
    /// Bytes of whole lines; the next one is written here.
    written: u64,
    /// The time of its first lines.
    started: Option<Timestamp>,
    /// The leaves that its sealed lines are.
    pub(super) range: Range,
    /// The sum of its sealed lines; none when an earlier process sealed some of them.
    summing: Option<Summing>,
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

/// A segment of an earlier process.
pub(super) struct Resumed {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) first: u64,
    pub(super) sealed: u64,
    pub(super) written: u64,
    pub(super) started: Option<Timestamp>,
    pub(super) range: Range,
}

impl Segment {
    /// Makes the segment that starts with `first`, which is leaf `leaf`. What has its name holds nothing that was
    /// sealed, and is moved out of the way.
    ///
    /// Calls: `open(O_CREAT|O_EXCL)`; the caller syncs the folder.
    pub(super) fn create(disk: &dyn Disk, first: u64, leaf: u64) -> io::Result<Self> {
        let path = segment(first, Form::Plain);
        let file = match disk.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                clear(disk, &path)?;
                disk.create(&path)?
            }
            other => other?,
        };
        let identity = file.state()?.identity;
        Ok(Self {
            file,
            identity,
            first,
            sealed: 0,
            written: 0,
            started: None,
            range: Range::new(leaf),
            summing: Summing::start(),
        })
    }

    /// Goes on with a segment of an earlier process.
    pub(super) fn resume(resumed: Resumed) -> io::Result<Self> {
        let Resumed { file, first, sealed, written, started, range } = resumed;
        let identity = file.state()?.identity;
        Ok(Self {
            file,
            identity,
            first,
            sealed,
            written,
            started,
            range,
            summing: Summing::start().filter(|_| sealed == 0),
        })
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn sealed(&self) -> u64 {
        self.sealed
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// Adds whole lines at the end.
    pub(super) fn append(&mut self, lines: &[u8], latest: Timestamp) -> io::Result<()> {
        write_all_at(self.file.as_ref(), lines, self.written)?;
        self.written += lines.len() as u64;
        self.started.get_or_insert(latest);
        Ok(())
    }

    /// Takes back everything after `length` bytes, a failed write's remains too.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.truncate(length)?;
        if self.file.state()?.length != length {
            return Err(io::Error::other("the file was not cut"));
        }
        self.written = length;
        if length == 0 {
            self.started = None;
        }
        Ok(())
    }

    /// Makes what was appended last.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Hands the unsealed bytes to `take` as the file has them now, and makes sure that they are `expected`.
    pub(super) fn read_back(&self, expected: &[u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0u8; CHUNK];
        let mut offset = self.sealed;
        for chunk in expected.chunks(CHUNK) {
            let buffer = buffer.get_mut(..chunk.len()).unwrap_or_default();
            let read = read_full_at(self.file.as_ref(), buffer, offset)?;
            if buffer.get(..read) != Some(chunk) {
                let what = format!(
                    "segment {}: bytes {offset} to {} are not what was written there",
                    self.first,
                    offset + chunk.len() as u64
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            take(buffer);
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// Everything that was appended is under a checkpoint now: its lines are these leaves, and have this sum.
    pub(super) fn seal(&mut self, range: Range, summing: Option<Summing>) {
        self.sealed = self.written;
        (self.range, self.summing) = (range, summing);
    }

    /// The sum of its sealed lines, if all of them were sealed here.
    pub(super) fn summing(&self) -> Option<&Summing> {
        self.summing.as_ref()
    }

    /// Whether the file at our path is still the one we write, as long as we left it.
    pub(super) fn condition(&self, disk: &dyn Disk) -> io::Result<Condition> {
        let state = self.file.state()?;
        let there = disk.identity(&segment(self.first, Form::Plain))?;
        Ok(if state.links == 0 || there != Some(state.identity) {
            Condition::Gone
        } else if state.length != self.written {
            Condition::Changed
        } else {
            Condition::Sound
        })
    }

    /// Puts the sealed lines of a deleted or replaced segment back under its name; the open file still has them.
    ///
    /// Calls: `open(O_EXCL)` of `<name>.new`, `pread`, `pwrite`, `fdatasync`, `rename` of an impostor into `torn/`,
    /// `rename` to the name, `fsync segments/`. When all stops between the renames, recovery does the second one. From
    /// then on the copy is the file that is ours.
    pub(super) fn rescue(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let path = segment(self.first, Form::Plain);
        let draft = format!("{path}.new");
        super::place::remove(disk, &draft)?;
        let copy = disk.create(&draft)?;
        let copied = copy_range(self.file.as_ref(), copy.as_ref(), 0, self.sealed).and_then(|()| copy.sync());
        if let Err(error) = copied {
            // Half a copy must not be taken for the segment.
            disk.remove(&draft).ok();
            return Err(error);
        }
        if disk.identity(&path)?.is_some() {
            set_aside(disk, &path, "aside")?;
        }
        disk.rename(&draft, &path)?;
        disk.sync_folder(crate::audit::files::SEGMENTS)?;
        self.identity = copy.state()?.identity;
        (self.file, self.written) = (copy, self.sealed);
        Ok(())
    }

    /// Removes the file of a segment without a sealed line, if it is still ours.
    pub(super) fn discard(&self, disk: &dyn Disk) -> io::Result<()> {
        let path = segment(self.first, Form::Plain);
        match disk.identity(&path)? {
            Some(there) if there == self.identity => disk.remove(&path),
            _ => Ok(()),
        }
    }
}

/// Makes a segment's name free: an empty file is removed, any other is set aside.
fn clear(disk: &dyn Disk, path: &str) -> io::Result<()> {
    if disk.open(path).and_then(|file| file.state()).is_ok_and(|state| state.length == 0) {
        return disk.remove(path);
    }
    set_aside(disk, path, "aside").map(drop)
}

/// Copies `from..to` of one file to the start of another.
fn copy_range(source: &dyn DiskFile, target: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut buffer = vec![0u8; CHUNK];
    let mut at = from;
    while at < to {
        let most = usize::try_from(to - at).unwrap_or(usize::MAX).min(CHUNK);
        let read = read_full_at(source, buffer.get_mut(..most).unwrap_or_default(), at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write_all_at(target, buffer.get(..read).unwrap_or_default(), at - from)?;
        at += read as u64;
    }
    Ok(())
}

/// Copies the end of a file from byte `from` on into `torn/`, and cuts it off.
///
/// Calls: `open(O_EXCL)` in `torn/`, `pwrite`, `fdatasync`, `fsync torn/`, then `ftruncate` and `fdatasync`.
pub(super) fn set_tail_aside(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    first: u64,
    from: u64,
    to: u64,
) -> io::Result<()> {
    let aside = free_name(disk, &format!("{first:020}-{from}"), "torn")?;
    let target = disk.create(&aside)?;
    let copied = copy_range(file, target.as_ref(), from, to)
        .and_then(|()| target.sync())
        .and_then(|()| disk.sync_folder(crate::audit::files::TORN));
    if let Err(error) = copied {
        disk.remove(&aside).ok();
        return Err(error);
    }
    file.truncate(from)?;
    file.sync()
}

/// Errors that say *no space*, after which the same file can be trusted.
pub(super) fn is_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
