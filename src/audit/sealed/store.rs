//! The store while it runs: lines go into the open segment, commits put them under a checkpoint.

use std::{io, path::PathBuf, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{
    archive::{Archive, Lines},
    epoch::Epoch,
    fault::Fault,
    key,
    pending::{Pending, check},
    segment::{Condition, Segment, is_space},
    sum::Summing,
    text::for_each_line,
    tree,
    witness::Witness,
};
use crate::{
    audit::{
        files::{Disk, SEGMENTS},
        merkle::{Frontier, Growth, Range, Signer, leaf_hash},
    },
    background::Breath,
};

/// How a store is kept.
#[derive(Debug, Clone)]
pub(in crate::audit) struct SealOptions {
    /// The name of the edge, for the origin of a new log.
    pub(in crate::audit) edge: String,
    /// A segment of so many bytes is full.
    pub(in crate::audit) segment_bytes: u64,
    /// A segment whose first line is so old is closed.
    pub(in crate::audit) segment_age: SignedDuration,
    /// A file outside the directory that tells an older copy of it.
    pub(in crate::audit) witness: Option<PathBuf>,
}

/// Lines in segments, over them a Merkle tree, over it a signed checkpoint. See the module for what is done when.
pub(in crate::audit) struct Sealed {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: SealOptions,
    /// Under the base origin.
    pub(super) signer: Signer,
    pub(super) epoch: Epoch,
    /// The tree that the newest checkpoint signs.
    pub(super) tree: Frontier,
    /// The open segment; none until the next line comes, when the last one was full, poisoned or of another epoch.
    pub(super) segment: Option<Segment>,
    /// A segment that may not be written again; its successor is not there yet.
    pub(super) retired: Option<Segment>,
    pub(super) pending: Pending,
    /// The newest checkpoint.
    pub(super) note: String,
    /// The caller's lines in it.
    pub(super) extensions: Vec<String>,
    /// A checkpoint of which nobody knows whether it replaced the newest.
    pub(super) unsettled: Option<Next>,
    /// Whether the name of the newest checkpoint may not be on the disk yet.
    pub(super) unsynced: bool,
    pub(super) closed: Vec<Archive>,
    pub(super) witness_trouble: Option<String>,
    pub(super) disturbed: u64,
}

/// A state of the tree that a checkpoint was made for.
pub(super) struct Next {
    note: String,
    tree: Frontier,
    /// The leaves of the open segment, and the sum of its lines.
    leaves: Option<(Range, Option<Summing>)>,
    extensions: Vec<String>,
}

impl Sealed {
    /// The `seq` of the next line to be appended. After an error ask again: lines from this `seq` on are not in the
    /// store any more and have to be appended anew. Lines before it stay: those that are sealed, those that an earlier
    /// process left, and those under a checkpoint of which nobody knows yet whether it is in place.
    pub(in crate::audit) fn next_seq(&self) -> u64 {
        self.epoch.seq_after(self.tree.size()).saturating_add(self.pending.lines())
    }

    /// The last `seq` under a checkpoint; in an epoch without any, the one before its first.
    pub(in crate::audit) fn committed_seq(&self) -> u64 {
        self.epoch.seq_after(self.tree.size()).saturating_sub(1)
    }

    /// Whether the open segment has its size: commit, so that the next line can start a new one.
    pub(in crate::audit) fn is_full(&self) -> bool {
        self.segment.as_ref().is_some_and(|segment| segment.written() >= self.options.segment_bytes)
    }

    /// Jobs for segments that were closed since the last call.
    pub(in crate::audit) fn full_segments(&mut self) -> Vec<Archive> {
        std::mem::take(&mut self.closed)
    }

    /// What keeps the witness from being written, if anything does.
    pub(in crate::audit) fn witness_trouble(&self) -> Option<&str> {
        self.witness_trouble.as_deref()
    }

    /// How often the open segment was deleted, replaced or changed by somebody else.
    pub(in crate::audit) fn disturbed(&self) -> u64 {
        self.disturbed
    }

    /// Appends `count` whole lines, of which the first has the `seq` [`Sealed::next_seq`]. They last from the next
    /// commit on. A segment that is full or old is closed first, but only when all its lines are sealed.
    ///
    /// # Errors
    /// When the system does not take them, or they are not `count` whole lines. Unsealed lines are dropped then, see
    /// [`Sealed::next_seq`].
    pub(in crate::audit) fn append(&mut self, lines: &[u8], count: u64, latest: Timestamp) -> io::Result<()> {
        check(lines, count)?;
        self.settle()?;
        if count == 0 {
            return Ok(());
        }
        self.try_append(lines, count, latest).map_err(|fault| self.abandon(fault))
    }

    fn try_append(&mut self, lines: &[u8], count: u64, latest: Timestamp) -> Result<(), Fault> {
        let is_done = self.pending.is_empty() && (self.is_full() || self.is_old(latest));
        if is_done {
            // A segment that was deleted is put back before it is let go of.
            self.mend()?;
        }
        if self.segment.is_none() || is_done {
            self.start_segment(latest).map_err(Fault::Sound)?;
        }
        let Some(segment) = &mut self.segment else { return Ok(()) };
        segment
            .append(lines, latest)
            .map_err(|error| if is_space(&error) { Fault::Sound(error) } else { Fault::Doubtful(error) })?;
        self.pending.add(lines, count);
        Ok(())
    }

    /// Puts all lines under a checkpoint that also has the lines `extensions`, and returns the size of the tree.
    /// Without new lines and with the same extensions it only looks whether the open segment is still there.
    ///
    /// # Errors
    /// When a step fails. Up to [`Sealed::committed_seq`] is sealed then, from [`Sealed::next_seq`] on is dropped.
    pub(in crate::audit) fn commit(&mut self, now: Timestamp, extensions: &[String]) -> io::Result<u64> {
        if extensions.iter().any(|line| line.is_empty() || line.contains('\n')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an extension is one line"));
        }
        self.settle()?;
        self.try_commit(now, extensions).map_err(|fault| self.abandon(fault))?;
        Ok(self.tree.size())
    }

    fn try_commit(&mut self, now: Timestamp, extensions: &[String]) -> Result<(), Fault> {
        self.mend()?;
        if !self.pending.is_empty() || self.unsynced || extensions != self.extensions {
            self.seal(now, extensions)?;
        }
        if self.is_old(now) {
            // Of no hurry: the next line or commit tries again, and tells when it cannot.
            self.start_segment(now).ok();
        }
        Ok(())
    }

    /// Commits, keeps the checkpoint and writes the partial tiles, so that others find a whole tree.
    ///
    /// # Errors
    /// When a step fails; what was sealed stays so.
    pub(in crate::audit) fn close(&mut self, now: Timestamp, extensions: &[String]) -> io::Result<()> {
        let size = self.commit(now, extensions)?;
        if size > 0 {
            tree::keep(self.disk.as_ref(), self.epoch.number, size, &self.note)?;
        }
        tree::write_partials(self.disk.as_ref(), self.epoch.number, &self.tree)
    }

    /// Whether the open segment has sealed lines of which the first is too old.
    fn is_old(&self, now: Timestamp) -> bool {
        self.pending.is_empty()
            && self.segment.as_ref().is_some_and(|segment| {
                let age =
                    segment.started().map_or(SignedDuration::ZERO, |started| now.duration_since(started));
                segment.sealed() > 0 && age >= self.options.segment_age
            })
    }

    /// Closes the open segment, of which all lines are sealed, and starts the next one.
    fn start_segment(&mut self, now: Timestamp) -> io::Result<()> {
        // As long as a segment has no successor its open file is at hand.
        self.rescue_retired()?;
        let (disk, epoch, size) = (Arc::clone(&self.disk), self.epoch.number, self.tree.size());
        tree::write_partials(disk.as_ref(), epoch, &self.tree)?;
        if size > 0 {
            tree::keep(disk.as_ref(), epoch, size, &self.note)?;
        }
        let mut segment = Segment::create(disk.as_ref(), self.epoch.seq_after(size), size)?;
        let started = disk.sync_folder(SEGMENTS).and_then(|()| match self.pending.kept() {
            [] => Ok(()),
            kept => segment.append(kept, now),
        });
        if let Err(error) = started {
            segment.discard(disk.as_ref()).ok();
            return Err(error);
        }
        if let Some(old) = self.segment.replace(segment).or_else(|| self.retired.take()) {
            self.retire(&old);
        }
        Ok(())
    }

    /// Makes the job for a segment that has a successor, and removes the partial tiles that only it needed.
    fn retire(&mut self, old: &Segment) {
        self.closed.push(Archive {
            first: old.first(),
            end: self.epoch.seq_after(old.range.end()),
            epoch: self.epoch.number,
            leaf: old.range.start(),
            lines: Lines::Sealed(old.range.hashes().to_vec(), old.summing().map(Summing::sum)),
        });
        let start = old.range.start();
        let sizes = tree::kept_sizes(self.disk.as_ref(), self.epoch.number).unwrap_or_default();
        let sizes: Vec<u64> = sizes.into_iter().filter(|size| *size > start).chain([start]).collect();
        // A tile too many does no harm.
        tree::remove_partials(self.disk.as_ref(), self.epoch.number, &sizes, self.tree.size()).ok();
    }

    /// Takes the pending lines into the tree and replaces the checkpoint.
    fn seal(&mut self, now: Timestamp, extensions: &[String]) -> Result<(), Fault> {
        if !self.pending.is_empty() && self.segment.is_none() {
            // Lines of an earlier process whose segment was given up.
            self.start_segment(now).map_err(Fault::Sound)?;
        }
        let (mut tree, mut full, mut leaves) = (self.tree.clone(), Vec::new(), None);
        if let Some(segment) = self.segment.as_ref().filter(|_| !self.pending.is_empty()) {
            segment.sync().map_err(Fault::Doubtful)?;
            let mut growth = Growth::new(tree, segment.range.clone());
            let (mut half, mut breath) = (Vec::new(), Breath::every(1));
            let mut summing = segment.summing().cloned();
            let hash = |bytes: &[u8]| {
                for_each_line(&mut half, bytes, |line| growth.push(leaf_hash(line)));
                summing.iter_mut().for_each(|summing| summing.add(bytes));
                breath.tick();
            };
            segment.read_back(self.pending.bytes(), hash).map_err(Fault::Doubtful)?;
            let (grown, range, tiles) = growth.finish();
            (tree, full, leaves) = (grown, tiles, Some((range, summing)));
        }
        tree::write_tiles(self.disk.as_ref(), self.epoch.number, &full).map_err(Fault::Sound)?;
        let note = tree::sign(&self.epoch, &self.signer, &tree, now, extensions);
        self.publish(Next { note, tree, leaves, extensions: extensions.to_vec() })?;
        self.tell_witness();
        Ok(())
    }

    fn publish(&mut self, next: Next) -> Result<(), Fault> {
        let path = tree::checkpoint_path(self.epoch.number);
        match super::place::put(self.disk.as_ref(), &path, next.note.as_bytes()) {
            Ok(()) => {
                self.unsynced = false;
                self.apply(next);
                Ok(())
            }
            // It may have failed after the rename: then the lines are under a checkpoint and must not be dropped.
            Err(error) => match self.disk.read(&path) {
                Ok(there) if there.as_deref() == Some(next.note.as_bytes()) => {
                    self.unsynced = true;
                    self.apply(next);
                    Err(Fault::Landed(error))
                }
                Ok(_) => Err(Fault::Sound(error)),
                Err(_) => {
                    self.unsettled = Some(next);
                    Err(Fault::Unsettled(error))
                }
            },
        }
    }

    fn apply(&mut self, next: Next) {
        if let (Some(segment), Some((range, summing))) = (&mut self.segment, next.leaves) {
            segment.seal(range, summing);
        }
        self.pending.clear();
        (self.tree, self.note, self.extensions) = (next.tree, next.note, next.extensions);
    }

    pub(super) fn tell_witness(&mut self) {
        let Some(path) = &self.options.witness else { return };
        let (size, root) = (self.tree.size(), self.tree.root());
        let witness = Witness::new(&self.epoch.origin, self.epoch.number, size, &root, self.epoch.first_seq);
        // The lines are sealed whatever becomes of it.
        self.witness_trouble =
            witness.write(path).err().map(|error| format!("`{}`: {error}", path.display()));
    }

    /// Finds out what became of a checkpoint. Whatever it is, its lines are still there.
    fn settle(&mut self) -> io::Result<()> {
        let Some(next) = self.unsettled.take() else { return Ok(()) };
        match self.disk.read(&tree::checkpoint_path(self.epoch.number)) {
            Ok(there) if there.as_deref() == Some(next.note.as_bytes()) => {
                self.unsynced = true;
                self.apply(next);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.unsettled = Some(next);
                Err(error)
            }
        }
    }

    /// Looks whether the open segment is still ours, and puts its sealed lines back if it is not.
    fn mend(&mut self) -> Result<(), Fault> {
        let Some(segment) = &self.segment else { return Ok(()) };
        match segment.condition(self.disk.as_ref()).map_err(Fault::Sound)? {
            Condition::Sound => return Ok(()),
            Condition::Gone => self.restore().map_err(Fault::Dropped)?,
            Condition::Changed => {}
        }
        self.disturbed += 1;
        let had_added = self.pending.lines() > self.pending.kept_lines();
        self.pending.drop_added();
        self.poison();
        self.rescue_retired().map_err(Fault::Dropped)?;
        if had_added {
            return Err(Fault::Dropped(io::Error::other("the segment was deleted, replaced or changed")));
        }
        Ok(())
    }

    /// Puts a segment that was given up back under its name, if it is not there.
    fn rescue_retired(&mut self) -> io::Result<()> {
        match &mut self.retired {
            Some(retired) if retired.condition(self.disk.as_ref())? == Condition::Gone => {
                retired.rescue(self.disk.as_ref())
            }
            _ => Ok(()),
        }
    }

    /// Puts back what a deleted directory needs to be the same log.
    fn restore(&self) -> io::Result<()> {
        self.disk.claim()?;
        key::restore(self.disk.as_ref(), &self.signer)?;
        match self.disk.identity(&self.epoch.path())? {
            Some(_) => Ok(()),
            None => self.epoch.write(self.disk.as_ref()),
        }
    }

    /// Brings the store back to what is sealed, and hands out the error.
    fn abandon(&mut self, fault: Fault) -> io::Error {
        match fault {
            Fault::Sound(error) => {
                self.drop_lines();
                error
            }
            Fault::Doubtful(error) => {
                self.pending.drop_added();
                self.poison();
                error
            }
            Fault::Dropped(error) => {
                self.pending.drop_added();
                error
            }
            Fault::Landed(error) | Fault::Unsettled(error) => error,
        }
    }

    /// Cuts the open segment back; one that cannot be cut is given up.
    fn drop_lines(&mut self) {
        self.pending.drop_added();
        let kept = self.pending.kept().len() as u64;
        let cut = self.segment.as_mut().map_or(Ok(()), |segment| segment.cut(segment.sealed() + kept));
        if cut.is_err() {
            self.poison();
        }
    }

    /// Gives the open segment up: it is never written again. Without a sealed line nothing is lost with it.
    fn poison(&mut self) {
        match self.segment.take() {
            Some(segment) if segment.sealed() == 0 => {
                // One that stays is moved out of the way when its name is needed.
                segment.discard(self.disk.as_ref()).ok();
            }
            Some(segment) => self.retired = Some(segment),
            None => {}
        }
    }
}
