//! `audit search`: the records that are asked for.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use clap::Args;

use super::filters::Filters;
use super::{FormatArg, LogSource, export_failed};
use crate::audit::{self, ExportError, Exporter, Query};
use crate::cli::{Exit, complain};

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    #[command(flatten)]
    source: LogSource,
    #[command(flatten)]
    filters: Filters,
    /// The form of the records.
    #[arg(long, value_enum, default_value_t = FormatArg::Jsonl)]
    format: FormatArg,
    /// Stop after so many records.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print only how many there are.
    #[arg(long)]
    count: bool,
}

pub(super) fn run(args: &SearchArgs) -> Exit {
    let (directory, options) = match args.source.locate_for_export() {
        Ok(located) => located,
        Err(exit) => return exit,
    };
    let query = args.filters.query();
    if args.count {
        return count(&directory, &query, args.limit);
    }
    match Exporter::new(args.format.into(), BufWriter::new(io::stdout().lock()), options) {
        Ok(exporter) => print(&directory, &query, args.limit, exporter),
        Err(error) => export_failed(&error),
    }
}

/// Prints what a query finds in the log.
pub(super) fn print<W: Write>(
    directory: &Path,
    query: &Query,
    limit: Option<u64>,
    mut exporter: Exporter<W>,
) -> Exit {
    let mut failed = None;
    let mut left = limit.unwrap_or(u64::MAX);
    let searched = audit::find(directory, query, &mut |line| {
        left -= 1;
        match exporter.record(line) {
            Err(error @ ExportError::Output(_)) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            // One record that cannot be converted hides no other.
            Err(error) => failed = Some(error),
            Ok(()) => {}
        }
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let failed = exporter.finish().err().or(failed);
    match (failed, searched) {
        (Some(error), _) => export_failed(&error),
        (None, Ok(searched)) => verdict(&searched),
        (None, Err(error)) => complain(Exit::Io, &error),
    }
}

fn count(directory: &Path, query: &Query, limit: Option<u64>) -> Exit {
    let mut left = limit.unwrap_or(u64::MAX);
    let searched = audit::find(directory, query, &mut |_| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match searched {
        Ok(searched) => {
            say!("{}", searched.found);
            verdict(&searched)
        }
        Err(error) => complain(Exit::Io, &error),
    }
}

/// What could not be searched may hold more: then neither yes nor no is true.
fn verdict(searched: &audit::Searched) -> Exit {
    searched.problems.iter().for_each(|problem| note!("interdict: {problem}"));
    match searched {
        audit::Searched { problems, .. } if !problems.is_empty() => Exit::Io,
        audit::Searched { found: 0, .. } => Exit::No,
        _ => Exit::Fine,
    }
}
