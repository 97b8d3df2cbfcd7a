//! From files on disk to the ruleset in force: source -> (policy) -> store -> swap -> record.
//!
//! One thread, the keeper, owns all of it: it hears of changes, compiles off the request threads, keeps the
//! last good set, swaps, and drops what was replaced once the last request has let go of it.

mod ahead;
mod authority;
mod build;
mod change;
mod history;
mod keeper;
mod names;
mod note;
mod placing;
mod report;
mod rollback;
mod schedule;
mod source;
mod spool;
mod store;
mod swap;
mod watch;

pub use authority::StateHold;
pub use change::{Change, Changes};
pub use history::{Difference, Entry, difference, history};
pub use keeper::{Keeper, KeeperHandle, ReloadRequest, request_reload};
pub use note::Note;
pub use placing::{Draft, Moved, sync_directory};
pub use report::{Report, Result as ReloadResult, SharedReport};
pub use rollback::{Plan, Prepared, RollbackError, cut_off, is_unchanged};
pub use source::{Snapshot, SourceError, read};
pub use store::{Kept, Manifest, Store, StoreError, kept};
pub use swap::{StartError, Swapper};
