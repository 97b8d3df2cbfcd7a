//! Holds and pruning: by the running edge, which has the log, or without one.
//!
//! On the control socket: `hold {"place":{…}}`, `hold {"release":{…}}`, `prune {…}`; the answer is a JSON object, with
//! `error` when nothing, or not everything, was done.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::control::{ControlError, ask};
use super::enforcement::Options;
use crate::audit::{
    self, Audit, ClientPrivacy, Event, Hold, HoldRequest, Kind, LockError, OpenError, PruneOptions, Release,
    Retention, RetentionError,
};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::gate::Gate;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionRequest {
    /// Place or release a hold.
    Hold(HoldChange),
    /// Remove old segments and keys.
    Prune(PruneOptions),
}

/// A change of the holds in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldChange {
    /// Place one.
    Place(HoldRequest),
    /// Release one.
    Release(Release),
}

impl RetentionRequest {
    /// Reads a line of the control socket.
    fn parse(line: &str) -> Result<Self, serde_json::Error> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("hold", change) => serde_json::from_str(change).map(Self::Hold),
            (_, options) => serde_json::from_str(options).map(Self::Prune),
        }
    }

    /// The line of the control socket.
    fn to_line(&self) -> String {
        match self {
            Self::Hold(change) => format!("hold {}", json!(change)),
            Self::Prune(options) => format!("prune {}", json!(options)),
        }
    }
}

/// Who carries out requests: it has the log, and so the directory.
#[derive(Debug)]
pub(super) struct Archivist {
    audit: Arc<Audit>,
    /// Whose revision is recorded; none when no edge runs.
    gate: Option<Arc<Gate>>,
    retention: Retention,
}

impl Archivist {
    pub(super) fn new(audit: Arc<Audit>, gate: Option<Arc<Gate>>, options: &audit::Options) -> Self {
        Self { audit, gate, retention: Retention::new(&options.directory, keys_of(options)) }
    }

    /// Carries out one line of the control socket. Blocks until it is done.
    pub(super) fn answer(&self, line: &str) -> Value {
        match RetentionRequest::parse(line) {
            Ok(request) => self.carry_out(&request),
            Err(error) => json!({ "error": format!("the request is none: {error}") }),
        }
    }

    fn carry_out(&self, request: &RetentionRequest) -> Value {
        let mut record = |kind, detail: Map<String, Value>| self.record(kind, &detail);
        match request {
            RetentionRequest::Hold(HoldChange::Place(asked)) => answer_of(
                Hold::new(asked.clone(), SystemClock.now())
                    .map_err(RetentionError::from)
                    .and_then(|hold| self.retention.place(&hold, &mut record).map(|()| hold)),
                "placed",
            ),
            RetentionRequest::Hold(HoldChange::Release(release)) => {
                let released = self.retention.release(release, &mut record);
                answer_of(released.map(|()| &release.name), "released")
            }
            RetentionRequest::Prune(options) => {
                answer_of(self.retention.prune(options, SystemClock.now(), &mut record), "pruned")
            }
        }
    }

    fn record(&self, kind: Kind, detail: &Map<String, Value>) -> io::Result<()> {
        let revision = self.gate.as_ref().map_or(0, |gate| gate.ruleset().revision().0);
        let event = Event { kind, revision, enforcement: None, request: None, detail: Some(detail) };
        let recorded = self.audit.record(&event).wait().is_recorded();
        if recorded { Ok(()) } else { Err(io::Error::other("the audit log takes no records")) }
    }
}

/// What came of a request: the result under the name of what was done, or why it was not.
fn answer_of(outcome: Result<impl Serialize, RetentionError>, done: &str) -> Value {
    match outcome {
        Ok(result) => json!({ (done): result }),
        Err(error) => json!({ "error": error.to_string(), "refused": error.is_refusal() }),
    }
}

fn keys_of(options: &audit::Options) -> Option<PathBuf> {
    match &options.client {
        ClientPrivacy::Pseudonym(pseudonyms) => Some(pseudonyms.keys.clone()),
        ClientPrivacy::Full | ClientPrivacy::Truncated => None,
    }
}

