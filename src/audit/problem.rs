//! Damage, and where it is.

/// Damage in a log and where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A whole line is no record.
    #[error("segment {segment}, byte {offset}: the line is not a record")]
    Damaged {
        /// The segment's first `seq`.
        segment: u64,
        /// Where the line starts.
        offset: u64,
    },
    /// The sequence jumps within a segment.
    #[error("segment {segment}, byte {offset}: record {expected} should be here, found {found}")]
    Hole {
        /// The segment's first `seq`.
        segment: u64,
        /// Where the line starts.
        offset: u64,
        /// The `seq` that should follow.
        expected: u64,
        /// The `seq` that is there.
        found: u64,
    },
    /// Records are missing between two segments, or at the start.
    #[error("records {expected} to {} are missing: the next segment starts with {found}", found - 1)]
    Missing {
        /// The first missing `seq`.
        expected: u64,
        /// The first `seq` that is there.
        found: u64,
    },
    /// A segment's name lies before the end of the one it follows.
    #[error("segment {next} starts before the end of segment {segment}")]
    Overlap {
        /// The earlier segment.
        segment: u64,
        /// The later one.
        next: u64,
    },
    /// A segment cannot be read or put in order.
    #[error("segment {segment}: {error}")]
    Unreadable {
        /// The segment's first `seq`.
        segment: u64,
        /// What the system said.
        error: String,
    },
    /// A file of the journal holds more that is no record than one that was cut off.
    #[error("`{path}`, byte {offset}: what follows is no record; it was set aside as `{aside}`")]
    Journal {
        /// The file, in the audit directory.
        path: String,
        /// Where the last record ends.
        offset: u64,
        /// Where it was moved or copied to.
        aside: String,
    },
    /// A file beside the lines is missing or not as it should be.
    #[error("`{path}`: {what}")]
    File {
        /// Its path in the audit directory.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The lines do not lead to the root that the checkpoint signs.
    #[error(
        "epoch {epoch}: the {size} sealed records do not have the root of the checkpoint; segment {segment} or one before it was changed"
    )]
    Root {
        /// The epoch of the tree.
        epoch: u64,
        /// Leaves under the checkpoint.
        size: u64,
        /// The last segment, by its first `seq`.
        segment: u64,
    },
    /// Sealed lines are gone from the end.
    #[error("the checkpoint covers the records to {sealed}, the last one there is {found}")]
    Cut {
        /// The last `seq` under the checkpoint.
        sealed: u64,
        /// The last `seq` there is.
        found: u64,
    },
    /// The directory is an older copy: the witness outside knows more.
    #[error("the directory is an older copy: {0}")]
    OlderCopy(String),
    /// A record is not as it should be.
    #[error("record {seq}: {what}")]
    Record {
        /// Its `seq`.
        seq: u64,
        /// What is wrong.
        what: String,
    },
}
