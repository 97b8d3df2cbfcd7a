//! `audit export`: every record, or those that are asked for.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use clap::Args;

use super::filters::Filters;
use super::{FormatArg, LogSource, export_failed, failed, search};
use crate::audit::{self, Exporter};
use crate::cli::Exit;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    source: LogSource,
    #[command(flatten)]
    filters: Filters,
    /// The form of the records.
    #[arg(long, value_enum, default_value_t = FormatArg::Jsonl)]
    format: FormatArg,
}

pub(super) fn run(args: &ExportArgs) -> Exit {
    let (directory, options) = match args.source.locate_for_export() {
        Ok(located) => located,
        Err(exit) => return exit,
    };
    let query = args.filters.query();
    match Exporter::new(args.format.into(), BufWriter::new(io::stdout().lock()), options) {
        Ok(exporter) if query.is_everything() => everything(&directory, exporter),
        // An export that asks for nothing that is there is empty, and no failure.
        Ok(exporter) => match search::print(&directory, &query, None, exporter) {
            Exit::No => Exit::Fine,
            exit => exit,
        },
        Err(error) => export_failed(&error),
    }
}

/// Every record in order, so that a hole in the log is seen as well.
fn everything<W: Write>(directory: &Path, mut exporter: Exporter<W>) -> Exit {
    let records = match audit::records(directory) {
        Ok(records) => records,
        Err(error) => return failed(&error),
    };
    let mut complete = true;
    for item in records {
        match item {
            Ok(Ok(record)) => {
                if let Err(error) = exporter.record(&record.line) {
                    return export_failed(&error);
                }
            }
            Ok(Err(problem)) => {
                note!("interdict: {problem}");
                complete = false;
            }
            Err(error) => return failed(&error),
        }
    }
    match exporter.finish() {
        Err(error) => export_failed(&error),
        // What could be read has been printed; that it is not all of it must not go unnoticed.
        Ok(()) => {
            if complete {
                Exit::Fine
            } else {
                Exit::No
            }
        }
    }
}
