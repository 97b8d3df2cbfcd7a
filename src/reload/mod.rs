//! From files on disk to the ruleset in force: source -> (policy) -> store -> swap -> record.
//!
//! One thread, the keeper, owns all of it: it hears of changes, compiles off the request threads, keeps the
//! last good set, swaps, and drops what was replaced once the last request has let go of it.

mod ahead;
mod approval;
mod authority;
mod build;
mod change;
mod checked;
mod ear;
mod first;
mod guarding;
mod held;
mod history;
mod keeper;
mod keeping;
mod kept;
mod manifest;
mod names;
mod note;
mod partial;
mod placing;
mod preview;
mod reaching;
mod rehearsal;
mod replacement;
mod report;
mod requests;
mod rollback;
mod schedule;
mod settling;
mod signing;
mod source;
mod spool;
mod store;
mod swap;
mod unfinished;
mod watch;

pub use approval::{ApprovalError, Approvers, sign, statement};
pub use authority::StateHold;
pub use change::{Change, Changes};
pub use guarding::{Guarding, Routed, Rules};
pub use held::{Approval, Held};
pub use history::{Difference, Entry, difference, history};
pub use keeper::{Keeper, KeeperHandle};
pub use manifest::{MANIFEST, SIGNATURES, SetManifest, Signed, add_signature, verify};
pub use note::Note;
pub use placing::{Draft, Moved, sync_directory};
pub use preview::{Preview, preview};
pub use rehearsal::{Rehearsal, RehearsalRequest, request_rehearsal};
pub use replacement::{Few, Replacement};
pub use report::{Report, Result as ReloadResult, SharedReport};
pub use requests::{ApprovalRequest, ReloadRequest, request_approval, request_reload};
pub use rollback::{Plan, Prepared, RollbackError, cut_off, is_unchanged};
pub use signing::Signers;
pub use source::{Snapshot, SourceError, read};
pub use store::{Kept, Manifest, Store, StoreError, kept};
pub use swap::{StartError, Swapper};

/// Bytes in hexadecimal, lower case.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
