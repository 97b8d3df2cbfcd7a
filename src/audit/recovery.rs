//! What a starting edge made of the log that was there.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::problem::Problem;

/// What was found and done when the log was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The `seq` of the last record; 0 when the log is new.
    pub last_seq: u64,
    /// The time of the last record.
    pub last_time: Option<Timestamp>,
    /// The largest revision in the newest records; 0 when there is none.
    pub last_revision: u64,
    /// Segments there were.
    pub segments: usize,
    /// Records that earlier processes had left in the journal, sealed now.
    pub journaled: u64,
    /// Bytes of torn tails that were cut and set aside.
    pub torn_bytes: u64,
    /// The epoch of the tree; 0 while another process still seals.
    pub epoch: u64,
    /// Why a new epoch had to begin, when one did.
    pub new_epoch: Option<String>,
    /// Damage, in the order it was found; none of it was repaired.
    pub problems: Vec<Problem>,
}

impl Recovery {
    /// The same as fields for the `edge.started` record.
    #[must_use]
    pub fn detail(&self) -> Map<String, Value> {
        let mut detail = Map::new();
        detail.insert("recovered_seq".to_owned(), self.last_seq.into());
        detail.insert("recovered_segments".to_owned(), self.segments.into());
        detail.insert("recovered_from_journal".to_owned(), self.journaled.into());
        detail.insert("torn_bytes".to_owned(), self.torn_bytes.into());
        detail.insert("epoch".to_owned(), self.epoch.into());
        if let Some(reason) = &self.new_epoch {
            detail.insert("new_epoch".to_owned(), reason.as_str().into());
        }
        if !self.problems.is_empty() {
            let problems = self.problems.iter().map(|problem| problem.to_string().into()).collect();
            detail.insert("problems".to_owned(), Value::Array(problems));
        }
        detail
    }
}
