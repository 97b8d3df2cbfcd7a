//! Whether this process seals, and what it seals with.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};

use super::{
    archives::Archives,
    beside::sealed_beside,
    files::Disk,
    handover::{OwnFile, OwnLane, Setup},
    journal::LaneReader,
    options::{MIN_SEGMENT_BYTES, Options},
    problem::Problem,
    recovery::Recovery,
    sealed::{Archive, SealOptions, Sealed},
    sealer::{Passed, Sealer},
};
use crate::background::{self, Backlog};
use crate::limits;

/// A segment that is not full is closed at this age, so that pruning by age comes to it.
const SEGMENT_AGE: SignedDuration = SignedDuration::from_hours(24);

/// The sealed log, once this process has it.
pub(super) struct Sealing {
    disk: Arc<dyn Disk>,
    setup: Arc<Setup>,
    options: SealOptions,
    /// Whether another process may have the directory.
    succeed: bool,
    role: Mutex<Role>,
    archives: Archives,
    last_seq: AtomicU64,
    failing: AtomicBool,
    disturbed: AtomicU64,
}

enum Role {
    /// Another process still seals, or the sealed log could not be opened yet.
    Waiting,
    Sealing(Box<Sealer>),
    Closed,
}

impl Sealing {
    pub(super) fn new(disk: Arc<dyn Disk>, setup: &Arc<Setup>, options: &Options) -> Self {
        let witness: Option<PathBuf> = options.witness.clone();
        Self {
            disk,
            setup: Arc::clone(setup),
            options: SealOptions {
                edge: options.edge.clone(),
                segment_bytes: options.segment_bytes.max(MIN_SEGMENT_BYTES),
                segment_age: SEGMENT_AGE,
                witness,
            },
            succeed: options.succeed,
            role: Mutex::new(Role::Waiting),
            archives: Archives::default(),
            last_seq: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            disturbed: AtomicU64::new(0),
        }
    }

