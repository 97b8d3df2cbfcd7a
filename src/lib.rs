//! `interdict` enforces terminations at the edge of a CDN.
//!
//! # The map
//!
//! Two paths run through this crate, and the modules are named after their steps:
//!
//! ```text
//! request:  listen -> identify -> decide -> record -> act | forward to origin
//! policy:   source -> parse -> check -> compile -> guard -> swap -> record
//! ```
//!
//! A module imports only modules that stand below it in this list; `tests/it/tidy` holds that.
//!
//! # Invariants
//!
//! * One [`hostname::Hostname`] type, one parser: no other place reads a name.
//! * A request is judged by one [`policy::Ruleset`] from start to end.
//! * No function in [`act`] runs without an [`audit::Receipt`], and only [`audit`] can make one.
//! * A policy set with an error is refused whole; the running one stays.

// They panic when a pipe has been closed or a disk is full: `cli::say` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

// Top floor: what a person runs.
pub mod cli;
pub mod embed;
pub mod load;
pub mod server;

// Where requests and policies come in.
pub mod config;
pub mod listen;
pub mod reload;
pub mod status;

// What is done with a request once it is judged.
pub mod act;
pub mod audit;
pub mod forward;
pub mod gate;

// Pure: what a request is about, and what the rules say of it. No I/O, no clock.
pub mod decide;
pub mod identify;
pub mod policy;

// The ground floor.
pub mod background;
pub mod clock;
pub mod diagnostic;
pub mod document;
pub mod hostname;
pub mod limits;
pub mod metrics;
pub mod network;
pub mod pulse;
pub mod rate;
pub mod traffic;
