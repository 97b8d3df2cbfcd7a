//! The command line.

mod audit;
mod cache;
mod check;
mod edge;
mod explain;
mod load;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// How a command ended; the numbers are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// The answer is no.
    No,
    /// The command line, the configuration or the policies are wrong.
    Usage,
    /// Disk or network failed.
    Io,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::Io => 3,
        })
    }
}

/// An edge proxy that enforces terminations, each one on the record.
#[derive(Debug, Parser)]
#[command(name = "interdict", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an edge until SIGTERM; SIGHUP reloads, SIGUSR2 upgrades.
    Run(RunArgs),
    /// Check a policy directory: 0 when it can be taken, 1 with every error when not.
    Check(check::CheckArgs),
    /// Tell what the edge would do with a host, and why.
    Explain(explain::ExplainArgs),
    /// Read the audit log.
    Audit(audit::AuditArgs),
    /// Take objects out of the cache of the running edge.
    Cache(cache::CacheArgs),
    /// Send requests on a schedule, check every answer, and measure: 1 when one was not as it should be.
    Load(Box<load::LoadArgs>),
    /// Show the state of the running edge.
    Status(ConfigArgs),
    /// Have the running edge read its policies now, and show what came of it.
    Reload(ConfigArgs),
    /// Have the running edge succeeded by a new process, started from the program that is installed now. No connection
    /// is refused or cut. When the new process cannot serve, the running one goes on.
    Upgrade(ConfigArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How log lines on standard error look. `INTERDICT_LOG` sets which ones: `info`, `debug`, …
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Runs one command.
#[must_use]
pub fn run(cli: Cli) -> Exit {
    match cli.command {
        Command::Run(args) => edge::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Cache(args) => cache::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Status(args) => edge::ask(&args, "status"),
        Command::Reload(args) => edge::ask(&args, "reload"),
        Command::Upgrade(args) => edge::ask(&args, "upgrade"),
    }
}

/// Says what went wrong, on standard error.
fn complain(exit: Exit, error: &dyn Display) -> Exit {
    eprintln!("interdict: {error}");
    exit
}
