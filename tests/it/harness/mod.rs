//! What every test needs: an edge, an origin, clients, and a check of the log at the end.

pub mod audit;
pub mod canned;
pub mod case;
pub mod crowd;
pub mod disk;
pub mod edge;
mod guarded;
pub mod http1;
pub mod http2;
pub mod ledger;
pub mod load;
pub mod name_server;
pub mod notify;
pub mod origin;
pub mod policies;
pub mod process;
pub mod recorder;
pub mod records;
pub mod response;
pub mod secure;
pub mod setup;
pub mod status;
pub mod stream;
pub mod streams;
pub mod succession;
pub mod tls;
pub mod tools;
mod trial;
pub mod writing;

use std::time::{Duration, Instant};

pub use canned::{Canned, Latch};
pub use case::CaseFile;
pub use edge::Edge;
pub use http1::Client;
pub use http2::Http2;
pub use name_server::{Mood, NameServer};
pub use origin::Origin;
pub use policies::PolicyDir;
pub use response::Response;
pub use setup::Setup;

/// How long a test waits for something that should happen at once. Generous: a busy machine is no failure, and where every
/// processor is taken the sync of one page was seen to take half a minute.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds, and fails the test when it does not within [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `look` finds something, and fails the test when it does not within [`PATIENCE`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
