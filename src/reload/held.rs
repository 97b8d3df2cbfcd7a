//! A policy set that is held back: on disk, so that a restart changes nothing about it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::note::Note;
use super::replacement::Replacement;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::guard::Finding;

/// A set that is over a limit of the guard, and who has approved of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The digest of the set, in hexadecimal.
    pub digest: String,
    /// The digest of the set that is in force instead.
    pub in_force: String,
    /// The revision of that set: the same set in force another time has another one.
    #[serde(default)]
    pub revision: u64,
    /// Since when, UTC.
    pub since: Timestamp,
    /// The limits it is over.
    pub findings: Vec<Finding>,
    /// So many approvals are needed.
    pub needed: usize,
    /// Those that were given.
    pub approvals: Vec<Approval>,
    /// Who made the change by a command, and why: told again when it comes into force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Note>,
    /// What would replace what, in numbers.
    #[serde(default)]
    pub replaces: Replacement,
}

/// Somebody approved of the set that is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The name of the key, or the user at the control socket: `uid 1000`.
    pub by: String,
    /// The key itself, in hexadecimal; a key under another name is the same approver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When, UTC.
    pub at: Timestamp,
}

impl Held {
    /// Whether enough have approved.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        self.approvals.len() >= self.needed
    }

    /// Whether it is this change that is held back, from one set to another.
    #[must_use]
    pub fn is_of(&self, digest: &str, in_force: &str, revision: u64) -> bool {
        self.digest == digest && self.in_force == in_force && self.revision == revision
    }

    /// The findings as what is wrong with the set.
    #[must_use]
    pub fn diagnostics(&self) -> Diagnostics {
        let hint = format!("`interdict approve {}` puts it in force", self.digest);
        let mut all = Diagnostics::new();
        for finding in &self.findings {
            all.push(Diagnostic::error("cases", format!("held back: {finding}")).with_hint(hint.clone()));
        }
        all
    }
}

/// Where it is kept: `held.json` in the state directory.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(state: &Path) -> Self {
        Self(state.join("held.json"))
    }

    /// What is held back. A file that cannot be read holds nothing back, and no approval: the set in the directory is
    /// judged anew.
    pub(super) fn load(&self) -> Option<Held> {
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(%error, path = %self.0.display(), "approvals given so far cannot be read");
                return None;
            }
        };
        serde_json::from_slice(&bytes)
            .inspect_err(
                |error| tracing::error!(%error, path = %self.0.display(), "approvals given so far are lost"),
            )
            .ok()
    }

    /// Written beside, synced, renamed; the directory is synced last.
    pub(super) fn save(&self, held: &Held) -> io::Result<()> {
        let draft = self.0.with_extension("new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(held)?)?;
        file.sync_all()?;
        fs::rename(&draft, &self.0)?;
        self.0.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }

    pub(super) fn clear(&self) {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.0.display(), "what is no longer held back is still written down");
            }
            _ => {}
        }
    }
}
