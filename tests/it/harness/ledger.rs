//! What the clients of a test hold in their hands: the ids of the blocks they saw.

use std::sync::{Arc, Mutex};

/// One block a client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The `enforcement-id` it carried.
    pub id: String,
    /// The canonical host it was for, where the test said so.
    pub host: Option<String>,
}

/// Shared by all clients of one edge; the audit check compares it with the log.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Seen>>>);

impl Ledger {
    /// Notes a block. Clients call it as soon as a response head is in, before the body.
    pub fn note(&self, id: &str, host: Option<&str>) {
        self.0.lock().unwrap().push(Seen { id: id.to_owned(), host: host.map(str::to_owned) });
    }

    /// Says afterwards which canonical host a noted block was for.
    #[track_caller]
    pub fn note_host(&self, id: &str, host: &str) {
        let mut seen = self.0.lock().unwrap();
        let block = seen.iter_mut().find(|block| block.id == id).expect("a noted block");
        block.host = Some(host.to_owned());
    }

    /// All blocks so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}
