//! Finds the bytes of records that are known to be changed.

use std::path::Path;

use serde::de::IgnoredAny;

use super::{
    join::{Span, meet},
    report::{Finding, Report},
    scan::Task,
};
use crate::audit::line::Head;

/// Reports the leaves in `bad`, as exactly as `suspects` tell; what a finding already says is not said again.
pub(super) fn report_bad_lines(
    directory: &Path,
    tasks: &[Task],
    bad: &[Span],
    suspects: &[Span],
    report: &mut Report,
) {
    for bad in bad {
        let within = suspects.iter().filter(|suspect| meet(**suspect, *bad));
        let mut exact: Vec<Span> = within.map(|s| (s.0.max(bad.0), s.1.min(bad.1))).collect();
        if exact.is_empty() {
            exact.push(*bad);
        }
        for span in exact {
            for task in tasks {
                report_in_segment(directory, task, span, report);
            }
        }
    }
}

fn report_in_segment(directory: &Path, task: &Task, span: Span, report: &mut Report) {
    let first = span.0.saturating_add(task.epoch_first).max(task.files.first);
    let end = span.1.saturating_add(task.epoch_first).min(task.end);
    if first >= end {
        return;
    }
    let Some(file) = task.files.lines() else {
        let what = "its hashes do not lead to the signed root";
        report.find(Finding::new(task.files.index(), what).records(first, end - 1));
        return;
    };
    let is_said = |finding: &Finding, first: u64, end: u64| {
        let here = finding.records.is_some_and(|(from, to)| meet((from, to.saturating_add(1)), (first, end)));
        finding.file == file && here
    };
    let mut is_told = report.findings.iter().any(|finding| is_said(finding, first, end));
    let found = search(directory, task, first, end);
    for (bytes, seq) in found.broken {
        is_told = true;
        if !report.findings.iter().any(|finding| is_said(finding, seq, seq + 1)) {
            let finding = Finding::new(&file, "the line is not valid JSON");
            report.find(finding.bytes(bytes.0, bytes.1).records(seq, seq));
        }
    }
    // Who knows of one place in these leaves need not hear of them all.
    if !is_told {
        let finding = Finding::new(&file, "changed since it was signed").records(first, end - 1);
        report.find(Finding { bytes: found.bytes, ..finding });
    }
}

/// Where records lie in a segment.
#[derive(Default)]
struct Found {
    bytes: Option<Span>,
    /// Lines that are no JSON: their bytes and `seq`.
    broken: Vec<(Span, u64)>,
}

fn search(directory: &Path, task: &Task, first: u64, end: u64) -> Found {
    let mut found = Found::default();
    let Some(Ok(mut lines)) = task.files.open(directory) else { return found };
    // What cannot be read was reported when it was read first.
    while let Ok(Some(line)) = lines.next() {
        let Some(head) = Head::parse(line.bytes) else { continue };
        if head.seq >= end {
            break;
        }
        if head.seq >= first {
            let bytes = (line.offset, line.offset + line.length + 1);
            found.bytes = Some((found.bytes.map_or(bytes.0, |known| known.0), bytes.1));
            let json = std::str::from_utf8(line.bytes).ok();
            if json.and_then(|text| serde_json::from_str::<IgnoredAny>(text).ok()).is_none() {
                found.broken.push((bytes, head.seq));
            }
        }
    }
    found
}
