//! `audit hold`: records that must not be pruned.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::quantity;
use crate::audit::{Hold, HoldRequest, Release};
use crate::cli::{ConfigArgs, Exit, complain};
use crate::config::Config;
use crate::server::{self, HoldChange, RetentionRequest};

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
    List(ConfigArgs),
}

#[derive(Debug, Args)]
struct PlaceArgs {
    #[command(flatten)]
    config: ConfigArgs,
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
    config: ConfigArgs,
    /// Its name.
    name: String,
    /// Why; it is recorded.
    #[arg(long)]
    reason: String,
}

pub(super) fn run(args: &HoldArgs) -> Exit {
    match &args.command {
        HoldCommand::Place(args) => place(args),
        HoldCommand::Release(args) => {
            let release = Release { name: args.name.clone(), reason: args.reason.clone() };
            retain(&args.config, &RetentionRequest::Hold(HoldChange::Release(release)))
        }
        HoldCommand::List(args) => list(args),
    }
}

fn place(args: &PlaceArgs) -> Exit {
    let PlaceArgs { config, name, case, host, since, until, reason } = args;
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
        return complain(Exit::Usage, &error);
    }
    retain(config, &RetentionRequest::Hold(HoldChange::Place(asked)))
}

fn list(args: &ConfigArgs) -> Exit {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => return complain(Exit::Usage, &error),
    };
    match server::holds(&config) {
        Ok(holds) => {
            holds.iter().for_each(|hold| say!("{}", serde_json::json!(hold)));
            Exit::Fine
        }
        Err(error) => complain(Exit::Io, &error),
    }
}

/// Has a request carried out and prints the answer.
pub(super) fn retain(args: &ConfigArgs, request: &RetentionRequest) -> Exit {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => return complain(Exit::Usage, &error),
    };
    match server::retain(&config, request) {
        Ok(answer) => match answer.get("error").and_then(|error| error.as_str()) {
            None => {
                say!("{answer}");
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
