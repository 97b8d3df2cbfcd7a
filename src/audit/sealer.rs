//! From the journal to the sealed log: all lanes, merged by time, become lines with a `seq`.
//!
//! The sealer is the only one who numbers records and the only one who writes sealed data; the lock of the directory
//! makes it one among all processes. It reads the lanes of its own process, of others that are still alive beside it
//! (a graceful upgrade) and of those that ended without sealing. A file of a lane is removed when a signed checkpoint
//! covers all of it. How far each lane is sealed stands in that checkpoint, so that nothing is sealed twice.

use std::{collections::BTreeMap, io, sync::Arc};

use jiff::Timestamp;

use super::{
    batch::Batch,
    files::{Disk, JOURNAL, if_there},
    handover::OwnLane,
    id::Nonce,
    journal::{LaneState, decode, earliest, is_space},
    problem::Problem,
    repeated::Repeated,
    sealed::Sealed,
};
use crate::{
    background::{self, Backlog, Breath},
    limits,
};

mod discovery;

/// Lines are handed over in pieces of about this many bytes: nobody else has the processor while they are written.
const BATCH: usize = 128 * 1024;
/// Bytes of lines under one checkpoint, so that a backlog is sealed step by step.
const MAX_IN_PASS: usize = 16 * 1024 * 1024;
/// As few of them on a disk that is nearly full: lines take more space than the journal, which is only given back
/// when they are sealed.
const LEAST_IN_PASS: usize = 64 * 1024;
/// Records between two offers of the processor: a tenth of a millisecond.
const BREATH: u32 = 64;

pub(super) struct Sealer {
    sealed: Sealed,
    disks: Vec<Arc<dyn Disk>>,
    lanes: BTreeMap<Nonce, LaneState>,
    repeated: Repeated,
    batch: Batch,
    batch_bytes: usize,
    pass_bytes: usize,
    /// The records of this pass, in the order of their lines.
    order: Vec<(Nonce, u64)>,
    /// Whether names were removed that may come back after a power cut.
    unsynced: bool,
    /// Files of this process that were found spoilt, until a pass tells it.
    lost: Vec<Arc<str>>,
    /// What recovery of lanes met.
    pub(super) problems: Vec<Problem>,
    pub(super) torn_bytes: u64,
    last_time: Option<Timestamp>,
    last_revision: u64,
}

/// What a pass has done.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Records sealed.
    pub(super) records: u64,
    /// Files of lanes that are gone now.
    pub(super) finished: Vec<Arc<str>>,
    /// A file of this process that was taken away or changed by somebody else.
    pub(super) displaced: Vec<Arc<str>>,
    /// What keeps the witness from being written, or is damaged; sealing goes on without.
    pub(super) trouble: Option<String>,
    /// What could not be done. All else was, and counts.
    pub(super) error: Option<io::Error>,
    /// There is more to seal already.
    pub(super) more: bool,
    /// All of this process is sealed, whatever others go on to record.
    pub(super) own_is_done: bool,
}

impl Passed {
    pub(super) fn failed(error: io::Error) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// Keeps the first error.
    pub(super) fn note<T>(&mut self, outcome: io::Result<T>) -> Option<T> {
        match outcome {
            Ok(done) => Some(done),
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }

    /// Adds what the next pass has done.
    pub(super) fn absorb(&mut self, next: Self) {
        self.records += next.records;
        self.finished.extend(next.finished);
        self.displaced.extend(next.displaced);
        self.trouble = next.trouble.or(self.trouble.take());
        self.error = self.error.take().or(next.error);
        (self.more, self.own_is_done) = (next.more, next.own_is_done);
    }
}

impl Sealer {
    /// Goes on where the newest checkpoint says: `extensions` are its lines, `kept` the ids of lines beyond it.
    pub(super) fn new(
        sealed: Sealed,
        disks: Vec<Arc<dyn Disk>>,
        segment_bytes: u64,
        extensions: &[String],
        kept: impl IntoIterator<Item = super::EventId>,
    ) -> Self {
        let mut lanes: BTreeMap<Nonce, LaneState> = BTreeMap::new();
        for (nonce, ordinal) in extensions.iter().filter_map(|line| parse_extension(line)) {
            lanes.insert(nonce, LaneState { sealed: ordinal, handed: ordinal, ..LaneState::default() });
        }
        for id in kept {
            let lane = lanes.entry(id.nonce()).or_default();
            lane.sealed = lane.sealed.max(id.ordinal());
            lane.handed = lane.sealed;
        }
        Self {
            sealed,
            disks,
            lanes,
            repeated: Repeated::default(),
            batch: Batch::default(),
            batch_bytes: usize::try_from(segment_bytes).map_or(BATCH, |bytes| bytes.min(BATCH)),
            pass_bytes: MAX_IN_PASS,
            order: Vec::new(),
            unsynced: false,
            lost: Vec::new(),
            problems: Vec::new(),
            torn_bytes: 0,
            last_time: None,
            last_revision: 0,
        }
    }

