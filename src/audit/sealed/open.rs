//! What a starting process makes of the store that is there.
//!
//! Only indexes, partial tiles and the last segment are read. A tree goes on when the newest checkpoint is signed by
//! the key, the lines have its root, and the witness outside knows nothing newer; otherwise a new epoch begins, and
//! says why.

use std::{io, sync::Arc};

use jiff::Timestamp;

use super::{
    epoch::{Epoch, Epochs, origin},
    key::{self, Standing},
    listing::{self, Closed, Entry},
    pending::Pending,
    resume::{Continued, continue_tree},
    scan::Scan,
    segment::{Resumed, Segment, set_tail_aside},
    store::{SealOptions, Sealed},
    tree,
    witness::Witness,
};
use crate::audit::{
    EventId,
    files::{Disk, read_full_at},
    merkle::{Frontier, Range, Signer},
    problem::Problem,
};

/// Problems that are told one by one.
const MAX_PROBLEMS: usize = 64;
/// How far the numbers of a new epoch are from those that an older copy may lack.
const OLDER_COPY_GAP: u64 = 1_000_000;
/// Bytes that every record takes at least.
const LEAST_RECORD: u64 = 100;

/// What was found and done when the store was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::audit) struct Found {
    /// The `seq` of the last line; 0 when the log is new.
    pub(in crate::audit) last_seq: u64,
    /// The latest time that is known of.
    pub(in crate::audit) last_time: Option<Timestamp>,
    /// The largest revision in the indexes and the last segment.
    pub(in crate::audit) last_revision: u64,
    /// Segments there were.
    pub(in crate::audit) segments: usize,
    /// Bytes after the last whole record that were cut and set aside.
    pub(in crate::audit) torn_bytes: u64,
    /// Damage, in the order it was found.
    pub(in crate::audit) problems: Vec<Problem>,
    /// The caller's lines in the newest checkpoint that can be trusted.
    pub(in crate::audit) extensions: Vec<String>,
    /// The ids of the lines beyond this checkpoint that are in the store and stay there.
    pub(in crate::audit) tail_ids: Vec<EventId>,
    /// The epoch that the store is in now.
    pub(in crate::audit) epoch: u64,
    /// Why this epoch has just begun, when it is not the first of a new log.
    pub(in crate::audit) new_epoch: Option<String>,
}

