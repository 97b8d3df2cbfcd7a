//! Verifies a log offline, with nothing but the public key.
//!
//! ```text
//! moment   what there is, as of one moment: the log may be written to meanwhile
//! signed   checkpoints: what the log signed, and the epoch files that must agree
//! scan     each segment's lines -> leaf hashes, what its index must say, ids        all processors
//! join     leaf hashes and index hashes -> the signed roots: which of two accounts is true
//! tiles    tiles against the lines; where lines are at fault, tiles say where
//! ids      every process's ids: no repeats, and holes only where gap records count them
//! ```
//!
//! The signed roots are the truth. Lines that lead to them are right, and a tile or an index that says otherwise is
//! at fault; lines that do not are at fault, and what their index and tiles say of them tells which.
//!
//! What looks wrong in a log that has moved meanwhile is verified anew, and is wrong when it is there again.

mod epoch;
mod ids;
pub(in crate::audit) mod index;
mod join;
pub(in crate::audit) mod layout;
mod leaves;
mod locate;
mod moment;
mod pool;
mod report;
mod scan;
pub(in crate::audit) mod signed;
mod tiles;

#[cfg(test)]
mod moving_tests;
#[cfg(test)]
pub(in crate::audit) mod sample;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tamper_tests;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    path::{Path, PathBuf},
};

pub use report::{EpochReport, Finding, Report, VerifyError};

use self::{
    ids::Ids,
    layout::{Content, SegmentFiles},
    moment::Moment,
    signed::Signed,
};
use super::merkle::{Checkpoint, Signer, Verifier};
use crate::limits;

/// What to verify against.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// The log's public key. Without one `log.pub` of the directory is taken: that finds damage, but no log that
    /// somebody made anew with a key of their own.
    pub key: Option<Verifier>,
    /// A checkpoint (signed note) that was kept elsewhere: the log must begin with what it signs.
    pub since: Option<PathBuf>,
}

/// Public key file.
const PUBLIC_KEY: &str = "log.pub";
/// Private key file, which need not be there.
const PRIVATE_KEY: &str = "log.key";
/// Bytes of the longest key file.
const MAX_KEY: u64 = 4096;
/// Epochs that are told to be missing, one by one.
const MAX_MISSING_EPOCHS: usize = 100;

struct Context<'c> {
    directory: &'c Path,
    progress: &'c dyn Fn(u64, u64),
    /// The epoch that the log is in.
    newest: u64,
    /// Whether a segment has begun behind the last one that is verified.
    went_on: bool,
    /// Bytes of all segments, and of those that are done.
    total: u64,
    done: Cell<u64>,
}

/// Verifies the log in `directory`. `progress` is told the bytes done and all bytes, from the calling thread, and
/// begins anew when the log is verified anew.
///
/// # Errors
/// When the directory cannot be listed, the trusted checkpoint is not one of this log, or the log moved too much. What
/// is wrong with the log itself is a finding of the report.
pub fn verify(
    directory: &Path,
    options: &VerifyOptions,
    progress: &dyn Fn(u64, u64),
) -> Result<Report, VerifyError> {
    std::fs::read_dir(directory).map_err(report::io_error(directory))?;
    again(directory, &|moment| verify_moment(directory, moment, options, progress))
}

/// Verifies until nothing looks wrong, or something does that is not due to the log being written to meanwhile.
fn again(
    directory: &Path,
    run: &dyn Fn(&Moment) -> Result<Report, VerifyError>,
) -> Result<Report, VerifyError> {
    let mut before = Report::default();
    for _ in 0..limits::VERIFY_RUNS {
        let moment = Moment::take(directory)?;
        let report = run(&moment)?;
        if report.is_sound() || moment.is_same(&Moment::take(directory)?) {
            return Ok(report);
        }
        if let Some(confirmed) = report.clone().confirmed_by(&before) {
            return Ok(confirmed);
        }
        before = report;
    }
    let last = before.findings.last().map(ToString::to_string).unwrap_or_default();
    Err(VerifyError::Moved { runs: limits::VERIFY_RUNS, last })
}

fn verify_moment(
    directory: &Path,
    moment: &Moment,
    options: &VerifyOptions,
    progress: &dyn Fn(u64, u64),
) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    let Some(key) = key(directory, options, &mut report) else { return Ok(report) };
    let segments = &moment.segments;
    let numbers: Vec<u64> = moment.trees.iter().map(|tree| tree.epoch).collect();
    for folder in layout::no_folders(directory, &numbers) {
        report.find(Finding::new(folder, "it is no folder"));
    }
    let context = Context {
        directory,
        progress,
        newest: numbers.last().copied().unwrap_or(0),
        went_on: moment.went_on,
        total: segments.iter().map(SegmentFiles::length).sum(),
        done: Cell::new(0),
    };
    let signed = |tree| Signed::read(directory, tree, &key, &mut report);
    let mut epochs: Vec<(u64, Signed)> =
        numbers.iter().copied().zip(moment.trees.iter().map(signed)).collect();
    if epochs.is_empty() {
        report.find(Finding::new("epochs", "the log has no epoch: it was never sealed, or its tree is gone"));
    }
    if let Some(since) = &options.since {
        trust(since, &key, &mut epochs, &mut report)?;
    }
    strays(&epochs, segments, &mut report);
    let mut ids = Ids::default();
    for ((tree, (_, signed)), (from, to)) in moment.trees.iter().zip(&epochs).zip(bounds(&epochs)) {
        let own: Vec<SegmentFiles> =
            segments.iter().filter(|files| (from..to).contains(&files.first)).copied().collect();
        epoch::verify_epoch(&context, tree, signed, &own, &mut ids, &mut report);
    }
    processes(&ids, &epochs, &mut report);
    Ok(report)
}

