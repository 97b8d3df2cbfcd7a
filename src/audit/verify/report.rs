//! What a verification found.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::audit::merkle::Hash;

/// Findings that are told one by one; more are counted.
const MAX_FINDINGS: usize = 1000;

/// One thing that is not as it was signed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file at fault, below the audit directory.
    pub file: PathBuf,
    /// The bytes of that file at fault: the first, and the one after the last. Bytes of the decompressed text where
    /// `records` are named, of the file itself where they are not.
    pub bytes: Option<(u64, u64)>,
    /// The `seq` of the first and the last record at fault.
    pub records: Option<(u64, u64)>,
    /// What is wrong.
    pub what: String,
}

impl Finding {
    pub(super) fn new(file: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self { file: file.into(), bytes: None, records: None, what: what.into() }
    }

    pub(super) fn bytes(mut self, start: u64, end: u64) -> Self {
        self.bytes = Some((start, end));
        self
    }

    pub(super) fn records(mut self, first: u64, last: u64) -> Self {
        self.records = Some((first, last));
        self
    }
}

impl Finding {
    /// Whether another verification found it too: in the same file, compressed or not, at the same place. Numbers in
    /// its words may have grown with the log.
    fn is_again(&self, other: &Self) -> bool {
        let words = |what: &str| what.replace(|c: char| c.is_ascii_digit(), "");
        let stem = |file: &Path| match file.extension() {
            Some(packed) if packed == "zst" => file.with_extension(""),
            _ => file.to_owned(),
        };
        let is_place = match (self.records, other.records) {
            (Some(one), Some(other)) => one.0 <= other.1 && other.0 <= one.1,
            (None, None) => words(&self.what) == words(&other.what),
            _ => false,
        };
        is_place && stem(&self.file) == stem(&other.file)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.bytes {
            Some((start, end)) if end > start + 1 => write!(f, ", bytes {start} to {}", end - 1)?,
            Some((start, _)) => write!(f, ", byte {start}")?,
            None => {}
        }
        match self.records {
            Some((first, last)) if first == last => write!(f, ", record {first}")?,
            Some((first, last)) => write!(f, ", records {first} to {last}")?,
            None => {}
        }
        write!(f, ": {}", self.what)
    }
}

/// One epoch of the log, as far as it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochReport {
    /// Its number, from 1.
    pub epoch: u64,
    /// The `seq` of its first record.
    pub first_seq: u64,
    /// Records under the largest valid checkpoint.
    pub size: u64,
    /// The root that this checkpoint signs; `None` when there is no valid one.
    pub root: Option<Hash>,
    /// Why the epoch began.
    pub reason: String,
}

/// What was read, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The epochs, oldest first.
    pub epochs: Vec<EpochReport>,
    /// Segments whose lines were read.
    pub segments: u64,
    /// Segments of which only the index is left.
    pub pruned_segments: u64,
    /// Records under a checkpoint whose lines were read.
    pub records: u64,
    /// Bytes of their lines.
    pub bytes: u64,
    /// Records beyond the newest checkpoint: none when the log was closed in order.
    pub unsealed: u64,
    /// Processes that wrote here, told by their ids.
    pub processes: u64,
    /// Events that gap records count.
    pub missed: u64,
    /// Worth knowing, but nothing is wrong.
    pub notes: Vec<String>,
    /// What is wrong; nothing when the log is sound.
    pub findings: Vec<Finding>,
    /// Findings beyond the first thousand.
    pub left_out: u64,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// The same with those findings only that `before` has as well; none when it has none of them.
    pub(super) fn confirmed_by(mut self, before: &Self) -> Option<Self> {
        let all = self.findings.len();
        self.findings.retain(|finding| before.findings.iter().any(|other| finding.is_again(other)));
        match all - self.findings.len() {
            0 => {}
            count => self.note(format!(
                "{count} more that looked wrong looked right when it was verified anew: the log moved meanwhile"
            )),
        }
        (!self.findings.is_empty()).then_some(self)
    }

    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        if self.notes.len() < MAX_FINDINGS {
            self.notes.push(note.into());
        }
    }
}

/// Why a log could not be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file or directory cannot be read.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The log was written to while it was verified, and what looked wrong was never wrong twice.
    #[error(
        "the log moved while it was verified, {runs} times in a row, and nothing looked wrong twice (last: {last}): \
         verify it again, or a copy of it"
    )]
    Moved {
        /// How often it was verified.
        runs: u32,
        /// The last thing that looked wrong.
        last: String,
    },
    /// The trusted older checkpoint is not one of this log.
    #[error("the trusted checkpoint: {0}")]
    Since(String),
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> VerifyError {
    let path = path.to_owned();
    move |error| VerifyError::Io { path, error }
}
