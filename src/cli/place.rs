//! Puts a file in its place whole, or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// Writes a file. The order: written beside its place under a hidden name, which is no part of a policy set; synced;
/// renamed; the directory synced. Who watches the directory sees the old file or the whole new one.
///
/// # Errors
/// When the disk refuses, or a file is there that may not be replaced ([`io::ErrorKind::AlreadyExists`]). Then nothing
/// has changed.
pub(super) fn put(
    path: &Path,
    may_replace: bool,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no file name"))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(hidden);
    let placed = write_draft(&draft, write).and_then(|()| {
        if may_replace { fs::rename(&draft, path) } else { rename_to_free_place(&draft, path) }
    });
    if placed.is_err() {
        fs::remove_file(&draft).ok();
    }
    placed?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_draft(draft: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(draft)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// Somebody else may have written that very file meanwhile, so the kernel is asked to look.
fn rename_to_free_place(draft: &Path, path: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
        // A file system that cannot look can still refuse a second link of that name.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(draft, path)?;
            fs::remove_file(draft)
        }
        result => Ok(result?),
    }
}
