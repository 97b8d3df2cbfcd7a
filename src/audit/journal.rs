//! What the log does under its lock: number a line, write it, or count it as missed.

use std::io;
use std::time::Duration;

use jiff::Timestamp;

use super::disk::{Disk, SegmentFile};
use super::event::{Kind, Receipt};
use super::gap::Gap;
use super::id::Ids;
use super::record::{self, Times};
use super::segment::{Condition, Refused, Segment};

/// While nothing can be written, one event in so much time tries again; the others are only counted.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// The writer. Owned by the lock of [`super::Audit`]; nobody else touches the segments.
pub(super) struct Journal {
    pub(super) disk: Box<dyn Disk>,
    edge: String,
    segment_bytes: u64,
    segment: Option<Segment>,
    /// The `seq` of the next record.
    next: u64,
    ids: Ids,
    times: Times,
    gap: Gap,
    tally: Tally,
    trouble: Option<Trouble>,
    /// Closed segments whose data is not yet on the disk's platter; [`super::Audit::retry`] sees to it.
    to_sync: Vec<Box<dyn SegmentFile>>,
    names_changed: bool,
    closed: bool,
    buffer: Vec<u8>,
}

/// Events since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) decided: u64,
    pub(super) durable: u64,
    pub(super) missed: u64,
}

/// Writing does not work.
struct Trouble {
    error: String,
    tried: Timestamp,
}

/// What is to be synced outside the lock.
pub(super) struct Unsynced {
    pub(super) files: Vec<Box<dyn SegmentFile>>,
    pub(super) names: bool,
}

impl Journal {
    /// Goes on at `next`, in `segment` when the last one can be written on.
    pub(super) fn new(
        disk: Box<dyn Disk>,
        edge: String,
        segment_bytes: u64,
        segment: Option<Segment>,
        next: u64,
        ids: Ids,
    ) -> Self {
        Self {
            disk,
            edge,
            segment_bytes,
            segment,
            next,
            ids,
            times: Times::default(),
            gap: Gap::default(),
            tally: Tally::default(),
            trouble: None,
            to_sync: Vec::new(),
            names_changed: true,
            closed: false,
            buffer: Vec::new(),
        }
    }

    /// Writes one event, whose line is made up to its number, or counts it as missed.
    pub(super) fn record(
        &mut self,
        body: &mut [u8],
        case: Option<&str>,
        kind: Kind,
        now: Timestamp,
    ) -> Receipt {
        self.tally.decided += 1;
        let id = self.ids.next(now);
        let ready = !self.closed && self.leave_trouble(now);
        if ready {
            let line = record::finish(body, id, self.next, self.times.text(now));
            let mut target = Target::of(&mut self.segment, &mut self.to_sync, &mut self.names_changed);
            match append(&mut target, line, self.disk.as_ref(), self.next, self.segment_bytes) {
                Ok(()) => {
                    let seq = self.next;
                    self.next += 1;
                    self.tally.durable += 1;
                    return Receipt::recorded(id, seq);
                }
                Err(error) => self.note_trouble(&error, now),
            }
        }
        self.gap.count(case, kind, now);
        self.tally.missed += 1;
        Receipt::missed(id)
    }

    /// Whether the next record may be written: there is no gap before it, or the gap has been written down.
    fn leave_trouble(&mut self, now: Timestamp) -> bool {
        let Some(trouble) = &self.trouble else { return true };
        let since = now.duration_since(trouble.tried);
        // A clock set back must not stop the attempts.
        let waited = since.is_negative() || since.unsigned_abs() >= RETRY_EVERY;
        waited && self.write_gap(now)
    }

    /// Writes down what was missed. Returns whether all of it is in the log now.
    fn write_gap(&mut self, now: Timestamp) -> bool {
        while !self.gap.is_empty() {
            let taken = self.gap.take_some();
            if let Err(error) = self.write_gap_record(&taken, now) {
                self.gap.put_back(taken);
                self.note_trouble(&error, now);
                return false;
            }
        }
        if let Some(trouble) = self.trouble.take() {
            tracing::warn!(after = trouble.error, "the audit log is written again");
        }
        true
    }

    fn write_gap_record(&mut self, taken: &Gap, now: Timestamp) -> io::Result<()> {
        let mut body = std::mem::take(&mut self.buffer);
        taken.body(&mut body, &self.edge);
        let id = self.ids.next(now);
        let line = record::finish(&mut body, id, self.next, self.times.text(now));
        let mut target = Target::of(&mut self.segment, &mut self.to_sync, &mut self.names_changed);
        let written = append(&mut target, line, self.disk.as_ref(), self.next, self.segment_bytes);
        self.buffer = body;
        written.map(|()| self.next += 1)
    }

    fn note_trouble(&mut self, error: &io::Error, now: Timestamp) {
        if self.trouble.is_none() {
            tracing::error!(%error, "the audit log cannot be written; enforcement goes on and events are counted");
        }
        self.trouble = Some(Trouble { error: error.to_string(), tried: now });
    }

