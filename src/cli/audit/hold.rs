//! `audit hold`: records that must not be pruned.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::kept::KeptSource;
use super::{LogSource, quantity};
use crate::audit::{self, Hold, HoldRequest, Release};
use crate::cli::{Exit, complain};
use crate::server::{self, HoldChange, KeptLog, RetentionRequest};

#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    #[command(subcommand)]
    command: HoldCommand,
}

#[derive(Debug, Subcommand)]
enum HoldCommand {
    /// Keep records and the keys they need until the hold is released. Without a condition all are kept.
    Place(PlaceArgs),
    /// End a hold.
    Release(ReleaseArgs),
    /// Print the holds in force, one JSON object a line.
    List(LogSource),
}

#[derive(Debug, Args)]
struct PlaceArgs {
    #[command(flatten)]
    log: KeptSource,
    /// Its name: letters, digits, `.`, `_` and `-`.
    name: String,
    /// Records of this case.
    #[arg(long)]
    case: Option<String>,
    /// Records of this host.
    #[arg(long)]
    host: Option<String>,
    /// Records of this time and later: `2026-11-23` (UTC) or `2026-11-23T12:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = quantity::time)]
    since: Option<Timestamp>,
    /// Records before this time.
    #[arg(long, value_name = "TIME", value_parser = quantity::time)]
    until: Option<Timestamp>,
    /// Why; it is recorded.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
struct ReleaseArgs {
    #[command(flatten)]
    log: KeptSource,
    /// Its name.
    name: String,
    /// Why; it is recorded.
    #[arg(long)]
    reason: String,
}

pub(super) fn run(args: &HoldArgs) -> Exit {
    let outcome = match &args.command {
        HoldCommand::Place(args) => place(args),
        HoldCommand::Release(args) => args.log.locate().map(|log| {
            let release = Release { name: args.name.clone(), reason: args.reason.clone() };
            retain(&log, &RetentionRequest::Hold(HoldChange::Release(release)))
        }),
        HoldCommand::List(source) => list(source),
    };
    outcome.unwrap_or_else(|exit| exit)
}

fn place(args: &PlaceArgs) -> Result<Exit, Exit> {
    let PlaceArgs { log, name, case, host, since, until, reason } = args;
    let asked = HoldRequest {
        name: name.clone(),
        case: case.clone(),
        host: host.clone(),
        since: *since,
        until: *until,
        reason: reason.clone(),
    };
    // What makes no sense is said before anybody is asked.
    if let Err(error) = Hold::new(asked.clone(), Timestamp::UNIX_EPOCH) {
        return Err(complain(Exit::Usage, &error));
    }
    Ok(retain(&log.locate()?, &RetentionRequest::Hold(HoldChange::Place(asked))))
}

fn list(source: &LogSource) -> Result<Exit, Exit> {
    if let Some(directory) = source.directory.as_ref().filter(|directory| !directory.is_dir()) {
        return Err(complain(Exit::Io, &format!("there is no directory `{}`", directory.display())));
    }
    let holds = server::holds(&source.locate()?).map_err(|error| complain(Exit::Io, &error))?;
    holds.iter().for_each(|hold| say!("{}", serde_json::json!(hold)));
    Ok(Exit::Fine)
}

/// Says which records are gone that nobody pruned: no hold keeps these. What was asked for is done all the same.
fn warn_of_missing(log: &KeptLog) {
    match audit::missing(log.directory()) {
        Ok(missing) => missing.iter().for_each(|missing| note!("interdict: note: {missing}")),
        Err(error) => note!("interdict: `{}`: {error}", log.directory().display()),
    }
}

/// Has a request carried out and prints the answer.
pub(super) fn retain(log: &KeptLog, request: &RetentionRequest) -> Exit {
    match server::retain(log, request) {
        Ok(answer) => match answer.get("error").and_then(|error| error.as_str()) {
            None => {
                say!("{answer}");
                warn_of_missing(log);
                Exit::Fine
            }
            Some(error) => {
                let refused = answer.get("refused").and_then(serde_json::Value::as_bool).unwrap_or(false);
                complain(if refused { Exit::No } else { Exit::Io }, &error)
            }
        },
        Err(error) => complain(Exit::Io, &error),
    }
}
