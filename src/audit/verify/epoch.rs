//! Verifies one epoch: its segments, joined to the roots that its checkpoints sign.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{
    Context,
    ids::Ids,
    index::{Claim, IndexCheck},
    join::Join,
    layout::SegmentFiles,
    locate::report_bad_lines,
    moment::TreeThen,
    pool::scan_all,
    report::{EpochReport, Finding, Report},
    scan::{Found, Scan, Task},
    signed::Signed,
    tiles::{Gone, TileCheck, partial_names, wanted},
};
use crate::audit::merkle::TileName;

/// Verifies an epoch with these segments, and takes their ids in.
pub(super) fn verify_epoch(
    context: &Context<'_>,
    tree: &TreeThen,
    signed: &Signed,
    segments: &[SegmentFiles],
    ids: &mut Ids,
    report: &mut Report,
) {
    let number = tree.epoch;
    let first_seq = signed.first_seq.or(segments.first().map(|first| first.first)).unwrap_or(1);
    report.epochs.push(EpochReport {
        epoch: number,
        first_seq,
        size: signed.size,
        root: signed.roots.get(&signed.size).copied(),
        reason: signed.reason.clone(),
    });
    let is_newest = number == context.newest;
    let went_on = context.went_on && is_newest;
    let plan = Plan::new(tree, first_seq, signed, segments, went_on);
    let gone = match segments.last() {
        Some(last) if is_newest && !went_on => Gone::After(last.first),
        _ => Gone::Known(went_on),
    };
    plan.report_ends(signed, segments, report);
    let mut check = EpochCheck {
        context,
        plan: &plan,
        signed,
        join: Join::new(&signed.roots),
        tiles: TileCheck::new(context.directory, number, &plan.tiles, gone),
        indexes: IndexCheck::default(),
        ids,
        report,
        done: Vec::new(),
    };
    if plan.tasks.first().map(|task| task.files.first) != Some(first_seq) {
        check.join.hole();
        check.tiles.stop();
    }
    let before = context.done.get();
    scan_all(
        context.directory,
        &plan.tasks,
        &|done| (context.progress)(before + done, context.total),
        |task, found| check.segment(task, found),
    );
    context.done.set(before + segments.iter().map(SegmentFiles::length).sum::<u64>());
    check.finish();
}

/// What belongs where.
struct Plan {
    epoch: u64,
    first_seq: u64,
    /// The `seq` that ends the sealed part.
    limit: u64,
    /// Partial tiles to compare, by the size of their tree.
    tiles: BTreeMap<u64, BTreeSet<TileName>>,
    /// Partial tiles of no tree that there was.
    strange: Vec<TileName>,
    tasks: Vec<Task>,
}

impl Plan {
    /// With `went_on`, a segment has begun behind the last one of these.
    fn new(
        tree: &TreeThen,
        first_seq: u64,
        signed: &Signed,
        segments: &[SegmentFiles],
        went_on: bool,
    ) -> Self {
        let epoch = tree.epoch;
        let last = segments.last().map_or(first_seq, |last| last.first);
        let limit = if signed.roots.is_empty() { last } else { first_seq.saturating_add(signed.size) };
        // Partial tiles are written when a segment begins and at an orderly stop.
        let starts = segments.iter().map(|files| files.first.saturating_sub(first_seq));
        let starts: BTreeSet<u64> = starts.filter(|size| *size <= signed.size).collect();
        let sizes = starts.iter().chain(signed.roots.keys()).copied().collect();
        let (tiles, mut strange) = wanted(&tree.partials, &sizes, starts.last().copied().unwrap_or(0));
        strange
            .retain(|tile| !tree.since.iter().any(|size| partial_names(*size).any(|other| other == *tile)));
        let ends = segments.iter().skip(1).map(|next| next.first).chain([limit]);
        let tasks = segments.iter().zip(ends).map(|(files, end)| {
            let end = end.min(limit).max(files.first);
            let span = files.first.saturating_sub(first_seq) + 1..=end.saturating_sub(first_seq);
            let roots = signed.roots.keys().chain(tiles.keys()).filter(|size| span.contains(size));
            let marks: BTreeSet<u64> = roots.copied().collect();
            // The index of the open segment came since: it may say more than was signed then.
            let has_index = files.first != last || files.plain.is_none() || files.index;
            let has_index = has_index && !(went_on && files.first == last);
            let marks = marks.into_iter().collect();
            Task { files: *files, epoch, epoch_first: first_seq, end, marks, has_index }
        });
        let tasks = tasks.collect();
        Self { epoch, first_seq, limit, tiles, strange, tasks }
    }

    /// A beginning that is not there, and an end that lies before what is there.
    fn report_ends(&self, signed: &Signed, segments: &[SegmentFiles], report: &mut Report) {
        let first = segments.first().map_or(self.limit, |first| first.first);
        if first > self.first_seq {
            let file = lines_file(self.first_seq);
            let records = (self.first_seq, first.min(self.limit).max(self.first_seq + 1) - 1);
            report.find(Finding::new(file, "the segment is missing").records(records.0, records.1));
        }
        for name in &self.strange {
            let file = format!("tree/{}/{}", self.epoch, name.path());
            report.find(Finding::new(file, "the tile belongs to no tree that was signed"));
        }
        let beyond = segments.iter().find(|files| files.first > self.limit);
        if let Some(files) = beyond.filter(|_| !signed.roots.is_empty()) {
            let what = format!(
                "rolled back: it ends before record {}, but a segment begins with record {}",
                self.limit, files.first
            );
            report.find(Finding::new(format!("tree/{}/checkpoint", self.epoch), what));
        }
    }
}