    /// Looks after the files: whether they are still ours, and whether writing works again.
    pub(super) fn tend(&mut self, now: Timestamp) -> Unsynced {
        if !self.closed {
            if let Err(error) = self.keep_ours() {
                self.note_trouble(&error, now);
            }
            if self.trouble.is_some() {
                self.write_gap(now);
            }
        }
        Unsynced { files: std::mem::take(&mut self.to_sync), names: std::mem::take(&mut self.names_changed) }
    }

    /// A segment that was deleted, replaced or changed by somebody is not written any more. The records of one
    /// that lost its name are still in our hands and are put back.
    fn keep_ours(&mut self) -> io::Result<()> {
        self.disk.claim()?;
        let Some(segment) = &self.segment else { return Ok(()) };
        match segment.condition(self.disk.as_ref())? {
            Condition::Sound => return Ok(()),
            Condition::Gone => {
                tracing::error!(
                    segment = segment.first(),
                    "a segment of the audit log was removed; putting it back"
                );
                let rescued = segment.rescue(self.disk.as_ref())?;
                self.to_sync.push(rescued);
            }
            Condition::Changed => {
                tracing::error!(
                    segment = segment.first(),
                    "somebody else wrote to a segment of the audit log"
                );
            }
        }
        self.names_changed = true;
        self.segment = None;
        Ok(())
    }

    /// Writes down what was missed, into the reserve if need be, and gives back unused space.
    pub(super) fn close(&mut self, now: Timestamp) -> Unsynced {
        self.closed = true;
        if !self.gap.is_empty() && !self.write_gap(now) {
            self.write_gap_into_reserve(now);
        }
        if let Some(segment) = self.segment.take() {
            if let Err(error) = segment.trim() {
                tracing::warn!(%error, "reserved space of the audit log is not given back");
            }
            self.to_sync.push(segment.into_file());
        }
        Unsynced { files: std::mem::take(&mut self.to_sync), names: true }
    }

    fn write_gap_into_reserve(&mut self, now: Timestamp) {
        let taken = self.gap.take_all();
        let mut body = std::mem::take(&mut self.buffer);
        taken.body(&mut body, &self.edge);
        let line = record::finish(&mut body, self.ids.next(now), self.next, self.times.text(now));
        let written = self.segment.as_mut().is_some_and(|segment| segment.append(line).is_ok());
        if written {
            self.next += 1;
        } else {
            tracing::error!(missed = taken.missed(), "the missed events could not be written down");
            self.gap.put_back(taken);
        }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The `seq` of the last record, 0 when there is none.
    pub(super) fn last_seq(&self) -> u64 {
        self.next - 1
    }

    /// Why nothing can be written, if so.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.error.as_str())
    }
}

/// The parts of the journal an append may change.
struct Target<'j> {
    segment: &'j mut Option<Segment>,
    to_sync: &'j mut Vec<Box<dyn SegmentFile>>,
    names_changed: &'j mut bool,
}

impl<'j> Target<'j> {
    fn of(
        segment: &'j mut Option<Segment>,
        to_sync: &'j mut Vec<Box<dyn SegmentFile>>,
        names_changed: &'j mut bool,
    ) -> Self {
        Self { segment, to_sync, names_changed }
    }

    /// Closes the segment, and sees to it that its data will be synced.
    fn retire(&mut self) {
        if let Some(segment) = self.segment.take() {
            if let Err(error) = segment.trim() {
                tracing::warn!(%error, "reserved space of the audit log is not given back");
            }
            self.to_sync.push(segment.into_file());
        }
    }
}

/// Appends a line, to a new segment when the one at hand is full or must not be trusted.
fn append(
    target: &mut Target<'_>,
    line: &[u8],
    disk: &dyn Disk,
    seq: u64,
    segment_bytes: u64,
) -> io::Result<()> {
    let length = line.len() as u64;
    if let Some(segment) = target.segment.as_mut()
        && segment.room() >= length
    {
        match segment.append(line) {
            Ok(()) => return Ok(()),
            Err(Refused { error, intact: true }) => return Err(error),
            // Nothing in this file can be relied on from here; its whole lines stay where they are.
            Err(Refused { error, intact: false }) => {
                tracing::error!(%error, segment = segment.first(), "a segment of the audit log is given up");
                *target.segment = None;
            }
        }
    }
    // The new segment first: when there is none to be had, the old one keeps its reserve for the gap record.
    let mut fresh = Segment::create(disk, seq, segment_bytes, length)?;
    *target.names_changed = true;
    match fresh.append(line) {
        Ok(()) => {
            target.retire();
            *target.segment = Some(fresh);
            Ok(())
        }
        Err(Refused { error, .. }) => {
            super::segment::set_aside(disk, seq)?;
            Err(error)
        }
    }
}
