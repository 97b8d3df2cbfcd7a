//! One key in one file: 32 hexadecimal digits, for its owner only.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use ipcrypt_rs::Ipcrypt;

use super::fill_random;

/// The bits of a key.
pub(super) type Key = [u8; Ipcrypt::KEY_BYTES];

/// Why the keys of the pseudonyms cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or making a file failed.
    #[error("client keys `{}`: {error}", path.display())]
    Io {
        /// The key file or the directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Others than the owner may read or change it.
    #[error(
        "client keys `{}` have mode {mode:04o}: only their owner may have access, run `chmod go= {}`",
        path.display(), path.display()
    )]
    Open {
        /// The key file or the directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a key.
    #[error("key file `{}` does not hold a key: 32 hexadecimal digits are needed", path.display())]
    Content {
        /// The key file.
        path: PathBuf,
    },
    /// The file that tells which period was in force when cannot be read.
    #[error("`{}`, line {line}: a time and one of `day`, `week`, `month`, `never`, `single` are needed", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The key of this period was destroyed, and is not made again.
    #[error("the key of `{label}` was destroyed; the clock may have been set back")]
    Destroyed {
        /// The period.
        label: String,
    },
}

impl KeyError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |error| Self::Io { path: path.to_owned(), error }
    }
}

/// Refuses a file or directory that others may use.
pub(super) fn check_mode(path: &Path, file: &File) -> Result<(), KeyError> {
    let mode = file.metadata().map_err(KeyError::io(path))?.mode() & 0o7777;
    if mode & 0o077 != 0 { Err(KeyError::Open { path: path.to_owned(), mode }) } else { Ok(()) }
}

/// Reads a key; none when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Key>, KeyError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(KeyError::io(path))?,
    };
    check_mode(path, &file)?;
    let content = || KeyError::Content { path: path.to_owned() };
    let mut text = String::new();
    file.take(64).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => content(),
        _ => KeyError::Io { path: path.to_owned(), error },
    })?;
    let digits = text.trim_end_matches(['\n', '\r']);
    if digits.len() != 2 * Ipcrypt::KEY_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(content());
    }
    Ok(Some(u128::from_str_radix(digits, 16).map_err(|_| content())?.to_be_bytes()))
}

/// Makes a key file unless there is one.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let mut key = Key::default();
    fill_random(&mut key)?;
    publish(path, format!("{:032x}\n", u128::from_be_bytes(key)).as_bytes(), Place::IfFree)
}

/// What to do about a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Leave it.
    IfFree,
    /// Put the new one in its place.
    Replace,
}

/// Makes a whole file or none: written and synced under another name, then linked (or renamed), so that the name
/// never shows half a file and one that another process made in the meantime is not replaced.
///
/// `open(draft)`, `write`, `fsync(draft)`, `link` or `rename`, `fsync(directory)`, `unlink(draft)`
pub(super) fn publish(path: &Path, content: &[u8], place: Place) -> io::Result<()> {
    /// No two threads write one draft.
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{}.new", std::process::id(), DRAFTS.fetch_add(1, Ordering::Relaxed)));
    let draft = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let put = || match place {
        Place::Replace => std::fs::rename(&draft, path),
        Place::IfFree => match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        },
    };
    let made = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| put());
    let made = made.and_then(|()| sync_directory(directory_of(path)));
    if place == Place::IfFree || made.is_err() {
        // A draft that stays does no harm: it is no key.
        std::fs::remove_file(&draft).ok();
    }
    made
}

/// Makes the names in a directory last.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory a file is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