/// Why a request could be put to nobody.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The log cannot be opened, and no edge has it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Whoever has the log could do it, and it is not known where to ask.
    #[error(
        "audit directory `{}` is in use by {holder}, which does this when it is asked: name its configuration with `--config`",
        directory.display()
    )]
    InUse {
        /// The audit directory.
        directory: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// Whoever has the log does not answer.
    #[error("{held}; and it does not answer: {error}")]
    Silent {
        /// Who has it.
        held: LockError,
        /// What asking it came to.
        #[source]
        error: ControlError,
    },
    /// The answer is none.
    #[error("the edge's answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
    /// The log could not be closed in order.
    #[error("closing the audit log: {0}")]
    Close(#[source] io::Error),
}

/// A log whose records are kept or go.
#[derive(Debug, Clone)]
pub struct KeptLog {
    options: audit::Options,
    /// Where the keys of its pseudonyms are, if any may go.
    keys: Option<PathBuf>,
    /// The state directory of its edge, where that one can be asked.
    state: Option<PathBuf>,
}

impl KeptLog {
    /// The log of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let options = Options::from_config(config).audit(false);
        Self { keys: keys_of(&options), options, state: Some(config.policy.state.clone()) }
    }

    /// The log in a directory, of which nothing else is known: `edge` is named in what is recorded there, and `keys` is
    /// where the keys of its pseudonyms are, if any are to go.
    #[must_use]
    pub fn in_directory(directory: &Path, edge: &str, keys: Option<PathBuf>, spare: Option<PathBuf>) -> Self {
        let options = audit::Options { spare, ..audit::Options::new(directory, edge) };
        Self { options, keys, state: None }
    }

    /// The audit directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    fn retention(&self) -> Retention {
        Retention::new(&self.options.directory, self.keys.clone())
    }
}

/// Has a request carried out: by the edge that has the log, or here when none has it.
///
/// # Errors
/// When there is neither a log nor an edge that answers. That something was refused is in the answer.
pub fn retain(log: &KeptLog, request: &RetentionRequest) -> Result<Value, RetainError> {
    if let RetentionRequest::Prune(rehearsal @ PruneOptions { dry_run: true, .. }) = request {
        // Nothing is changed or recorded, so that nobody needs to be asked.
        let outcome = log.retention().prune(rehearsal, SystemClock.now(), &mut |_, _| Ok(()));
        return Ok(answer_of(outcome, "pruned"));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match (Audit::open(log.options.clone(), clock), &log.state) {
        (Ok((audit, _recovery)), _) => {
            let audit = Arc::new(audit);
            let archivist = Archivist { audit: Arc::clone(&audit), gate: None, retention: log.retention() };
            let answer = archivist.carry_out(request);
            audit.close().map_err(RetainError::Close)?;
            Ok(answer)
        }
        (Err(OpenError::Lock(held @ LockError::Held { .. })), Some(state)) => {
            let answer = ask(state, &request.to_line());
            Ok(serde_json::from_str(&answer.map_err(|error| RetainError::Silent { held, error })?)?)
        }
        (Err(OpenError::Lock(LockError::Held { directory, holder })), None) => {
            Err(RetainError::InUse { directory, holder })
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The holds in force at a log, read without asking anybody.
///
/// # Errors
/// When they cannot be listed, or one cannot be read.
pub fn holds(directory: &Path) -> Result<Vec<Hold>, RetentionError> {
    Retention::new(directory, None).holds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_is_written() {
        let hold = HoldRequest {
            name: "h".into(),
            reason: "a \"letter\"".into(),
            since: Some("2026-11-23T00:00:00Z".parse().unwrap()),
            ..HoldRequest::default()
        };
        let release = Release { name: "h".into(), reason: "done".into() };
        for request in [
            RetentionRequest::Hold(HoldChange::Place(hold)),
            RetentionRequest::Hold(HoldChange::Release(release)),
            RetentionRequest::Prune(PruneOptions { max_bytes: Some(u64::MAX), ..PruneOptions::default() }),
        ] {
            let line = request.to_line();
            assert!(!line.contains('\n'));
            assert_eq!(RetentionRequest::parse(&line).unwrap(), request);
        }
        for line in ["hold", "hold {}", "prune", "prune {\"older_than\":1}", "prune {\"older_than_s\":-1}"] {
            assert!(RetentionRequest::parse(line).is_err(), "{line}");
        }
    }
}
