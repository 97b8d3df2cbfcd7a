//! From files on disk to the ruleset in force: source -> (policy) -> store -> swap -> record.
//!
//! One thread, the keeper, owns all of it: it hears of changes, compiles off the request threads, keeps the
//! last good set, swaps, and drops what was replaced once the last request has let go of it.

mod authority;
mod build;
mod keeper;
mod names;
mod report;
mod schedule;
mod source;
mod spool;
mod store;
mod swap;
mod watch;

pub use authority::StateHold;
pub use keeper::{Keeper, KeeperHandle, ReloadRequest, request_reload};
pub use report::{Report, Result as ReloadResult, SharedReport};
pub use source::{Snapshot, SourceError, read};
pub use store::{Kept, Manifest, Store, StoreError, kept};
pub use swap::{StartError, Swapper};
