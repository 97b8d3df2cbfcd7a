//! The integration tests, one binary: every file is a topic.
//!
//! Most start a real edge process on port 0 with real origins and clients. The harness checks the audit log at the end
//! of every such test (see [`harness::audit::check`]), so a test that only looks at answers still fails when a record is
//! missing, doubled or out of order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, in its helper functions too"
)]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod harness;

// The house itself.
mod tidy;

// What is pure, against tables and oracles.
mod config_cases;
mod damaged_files;
mod decide_oracle;
mod exchange_cases;
mod hostname;
mod policy_cases;
mod table_cases;

// What a request is about, and what happens to it.
mod actions;
mod bypass;
mod cache;
mod cache_bounds;
mod cache_purge;
mod cache_ranges;
mod cases;
mod clients;
mod connection;
mod cut;

mod cut_many;
mod due;
mod flooding;
mod floods;
mod identity;
mod many_slow_clients;
mod names;
mod origins;
mod output;
mod refreshes;
mod resolve;
mod secure_origins;
mod slow_clients;
mod smuggling;
mod tls;
mod upstream;
mod wire;
mod words;

// Rules and records while things change or break.
mod audit;
mod durability;
mod full_disk;
mod guard;
mod guard_approval;
mod guard_rehearsal;
mod guard_time;
mod guard_width;
mod lines;
mod reconfigure;
mod reinstate;
mod reload;
mod retention;
mod rollback;
mod saving;
mod signed;
mod succession;
mod swap;
mod syscalls;
mod terminate;
mod terminate_together;
mod terminate_truth;
mod trying;
mod unfinished;
mod unfinished_commands;
mod unfinished_elsewhere;
mod untouched;
mod upgrade;
mod verifying;

// What a person runs.
mod activation;
mod admin;

mod case_commands;
mod commands;
mod diff;
mod early_signals;
mod embed;
mod exchange;
mod fast_path;
mod fast_path_oracle;
mod follow;
mod load_endings;
mod load_rates;
mod load_tool;
mod load_truth;
mod packaging;
mod policy_docs;
mod search;
mod service_manager;

// Public block lists, where they are at hand.
mod real_lists;
