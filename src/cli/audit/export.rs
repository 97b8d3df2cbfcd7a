//! `audit export`: every record, or those that are asked for.

use std::io::{self, BufWriter};

use clap::Args;

use super::filters::Filters;
use super::{FormatArg, LogSource, export_failed, search};
use crate::audit::Exporter;
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
        // An export that asks for nothing that is there is empty, and no failure.
        Ok(exporter) => match search::print(&directory, &query, None, exporter) {
            Exit::No => Exit::Fine,
            exit => exit,
        },
        Err(error) => export_failed(&error),
    }
}
