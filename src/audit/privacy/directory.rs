//! The directory of keys: a file a period.
//!
//! ```text
//! client.key/periods              which period was in force when
//! client.key/2026-11.key          the key of a period, 0600
//! client.key/2026-09.destroyed    what is left of one that was destroyed
//! client.key/single.key           the one key of an earlier version, for everything before it was replaced
//! ```

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    history::{History, SINGLE},
    key::{self, Key, KeyError, Place},
    period::{Period, Span},
};

/// The keys on disk. Nothing is kept in memory but the history, which only a start changes.
pub(crate) struct KeyDirectory {
    path: PathBuf,
    history: History,
}

impl KeyDirectory {
    /// Makes the directory when it is not there, takes over the key file of an earlier version, and notes the period
    /// in force from `now` on.
    pub(super) fn open(path: &Path, period: Period, now: Timestamp) -> Result<Self, KeyError> {
        make(path)?;
        let mut history = history_of(path)?;
        if history.note(period, now) {
            history.write(path)?;
        }
        Ok(Self { path: path.to_owned(), history })
    }

    /// For tools: reads what is there and writes nothing.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyError> {
        if is_file(path)? {
            // The edge has not been started since it was updated.
            let mut history = History::default();
            history.begin_with_single();
            return Ok(Self { path: path.to_owned(), history });
        }
        let file = File::open(path).map_err(KeyError::io(path))?;
        key::check_mode(path, &file)?;
        Ok(Self { path: path.to_owned(), history: history_of(path)? })
    }

    /// The key that records of `time` are under, and how long that is so.
    pub(super) fn span(&self, time: Timestamp) -> Option<Span> {
        self.history.span(time)
    }

    /// The key of a period; none when there is none.
    pub(super) fn load(&self, label: &str) -> Result<Option<Key>, KeyError> {
        if self.is_destroyed(label)? {
            return Err(KeyError::Destroyed { label: label.to_owned() });
        }
        let single = label == SINGLE && is_file(&self.path)?;
        if single { key::read(&self.path) } else { key::read(&self.file(label)) }
    }

    /// The key of a period, made when it is not there.
    pub(super) fn load_or_make(&self, label: &str) -> Result<Key, KeyError> {
        if let Some(key) = self.load(label)? {
            return Ok(key);
        }
        let path = self.file(label);
        key::create(&path).map_err(KeyError::io(&path))?;
        let gone = || KeyError::Io { path: path.clone(), error: io::ErrorKind::NotFound.into() };
        key::read(&path)?.ok_or_else(gone)
    }

    /// The keys that are there, oldest first, each with the time that its records can be of.
    pub(crate) fn keys(&self) -> Result<Vec<Span>, KeyError> {
        let names = crate::audit::files::names_in(&self.path).map_err(KeyError::io(&self.path))?;
        let labels = names.iter().filter_map(|name| name.strip_suffix(".key"));
        let mut keys: Vec<Span> = labels.filter_map(|label| self.history.end_of(label)).collect();
        keys.sort_by_key(|span| span.end);
        Ok(keys)
    }

    /// Destroys a key for good: the note that it was comes first, so that it is never made again.
    ///
    /// On storage that does not write in place its bytes may survive until they are written over.
    pub(crate) fn destroy(&self, label: &str) -> Result<(), KeyError> {
        let note = self.path.join(format!("{label}.destroyed"));
        key::publish(&note, b"", Place::IfFree).map_err(KeyError::io(&note))?;
        let path = self.file(label);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KeyError::Io { path, error }),
            _ => key::sync_directory(&self.path).map_err(KeyError::io(&self.path)),
        }
    }

    fn is_destroyed(&self, label: &str) -> Result<bool, KeyError> {
        let note = self.path.join(format!("{label}.destroyed"));
        // Below a file there is nothing.
        match std::fs::symlink_metadata(&note) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(false)
            }
            Err(error) => Err(KeyError::Io { path: note, error }),
        }
    }

    fn file(&self, label: &str) -> PathBuf {
        self.path.join(format!("{label}.key"))
    }
}

fn history_of(path: &Path) -> Result<History, KeyError> {
    let mut history = History::read(path)?;
    if key::read(&path.join(format!("{SINGLE}.key")))?.is_some() {
        history.begin_with_single();
    }
    Ok(history)
}

/// Whether a plain file is at the path.
fn is_file(path: &Path) -> Result<bool, KeyError> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(KeyError::Io { path: path.to_owned(), error }),
    }
}

/// Makes sure that the directory is there and for its owner only. A plain file at its path is the key of an earlier
/// version and becomes `single.key` in it; the next start ends what a crash left half done:
///
/// `mkdir(moving)`, `rename(file, moving/single.key)`, `fsync(moving)`, `rename(moving, path)`, `fsync(parent)`
fn make(path: &Path) -> Result<(), KeyError> {
    let io = KeyError::io(path);
    let mut name = path.as_os_str().to_owned();
    name.push(".moving");
    let moving = PathBuf::from(name);
    if is_file(path)? {
        // One that cannot be used stays where it is.
        key::read(path)?;
        make_folder(&moving).map_err(&io)?;
        std::fs::rename(path, moving.join(format!("{SINGLE}.key"))).map_err(&io)?;
        key::sync_directory(&moving).map_err(&io)?;
    }
    if moving.is_dir() && !path.exists() {
        std::fs::rename(&moving, path).map_err(&io)?;
    }
    make_folder(path).map_err(&io)?;
    key::sync_directory(key::directory_of(path)).map_err(&io)?;
    key::check_mode(path, &File::open(path).map_err(&io)?)
}

fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    // The folders above are made as the system makes them: only the keys are secret.
    std::fs::create_dir_all(key::directory_of(path))?;
    DirBuilder::new().mode(0o700).create(path)
}
