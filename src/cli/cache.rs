//! `cache purge`: objects taken out of the running edge's cache.

use clap::{Args, Subcommand};

use super::{ConfigArgs, Exit, complain, edge};
use crate::policy::Pattern;

#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Take out everything of a host, and whatever of it is on its way in; prints how much it was.
    Purge(PurgeArgs),
}

#[derive(Debug, Args)]
struct PurgeArgs {
    /// A name, `.a.example` for it and all below, or `*.a.example` for all below.
    host: String,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &CacheArgs) -> Exit {
    let CacheCommand::Purge(PurgeArgs { host, config }) = &args.command;
    match Pattern::parse(host) {
        Ok(pattern) => edge::ask(config, &format!("cache purge {pattern}")),
        Err(error) => complain(Exit::Usage, &format!("`{host}`: {error}")),
    }
}
