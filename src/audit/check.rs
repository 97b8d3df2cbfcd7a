//! Whether a log holds what it promises: every number once and in order, every line a whole record.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use super::event::Kind;
use super::id::EventId;
use super::read::{ReadError, for_each};

/// A log that keeps its promises.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records there are, gap records included.
    pub records: u64,
    /// The first and the last `seq`; 0 when there is no record.
    pub first_seq: u64,
    /// The last `seq`; 0 when there is no record.
    pub last_seq: u64,
    /// Events that gap records count.
    pub missed: u64,
}

/// A log that does not.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is not as it should be.
    #[error("record after {after}: {fault}")]
    Record {
        /// The `seq` of the last good record; 0 when there is none.
        after: u64,
        /// What is wrong.
        fault: String,
    },
}

/// Reads a whole log and holds it against its promises.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn check(directory: &Path) -> Result<Checked, CheckError> {
    let mut checked = Checked::default();
    let mut ids = HashSet::new();
    for_each(directory, |line| {
        let fault = |fault: String| CheckError::Record { after: checked.last_seq, fault };
        let record: Value = serde_json::from_slice(line).map_err(|error| fault(error.to_string()))?;
        let id = identified(&record).map_err(fault)?;
        if !ids.insert(id) {
            return Err(fault(format!("the id {id} stands twice")));
        }
        let seq = record.get("seq").and_then(Value::as_u64).unwrap_or_default();
        if seq != checked.last_seq + 1 && checked.records > 0 {
            return Err(fault(format!("number {seq} stands where {} belongs", checked.last_seq + 1)));
        }
        if checked.records == 0 {
            checked.first_seq = seq;
        }
        checked.missed += record.get("missed").and_then(Value::as_u64).unwrap_or_default();
        checked.records += 1;
        checked.last_seq = seq;
        Ok(())
    })?;
    Ok(checked)
}

/// The id of a record that has every field of its kind.
fn identified(record: &Value) -> Result<EventId, String> {
    let text = |name: &str| record.get(name).and_then(Value::as_str).ok_or(format!("`{name}` is missing"));
    let id = text("id")?.parse::<EventId>().map_err(|error| error.to_string())?;
    let kind = text("kind")?.parse::<Kind>().map_err(|error| error.to_string())?;
    text("time")?.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?;
    text("edge")?;
    match kind.required().iter().find(|name| record.get(**name).is_none()) {
        Some(name) => Err(format!("a record of kind `{kind}` has no `{name}`")),
        None => Ok(id),
    }
}