    /// The time of the last record handed over.
    pub(super) fn last_time(&self) -> Option<Timestamp> {
        self.last_time
    }

    /// The largest revision among the records handed over.
    pub(super) fn last_revision(&self) -> u64 {
        self.last_revision
    }

    pub(super) fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    pub(super) fn sealed_mut(&mut self) -> &mut Sealed {
        &mut self.sealed
    }

    /// Seals what there is. After an error the next pass goes on behind the lines that the sealed log has kept.
    pub(super) fn pass(&mut self, own: &OwnLane, now: Timestamp) -> io::Result<Passed> {
        loop {
            match self.pass_once(own, now) {
                Err(error) if is_space(&error) && self.pass_bytes > LEAST_IN_PASS => {
                    self.pass_bytes = (self.pass_bytes / 4).max(LEAST_IN_PASS);
                }
                Ok(passed) => {
                    self.pass_bytes = (self.pass_bytes * 2).min(MAX_IN_PASS);
                    return Ok(passed);
                }
                other => return other,
            }
        }
    }

    fn pass_once(&mut self, own: &OwnLane, now: Timestamp) -> io::Result<Passed> {
        self.discover(own)?;
        let lost = std::mem::take(&mut self.lost);
        let mut passed = Passed::default();
        let first = self.sealed.next_seq();
        background::keep_up(self.backlog());
        let sealed = self.hand_over(own, now, &mut passed).and_then(|()| {
            if passed.records == 0 {
                return Ok(());
            }
            let extensions = self.extensions(|lane| lane.handed);
            self.sealed.commit(now, &extensions).map(|_| ())
        });
        match sealed {
            Ok(()) => self.lanes.values_mut().for_each(LaneState::accept),
            Err(error) => {
                self.go_back(first);
                return Err(error);
            }
        }
        if !passed.more {
            let gaps = self.seal_kept_gaps(own, now);
            passed.records += passed.note(gaps).unwrap_or_default();
            let spoilt = passed.note(self.spoilt(own)).flatten();
            passed.displaced.extend(spoilt);
        }
        self.clear_away(own, &mut passed);
        passed.displaced.extend_from_slice(&lost);
        passed.finished.extend(lost);
        passed.own_is_done = match self.lanes.get_mut(&own.nonce) {
            Some(lane) => passed.note(lane.peek(own.end)).is_some_and(|next| next.is_none()),
            None => true,
        };
        Ok(passed)
    }

    /// After a failure: which lines are still there, from the one numbered `first` on, is for the sealed log to say.
    fn go_back(&mut self, first: u64) {
        let kept = usize::try_from(self.sealed.next_seq().saturating_sub(first)).unwrap_or(usize::MAX);
        for (nonce, ordinal) in self.order.iter().take(kept) {
            if let Some(lane) = self.lanes.get_mut(nonce) {
                lane.sealed = *ordinal;
            }
        }
        self.lanes.values_mut().for_each(LaneState::rewind);
        self.batch.clear();
    }

    /// Ends the log in order, after the last pass.
    pub(super) fn close(&mut self, now: Timestamp) -> io::Result<()> {
        let extensions = self.extensions(|lane| lane.sealed);
        self.sealed.close(now, &extensions)
    }

    /// The lines of a checkpoint that say how far each lane is sealed. A lane without files needs none.
    fn extensions(&self, ordinal: impl Fn(&LaneState) -> u64) -> Vec<String> {
        let living = self.lanes.iter().filter(|(_, lane)| lane.sealed > 0 || !lane.files.is_empty());
        living.map(|(nonce, lane)| format!("lane {nonce} {}", ordinal(lane))).collect()
    }

    fn backlog(&self) -> Backlog {
        let files = self.lanes.values().map(|lane| lane.files.len()).sum();
        Backlog::of(files, limits::LARGE_UNSEALED, limits::HUGE_UNSEALED)
    }

    /// Hands all records over as lines, the earliest first.
    fn hand_over(&mut self, own: &OwnLane, now: Timestamp, passed: &mut Passed) -> io::Result<()> {
        self.batch.clear();
        self.order.clear();
        self.lanes.values_mut().for_each(LaneState::look_again);
        let mut bytes = 0;
        let mut breath = Breath::every(BREATH);
        while let Some(nonce) = earliest(&mut self.lanes, own, now)? {
            self.hand_over_one(nonce);
            passed.records += 1;
            breath.tick();
            if self.batch.lines.len() >= self.batch_bytes.min(self.pass_bytes) {
                bytes += self.batch.lines.len();
                self.flush()?;
                if bytes >= self.pass_bytes || self.sealed.is_full() {
                    passed.more = true;
                    break;
                }
            }
        }
        self.flush()
    }

