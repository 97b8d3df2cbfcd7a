//! The `interdict` command.

use std::process::ExitCode;

use clap::Parser;
use interdict::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse()).into()
}
