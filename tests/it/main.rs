//! Tests of the whole: a real edge process on port 0, real origins, real clients.
//!
//! The harness checks the audit log at the end of every test (see [`harness::audit::check`]), so a test that only
//! looks at answers still fails when a record is missing, doubled or out of order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod harness;

// The house itself.
mod tidy;

// What a request is about, and what happens to it.
mod actions;
mod cases;
mod identity;
mod upstream;

// Rules and records while things change or break.
mod durability;
mod reload;
mod swap;

// What a person runs.
mod commands;

// Public block lists, where they are at hand.
mod real_lists;
