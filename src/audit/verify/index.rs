//! Reads the indexes of segments and compares them with what the lines say.

use std::{collections::BTreeMap, path::Path};

use super::{
    join::{Verdict, meet},
    layout,
    report::{Finding, Report, VerifyError},
    scan::Task,
};
use crate::audit::{
    merkle::Range,
    sealed::{IndexBuilder, SegmentIndex},
};

/// Bytes of the largest index: a filter over every term of a segment, in base64.
pub(in crate::audit) const MAX_INDEX: u64 = 64 << 20;

/// What an index says of its leaves.
pub(super) struct Claim {
    records: u64,
    hashes: Vec<[u8; 32]>,
}

impl Claim {
    pub(super) fn records(&self) -> u64 {
        self.records
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
    pub(super) fn read(
        &mut self,
        directory: &Path,
        task: &Task,
        report: &mut Report,
    ) -> Result<Option<Claim>, VerifyError> {
        let files = &task.files;
        let name = files.index();
        let Some(bytes) = layout::read(&directory.join(&name), MAX_INDEX)? else {
            if files.plain.is_none() {
                report.find(Finding::new(name, "the index is missing"));
            }
            return Ok(None);
        };
        let index = match SegmentIndex::parse(&bytes) {
            Ok(index) => index,
            Err(error) => {
                report.find(Finding::new(name, error.to_string()));
                return Ok(None);
            }
        };
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
        let claim = Claim { records: index.records, hashes: index.range.clone() };
        if files.lines().is_some() {
            self.read.insert(files.first, index);
        }
        Ok(Some(claim))
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
