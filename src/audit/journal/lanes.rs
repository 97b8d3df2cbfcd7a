//! Lanes as they are read: by the sealer, and by tools for what is not sealed yet.

use std::{collections::BTreeMap, io, sync::Arc};

use jiff::Timestamp;

use super::{
    codec::{MAX_RECORD, decode},
    header::{Header, number_of},
    reader::LaneReader,
};
use crate::audit::{
    files::{Disk, DiskFile, TORN, free_name, if_there, set_aside, write_all_at},
    handover::OwnLane,
    id::Nonce,
    problem::Problem,
};

/// The files of one lane.
#[derive(Default)]
pub(in crate::audit) struct LaneState {
    /// The ordinal up to which a checkpoint covers the lane.
    pub(in crate::audit) sealed: u64,
    /// The ordinal up to which lines have been handed over.
    pub(in crate::audit) handed: u64,
    /// In the order of their records.
    pub(in crate::audit) files: Vec<Source>,
    /// The file that is being read.
    pub(in crate::audit) current: usize,
    /// The last [`Self::peek`] found its end.
    pub(in crate::audit) dry: bool,
}

/// A file of a lane, and how far it was read.
pub(in crate::audit) struct Source {
    pub(in crate::audit) disk: Arc<dyn Disk>,
    pub(in crate::audit) file: Arc<dyn DiskFile>,
    pub(in crate::audit) path: Arc<str>,
    pub(in crate::audit) reader: LaneReader,
    pub(in crate::audit) committed: u64,
    /// Where what was recorded there ends, as far as that is known: it is of files of this process only.
    pub(in crate::audit) end: u64,
    /// Its process is gone, or has gone on to another file for good.
    pub(in crate::audit) complete: bool,
}

/// Where in its lane a file is: its first ordinal, and the number in its name.
pub(in crate::audit) fn place_of(header: &Header, path: &str) -> (u64, u64) {
    (header.first, number_of(path).unwrap_or(0))
}

impl LaneState {
    /// Takes in one file more.
    pub(in crate::audit) fn add(&mut self, source: Source) {
        self.files.push(source);
        self.files.sort_by_key(Source::place);
    }

    pub(in crate::audit) fn accept(&mut self) {
        self.sealed = self.handed;
        self.files.iter_mut().for_each(|source| source.committed = source.reader.position());
    }

    pub(in crate::audit) fn rewind(&mut self) {
        self.handed = self.sealed;
        self.current = 0;
        self.files.iter_mut().for_each(|source| source.reader.rewind(source.committed));
    }

    pub(in crate::audit) fn look_again(&mut self) {
        (self.current, self.dry) = (0, false);
        self.files.iter_mut().for_each(|source| source.reader.forget());
    }

    /// Whether a lane that was found dry may hold more by now. What is complete was so before it was read.
    fn may_grow(&self) -> bool {
        self.files.last().is_some_and(|source| !source.complete)
    }

    /// Which files will not grow any more. Whether the process of another lane has let go of the last one since.
    pub(in crate::audit) fn look_at_owners(&mut self, is_own: bool, own: &OwnLane) -> io::Result<bool> {
        let had_ended = self.has_ended();
        let last = self.files.len().saturating_sub(1);
        for (index, source) in self.files.iter_mut().enumerate() {
            source.complete = source.complete
                || if is_own {
                    // Whatever stands behind it.
                    own.current.as_deref() != Some(&*source.path)
                } else if index < last {
                    true
                } else {
                    // The kernel lets go of a lock however its process ends.
                    source.file.try_lock()?
                };
        }
        Ok(!is_own && !had_ended && self.has_ended())
    }

    /// Whether nobody will record in the lane any more, as far as its files are known.
    pub(in crate::audit) fn has_ended(&self) -> bool {
        self.files.last().is_some_and(|source| source.complete)
    }

    /// The gap record that the lane's process had not come to write, and its file. Only where that has ended: a living one
    /// will write it, and may count more until then.
    pub(in crate::audit) fn kept_gap(&self, last: u64) -> io::Result<Option<(&Source, Vec<u8>)>> {
        let mut newest = None;
        let mut best = None;
        for source in self.files.iter().filter(|_| self.has_ended()) {
            let Some(slot) = source.reader.kept_gap(source.file.as_ref(), last)? else { continue };
            let rank = decode(&slot).map(|entry| (entry.id.ordinal(), entry.time));
            if rank > best {
                (best, newest) = (rank, Some((source, slot)));
            }
        }
        Ok(newest)
    }

    /// The time of the next record to hand over. `end` is where the last file ends, ordinals at the others are where
    /// the next one begins.
    pub(in crate::audit) fn peek(&mut self, end: u64) -> io::Result<Option<Timestamp>> {
        let next = self.next_time(end)?;
        self.dry = next.is_none();
        Ok(next)
    }

    fn next_time(&mut self, end: u64) -> io::Result<Option<Timestamp>> {
        loop {
            let next = self.files.get(self.current + 1).map(|next| next.reader.header().first);
            let Some(source) = self.files.get_mut(self.current) else { return Ok(None) };
            if let Some(time) = source.next_between(self.handed, next.unwrap_or(end))? {
                return Ok(Some(time));
            }
            if next.is_none() {
                return Ok(None);
            }
            self.current += 1;
        }
    }
}

