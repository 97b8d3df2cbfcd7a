//! Puts a file in its place whole, or not at all.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use crate::reload::{Draft, sync_directory};

/// Writes a file, for whoever may read its directory. The order: written beside its place under a hidden name, which
/// is no part of a policy set; synced; renamed; the directory synced. Who watches the directory sees the old file or
/// the whole new one.
///
/// # Errors
/// When the disk refuses, or a file is there that may not be replaced ([`io::ErrorKind::AlreadyExists`]). Then nothing
/// has changed.
pub(super) fn put(
    path: &Path,
    may_replace: bool,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let draft = Draft::write_with(path, write)?;
    if may_replace {
        draft.replace()?;
    } else {
        draft.place()?;
    }
    sync_directory(path)
}
