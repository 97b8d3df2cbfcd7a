//! `export`: what is blocked for everyone, as a list in the formats of others.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::check::PolicySource;
use super::import::{FormatArg, deliver, is_there};
use super::plural::some;
use super::source::SetSource;
use super::{Exit, complain};
use crate::policy::exchange::{Effective, Format, Omission, Omissions, Omitted, Writer, effective};
use crate::policy::{CaseId, Digest};

/// How much of a list is held before it is written, in bytes.
const PIECE: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The format of the list.
    #[arg(long, value_enum)]
    format: FormatArg,
    #[command(flatten)]
    source: PolicySource,
    /// The moment whose list it is, as 2026-11-20T22:15:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Only what this case blocks.
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Where the list goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace that file when it is there.
    #[arg(long, requires = "output")]
    replace: bool,
    /// Write nothing when anything would be left out.
    #[arg(long)]
    strict: bool,
    /// How many of what is left out are shown, of each reason.
    #[arg(long, value_name = "N", default_value_t = 3)]
    show: u64,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report<'r> {
    format: &'static str,
    at: Timestamp,
    digest: String,
    /// Cases in force and enforced.
    cases: usize,
    /// Patterns in the list.
    written: usize,
    /// What is blocked and not in the list, by reason.
    left_out: &'r BTreeMap<Omission, u64>,
    /// The first of each reason.
    first_left_out: &'r [Omitted],
}

pub(super) fn run(args: &ExportArgs) -> Exit {
    match export(args) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn export(args: &ExportArgs) -> Result<Exit, Exit> {
    if let Some(path) = args.output.as_ref().filter(|path| !args.replace && path.exists()) {
        return Err(is_there(path));
    }
    let (directory, options) = args.source.locate()?;
    let set = SetSource::Directory(directory).load()?;
    let only = match &args.case {
        None => None,
        Some(id) => Some(
            set.cases
                .iter()
                .map(|case| &case.id)
                .find(|known| known.as_str() == id)
                .cloned()
                .ok_or_else(|| complain(Exit::Usage, &format!("there is no case `{}`", id.escape_debug())))?,
        ),
    };
    let at = args.at.unwrap_or_else(Timestamp::now);
    let set = set.at(&options.here);
    let concerns = set.concerns();
    let found = effective(&concerns, at, only.as_ref(), args.show);
    finish(args, found, at, set.files.digest(), only.as_ref())
}

/// Writes what the format can say and reports the rest.
fn finish(
    args: &ExportArgs,
    found: Effective<'_>,
    at: Timestamp,
    digest: Digest,
    only: Option<&CaseId>,
) -> Result<Exit, Exit> {
    let format = Format::from(args.format);
    // A zone's serial number counts round (RFC 1982), as the low bits of the seconds do.
    let serial = u32::try_from(at.as_second().rem_euclid(1 << 32)).unwrap_or_default();
    let writer = Writer::new(format, serial);
    let Effective { patterns, cases, mut omissions } = found;
    let mut written = Vec::with_capacity(patterns.len());
    let mut line = String::new();
    for pattern in writer.without_covered(patterns) {
        line.clear();
        match writer.write(pattern, &mut line) {
            Ok(()) => written.push(pattern),
            Err(reason) => omissions.add(reason, pattern, None),
        }
    }
    let report = Report {
        format: format.as_str(),
        at,
        digest: digest.to_string(),
        cases,
        written: written.len(),
        left_out: &omissions.counts,
        first_left_out: &omissions.first,
    };
    let refusal = refusal(args, &report, omissions.total());
    if refusal.is_none() {
        let head = writer.head(&remarks(&report, only));
        deliver(args.output.as_deref(), args.replace, |out| {
            let mut text = head;
            for pattern in written {
                writer.write(pattern, &mut text).ok();
                if text.len() >= PIECE {
                    out.write_all(text.as_bytes())?;
                    text.clear();
                }
            }
            out.write_all(text.as_bytes())
        })?;
    }
    report.print(&omissions, args.json);
    Ok(refusal.map_or(Exit::Fine, |refusal| complain(Exit::No, &format!("nothing was written: {refusal}"))))
}

fn refusal(args: &ExportArgs, report: &Report<'_>, left_out: u64) -> Option<String> {
    if report.written == 0 {
        return Some("there is nothing in force that the format can say".to_owned());
    }
    (args.strict && left_out > 0)
        .then(|| format!("{left_out} would be left out, and `--strict` asks for all"))
}

fn remarks(report: &Report<'_>, only: Option<&CaseId>) -> Vec<String> {
    let Report { at, digest, cases, written, left_out, .. } = report;
    let which = match only {
        Some(id) => format!("by the case {id}"),
        None => format!("by {cases} cases"),
    };
    let mut remarks = vec![
        format!("{written} patterns, blocked for everyone {which} at {at:.0}"),
        format!("policy set: sha256 {digest}"),
    ];
    let reasons = left_out
        .iter()
        .map(|(reason, count)| format!("left out: {count} {}: {}", reason.as_str(), reason.meaning()));
    remarks.extend(reasons);
    remarks
}

impl Report<'_> {
    fn print(&self, omissions: &Omissions, as_json: bool) {
        if as_json {
            match serde_json::to_string(self) {
                Ok(line) => note!("{line}"),
                Err(error) => note!("interdict: {error}"),
            }
            return;
        }
        let (patterns, cases) = (some(self.written, "pattern"), some(self.cases, "case"));
        note!("{patterns} of {cases} in force at {:.0}", self.at);
        for (reason, count) in self.left_out {
            note!("  left out: {count} {}: {}", reason.as_str(), reason.meaning());
            for Omitted { what, case, .. } in omissions.first.iter().filter(|one| one.reason == *reason) {
                let of = case.as_ref().map(|case| format!(" of {case}")).unwrap_or_default();
                note!("    {what}{of}");
            }
        }
    }
}