    /// The `seq` of the last record under a checkpoint.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Relaxed)
    }

    /// How often a sealed file was deleted or changed by somebody else.
    pub(super) fn disturbed(&self) -> u64 {
        self.disturbed.load(Ordering::Relaxed)
    }

    /// Whether the last attempt to seal succeeded.
    pub(super) fn is_ok(&self) -> bool {
        !self.failing.load(Ordering::Relaxed)
    }

    /// Opens the sealed log and seals what is in the journal. Fine when another process has it and may have it.
    pub(super) fn take_over(&self, now: Timestamp, own: &OwnLane, recovery: &mut Recovery) -> io::Result<()> {
        let mut role = self.lock();
        let mut passed = self.open(&mut role, now, own, recovery).unwrap_or_else(Passed::failed);
        self.failing.store(passed.error.is_some(), Ordering::Relaxed);
        passed.error.take().map_or(Ok(()), Err)
    }

    fn open(
        &self,
        role: &mut Role,
        now: Timestamp,
        own: &OwnLane,
        recovery: &mut Recovery,
    ) -> io::Result<Passed> {
        if let Err(error) = self.disk.claim() {
            return if self.succeed { Ok(Passed::default()) } else { Err(error) };
        }
        let (sealed, found) = Sealed::open(Arc::clone(&self.disk), self.options.clone(), now)?;
        let disks = self.setup.disks.clone();
        let kept = found.tail_ids.iter().copied();
        let mut sealer = Sealer::new(sealed, disks, self.options.segment_bytes, &found.extensions, kept);
        let mut passed = Passed::default();
        loop {
            let next = sealer.pass(own, now).unwrap_or_else(Passed::failed);
            let goes_on = next.more && next.error.is_none();
            passed.absorb(next);
            if !goes_on {
                break;
            }
        }
        passed.note(sealer.clear_drafts());
        recovery.journaled += passed.records;
        recovery.last_seq = sealer.sealed().next_seq() - 1;
        recovery.last_time = sealer.last_time().or(found.last_time);
        recovery.last_revision = found.last_revision.max(sealer.last_revision());
        recovery.segments = found.segments;
        recovery.torn_bytes = found.torn_bytes + sealer.torn_bytes;
        recovery.epoch = found.epoch;
        recovery.new_epoch = found.new_epoch;
        recovery.problems = found.problems;
        recovery.problems.append(&mut sealer.problems);
        self.last_seq.store(sealer.sealed().committed_seq(), Ordering::Relaxed);
        *role = Role::Sealing(Box::new(sealer));
        Ok(passed)
    }

    /// Seals what is in the journal now.
    pub(super) fn pass(&self, own: &OwnLane, now: Timestamp) -> Passed {
        let mut role = self.lock();
        let mut passed = match &mut *role {
            Role::Sealing(sealer) => {
                self.disk.claim().and_then(|()| sealer.pass(own, now)).unwrap_or_else(Passed::failed)
            }
            Role::Waiting => self.step_in(&mut role, own, now),
            Role::Closed => Passed::default(),
        };
        if let Role::Sealing(sealer) = &mut *role {
            self.failing.store(passed.error.is_some(), Ordering::Relaxed);
            self.last_seq.store(sealer.sealed().committed_seq(), Ordering::Relaxed);
            self.disturbed.store(sealer.sealed().disturbed(), Ordering::Relaxed);
            let full = sealer.sealed_mut().full_segments();
            self.archives.add(full);
            let damage = tell(std::mem::take(&mut sealer.problems)).or(passed.trouble.take());
            passed.trouble = damage.or_else(|| sealer.sealed().witness_trouble().map(ToOwned::to_owned));
        }
        // Whatever keeps sealing from going on, nothing more may be recorded where it would not be found.
        let displaced = passed.note(displaced(own)).flatten();
        passed.displaced.extend(displaced);
        passed
    }

    /// Seals what there is once nobody else does.
    fn step_in(&self, role: &mut Role, own: &OwnLane, now: Timestamp) -> Passed {
        let mut recovery = Recovery::default();
        let mut passed = self.open(role, now, own, &mut recovery).unwrap_or_else(Passed::failed);
        self.failing.store(passed.error.is_some(), Ordering::Relaxed);
        if let Some(reason) = recovery.new_epoch {
            tracing::warn!(epoch = recovery.epoch, %reason, "a new epoch of the audit log began at a take-over");
        }
        passed.trouble = tell(recovery.problems).or(passed.trouble.take());
        if matches!(role, Role::Waiting) && passed.error.is_none() {
            let finished = passed.note(sealed_beside(self.disk.as_ref(), own));
            passed.finished.extend(finished.unwrap_or_default());
        }
        passed
    }

    /// The segments that are full and to be compressed now.
    pub(super) fn full_segments(&self, now: Timestamp) -> Vec<Archive> {
        self.archives.take(now)
    }

    /// Compresses them.
    pub(super) fn archive(&self, jobs: Vec<Archive>, now: Timestamp) -> io::Result<()> {
        let mut outcome = Ok(());
        for (left, job) in (1..=jobs.len()).rev().zip(jobs) {
            let waiting = left + self.archives.waiting();
            background::keep_up(Backlog::of(waiting, limits::LARGE_UNCOMPRESSED, limits::HUGE_UNCOMPRESSED));
            if let Err(error) = job.run(self.disk.as_ref()) {
                self.archives.put_back(job, &error, now);
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Ends the sealed log and lets go of the directory.
    pub(super) fn close(&self, now: Timestamp) -> io::Result<()> {
        let mut role = self.lock();
        let outcome = match std::mem::replace(&mut *role, Role::Closed) {
            Role::Sealing(mut sealer) => {
                let closed = background::hurried(|| sealer.close(now));
                let full = sealer.sealed_mut().full_segments();
                self.archives.add(full);
                closed.and(background::hurried(|| self.archive(self.full_segments(now), now)))
            }
            Role::Waiting | Role::Closed => Ok(()),
        };
        self.disk.release();
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Role> {
        self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of this process that is being written, if somebody has taken it away or spoilt its beginning, without which
/// nothing in it is found after a crash.
fn displaced(own: &OwnLane) -> io::Result<Option<Arc<str>>> {
    let is_current = |known: &&OwnFile| own.current.as_ref() == Some(&known.file.path);
    for OwnFile { file, .. } in own.files.iter().filter(is_current) {
        if !file.is_in_place()? || LaneReader::open(file.file.as_ref())?.is_none() {
            return Ok(Some(Arc::clone(&file.path)));
        }
    }
    Ok(None)
}

/// Says in the log of the process what was found to be damaged since the start, and returns the last of it.
fn tell(problems: Vec<Problem>) -> Option<String> {
    problems.iter().for_each(|problem| tracing::error!(%problem, "the audit log is damaged"));
    problems.last().map(ToString::to_string)
}
