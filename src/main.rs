//! The `interdict` command.

use std::process::ExitCode;

use clap::Parser;
use interdict::cli::{self, Cli};

/// Pingora asks for memory some sixty times for a request that it forwards, among that for what no thread of glibc's
/// keeps at hand (over 1,032 octets). Chosen by measurement: see `docs/performance.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse()).into()
}