/// The first `seq` of each epoch's segments and the one after the last.
fn bounds(epochs: &[(u64, Signed)]) -> Vec<(u64, u64)> {
    let start = |(place, (_, signed)): (usize, &(u64, Signed))| {
        signed.first_seq.unwrap_or(if place == 0 { 0 } else { u64::MAX })
    };
    let starts: Vec<u64> = epochs.iter().enumerate().map(start).collect();
    let ends = starts.iter().skip(1).copied().chain([u64::MAX]);
    starts.iter().copied().zip(ends).collect()
}

/// Epochs that are gone, and segments of no epoch.
fn strays(epochs: &[(u64, Signed)], segments: &[SegmentFiles], report: &mut Report) {
    let newest = epochs.last().map_or(0, |(number, _)| *number);
    let missing = (1..newest).filter(|number| !epochs.iter().any(|(known, _)| known == number));
    for number in missing.take(MAX_MISSING_EPOCHS) {
        report.find(Finding::new(format!("epochs/{number}.json"), "the epoch is missing"));
    }
    let bounds = bounds(epochs);
    for files in segments {
        if !bounds.iter().any(|(from, to)| (*from..*to).contains(&files.first)) {
            let file = files.lines().unwrap_or_else(|| files.index());
            report.find(Finding::new(file, "the segment belongs to no epoch"));
        }
    }
}

/// The key to verify with: the given one, or that of the directory.
fn key(directory: &Path, options: &VerifyOptions, report: &mut Report) -> Option<Verifier> {
    let own = match layout::content(directory, PUBLIC_KEY, MAX_KEY) {
        Content::Missing => Err("the public key is missing".to_owned()),
        Content::Unreadable(why) => Err(why),
        Content::Bytes(bytes) => {
            let text = String::from_utf8(bytes).unwrap_or_default();
            Verifier::parse(&text).map(|key| (key, text.ends_with('\n'))).map_err(|error| error.to_string())
        }
    };
    let own = own.map(|(key, is_whole)| {
        if !is_whole {
            report.find(Finding::new(PUBLIC_KEY, "its last line has no end"));
        }
        if options.key.as_ref().is_some_and(|given| *given != key) {
            report.find(Finding::new(PUBLIC_KEY, "it is not the key that was given"));
        }
        key
    });
    let own = own.map_err(|what| report.find(Finding::new(PUBLIC_KEY, what))).ok();
    let key = options.key.clone().or(own)?;
    private_key(directory, &key, report);
    Some(key)
}

/// Only the owner can read the private key, and it need not be there; others verify without.
fn private_key(directory: &Path, key: &Verifier, report: &mut Report) {
    if std::fs::metadata(directory.join(PRIVATE_KEY)).is_ok_and(|there| !there.is_file()) {
        report.find(Finding::new(PRIVATE_KEY, "it is no file"));
    }
    let Content::Bytes(bytes) = layout::content(directory, PRIVATE_KEY, MAX_KEY) else { return };
    let text = String::from_utf8(bytes).unwrap_or_default();
    match Signer::parse(&text) {
        Err(error) => report.find(Finding::new(PRIVATE_KEY, error.to_string())),
        Ok(_) if !text.ends_with('\n') => {
            report.find(Finding::new(PRIVATE_KEY, "its last line has no end"));
        }
        Ok(signer) if signer.verifier() != *key => {
            report.find(Finding::new(PRIVATE_KEY, "it is not the key of this log"));
        }
        Ok(_) => {}
    }
}

/// Adds the root of a checkpoint that was kept elsewhere.
fn trust(
    since: &Path,
    key: &Verifier,
    epochs: &mut [(u64, Signed)],
    report: &mut Report,
) -> Result<(), VerifyError> {
    let note = layout::read(since, signed::MAX_NOTE)?;
    let note = note.ok_or_else(|| VerifyError::Since(format!("`{}` is not there", since.display())))?;
    let mut why = "the log has no epoch".to_owned();
    for (number, signed) in epochs {
        match Checkpoint::open(&note, &key.with_name(&signed::origin(key.name(), *number))) {
            Ok(checkpoint) => {
                signed.trust(since, checkpoint.size, checkpoint.root, report);
                return Ok(());
            }
            Err(error) => why = error.to_string(),
        }
    }
    Err(VerifyError::Since(format!("`{}`: {why}", since.display())))
}

/// What the ids tell of records that are not there.
fn processes(ids: &Ids, epochs: &[(u64, Signed)], report: &mut Report) {
    report.processes = ids.processes();
    report.missed = ids.missed();
    if report.missed > 0 {
        report.note(format!("{} events have no record of their own: gap records count them", report.missed));
    }
    for process in ids.unexplained() {
        let name = format!("process {:010x}", process.nonce);
        if process.is_pruned() {
            let pruned = process.holes - process.missed;
            report.note(format!("{name}: {pruned} ids have no record here: they may be in pruned segments"));
            continue;
        }
        let elsewhere = match process.may_be_pruned {
            0 => String::new(),
            count => format!(", {count} more may be in pruned segments"),
        };
        let what = format!(
            "{name}: {} ids have no record, its gap records count {} events{elsewhere}",
            process.left(),
            process.missed
        );
        if epochs.last().is_some_and(|(_, signed)| signed.lanes.contains(&process.nonce)) {
            report.note(what);
        } else {
            report.find(Finding::new("segments", what));
        }
    }
}
