//! Reads the indexes of segments and compares them with what the lines say.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    join::{Verdict, meet},
    layout::{self, Content, SegmentFiles},
    report::{Finding, Report},
    scan::Task,
};
use crate::audit::{
    event::Kind,
    merkle::Range,
    sealed::{IndexBuilder, SegmentIndex},
};

/// Bytes of the largest index: a filter over every term of a segment, in base64.
pub(in crate::audit) const MAX_INDEX: u64 = 64 << 20;

/// What an index says of its leaves.
pub(super) struct Claim {
    records: u64,
    /// Whether there are gap records among them.
    has_gaps: bool,
    hashes: Vec<[u8; 32]>,
}

impl Claim {
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn has_gaps(&self) -> bool {
        self.has_gaps
    }

    /// Its range, when it covers the leaves from `start` to before `end`.
    pub(super) fn range_from(&self, start: u64, end: u64) -> Option<Range> {
        let claimed = start.checked_add(self.records).filter(|claimed| *claimed == end)?;
        Range::from_parts(start, claimed, self.hashes.clone()).ok()
    }
}

/// Indexes that are wrong, until it is known whether their lines are right.
#[derive(Default)]
pub(super) struct IndexCheck {
    read: BTreeMap<u64, SegmentIndex>,
    wrong: BTreeMap<u64, String>,
}

impl IndexCheck {
    /// Reads the index of a segment, if it must have or has one.
    pub(super) fn read(&mut self, directory: &Path, task: &Task, report: &mut Report) -> Option<Claim> {
        if !task.has_index {
            return None;
        }
        let files = &task.files;
        let (name, read) = read_index(directory, files);
        let read = match read {
            Content::Missing if files.plain.is_some() => return None,
            Content::Missing => Err("the index is missing".to_owned()),
            Content::Unreadable(why) => Err(why),
            Content::Bytes(bytes) => {
                SegmentIndex::parse(&bytes).map(|index| (index, bytes)).map_err(|error| error.to_string())
            }
        };
        let read = read.map_err(|what| report.find(Finding::new(&name, what)));
        let (index, bytes) = read.ok()?;
        let wrong = if index.to_bytes() != bytes {
            Some("it is not in the form in which it was written".to_owned())
        } else if (index.epoch, index.first_seq) != (task.epoch, files.first) {
            Some(format!("it is that of segment {} of epoch {}", index.first_seq, index.epoch))
        } else if index.end_seq() != task.end && files.lines().is_none() {
            Some(format!("it says {} records, the segment has {}", index.records, task.end - files.first))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            report.find(Finding::new(name, wrong));
        }
        let has_gaps = index.kinds.contains_key(Kind::AuditGap.as_str());
        let claim = Claim { records: index.records, has_gaps, hashes: index.range.clone() };
        if files.lines().is_some() {
            self.read.insert(files.first, index);
        }
        Some(claim)
    }

    /// Compares with what the lines of the segment say; `None` when they are not all there.
    pub(super) fn compare(&mut self, task: &Task, built: Option<IndexBuilder>) {
        let first = task.files.first;
        let (Some(index), Some(built)) = (self.read.remove(&first), built) else { return };
        // Hashes are compared where they are joined to the roots.
        let built = built.finish_like(&index);
        let parts = [
            ("records", index.records == built.records),
            ("bytes", index.bytes == built.bytes),
            ("first_time", index.first_time == built.first_time),
            ("last_time", index.last_time == built.last_time),
            ("last_revision", index.last_revision == built.last_revision),
            ("kinds", index.kinds == built.kinds),
            ("filter", index.filter == built.filter),
        ];
        let wrong: Vec<&str> = parts.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
        if !wrong.is_empty() {
            self.wrong.insert(first, format!("it does not say what its lines do: {}", wrong.join(", ")));
        }
    }

    /// Reports the indexes that are wrong although their lines are right.
    pub(super) fn finish(self, tasks: &[Task], verdict: &Verdict, report: &mut Report) {
        for task in tasks {
            let first = task.files.first;
            let leaves = (first - task.epoch_first, task.end - task.epoch_first);
            if verdict.bad_lines.iter().any(|bad| meet(*bad, leaves)) {
                continue;
            }
            if verdict.bad_indexes.contains(&first) {
                let what = "its hashes are not those of its lines, which lead to the signed root";
                report.find(Finding::new(task.files.index(), what));
            }
            let lines = task.files.lines();
            let damaged = report.findings.iter().any(|finding| Some(&finding.file) == lines.as_ref());
            if let Some(wrong) = self.wrong.get(&first).filter(|_| !damaged) {
                report.find(Finding::new(task.files.index(), wrong));
            }
        }
    }
}

/// The index of a segment and its name, also when the segment was pruned since its files were listed.
fn read_index(directory: &Path, files: &SegmentFiles) -> (PathBuf, Content) {
    let name = files.index();
    match layout::content(directory, &name, MAX_INDEX) {
        Content::Missing => {
            let now = SegmentFiles::now(directory, files.first).index();
            let content =
                if now == name { Content::Missing } else { layout::content(directory, &now, MAX_INDEX) };
            if content == Content::Missing { (name, content) } else { (now, content) }
        }
        content => (name, content),
    }
}