/// The lane whose next record is the earliest, in a pass that began at `now`.
///
/// A lane that was found dry in this pass is not looked at again for the sake of records from before `now`: what its
/// process had recorded by then was there. Only a later record may have to follow one that has come in since. What
/// comes in behind the last look at a lane is the first of that lane in the next pass.
pub(in crate::audit) fn earliest(
    lanes: &mut BTreeMap<Nonce, LaneState>,
    own: &OwnLane,
    now: Timestamp,
) -> io::Result<Option<Nonce>> {
    let mut earliest = earliest_of(lanes, own, None, |lane| !lane.dry)?;
    if earliest.is_some_and(|(time, _)| time > now) {
        earliest = earliest_of(lanes, own, earliest, |lane| lane.dry && lane.may_grow())?;
    }
    Ok(earliest.map(|(_, nonce)| nonce))
}

fn earliest_of(
    lanes: &mut BTreeMap<Nonce, LaneState>,
    own: &OwnLane,
    mut earliest: Option<(Timestamp, Nonce)>,
    counts: impl Fn(&LaneState) -> bool,
) -> io::Result<Option<(Timestamp, Nonce)>> {
    for (nonce, lane) in lanes.iter_mut().filter(|(_, lane)| counts(lane)) {
        let end = if *nonce == own.nonce { own.end } else { u64::MAX };
        if let Some(time) = lane.peek(end)?
            && earliest.is_none_or(|(best, _)| time < best)
        {
            earliest = Some((time, *nonce));
        }
    }
    Ok(earliest)
}

impl Source {
    fn place(&self) -> (u64, u64) {
        place_of(self.reader.header(), &self.path)
    }

    /// The time of the next record after the ordinal `after` and before `end`.
    pub(in crate::audit) fn next_between(&mut self, after: u64, end: u64) -> io::Result<Option<Timestamp>> {
        while self.reader.look(self.file.as_ref())? {
            let Some(entry) = self.reader.entry() else { break };
            let (ordinal, time) = (entry.id.ordinal(), entry.time);
            if ordinal >= end {
                break;
            }
            if ordinal > after {
                return Ok(Some(time));
            }
            self.reader.advance();
        }
        Ok(None)
    }

    /// Whether something stands where this process has recorded that does not read as it was written.
    pub(in crate::audit) fn is_spoilt(&mut self) -> io::Result<bool> {
        Ok(self.reader.position() < self.end && !self.reader.look(self.file.as_ref())?)
    }

    /// Whether a gap is kept there that is not sealed.
    pub(in crate::audit) fn holds_gap(&self, sealed: u64) -> io::Result<bool> {
        Ok(self.reader.kept_gap(self.file.as_ref(), sealed)?.is_some())
    }

    /// Sets aside what follows the last record of a file, and removes the file. Records up to the ordinal `sealed` or
    /// from `end` on are in the log, or in a later file, or never counted.
    pub(in crate::audit) fn leave(
        &self,
        sealed: u64,
        end: u64,
        problems: &mut Vec<Problem>,
    ) -> io::Result<u64> {
        let rest = self.reader.remainder(self.file.as_ref())?;
        let offset = self.reader.position();
        let is_known = |ordinal| ordinal <= sealed || ordinal >= end;
        if decode(&rest).is_some_and(|entry| is_known(entry.id.ordinal())) {
            self.remove()?;
            return Ok(0);
        }
        let path = self.path.to_string();
        if !rest.is_empty() {
            let aside = self.keep(&rest)?;
            if rest.len() > MAX_RECORD || offset < self.end {
                problems.push(Problem::Journal { path, offset, aside });
            }
        } else if offset < self.end {
            let what = format!("what was recorded behind byte {offset} and not sealed is gone");
            problems.push(Problem::File { path, what });
        }
        self.remove()?;
        Ok(rest.len() as u64)
    }

    /// Sets aside what can not be read. Returns where.
    fn keep(&self, rest: &[u8]) -> io::Result<String> {
        let aside = free_name(self.disk.as_ref(), &self.path, "torn")?;
        let copy = self.disk.create(&aside)?;
        let kept = write_all_at(copy.as_ref(), rest, 0)
            .and_then(|()| copy.sync())
            .and_then(|()| self.disk.sync_folder(TORN));
        if kept.is_err() {
            // It would take space, and a name, with each time that it is tried.
            self.disk.remove(&aside).ok();
        }
        kept.map(|()| aside)
    }

    /// Removes a file if it is still the one that was read; what somebody put in its place is set aside.
    fn remove(&self) -> io::Result<()> {
        match self.disk.identity(&self.path)? {
            None => Ok(()),
            Some(there) if there == self.file.state()?.identity => {
                if_there(self.disk.remove(&self.path)).map(|_| ())
            }
            Some(_) => set_aside(self.disk.as_ref(), &self.path, "replaced").map(|_| ()),
        }
    }
}