    fn hand_over_one(&mut self, nonce: Nonce) {
        let seq = self.sealed.next_seq() + self.batch.count;
        let Some(lane) = self.lanes.get_mut(&nonce) else { return };
        let Some(source) = lane.files.get_mut(lane.current) else { return };
        if let Some(entry) = source.reader.entry() {
            self.batch.add(&source.reader.header().edge, seq, &entry, &mut self.repeated);
            lane.handed = entry.id.ordinal();
            self.order.push((nonce, lane.handed));
        }
        source.reader.advance();
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.batch.count > 0 {
            let batch = &self.batch;
            self.last_time = Some(batch.latest);
            self.last_revision = self.last_revision.max(batch.revision);
            self.sealed.append(&batch.lines, batch.count, batch.latest)?;
            self.batch.clear();
        }
        Ok(())
    }

    /// Removes files that are sealed whole. One that cannot be removed holds up none of the others.
    fn clear_away(&mut self, own: &OwnLane, passed: &mut Passed) {
        for (nonce, lane) in &mut self.lanes {
            let mut kept = Vec::new();
            let last = if *nonce == own.nonce { own.end } else { u64::MAX };
            let ends: Vec<u64> = lane.files.iter().skip(1).map(|next| next.reader.header().first).collect();
            for (index, source) in std::mem::take(&mut lane.files).into_iter().enumerate() {
                // In the middle of a backlog, only what the reader has left behind.
                let read = index < lane.current || !passed.more;
                // A gap that its process did not come to write is sealed when that has ended, or written by it.
                let mut holds_gap = || passed.note(source.holds_gap(lane.sealed)).unwrap_or(true);
                let done = source.complete && read && !holds_gap() && {
                    let end = ends.get(index).copied().unwrap_or(last);
                    let torn = passed.note(source.leave(lane.sealed, end, &mut self.problems));
                    self.torn_bytes += torn.unwrap_or_default();
                    torn.is_some()
                };
                if done {
                    passed.finished.push(source.path);
                } else {
                    kept.push(source);
                }
            }
            lane.files = kept;
            lane.current = 0;
        }
        self.unsynced |= !passed.finished.is_empty();
        if self.unsynced {
            // A name that comes back after a power cut would be sealed again, were its lane forgotten by then; and so would
            // those in a spare folder that has gone and comes back, which is no reason not to go on.
            let synced = self.disks.iter().try_for_each(|disk| disk.sync_folder(JOURNAL));
            self.unsynced = synced.is_err();
            passed.note(if_there(synced));
        }
        if !self.unsynced {
            self.lanes.retain(|nonce, lane| !lane.files.is_empty() || *nonce == own.nonce);
        }
    }

    /// Gap records that processes kept and did not come to write: they follow everything else of their lane.
    fn seal_kept_gaps(&mut self, own: &OwnLane, now: Timestamp) -> io::Result<u64> {
        let mut found = Vec::new();
        self.order.clear();
        let first = self.sealed.next_seq();
        for (nonce, lane) in self.lanes.iter().filter(|(nonce, _)| **nonce != own.nonce) {
            let kept = lane.kept_gap(lane.sealed)?;
            found.extend(kept.map(|(source, slot)| (*nonce, Arc::clone(&source.reader.header().edge), slot)));
        }
        for (nonce, edge, slot) in &found {
            let seq = self.sealed.next_seq() + self.batch.count;
            if let (Some(entry), Some(lane)) = (decode(slot), self.lanes.get_mut(nonce))
                && entry.id.ordinal() > lane.handed
            {
                self.batch.add(edge, seq, &entry, &mut self.repeated);
                lane.handed = entry.id.ordinal();
                self.order.push((*nonce, lane.handed));
            }
        }
        let count = self.batch.count;
        let sealed = self.flush().and_then(|()| {
            let extensions = self.extensions(|lane| lane.handed);
            if count == 0 { Ok(()) } else { self.sealed.commit(now, &extensions).map(|_| ()) }
        });
        match sealed {
            Ok(()) => self.lanes.values_mut().for_each(LaneState::accept),
            Err(_) => self.go_back(first),
        }
        sealed.map(|()| count)
    }
}

/// How far a process is sealed, in a line of a checkpoint.
pub(super) fn parse_extension(line: &str) -> Option<(Nonce, u64)> {
    let (nonce, ordinal) = line.strip_prefix("lane ")?.split_once(' ')?;
    Some((nonce.parse().ok()?, ordinal.parse().ok()?))
}
