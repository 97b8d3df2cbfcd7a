//! Retention: holds keep records, pruning removes whole closed segments and old keys, and never past a hold.
//!
//! ```text
//! place:    hold.placed recorded -> holds/<name>.json
//! release:  hold.released recorded -> the file is removed
//! prune:    index copied to pruned/ and synced -> audit.pruned recorded -> data removed
//! ```
//!
//! The hashes of what is removed stay in `pruned/`, so that everything that remains can still be verified. Whoever
//! calls brings the log: a function that records an event, and says so only once it is in the journal.

mod hold;
mod plan;
mod prune;
mod stock;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::hold::{Hold, HoldError, HoldRequest};
pub use self::plan::PruneOptions;
pub use self::prune::{Pruned, PrunedRun};
use super::{
    event::Kind,
    files::{self, Disk, RealDisk},
    privacy::KeyError,
};

/// The folder of the holds in force.
pub(super) const HOLDS: &str = "holds";

/// Records an event; an error when it is not in the journal.
pub type Recorder<'r> = dyn FnMut(Kind, Map<String, Value>) -> io::Result<()> + 'r;

/// Why something was not held, released or pruned.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The hold is none.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// There is one already.
    #[error("there is a hold `{0}` already: release it first, or choose another name")]
    Taken(String),
    /// There is none.
    #[error("there is no hold `{0}`")]
    Absent(String),
    /// A hold in force cannot be read. Until it is repaired nothing is pruned, since it may hold anything.
    #[error("`holds/{name}`: {error}")]
    Unreadable {
        /// The file.
        name: String,
        /// What is wrong with it.
        error: String,
    },
    /// What was to be done is not on record, and so was not done.
    #[error("nothing was done, since it cannot be recorded: {0}")]
    Record(#[source] io::Error),
    /// The keys of the pseudonyms cannot be listed or removed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The audit directory cannot be read or changed.
    #[error("audit directory, {what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl RetentionError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |error| Self::Io { what, error }
    }

    /// Whether the request is at fault, rather than the machine.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Hold(_) | Self::Taken(_) | Self::Absent(_))
    }
}

/// A hold is to be released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The hold's name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Holds and pruning of one audit directory.
pub struct Retention {
    directory: PathBuf,
    /// Every change goes through it; what is only read does not.
    disk: Arc<dyn Disk>,
    /// The key directory of the pseudonyms, if there are any.
    keys: Option<PathBuf>,
    /// One at a time: a hold that is placed while segments are removed must not come in between.
    turn: Mutex<()>,
}

impl std::fmt::Debug for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retention").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Retention {
    /// For the process that has the lock of `directory`, or only reads. `keys` is the key directory of the
    /// pseudonyms.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, keys: Option<PathBuf>) -> Self {
        let directory = directory.into();
        let disk = Arc::new(RealDisk::unlocked(&directory, ""));
        Self { directory, disk, keys, turn: Mutex::default() }
    }

    #[cfg(test)]
    fn on(disk: Arc<dyn Disk>, directory: PathBuf, keys: Option<PathBuf>) -> Self {
        Self { directory, disk, keys, turn: Mutex::default() }
    }

    /// The holds in force, by name.
    ///
    /// # Errors
    /// When they cannot be listed, or one cannot be read.
    pub fn holds(&self) -> Result<Vec<Hold>, RetentionError> {
        let names = self.disk.list(HOLDS).map_err(RetentionError::io("listing the holds"))?;
        let names = names.into_iter().filter(|name| name.ends_with(".json"));
        names.map(|name| self.read(name)).collect()
    }

    fn read(&self, name: String) -> Result<Hold, RetentionError> {
        let unreadable = |error: String| RetentionError::Unreadable { name: name.clone(), error };
        let bytes =
            self.disk.read(&files::join(HOLDS, &name)).map_err(|error| unreadable(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| unreadable("it is gone".to_owned()))?;
        let hold: Hold = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if hold.file_name() != name {
            return Err(unreadable(format!("it is the hold `{}`", hold.name())));
        }
        Ok(hold)
    }

    /// Puts records on hold from now on: no segment that may hold one of them is pruned, nor a key they need.
    ///
    /// # Errors
    /// When there is one of this name, it cannot be recorded, or the file cannot be written.
    pub fn place(&self, hold: &Hold, record: &mut Recorder<'_>) -> Result<(), RetentionError> {
        let _turn = self.turn();
        let path = files::join(HOLDS, &hold.file_name());
        let io = || RetentionError::io(format!("placing the hold `{}`", hold.name()));
        if self.disk.identity(&path).map_err(io())?.is_some() {
            return Err(RetentionError::Taken(hold.name().to_owned()));
        }
        self.disk.make_folder(HOLDS).map_err(io())?;
        record(Kind::HoldPlaced, object(json!({ "hold": hold }))).map_err(RetentionError::Record)?;
        let mut bytes = serde_json::to_vec(hold).map_err(|error| io()(error.into()))?;
        bytes.push(b'\n');
        files::replace(self.disk.as_ref(), HOLDS, &hold.file_name(), &bytes).map_err(io())
    }

    /// Ends a hold. One whose file cannot be read can be released as well.
    ///
    /// # Errors
    /// When there is none of this name, it cannot be recorded, or the file cannot be removed.
    pub fn release(&self, release: &Release, record: &mut Recorder<'_>) -> Result<(), RetentionError> {
        let _turn = self.turn();
        let (name, reason) = (hold::checked_name(&release.name)?, hold::checked_reason(&release.reason)?);
        let path = files::join(HOLDS, &format!("{name}.json"));
        let io = || RetentionError::io(format!("releasing the hold `{name}`"));
        if self.disk.identity(&path).map_err(io())?.is_none() {
            return Err(RetentionError::Absent(name.to_owned()));
        }
        let known = self.read(format!("{name}.json")).ok();
        let detail =
            json!({ "hold": known.map_or(json!({ "name": name }), |hold| json!(hold)), "reason": reason });
        record(Kind::HoldReleased, object(detail)).map_err(RetentionError::Record)?;
        self.disk.remove(&path).map_err(io())?;
        self.disk.sync_folder(HOLDS).map_err(io())
    }

    /// Removes what the options allow and no hold keeps, or only says what it would remove.
    ///
    /// # Errors
    /// When something cannot be read, recorded or removed. What was removed until then is on record.
    pub fn prune(
        &self,
        options: &PruneOptions,
        now: Timestamp,
        record: &mut Recorder<'_>,
    ) -> Result<Pruned, RetentionError> {
        let _turn = self.turn();
        prune::prune(self, options, now, record)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
