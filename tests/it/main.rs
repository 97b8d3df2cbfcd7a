//! The integration tests, one binary: every file is a topic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, in its helpers too"
)]

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, in its helper functions too"
)]

mod config_cases;
mod damaged_files;
mod decide_oracle;
mod hostname;
mod policy_cases;
mod table_cases;
