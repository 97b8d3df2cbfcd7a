//! `audit`: reading, searching, exporting, verifying, proving and keeping the log.

mod bundle;
mod export;
mod filters;
mod hold;
mod kept;
mod prove;
mod prune;
mod quantity;
mod reveal;
mod search;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Exit, complain};
use crate::audit::{self, ClientPrivacy, ExportError, ExportOptions, Format, ReadError};
use crate::config::Config;
use crate::limits;

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Pack records with their proofs and policies into one file for somebody who checks them alone.
    Bundle(bundle::BundleArgs),
    /// Print every record, or those that are asked for, oldest first.
    Export(export::ExportArgs),
    /// Print a proof that a record is in the signed log.
    Prove(prove::ProveArgs),
    /// Print the records that are asked for, oldest first: 1 when there is none.
    Search(search::SearchArgs),
    /// Print the newest records, and with --follow those that come.
    Tail(TailArgs),
    /// Write the log's tree in the form that tools for transparency logs read (C2SP tlog-tiles).
    Tiles(prove::TilesArgs),
    /// Check that the log, or a proof of a record, is what was signed: 1 with every finding when not.
    Verify(verify::VerifyArgs),
    /// Tell which addresses pseudonyms stand for: 0 when all are known, 1 when not.
    Reveal(reveal::RevealArgs),
    /// Keep records from being pruned.
    Hold(hold::HoldArgs),
    /// Remove old segments and keys, never past a hold; what remains can still be verified.
    Prune(prune::PruneArgs),
}

/// Where the log is: given, or named in a configuration file.
#[derive(Debug, Args)]
struct LogSource {
    /// The audit directory.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The configuration file that names it.
    #[arg(long, value_name = "FILE", default_value = "edge.toml", conflicts_with = "directory")]
    config: PathBuf,
}

/// The form of the records.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    /// One JSON object a line, as in the log.
    Jsonl,
    /// A table with a header, safe to open in a spreadsheet.
    Csv,
    /// One OCSF event a line.
    Ocsf,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Jsonl => Self::Jsonl,
            FormatArg::Csv => Self::Csv,
            FormatArg::Ocsf => Self::Ocsf,
        }
    }
}

#[derive(Debug, Args)]
struct TailArgs {
    #[command(flatten)]
    source: LogSource,
    /// How many records to begin with.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    lines: usize,
    /// Go on with the records that come.
    #[arg(short, long)]
    follow: bool,
}

impl LogSource {
    /// The directory, and what the configuration says of its records; a directory alone says nothing.
    fn locate_for_export(&self) -> Result<(PathBuf, ExportOptions), Exit> {
        if let Some(directory) = &self.directory {
            return Ok((directory.clone(), ExportOptions::default()));
        }
        let audit = Config::load(&self.config).map_err(|error| complain(Exit::Usage, &error))?.audit;
        let full_addresses = matches!(audit.client, ClientPrivacy::Full);
        Ok((audit.directory, ExportOptions { full_addresses }))
    }

    fn locate(&self) -> Result<PathBuf, Exit> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => match Config::load(&self.config) {
                Ok(config) => Ok(config.audit.directory),
                Err(error) => Err(complain(Exit::Usage, &error)),
            },
        }
    }
}

pub(super) fn run(args: &AuditArgs) -> Exit {
    match &args.command {
        AuditCommand::Bundle(args) => bundle::run(args),
        AuditCommand::Export(args) => export::run(args),
        AuditCommand::Prove(args) => prove::prove(args),
        AuditCommand::Search(args) => search::run(args),
        AuditCommand::Tail(args) => tail(args),
        AuditCommand::Tiles(args) => prove::tiles(args),
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Reveal(args) => reveal::run(args),
        AuditCommand::Hold(args) => hold::run(args),
        AuditCommand::Prune(args) => prune::run(args),
    }
}

fn tail(args: &TailArgs) -> Exit {
    let directory = match args.source.locate() {
        Ok(directory) => directory,
        Err(exit) => return exit,
    };
    match audit::Tail::open(&directory, args.lines).and_then(|mut tail| follow(&mut tail, args.follow)) {
        Ok(()) => Exit::Fine,
        Err(error) => failed(&error),
    }
}

fn follow(tail: &mut audit::Tail, follow: bool) -> Result<(), ReadError> {
    let mut out = io::stdout().lock();
    loop {
        while let Some(item) = tail.next_record()? {
            match item {
                Ok(record) => out
                    .write_all(&record.line)
                    .and_then(|()| out.write_all(b"\n"))
                    .map_err(ReadError::Output)?,
                Err(problem) => note!("interdict: {problem}"),
            }
        }
        out.flush().map_err(ReadError::Output)?;
        if !follow {
            return Ok(());
        }
        std::thread::sleep(limits::TAIL_EVERY);
    }
}

/// A reader that has seen enough closes the pipe; that is no failure.
fn failed(error: &ReadError) -> Exit {
    match error {
        ReadError::Output(cause) => output_failed(cause, error),
        error => complain(Exit::Io, error),
    }
}

/// The same for what is exported.
fn export_failed(error: &ExportError) -> Exit {
    match error {
        ExportError::Output(cause) => output_failed(cause, error),
        error => complain(Exit::Io, error),
    }
}

fn output_failed(cause: &io::Error, error: &dyn std::fmt::Display) -> Exit {
    if cause.kind() == io::ErrorKind::BrokenPipe { Exit::Fine } else { complain(Exit::Io, error) }
}
