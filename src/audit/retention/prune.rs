//! Carries a plan out, in an order that a crash at any point does not harm:
//!
//! `write(pruned/<first>.idx)`, `fsync` — for each segment of a run;
//! `audit.pruned` recorded;
//! `unlink(<first>.jsonl.zst)`, `unlink(<first>.jsonl)`, `fsync(segments)`, `unlink(<first>.idx)`
//!
//! Before the record, a crash leaves copies of indexes beside whole segments; after it, segments that are on record as
//! pruned and still there. Both are put right by [`tidy`] and the next pruning.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    HOLDS, PruneOptions, Recorder, Retention, RetentionError, object,
    plan::Plan,
    stock::{self, Closed, Part},
};
use crate::audit::{
    event::Kind,
    files::{self, Disk, PRUNED, SEGMENTS},
    privacy::{KeyDirectory, Span},
};

/// What was pruned, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pruned {
    /// Segments that went, in runs that follow each other.
    pub runs: Vec<PrunedRun>,
    /// First `seq` of segments that stay because of a hold alone.
    pub held: Vec<u64>,
    /// The periods whose keys were destroyed.
    pub keys: Vec<String>,
    /// The periods whose keys stay because of a hold alone.
    pub held_keys: Vec<String>,
    /// What all segments take now, in bytes.
    pub bytes_left: u64,
    /// Whether this is only what would go.
    pub dry_run: bool,
}

/// Segments without a gap between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedRun {
    /// The `seq` of the first record.
    pub first_seq: u64,
    /// The `seq` of the last one.
    pub last_seq: u64,
    /// How many segments.
    pub segments: u64,
    /// How many records.
    pub records: u64,
    /// The earliest time of a record.
    pub first_time: Option<Timestamp>,
    /// The latest time of a record.
    pub last_time: Option<Timestamp>,
}

impl PrunedRun {
    fn of(run: &[Closed]) -> Self {
        Self {
            first_seq: run.first().map_or(0, |closed| closed.first),
            last_seq: run.last().map_or(0, |closed| closed.end.saturating_sub(1)),
            segments: run.len() as u64,
            records: run.iter().map(|closed| closed.records).sum(),
            first_time: run.iter().filter_map(|closed| closed.first_time).min(),
            last_time: run.iter().filter_map(|closed| closed.last_time).max(),
        }
    }
}

pub(super) fn prune(
    retention: &Retention,
    options: &PruneOptions,
    now: Timestamp,
    record: &mut Recorder<'_>,
) -> Result<Pruned, RetentionError> {
    let disk = retention.disk.as_ref();
    let holds = retention.holds()?;
    let parts = stock::parts(&retention.directory, &holds)?;
    if !options.dry_run {
        tidy(disk, &parts).map_err(RetentionError::io("ending what an earlier pruning began"))?;
    }
    let keys = match &retention.keys {
        Some(path) if options.keys_older_than_s.is_some() => Some(KeyDirectory::read(path)?),
        _ => None,
    };
    let known: Vec<Span> = keys.as_ref().map(KeyDirectory::keys).transpose()?.unwrap_or_default();
    let plan = Plan::new(parts, &holds, &known, options, now);
    let mut pruned =
        Pruned { held: plan.held, held_keys: plan.held_keys, dry_run: options.dry_run, ..Pruned::default() };
    for run in &plan.runs {
        let told = PrunedRun::of(run);
        if !options.dry_run {
            remove_run(disk, run, &told, options, record)?;
        }
        pruned.runs.push(told);
    }
    if let Some(keys) = keys.filter(|_| !options.dry_run && !plan.keys.is_empty()) {
        let detail = json!({ "keys": plan.keys, "asked": options });
        record(Kind::AuditPruned, object(detail)).map_err(RetentionError::Record)?;
        plan.keys.iter().try_for_each(|label| keys.destroy(label))?;
    }
    pruned.keys = plan.keys;
    pruned.bytes_left = plan.bytes_left;
    Ok(pruned)
}

fn remove_run(
    disk: &dyn Disk,
    run: &[Closed],
    told: &PrunedRun,
    options: &PruneOptions,
    record: &mut Recorder<'_>,
) -> Result<(), RetentionError> {
    disk.make_folder(PRUNED).map_err(RetentionError::io("making `pruned`"))?;
    for Closed { first, .. } in run {
        keep_index(disk, *first)
            .map_err(RetentionError::io(format!("keeping the index of segment {first}")))?;
    }
    let mut detail = object(json!(told));
    detail.insert("asked".to_owned(), json!(options));
    record(Kind::AuditPruned, detail).map_err(RetentionError::Record)?;
    for Closed { first, .. } in run {
        remove_data(disk, *first).map_err(RetentionError::io(format!("removing segment {first}")))?;
    }
    Ok(())
}

fn keep_index(disk: &dyn Disk, first: u64) -> io::Result<()> {
    let name = index_name(first);
    let bytes = disk.read(&files::join(SEGMENTS, &name))?.ok_or(io::ErrorKind::NotFound)?;
    files::replace(disk, PRUNED, &name, &bytes)
}

fn remove_data(disk: &dyn Disk, first: u64) -> io::Result<()> {
    for suffix in [".jsonl.zst", ".jsonl"] {
        remove_if_there(disk, &format!("{SEGMENTS}/{first:020}{suffix}"))?;
    }
    // An index without data says that it was pruned; data without an index would look open.
    disk.sync_folder(SEGMENTS)?;
    remove_if_there(disk, &format!("{SEGMENTS}/{}", index_name(first)))
}

fn remove_if_there(disk: &dyn Disk, path: &str) -> io::Result<()> {
    if disk.identity(path)?.is_some() { disk.remove(path) } else { Ok(()) }
}

fn index_name(first: u64) -> String {
    format!("{first:020}.idx")
}

/// Puts right what a crash left: an index kept in `pruned/` of a segment that is still there goes, and so does the
/// index in `segments/` of one whose data is gone, as well as drafts.
fn tidy(disk: &dyn Disk, parts: &[Part]) -> io::Result<()> {
    for name in disk.list(PRUNED)? {
        let Some(first) = name.strip_suffix(".idx").and_then(|digits| digits.parse::<u64>().ok()) else {
            continue;
        };
        if parts.iter().any(|part| part.first == first) {
            disk.remove(&files::join(PRUNED, &name))?;
        } else {
            remove_if_there(disk, &files::join(SEGMENTS, &name))?;
        }
    }
    for folder in [HOLDS, PRUNED] {
        for name in disk.list(folder)?.iter().filter(|name| name.ends_with(".new")) {
            disk.remove(&files::join(folder, name))?;
        }
    }
    Ok(())
}
