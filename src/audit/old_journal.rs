//! The sequence of segments that is being written, in the order of system calls that makes it last.
//!
//! ```text
//! record    pwrite                                   the receipt follows; a killed process loses nothing
//! rotation  open(O_EXCL), fallocate  new segment     then ftruncate of the old one to its length (gives space back)
//! retry     fdatasync old segments, fsync segments/, fsync directory      off the request path, at rotations
//! close     pwrite gap, ftruncate, fdatasync, fsync segments/, fsync directory
//! ```

use std::{io, sync::Arc};

use super::{
    disk::{Disk, Place, SegmentFile},
    recover::Resume,
    segment::{Condition, Refused, Segment, set_aside},
};

/// Full segments that may wait for their sync before rotation does it itself.
const MAX_RETIRED: usize = 16;
/// Room that must be there before writing counts as working again.
const RESTART_ROOM: u64 = 16 * 1024;

pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    /// None after an error that the file cannot be trusted after; the next line opens a new one.
    segment: Option<Segment>,
    next_seq: u64,
    segment_bytes: u64,
    retired: Vec<Box<dyn SegmentFile>>,
    /// Whether a segment was made whose name is not synced yet.
    new_names: bool,
    /// Whether a segment that could not be opened may have left its name behind. Since a name ends the segment before
    /// it, nothing more may go in there until the name is gone.
    left_over: bool,
    /// Segments that were deleted or changed by somebody else while they were written.
    disturbed: u64,
}

/// Files and names that wait for their sync.
pub(super) struct Unsynced {
    files: Vec<Box<dyn SegmentFile>>,
    disk: Option<Arc<dyn Disk>>,
}

impl Unsynced {
    /// Syncs all of it; a file that failed is not tried again, since a second success would prove nothing.
    pub(super) fn sync(self) -> io::Result<()> {
        let mut result = Ok(());
        for file in self.files {
            result = result.and(file.sync());
        }
        match self.disk {
            Some(disk) => result.and(disk.sync()),
            None => result,
        }
    }
}

impl Journal {
    /// Goes on where recovery ended.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        next_seq: u64,
        resume: Option<Resume>,
        segment_bytes: u64,
    ) -> Self {
        // A segment that cannot be opened again stays as it is; a new one follows it.
        let segment = resume
            .and_then(|last| Segment::resume(disk.as_ref(), last.first, last.length, segment_bytes).ok());
        Self {
            disk,
            segment,
            next_seq,
            segment_bytes,
            retired: Vec::new(),
            new_names: true,
            left_over: false,
            disturbed: 0,
        }
    }

    /// The `seq` of the next line.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(super) fn disturbed(&self) -> u64 {
        self.disturbed
    }

    /// Appends a line that holds [`Self::next_seq`].
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.make_room(line.len() as u64)?;
        self.append_here(line)
    }

    /// Appends a line to the segment there is, into its reserve if need be.
    pub(super) fn append_here(&mut self, line: &[u8]) -> io::Result<()> {
        if self.left_over {
            if self.disk.identity(&Place::Segment(self.next_seq))?.is_some() {
                set_aside(self.disk.as_ref(), self.next_seq)?;
            }
            self.left_over = false;
        }
        let Some(segment) = &mut self.segment else {
            return Err(io::Error::other("no segment could be opened"));
        };
        match segment.append(line) {
            Ok(()) => {
                self.next_seq += 1;
                Ok(())
            }
            Err(Refused { error, intact }) => {
                if !intact {
                    self.abandon();
                }
                Err(error)
            }
        }
    }

    /// Makes sure that writing works again before a gap ends.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.verify()?;
        // An old segment that was deleted to make space gives it back only when nobody holds it open.
        let synced = self.unsynced().sync();
        self.make_room(RESTART_ROOM).and(synced)
    }

    /// Opens a new segment when the one there is has less room than this.
    pub(super) fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        if self.segment.as_ref().is_some_and(|segment| segment.room() >= bytes) {
            return Ok(());
        }
        // A segment without a record is in the way of the new one, whose name is the same.
        self.segment.take_if(|segment| segment.first() == self.next_seq);
        self.left_over = true;
        let fresh = Segment::create(self.disk.as_ref(), self.next_seq, self.segment_bytes, bytes)?;
        self.left_over = false;
        self.new_names = true;
        if let Some(full) = self.segment.replace(fresh) {
            // What is not given back now is given back when the next process reads the segment.
            full.trim().ok();
            self.retired.push(full.into_file());
        }
        if self.retired.len() > MAX_RETIRED { self.unsynced().sync() } else { Ok(()) }
    }

    /// Notices that the directory, the lock or the segment was taken away, and puts back what can be put back.
    pub(super) fn verify(&mut self) -> io::Result<()> {
        self.disk.claim()?;
        let Some(segment) = &self.segment else { return Ok(()) };
        match segment.condition(self.disk.as_ref())? {
            Condition::Sound => return Ok(()),
            Condition::Changed => self.abandon(),
            Condition::Gone => {
                // A segment without a record has nothing to put back.
                if segment.first() != self.next_seq {
                    let copy = segment.rescue(self.disk.as_ref())?;
                    self.retired.push(copy);
                }
                self.segment = None;
                self.new_names = true;
            }
        }
        self.disturbed += 1;
        Ok(())
    }

    /// Takes over what has to be synced, so that it can be done outside the lock.
    pub(super) fn unsynced(&mut self) -> Unsynced {
        let names = std::mem::take(&mut self.new_names);
        Unsynced { files: std::mem::take(&mut self.retired), disk: names.then(|| Arc::clone(&self.disk)) }
    }

    /// Ends the segment and syncs everything.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        if let Some(segment) = self.segment.take() {
            result = segment.trim();
            self.retired.push(segment.into_file());
        }
        self.new_names = true;
        result.and(self.unsynced().sync())
    }

    /// Never writes to the segment again. Readers take the next segment's name as its end.
    fn abandon(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.retired.push(segment.into_file());
        }
    }
}