fn lines_file(first: u64) -> PathBuf {
    PathBuf::from(format!("segments/{first:020}.jsonl"))
}

struct EpochCheck<'c, 'r> {
    context: &'c Context<'c>,
    plan: &'c Plan,
    signed: &'c Signed,
    join: Join<'c>,
    tiles: TileCheck<'c>,
    indexes: IndexCheck,
    ids: &'r mut Ids,
    report: &'r mut Report,
    /// The segments so far, as they were found.
    done: Vec<Task>,
}

impl EpochCheck<'_, '_> {
    fn segment(&mut self, listed: &Task, found: Found) {
        let task = &Task { files: found.files, ..listed.clone() };
        self.done.push(task.clone());
        self.kept_checkpoint(task);
        let index = self.indexes.read(self.context.directory, task, self.report);
        let start = task.files.first - self.plan.first_seq;
        let claimed =
            index.as_ref().and_then(|index| index.range_from(start, task.end - self.plan.first_seq));
        let Some(mut scan) = found.scan else {
            self.gone(task, index.as_ref());
            self.join.segment(task.files.first, None, claimed.as_ref(), &[]);
            self.tiles.stop();
            return;
        };
        self.missing_end(task, &mut scan, index.as_ref().map(Claim::records));
        let complete = scan.is_complete(task);
        let range = scan.leaves.range();
        let lines = complete.then_some(&range);
        if lines.is_none() && claimed.is_none() {
            self.join.hole();
        }
        self.join.segment(task.files.first, lines, claimed.as_ref(), &scan.leaves.marks);
        if complete {
            self.tiles.segment(&scan);
        } else {
            self.tiles.stop();
        }
        self.account(task, scan, complete);
    }

    /// A segment without lines: pruned, or missing.
    fn gone(&mut self, task: &Task, index: Option<&Claim>) {
        // What was pruned while it was open a moment ago has no index of that moment.
        if task.files.is_pruned() && task.has_index {
            self.report.pruned_segments += 1;
            let has_gaps = index.is_none_or(Claim::has_gaps);
            self.ids.prune(task.end.saturating_sub(task.files.first), has_gaps);
        } else {
            let finding = Finding::new(lines_file(task.files.first), "the segment's lines are missing");
            let last = task.end.saturating_sub(1).max(task.files.first);
            self.report.find(finding.records(task.files.first, last));
        }
    }

    /// The checkpoint at the end of a segment is what makes its end certain.
    fn kept_checkpoint(&mut self, task: &Task) {
        let size = task.end - self.plan.first_seq;
        let is_closed = self.plan.tasks.last().is_some_and(|last| last.files.first != task.files.first);
        if is_closed && task.end > task.files.first && !self.signed.listed.contains(&size) {
            let file = format!("tree/{}/checkpoints/{size:020}", self.plan.epoch);
            self.report.find(Finding::new(file, "the checkpoint at the end of a segment is missing"));
        }
    }

    /// Records at the end of the segment that are not there: cut off, or in a segment that is gone.
    fn missing_end(&mut self, task: &Task, scan: &mut Scan, indexed: Option<u64>) {
        if scan.reached >= task.end || scan.broken {
            return;
        }
        let there = scan.reached - task.files.first;
        let ended_here = there > 0
            && (indexed == Some(there) || self.signed.kept.contains(&(scan.reached - self.plan.first_seq)));
        let is_last = self.plan.tasks.last().is_some_and(|last| last.files.first == task.files.first);
        // An open segment that ends where a checkpoint was kept may have been cut there.
        let next_is_missing = ended_here && (!is_last || indexed == Some(there));
        let (file, what) = if next_is_missing {
            (lines_file(scan.reached), "the segment is missing")
        } else {
            (task.files.lines().unwrap_or_default(), "records are missing at the end")
        };
        let finding = Finding::new(file, what).records(scan.reached, task.end - 1);
        let bytes = (scan.bytes.min(scan.text), scan.text.max(scan.bytes + 1));
        self.report.find(if next_is_missing { finding } else { finding.bytes(bytes.0, bytes.1) });
        if !next_is_missing {
            scan.pad(task);
        }
    }

    fn account(&mut self, task: &Task, scan: Scan, complete: bool) {
        let file = task.files.lines().unwrap_or_default();
        let is_last = self.plan.tasks.last().is_some_and(|last| last.files.first == task.files.first);
        if is_last && self.plan.epoch == self.context.newest {
            self.report.unsealed += scan.beyond;
        } else if scan.beyond > 0 {
            self.report.note(format!(
                "{}: {} records beyond its end were never sealed",
                file.display(),
                scan.beyond
            ));
        }
        if scan.torn > 0 {
            self.report.note(format!("{}: {} bytes at its end were never sealed", file.display(), scan.torn));
        }
        self.report.segments += 1;
        self.report.records += scan.index.records();
        self.report.bytes += scan.bytes;
        for finding in scan.findings {
            self.report.find(finding);
        }
        for nonce in self.ids.merge(scan.ids) {
            let what = format!("ids of the process {nonce:010x} were given in an earlier segment before");
            self.report.find(Finding::new(&file, what));
        }
        self.indexes.compare(task, complete.then_some(scan.index));
    }

    fn finish(self) {
        let verdict = self.join.finish();
        let suspects = self.tiles.finish(&verdict.bad_lines, self.report);
        let (directory, tasks) = (self.context.directory, &self.done);
        report_bad_lines(directory, tasks, &verdict.bad_lines, &suspects, self.report);
        self.indexes.finish(tasks, &verdict, self.report);
    }
}
