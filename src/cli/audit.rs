//! `audit export`, `audit tail` and what has a file of its own.

mod hold;
mod prune;
mod quantity;
mod reveal;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Exit, complain};
use crate::audit::{self, ReadError};
use crate::config::Config;
use crate::limits;

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Print every record, oldest first.
    Export(ExportArgs),
    /// Print the newest records, and with --follow those that come.
    Tail(TailArgs),
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

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    source: LogSource,
    /// The format of the records.
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    format: ExportFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExportFormat {
    /// One JSON object a line.
    Jsonl,
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
        AuditCommand::Export(args) => export(args),
        AuditCommand::Tail(args) => tail(args),
        AuditCommand::Reveal(args) => reveal::run(args),
        AuditCommand::Hold(args) => hold::run(args),
        AuditCommand::Prune(args) => prune::run(args),
    }
}

fn export(args: &ExportArgs) -> Exit {
    let directory = match args.source.locate() {
        Ok(directory) => directory,
        Err(exit) => return exit,
    };
    let ExportFormat::Jsonl = args.format;
    match audit::export(&directory, &mut BufWriter::new(io::stdout().lock())) {
        Ok(problems) => {
            problems.iter().for_each(|problem| eprintln!("interdict: {problem}"));
            // What could be read has been printed; that it is not all of it must not go unnoticed.
            if problems.is_empty() { Exit::Fine } else { Exit::No }
        }
        Err(error) => failed(&error),
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
                Err(problem) => eprintln!("interdict: {problem}"),
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
        ReadError::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Exit::Fine,
        error => complain(Exit::Io, error),
    }
}