impl Found {
    pub(super) fn report(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// All that is known before it is decided whether the tree goes on.
pub(super) struct Survey {
    pub(super) entries: Vec<Entry>,
    pub(super) epochs: Epochs,
    pub(super) signer: Signer,
    /// The last segment, when it is plain.
    pub(super) last: Option<Scan>,
    pub(super) witness: Option<Witness>,
    closed: Closed,
    /// Why the tree cannot go on, whatever the checkpoint says.
    reasons: Vec<String>,
    /// Nothing was there.
    is_new: bool,
}

impl Sealed {
    /// Opens the store of the directory, or makes it.
    ///
    /// # Errors
    /// When the directory cannot be read or written, or the key is open to others than its owner. Damage is none.
    pub(in crate::audit) fn open(
        disk: Arc<dyn Disk>,
        options: SealOptions,
        now: Timestamp,
    ) -> io::Result<(Self, Found)> {
        disk.claim()?;
        let mut found = Found::default();
        let survey = survey(disk.as_ref(), &options, &mut found)?;
        let continued = match survey.epochs.newest() {
            Some(epoch) if survey.reasons.is_empty() => {
                continue_tree(disk.as_ref(), &survey, epoch.clone(), now, &mut found)
            }
            _ => Err(survey.reasons.join("; ")),
        };
        let older = older_copy(&survey, continued.as_ref().ok());
        match (continued, older) {
            (Ok(continued), None) => go_on(disk, options, survey, continued, found),
            (continued, older) => begin_epoch(disk, options, survey, continued, older, now, found),
        }
    }
}

fn survey(disk: &dyn Disk, options: &SealOptions, found: &mut Found) -> io::Result<Survey> {
    let entries = listing::read(disk)?;
    let epochs = Epochs::read(disk, &mut found.problems)?;
    found.segments = entries.len();
    let mut reasons = Vec::new();
    let is_new = epochs.largest == 0 && entries.is_empty();
    if epochs.largest == 0 && !is_new {
        reasons.push("the records before this were not sealed".to_owned());
    } else if epochs.newest().is_none() && !is_new {
        reasons.push("the file of the last epoch is damaged".to_owned());
    }
    let signer = own_key(disk, options, &epochs, found, &mut reasons)?;
    key::publish(disk, &signer, &mut found.problems)?;
    let mut closed = listing::look_over(disk, &entries, &epochs, found);
    let last = last_segment(disk, &entries, &mut closed, found, &mut reasons);
    let witness = options.witness.as_deref().and_then(|path| match Witness::read(path) {
        Ok(witness) => witness,
        Err(error) => {
            found.report(Problem::File { path: path.display().to_string(), what: error.to_string() });
            None
        }
    });
    Ok(Survey { entries, epochs, signer, last, witness, closed, reasons, is_new })
}

/// Loads the key, or makes one. A key that was lost cannot be had back: the log goes on under its name with another.
fn own_key(
    disk: &dyn Disk,
    options: &SealOptions,
    epochs: &Epochs,
    found: &mut Found,
    reasons: &mut Vec<String>,
) -> io::Result<Signer> {
    match key::load(disk)? {
        Standing::Known(signer) => return Ok(*signer),
        Standing::Missing if epochs.largest == 0 => {}
        Standing::Missing => reasons.push("the signing key was missing".to_owned()),
        Standing::Damaged(what) => {
            found.report(key::damaged(&what));
            reasons.push("the signing key was damaged".to_owned());
        }
    }
    let base = match epochs.base() {
        Some(base) => base,
        None => key::new_origin(&options.edge)?,
    };
    key::make(disk, &base)
}

/// Reads the last segment when it is plain.
fn last_segment(
    disk: &dyn Disk,
    entries: &[Entry],
    closed: &mut Closed,
    found: &mut Found,
    reasons: &mut Vec<String>,
) -> Option<Scan> {
    let entry = entries.last().filter(|entry| entry.plain)?;
    match Scan::read(disk, entry.first) {
        Ok(scan) => {
            let heads = scan.lines.iter().filter_map(|line| line.head.as_ref());
            for head in heads {
                found.last_time = found.last_time.max(Some(head.time));
                found.last_revision = found.last_revision.max(head.revision.unwrap_or(0));
            }
            closed.next_seq = closed.next_seq.max(scan.next_seq());
            Some(scan)
        }
        Err(error) => {
            found.report(Problem::Unreadable { segment: entry.first, error: error.to_string() });
            reasons.push("the last segment cannot be read".to_owned());
            // Its records cannot have got further than this: a hole is better than a number given twice.
            let path = super::names::segment(entry.first, super::names::Form::Plain);
            let length = disk.open(&path).and_then(|file| file.state()).map_or(1 << 36, |state| state.length);
            closed.next_seq = closed.next_seq.max(entry.first.saturating_add(length / LEAST_RECORD));
            None
        }
    }
}

/// Whether the witness knows what this directory does not.
fn older_copy(survey: &Survey, continued: Option<&Continued>) -> Option<String> {
    let witness = survey.witness.as_ref()?;
    let epoch = survey.epochs.newest();
    let number = survey.epochs.largest;
    let size = continued.map_or(0, |continued| continued.tree.size());
    let of = format!("the witness knows epoch {} with {} records", witness.epoch, witness.size);
    if survey.is_new {
        return (witness.last_seq() > 0).then(|| format!("{of}, the directory is empty"));
    }
    if witness.epoch != number {
        return (witness.epoch > number).then(|| format!("{of}, the directory ends with epoch {number}"));
    }
    if epoch.is_some_and(|epoch| epoch.origin != witness.origin) {
        return Some(format!("{of} of another log, `{}`", witness.origin));
    }
    let continued = continued?;
    if witness.size > size {
        return Some(format!("{of}, the directory has {size}"));
    }
    (continued.witnessed == Some(false)).then(|| format!("{of} and another root at this size"))
}

/// The tree goes on: the lines beyond the checkpoint are kept, what is torn is cut.
fn go_on(
    disk: Arc<dyn Disk>,
    options: SealOptions,
    survey: Survey,
    continued: Continued,
    mut found: Found,
) -> io::Result<(Sealed, Found)> {
    let Continued { epoch, tree, note, extensions, local, .. } = continued;
    let mut pending = Pending::default();
    let (mut segment, mut retired) = (None, None);
    if let Some(scan) = survey.last.filter(|scan| scan.first >= epoch.first_seq) {
        let kept = scan.sound_from(local);
        let (sealed, end) = (scan.end_of(local), scan.end_of(local + kept));
        pending = Pending::of_earlier(read_range(&scan, sealed, end)?, kept as u64);
        let tail = scan.lines.iter().skip(local).take(kept);
        found.tail_ids = tail.filter_map(|line| line.head.as_ref().map(|head| head.id)).collect();
        let is_cut = cut_tail(disk.as_ref(), &scan, end, &mut found);
        let mut range = Range::new(scan.first - epoch.first_seq);
        scan.lines.iter().take(local).for_each(|line| range.push(line.leaf));
        let started = scan.lines.first().and_then(|line| line.head.as_ref()).map(|head| head.time);
        let (first, file) = (scan.first, scan.file);
        let resumed = Segment::resume(Resumed { file, first, sealed, written: end, started, range })?;
        match is_cut {
            true => segment = Some(resumed),
            // Its tail stays; the name of the next segment tells readers that nothing follows here.
            false if sealed > 0 => retired = Some(resumed),
            false => {}
        }
    }
    found.last_seq = epoch.seq_after(tree.size()).saturating_add(pending.lines()).saturating_sub(1);
    found.epoch = epoch.number;
    found.extensions.clone_from(&extensions);
    let sealed = Sealed {
        disk,
        options,
        signer: survey.signer,
        epoch,
        tree,
        segment,
        retired,
        pending,
        note,
        extensions,
        unsettled: None,
        unsynced: false,
        closed: survey.closed.jobs,
        witness_trouble: None,
        disturbed: 0,
    };
    Ok((sealed, found))
}

/// Sets aside what is in the last segment after byte `end`; says whether the segment ends there now.
fn cut_tail(disk: &dyn Disk, scan: &Scan, end: u64, found: &mut Found) -> bool {
    if scan.length == end {
        return true;
    }
    match set_tail_aside(disk, scan.file.as_ref(), scan.first, end, scan.length) {
        Ok(()) => {
            found.torn_bytes = scan.length - end;
            true
        }
        Err(error) => {
            let error = format!("torn tail: {error}");
            found.report(Problem::Unreadable { segment: scan.first, error });
            false
        }
    }
}

fn read_range(scan: &Scan, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    if read_full_at(scan.file.as_ref(), &mut bytes, from)? != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// The tree cannot go on: a new one begins, after all numbers that may have been given.
///
/// Calls: epoch file, then its checkpoint of size 0 (each: draft, fdatasync, rename, fsync folder). An epoch without
/// checkpoint and segment is one that was about to begin.
fn begin_epoch(
    disk: Arc<dyn Disk>,
    options: SealOptions,
    survey: Survey,
    continued: Result<Continued, String>,
    older: Option<String>,
    now: Timestamp,
    mut found: Found,
) -> io::Result<(Sealed, Found)> {
    let witnessed = survey.witness.as_ref().map_or(0, |witness| witness.last_seq().saturating_add(1));
    let known = [survey.closed.next_seq, witnessed, known_from_checkpoints(disk.as_ref(), &survey.epochs)];
    let mut first_seq = known.into_iter().max().unwrap_or(1).max(1);
    found.last_seq = survey.closed.next_seq.saturating_sub(1);
    let mut reason = "first start".to_owned();
    if let Some(why) = older {
        first_seq = first_seq.saturating_add(OLDER_COPY_GAP);
        reason = format!("the directory is an older copy: {why}");
        found.report(Problem::OlderCopy(why));
    } else if !survey.is_new {
        reason = continued.as_ref().err().cloned().unwrap_or_default();
    }
    if let Some(scan) = &survey.last {
        leave_behind(disk.as_ref(), scan, continued.as_ref().ok(), &mut found);
    }
    let witness_epoch = survey.witness.as_ref().map_or(0, |witness| witness.epoch.min(u64::MAX / 2));
    let number = survey.epochs.largest.max(witness_epoch).saturating_add(1);
    let extensions = match continued {
        Ok(continued) => continued.extensions,
        Err(_) => std::mem::take(&mut found.extensions),
    };
    let origin = origin(survey.signer.name(), number);
    if reason != "first start" {
        found.new_epoch = Some(reason.clone());
    }
    let epoch = Epoch { number, origin, first_seq, started: now, reason };
    epoch.write(disk.as_ref())?;
    let tree = Frontier::new();
    let note = tree::sign(&epoch, &survey.signer, &tree, now, &extensions);
    super::place::put(disk.as_ref(), &tree::checkpoint_path(number), note.as_bytes())?;
    found.epoch = number;
    found.extensions.clone_from(&extensions);
    let mut sealed = Sealed {
        disk,
        options,
        signer: survey.signer,
        epoch,
        tree,
        segment: None,
        retired: None,
        pending: Pending::default(),
        note,
        extensions,
        unsettled: None,
        unsynced: false,
        closed: survey.closed.jobs,
        witness_trouble: None,
        disturbed: 0,
    };
    sealed.tell_witness();
    Ok((sealed, found))
}

/// The last segment of an epoch that ends. Lines beyond a checkpoint that fits are set aside, so that they can be
/// sealed in the new epoch; where nothing fits everything stays, and counts as being there.
fn leave_behind(disk: &dyn Disk, scan: &Scan, continued: Option<&Continued>, found: &mut Found) {
    match continued {
        Some(continued) => {
            cut_tail(disk, scan, scan.end_of(continued.local), found);
        }
        None => {
            found.tail_ids =
                scan.lines.iter().filter_map(|line| line.head.as_ref().map(|head| head.id)).collect();
        }
    }
}

/// The `seq` after the last one that any checkpoint of the last epoch covers.
fn known_from_checkpoints(disk: &dyn Disk, epochs: &Epochs) -> u64 {
    let Some(epoch) = epochs.known.last() else { return 1 };
    let kept = tree::kept_sizes(disk, epoch.number).unwrap_or_default();
    let sizes = kept.into_iter().chain(tree::signed_size(disk, epoch.number));
    epoch.seq_after(sizes.max().unwrap_or(0).min(u64::MAX / 4))
}
