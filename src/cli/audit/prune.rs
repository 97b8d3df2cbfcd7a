//! `audit prune`: old segments and keys go, never past a hold.

use std::path::PathBuf;

use clap::Args;

use super::kept::KeptSource;
use super::{hold, quantity};
use crate::audit::PruneOptions;
use crate::cli::{Exit, complain};
use crate::server::RetentionRequest;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("limit").required(true).multiple(true))]
pub(super) struct PruneArgs {
    #[command(flatten)]
    log: KeptSource,
    /// With --directory, the directory of the keys; needed for --keys-older-than.
    #[arg(long, value_name = "DIR", requires = "directory")]
    keys: Option<PathBuf>,
    /// Remove segments whose latest record is older: `90d`, `12h`, `8w`.
    #[arg(long, value_name = "AGE", value_parser = quantity::seconds, group = "limit")]
    older_than: Option<u64>,
    /// Remove the oldest segments until all take no more than this: `500MiB`, `10GiB`.
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, group = "limit")]
    max_size: Option<u64>,
    /// Destroy the keys of periods that ended longer ago: their pseudonyms can never be revealed again.
    #[arg(long, value_name = "AGE", value_parser = quantity::seconds, group = "limit")]
    keys_older_than: Option<u64>,
    /// Only print what would go.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &PruneArgs) -> Exit {
    let options = PruneOptions {
        older_than_s: args.older_than,
        max_bytes: args.max_size,
        keys_older_than_s: args.keys_older_than,
        dry_run: args.dry_run,
    };
    if args.keys_older_than.is_some() && args.keys.is_none() && args.log.is_directory() {
        return complain(Exit::Usage, &"the keys are not in the log: name their directory with `--keys DIR`");
    }
    match args.log.locate_with_keys(args.keys.as_deref()) {
        Ok(log) => hold::retain(&log, &RetentionRequest::Prune(options)),
        Err(exit) => exit,
    }
}
