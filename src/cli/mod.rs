//! The command line.

#[macro_use]
mod say;

mod against;
mod approve;
mod audit;
mod cache;
mod case;
mod change;
mod check;
mod diff;
mod edge;
mod explain;
mod export;
mod history;
mod import;
mod load;
mod log;
mod node;
mod place;
mod plural;
mod policy;
mod preview;
mod reinstate;
mod rollback;
mod signer;
mod source;
mod terminate;

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
#[command(name = "interdict", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 the answer is no, 2 usage or configuration, 3 input or output: what was asked could not be found out";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an edge until SIGTERM; SIGHUP reloads, SIGUSR2 upgrades.
    Run(RunArgs),
    /// Check a policy directory: 0 when it can be taken, 1 with every error when not.
    Check(check::CheckArgs),
    /// Tell what the edge would do with a host, and why.
    Explain(explain::ExplainArgs),
    /// End service for a customer: writes the case, and waits until the running edge enforces it.
    Terminate(Box<terminate::TerminateArgs>),
    /// Take a case back: moves its file to `ended/`, and waits until the running edge lets its names through.
    Reinstate(reinstate::ReinstateArgs),
    /// List the policy sets that are kept, and what each one changed.
    History(history::HistoryArgs),
    /// Put the policy directory back to an earlier set, as a new revision.
    Rollback(rollback::RollbackArgs),
    /// Write a case, or list the cases there are.
    Case(case::CaseArgs),
    /// Make a list of a policy directory from lists in the formats of others.
    Import(import::ImportArgs),
    /// Write what is blocked now as a list in the formats of others.
    Export(export::ExportArgs),
    /// Tell what differs between two policy sets: 0 when nothing does, 1 when something does.
    Diff(diff::DiffArgs),
    /// Read the audit log.
    Audit(audit::AuditArgs),
    /// Take objects out of the cache of the running edge.
    Cache(cache::CacheArgs),
    /// Put a policy set in force that the guard holds back.
    Approve(approve::ApproveArgs),
    /// Make keys, sign policy sets and check their signatures.
    Policy(policy::PolicyArgs),
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
    say::end(carry_out(cli))
}

fn carry_out(cli: Cli) -> Exit {
    match cli.command {
        Command::Run(args) => edge::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Terminate(args) => terminate::run(&args),
        Command::Reinstate(args) => reinstate::run(&args),
        Command::History(args) => history::run(&args),
        Command::Rollback(args) => rollback::run(&args),
        Command::Case(args) => case::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Cache(args) => cache::run(&args),
        Command::Approve(args) => approve::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Status(args) => edge::ask(&args, "status"),
        Command::Reload(args) => edge::ask(&args, "reload"),
        Command::Upgrade(args) => edge::ask(&args, "upgrade"),
    }
}

/// Says what went wrong, on standard error.
fn complain(exit: Exit, error: &dyn Display) -> Exit {
    note!("interdict: {error}");
    exit
}
