//! Small files of the store: written whole, with the folders above them.

use std::io;

use super::names::split;
use crate::audit::files::{Disk, replace};

/// Puts a file at `path`, in the place of one that is there, and makes its folders where they are missing.
///
/// Calls: `mkdir` and `fsync` of the folder above for each missing folder, then those of [`replace`].
pub(super) fn put(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let (folder, name) = split(path);
    make_folder(disk, folder)?;
    replace(disk, folder, name, bytes)
}

/// Makes a folder whose name lasts, and so those above it.
pub(super) fn make_folder(disk: &dyn Disk, folder: &str) -> io::Result<()> {
    if folder.is_empty() || disk.identity(folder)?.is_some() {
        return Ok(());
    }
    let (above, _) = split(folder);
    make_folder(disk, above)?;
    disk.make_folder(folder)?;
    disk.sync_folder(above)
}

/// Removes a file if it is there.
pub(super) fn remove(disk: &dyn Disk, path: &str) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// An error of ours about what a file holds.
pub(super) fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
