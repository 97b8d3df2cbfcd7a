//! What an edge says of itself on its admin listener.

use serde_json::Value;

/// A parsed `/status`.
#[derive(Debug, Clone)]
pub struct Status(pub Value);

impl Status {
    fn number(&self, pointer: &str) -> u64 {
        self.0
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no {pointer} in {}", self.0))
    }

    fn text(&self, pointer: &str) -> &str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {pointer} in {}", self.0))
    }

    /// The revision in force.
    pub fn revision(&self) -> u64 {
        self.number("/revision")
    }

    /// The digest of the policy set in force.
    pub fn digest(&self) -> &str {
        self.text("/digest")
    }

    /// How many cases it has.
    pub fn cases(&self) -> u64 {
        self.number("/cases")
    }

    /// How many host patterns it has.
    pub fn hosts(&self) -> u64 {
        self.number("/hosts")
    }

    /// `applied`, `unchanged`, `rejected` or `last-good`.
    pub fn last_result(&self) -> &str {
        self.text("/last_reload/result")
    }

    /// The errors of the last reload, as JSON text.
    pub fn last_errors(&self) -> String {
        self.0.pointer("/last_reload/errors").map(Value::to_string).unwrap_or_default()
    }

    /// A count of the cache, such as `objects`.
    pub fn cache(&self, count: &str) -> u64 {
        self.number(&format!("/cache/{count}"))
    }

    /// Events decided, recorded and missed.
    pub fn audit(&self) -> AuditCounters {
        AuditCounters {
            decided: self.number("/audit/decided"),
            durable: self.number("/audit/durable"),
            gap: self.number("/audit/gap"),
            seq: self.number("/audit/seq"),
            writing: self.0.pointer("/audit/writing").and_then(Value::as_bool).unwrap_or_default(),
        }
    }
}

/// The counters of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCounters {
    /// Events that had to be recorded.
    pub decided: u64,
    /// Events in the journal.
    pub durable: u64,
    /// Events that could not be written.
    pub gap: u64,
    /// The number of the last record.
    pub seq: u64,
    /// Whether the journal can be written now.
    pub writing: bool,
}
