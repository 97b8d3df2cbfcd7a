//! One process per audit directory.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Why the audit directory cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process writes there.
    #[error(
        "audit directory `{}` is in use by {holder}: stop it, or give this edge a directory of its own",
        directory.display()
    )]
    Held {
        /// The audit directory.
        directory: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The lock file cannot be made or opened.
    #[error("lock file `{}`: {error}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Held as long as this lives, and let go of by the kernel however the process ends.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes `directory/lock` and writes into it who holds it.
    pub(super) fn acquire(directory: &Path, edge: &str) -> Result<Self, LockError> {
        let path = directory.join("lock");
        let io = |error| LockError::Io { path: path.clone(), error };
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { directory: directory.to_owned(), holder: holder(file) });
            }
            Err(error) => return Err(io(error.into())),
        }
        // Who holds it is only said for people: on a full disk the lock counts without it.
        file.set_len(0).and_then(|()| writeln!(file, "process {}, edge {edge}", std::process::id())).ok();
        Ok(Self { file, path })
    }

    /// Whether the lock file is still the one that others would try to take.
    pub(super) fn is_ours(&self) -> io::Result<bool> {
        let mine = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (mine.dev(), mine.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn holder(file: File) -> String {
    let mut text = String::new();
    match file.take(512).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().escape_debug().to_string(),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::acquire(directory.path(), "ams-1").unwrap();
        let error = Lock::acquire(directory.path(), "ams-2").err().unwrap().to_string();
        assert!(error.contains(&format!("process {}, edge ams-1", std::process::id())), "{error}");
        drop(first);
        Lock::acquire(directory.path(), "ams-2").unwrap();
    }

    #[test]
    fn a_lock_file_that_was_deleted_or_replaced_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::acquire(directory.path(), "ams-1").unwrap();
        assert!(lock.is_ours().unwrap());
        std::fs::remove_file(directory.path().join("lock")).unwrap();
        assert!(!lock.is_ours().unwrap());
        std::fs::write(directory.path().join("lock"), "").unwrap();
        assert!(!lock.is_ours().unwrap());
    }
}
