//! What the lock of the log protects: the lane being written, the ids given out, and what was missed.

use std::{io, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{
    event::{Kind, Receipt},
    gap::Gap,
    handover::{OwnFile, OwnLane, Part, Setup, Unsynced, Written},
    id::{EventId, Ids, Nonce},
    journal::{Draft, Header, Lane, LaneFile, Prepared},
    spent::Spent,
};

mod syncing;

/// Files of a lane that may wait to be sealed: beyond that the disk is not given more, and events are counted.
const MAX_UNSEALED: usize = 128;
/// A file that was full sooner than this after it was begun has the next one made and what it holds sealed at once; for any
/// other that is done in time without a bell, which is a system call.
const FILLED_SOON: SignedDuration = SignedDuration::from_secs(1);
/// Room before writing counts as working again.
const RESTART_ROOM: usize = 16 * 1024;

pub(super) struct State {
    setup: Arc<Setup>,
    ids: Ids,
    lane: Option<Lane>,
    /// When the lane's file was begun.
    begun: Timestamp,
    /// The greatest number of a file that was to be begun: of two that begin alike, the one behind has the greater.
    last_number: u64,
    prepared: Option<Prepared>,
    /// Full or abandoned files that may hold what is not sealed.
    retired: Vec<OwnFile>,
    spent: Spent,
    /// What is not synced, the lane's own file left out; `settled` only.
    unsynced: Vec<Part>,
    /// How far the lane's own file is synced.
    lane_synced: u64,
    /// Whether a file has a name that is not synced.
    new_names: bool,
    /// The ordinal where the files there are end, once an event was missed: the next file begins with it.
    boundary: Option<u64>,
    /// Records written, and those of them that are on the disk or were given up.
    written: u64,
    settled: u64,
    filled: bool,
    gap: Gap,
    /// The id that the gap record will have.
    gap_id: Option<EventId>,
    gap_draft: Draft,
    pub(super) decided: u64,
    pub(super) durable: u64,
    pub(super) missed: u64,
    pub(super) disturbed: u64,
    pub(super) unsynced_events: u64,
    pub(super) failing: bool,
    pub(super) closed: bool,
    pub(super) last_error: Option<(Timestamp, String)>,
}

impl State {
    pub(super) fn new(setup: Arc<Setup>) -> io::Result<Self> {
        Ok(Self {
            setup,
            ids: Ids::from_kernel()?,
            lane: None,
            begun: Timestamp::UNIX_EPOCH,
            last_number: 0,
            prepared: None,
            retired: Vec::with_capacity(MAX_UNSEALED),
            spent: Spent::default(),
            unsynced: Vec::new(),
            lane_synced: 0,
            new_names: false,
            boundary: None,
            written: 0,
            settled: 0,
            filled: false,
            gap: Gap::default(),
            gap_id: None,
            gap_draft: Draft::default(),
            decided: 0,
            durable: 0,
            missed: 0,
            disturbed: 0,
            unsynced_events: 0,
            failing: false,
            closed: false,
            last_error: None,
        })
    }

    /// Records the event of `draft`, or counts it.
    pub(super) fn record(
        &mut self,
        draft: &mut Draft,
        case: Option<&str>,
        kind: Kind,
        now: Timestamp,
    ) -> Written {
        self.decided += 1;
        let id = self.ids.next(now);
        let mut written = Written { receipt: Receipt::missed(id), ticket: None, wants_sealing: false };
        if !self.failing && !self.closed {
            match self.append(draft, id, now) {
                Ok(()) => {
                    self.durable += 1;
                    written.receipt = Receipt::recorded(id);
                    written.ticket = Some(self.written);
                    written.wants_sealing = std::mem::take(&mut self.filled);
                    return written;
                }
                Err(error) => self.fail(&error, now),
            }
        }
        self.miss(id, case, kind, now);
        written
    }

    fn miss(&mut self, id: EventId, case: Option<&str>, kind: Kind, now: Timestamp) {
        self.missed += 1;
        self.boundary.get_or_insert(id.ordinal());
        self.gap.count(case, kind, now);
        if self.gap_id.is_none() {
            self.gap_id = Some(self.ids.next(now));
            self.keep_gap(now);
        }
    }

    /// Puts the gap where it outlives this process, as far as there is a file.
    pub(super) fn keep_gap(&mut self, now: Timestamp) {
        let (Some(id), Some(lane)) = (self.gap_id, &mut self.lane) else { return };
        let gap = self.gap.summary();
        let through = self.ids.last();
        self.gap_draft.fields(Kind::AuditGap, |out| gap.fields(out, through));
        // Where this fails too, the counts live on in memory.
        lane.keep_gap(self.gap_draft.stamp(id, now)).ok();
    }

    fn append(&mut self, draft: &mut Draft, id: EventId, now: Timestamp) -> io::Result<()> {
        self.make_room(draft.len(), id.ordinal(), now)?;
        let lane = self.lane.as_mut().ok_or_else(|| io::Error::other("no journal file could be made"))?;
        if let Err(error) = lane.append(draft.stamp(id, now)) {
            self.boundary.get_or_insert(id.ordinal());
            self.abandon();
            return Err(error);
        }
        self.written += 1;
        Ok(())
    }

    /// Goes on to the next file when the one there is has less room than this.
    fn make_room(&mut self, length: usize, ordinal: u64, now: Timestamp) -> io::Result<()> {
        // After a missed event only a new file tells readers where the one before it ends.
        if self.boundary.is_none() && self.lane.as_ref().is_some_and(|lane| lane.has_room(length)) {
            return Ok(());
        }
        if self.retired.len() >= MAX_UNSEALED {
            return Err(io::Error::other("sealing is far behind: the journal is full"));
        }
        let first = self.boundary.unwrap_or(ordinal).min(ordinal);
        let header = Header { nonce: self.ids.nonce(), first, edge: Arc::clone(&self.setup.edge) };
        let lane = self.begin(&header)?;
        self.abandon();
        self.lane_synced = lane.end();
        self.lane = Some(lane);
        self.boundary = None;
        self.filled = !self.retired.is_empty() && now.duration_since(self.begun) < FILLED_SOON;
        self.begun = now;
        Ok(())
    }

    /// A file that was prepared, or a new one, wherever there is space.
    fn begin(&mut self, header: &Header) -> io::Result<Lane> {
        let mut outcome = match self.prepared.take() {
            Some(prepared) => self.begin_in(prepared, header),
            None => Err(io::Error::other("nothing is prepared")),
        };
        let setup = Arc::clone(&self.setup);
        for disk in &setup.disks {
            if outcome.is_err() {
                // Others wait for this lock: nothing is synced that does not have to be.
                let made = setup.prepare(disk, header.nonce, "now", false);
                self.new_names = true;
                // The first disk's error is the one to tell.
                let prior = outcome;
                outcome = made.and_then(|prepared| self.begin_in(prepared, header)).map_err(|error| {
                    prior.err().filter(|prior| prior.raw_os_error().is_some()).unwrap_or(error)
                });
            }
        }
        outcome
    }

    fn begin_in(&mut self, prepared: Prepared, header: &Header) -> io::Result<Lane> {
        self.last_number = self.last_number.max(prepared.number().unwrap_or(0));
        prepared.begin(header)
    }

    /// Never writes to the file again.
    fn abandon(&mut self) {
        if self.setup.settled {
            self.unsynced.extend(self.lane_part().filter(|part| !part.is_empty()));
        }
        let Some(lane) = self.lane.take() else { return };
        self.retired.push(lane.own_file());
        self.spent.push(lane);
    }

    /// Memory to be given back, outside the lock.
    pub(super) fn take_spent(&mut self) -> Option<Spent> {
        self.spent.take()
    }

    /// Ends a gap when writing works again. A timer calls this while writing fails.
    pub(super) fn restart(&mut self, now: Timestamp) {
        if self.closed {
            return;
        }
        match self.try_restart(now) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.fail(&error, now);
                self.keep_gap(now);
            }
        }
    }

    fn try_restart(&mut self, now: Timestamp) -> io::Result<()> {
        let next = self.gap_id.map_or(self.ids.last() + 1, EventId::ordinal);
        self.make_room(RESTART_ROOM, next, now)?;
        while let Some(id) = self.gap_id {
            let some = self.gap.take_some();
            let mut draft = std::mem::take(&mut self.gap_draft);
            let through = self.ids.last();
            draft.fields(Kind::AuditGap, |out| some.fields(out, through));
            let written = self.append(&mut draft, id, now);
            self.gap_draft = draft;
            if let Err(error) = written {
                self.gap.put_back(some);
                return Err(error);
            }
            self.gap_id = if self.gap.is_empty() { None } else { Some(self.ids.next(now)) };
        }
        Ok(())
    }

    /// On stop: what is still missing is kept in the file's reserve, in one record.
    pub(super) fn close(&mut self, now: Timestamp) -> io::Result<()> {
        if self.failing {
            self.restart(now);
        }
        self.closed = true;
        self.drop_prepared();
        if self.gap_id.is_none() {
            return Ok(());
        }
        self.keep_gap(now);
        let pending = self.gap.missed();
        Err(io::Error::other(format!(
            "{pending} events could only be counted, and the disk takes no record of it"
        )))
    }

    /// After the last pass: lets go of the files, so that readers and the next process see that nobody writes there.
    pub(super) fn let_go(&mut self) {
        self.lane = None;
        self.spent = Spent::default();
        self.retired.clear();
        self.unsynced.clear();
    }

    pub(super) fn pending(&self) -> u64 {
        self.gap.missed()
    }

    pub(super) fn fail(&mut self, error: &io::Error, now: Timestamp) {
        self.failing = true;
        self.note(error, now);
    }

    pub(super) fn note(&mut self, error: &io::Error, now: Timestamp) {
        self.last_error = Some((now, error.to_string()));
    }

    /// Whether the next file should be made ahead of time.
    pub(super) fn wants_prepared(&self) -> bool {
        self.prepared.is_none() && self.lane.is_some() && !self.failing && !self.closed
    }

    /// Returns one that is of no use any more: the log is closed, or another file was begun while this one was made.
    pub(super) fn put_prepared(&mut self, prepared: Prepared) -> Option<Prepared> {
        if self.closed || prepared.number().is_none_or(|number| number < self.last_number) {
            return Some(prepared);
        }
        self.prepared.replace(prepared)
    }

    /// The file made ahead of time, to be looked at outside the lock.
    pub(super) fn prepared_file(&self) -> Option<LaneFile> {
        self.prepared.as_ref().map(|prepared| prepared.file().clone())
    }

    /// The file made ahead of time, to be discarded outside the lock.
    pub(super) fn take_prepared(&mut self) -> Option<Prepared> {
        self.prepared.take()
    }

    fn drop_prepared(&mut self) {
        self.take_prepared().into_iter().for_each(Prepared::discard);
    }

    pub(super) fn nonce(&self) -> Nonce {
        self.ids.nonce()
    }

    /// Before ordinals run out, a new lane begins.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        if self.ids.is_nearly_used_up() && self.gap_id.is_none() {
            self.abandon();
            self.drop_prepared();
            self.ids.renew()?;
        }
        Ok(())
    }

    /// For the sealer.
    pub(super) fn own_lane(&self) -> OwnLane {
        let lane = self.lane.as_ref();
        let is_complete = self.closed && self.gap_id.is_none();
        OwnLane {
            nonce: self.ids.nonce(),
            files: self.retired.iter().cloned().chain(lane.map(Lane::own_file)).collect(),
            current: lane.filter(|_| !is_complete).map(|lane| lane.file().path.clone()),
            end: self.boundary.unwrap_or(u64::MAX),
        }
    }

    /// A file is sealed whole and gone.
    pub(super) fn forget(&mut self, path: &str) {
        self.retired.retain(|own| *own.file.path != *path);
    }

    /// Somebody took the file away that is being written: the next record goes into a new one.
    pub(super) fn displace(&mut self, path: &str) {
        if self.lane.as_ref().is_some_and(|lane| *lane.file().path == *path) {
            self.disturbed += 1;
            self.abandon();
        }
    }
}
