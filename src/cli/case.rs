//! `case`: writing a case with the questions asked one after the other, and which cases there are.

mod draft;
mod list;
mod new;
mod questions;

use clap::{Args, Subcommand};

use super::Exit;

#[derive(Debug, Args)]
pub(super) struct CaseArgs {
    #[command(subcommand)]
    command: CaseCommand,
}

#[derive(Debug, Subcommand)]
enum CaseCommand {
    /// Ask what a case file needs, one question after the other, and write it.
    New(new::NewArgs),
    /// List the cases: active, scheduled, ended, overdue for review, ending soon.
    List(list::ListArgs),
}

pub(super) fn run(args: &CaseArgs) -> Exit {
    match &args.command {
        CaseCommand::New(args) => new::run(args),
        CaseCommand::List(args) => list::run(args),
    }
}
