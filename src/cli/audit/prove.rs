//! `audit prove` and `audit tiles`: what others need to verify for themselves.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, LogSource, complain};
use crate::audit::{self, EventId, ProveError};

#[derive(Debug, Args)]
pub(super) struct ProveArgs {
    #[command(flatten)]
    source: LogSource,
    /// The record's id, as in the answer's `enforcement-id`.
    #[arg(value_name = "ID")]
    id: EventId,
}

#[derive(Debug, Args)]
pub(super) struct TilesArgs {
    #[command(flatten)]
    source: LogSource,
    /// The directory to write to; one folder is made for each epoch.
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

pub(super) fn prove(args: &ProveArgs) -> Exit {
    let directory = match args.source.locate() {
        Ok(directory) => directory,
        Err(exit) => return exit,
    };
    match audit::prove(&directory, args.id) {
        Ok(proof) => {
            say_text!("{}", proof.to_json());
            Exit::Fine
        }
        Err(error) => failed(&error),
    }
}

pub(super) fn tiles(args: &TilesArgs) -> Exit {
    let directory = match args.source.locate() {
        Ok(directory) => directory,
        Err(exit) => return exit,
    };
    match audit::export_tiles(&directory, &args.target) {
        Ok(done) => {
            say!("{} trees, {} tiles, {} bundles of records", done.trees, done.tiles, done.bundles);
            if done.left_out > 0 {
                note!("interdict: {} bundles are left out: a record is too long for one", done.left_out);
            }
            Exit::Fine
        }
        Err(error) => failed(&error),
    }
}

/// No such record, or one that cannot be proven, is an answer; a part of the log that cannot be read is not.
fn failed(error: &ProveError) -> Exit {
    let exit = match error {
        ProveError::Io { .. } | ProveError::Segment(_) | ProveError::Gone(_) | ProveError::Missing(_) => {
            Exit::Io
        }
        _ => Exit::No,
    };
    complain(exit, error)
}
