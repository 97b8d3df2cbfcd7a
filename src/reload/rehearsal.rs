//! What the running edge would say of a change that is only thought of: for `--dry-run`.
//!
//! The directory is read with the change laid over it, compiled beside the set in force and weighed by the guard, with the
//! traffic that it has seen. Nothing is written, recorded or remembered of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::authority::Authority;
use super::build::Builder;
use super::guarding::Guarding;
use super::kept::kept_file;
use super::partial::{InForce, awaited};
use super::report::lines;
use super::source::Writers;
use super::store;
use crate::background;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gate::Gate;
use crate::policy::{Contents, Digest, PolicyFile, PolicyFiles};

/// A change of the policy directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Rehearsal {
    /// A file more, by its path in the directory.
    With {
        /// The path.
        file: String,
        /// What it holds.
        content: String,
    },
    /// A file less.
    Without {
        /// The path.
        file: String,
    },
    /// The files of a kept set instead.
    Revision(u64),
}

/// Somebody wants to know what would come of a change.
#[derive(Debug)]
pub struct RehearsalRequest {
    rehearsal: Rehearsal,
    answer: oneshot::Sender<Value>,
}

/// Asks what would come of a change, and waits for the answer; nothing when the keeper has ended.
pub async fn request_rehearsal(
    requests: &mpsc::Sender<RehearsalRequest>,
    rehearsal: Rehearsal,
) -> Option<Value> {
    let _waiting = background::Awaited::new();
    let (answer, outcome) = oneshot::channel();
    requests.send(RehearsalRequest { rehearsal, answer }).await.ok()?;
    outcome.await.ok()
}

/// Whom a rehearsal asks.
pub(super) struct Asked<'a> {
    pub(super) builder: &'a Builder,
    pub(super) writers: &'a mut dyn Writers,
    pub(super) guarding: &'a Guarding,
    pub(super) gate: &'a Gate,
}

impl RehearsalRequest {
    /// Finds out and answers.
    pub(super) fn answer(self, mut asked: Asked<'_>, authority: &Authority, now: Timestamp) {
        let answer = if authority.is_own() {
            asked.outcome(&self.rehearsal, authority.root(), now)
        } else {
            json!({ "error": "this edge is being succeeded by another process; ask that one" })
        };
        // Whoever asked may have gone away.
        self.answer.send(answer).ok();
    }
}

impl Asked<'_> {
    fn outcome(&mut self, rehearsal: &Rehearsal, state: &Path, now: Timestamp) -> Value {
        let files = match self.files(rehearsal, state) {
            Ok(files) => files,
            Err(errors) => return refused(&errors),
        };
        let before = self.gate.ruleset();
        if files.digest() == before.digest() {
            return json!({ "result": "unchanged" });
        }
        let kept = Kept(state.to_owned());
        let contents: &dyn Contents = match rehearsal {
            Rehearsal::Revision(_) => &kept,
            Rehearsal::With { .. } | Rehearsal::Without { .. } => self.builder.contents(),
        };
        let built = match self.builder.build(files, contents, Some(&before)) {
            Ok(built) => built,
            Err(errors) => return refused(&errors),
        };
        let candidate = built.candidate(contents);
        match self.guarding.weigh(&candidate, Some(&before), Some(self.gate.traffic()), now) {
            Err(refusal) => refused(&refusal.errors),
            Ok(weighed) => match weighed.held.filter(|held| !held.is_approved()) {
                None => json!({ "result": "taken" }),
                Some(held) => {
                    json!({ "result": "held", "findings": held.findings, "replaces": held.replaces })
                }
            },
        }
    }

    /// The files as they would be.
    fn files(&mut self, rehearsal: &Rehearsal, state: &Path) -> Result<PolicyFiles, Diagnostics> {
        match rehearsal {
            Rehearsal::With { file, .. } if !PolicyFiles::belongs(file) => {
                Err(Diagnostic::error(file.as_str(), "no file of a policy set has this path").into())
            }
            Rehearsal::With { file, content } => {
                let mut files = self.complete(state)?;
                files.insert(file.clone(), content.as_bytes());
                Ok(files)
            }
            Rehearsal::Without { file } => {
                let mut files = self.complete(state)?;
                files.files.remove(file);
                Ok(files)
            }
            Rehearsal::Revision(revision) => kept(state, *revision),
        }
    }

    /// The files as they are, and what is being written as it was.
    fn complete(&mut self, state: &Path) -> Result<PolicyFiles, Diagnostics> {
        let snapshot = self.builder.snapshot(self.writers).map_err(|(errors, _)| errors)?;
        if snapshot.unfinished.is_empty() {
            return Ok(snapshot.files);
        }
        let in_force = InForce::find(state, self.gate.ruleset().digest());
        let in_force = in_force.filter(|_| !self.guarding.is_signed());
        let completed = in_force.and_then(|in_force| in_force.completed(&snapshot));
        completed.map(|(files, _)| files).ok_or_else(|| awaited(&snapshot.unfinished))
    }
}

fn refused(errors: &Diagnostics) -> Value {
    json!({ "result": "refused", "errors": lines(errors.errors().collect()) })
}

/// The files of kept sets: lists are read when they are needed, and not all at once.
struct Kept(PathBuf);

impl Contents for Kept {
    fn content(&self, _path: &str, file: &PolicyFile) -> io::Result<Arc<[u8]>> {
        match &file.content {
            Some(content) => Ok(Arc::clone(content)),
            None => store::object(&self.0, &file.digest.to_string()).map_err(io::Error::other),
        }
    }
}

/// The files of a kept set, its lists left where they are.
fn kept(state: &Path, revision: u64) -> Result<PolicyFiles, Diagnostics> {
    let wrong = |error: String| Diagnostics::from(Diagnostic::error(format!("revision {revision}"), error));
    let manifests = store::manifests(state).map_err(|error| wrong(error.to_string()))?;
    let manifest = manifests.into_iter().find(|manifest| manifest.revision == revision);
    let manifest = manifest.ok_or_else(|| wrong("it is not kept".to_owned()))?;
    let mut files = PolicyFiles::new();
    for (name, sha256) in manifest.files {
        let Some(digest) = Digest::parse(&sha256).filter(|_| PolicyFiles::belongs(&name)) else {
            return Err(wrong(format!("its manifest is damaged: `{}`", name.escape_debug())));
        };
        let file = kept_file(state, &name, digest).map_err(|error| wrong(format!("`{name}`: {error}")))?;
        files.files.insert(name, file);
    }
    Ok(files)
}
