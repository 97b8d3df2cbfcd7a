//! Files put into and taken out of the policy directory by commands, whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

/// A file written and synced beside its place, under a hidden name that belongs to no policy set. Dropped, it is gone.
#[derive(Debug)]
pub struct Draft {
    temporary: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Writes the content of `target` beside it, as [`Draft::write_with`] does.
    ///
    /// # Errors
    /// When the disk refuses; nothing is left then.
    pub fn write(target: &Path, content: &[u8]) -> io::Result<Self> {
        Self::write_with(target, |file| file.write_all(content))
    }

    /// Has the content of `target` written beside it: create, write, sync. Who may read the directory may read the
    /// file, whatever the mask of this process: the edge may run as somebody else.
    ///
    /// # Errors
    /// When the disk refuses; nothing is left then.
    pub fn write_with(
        target: &Path,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no file name"))?;
        let directory = directory_of(target);
        let mut hidden = OsString::from(format!(".{}.", std::process::id()));
        hidden.push(name);
        let temporary = directory.join(hidden);
        let around = fs::metadata(directory)?;
        let file = create_anew(&temporary)?;
        let draft = Self { temporary, target: target.to_owned() };
        file.set_permissions(fs::Permissions::from_mode(mode_in(&around)))?;
        if (around.uid(), around.gid()) != (file.metadata()?.uid(), file.metadata()?.gid()) {
            // Only root can give a file away; anybody else keeps it.
            fchown(&file, Some(around.uid()), Some(around.gid())).ok();
        }
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        Ok(draft)
    }

    /// Puts it in its place, unless something is there already. The directory is still to be synced.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the place is taken.
    pub fn place(self) -> io::Result<PathBuf> {
        rename_to_free(&self.temporary, &self.target)?;
        Ok(self.target.clone())
    }

    /// Puts it in its place, whatever is there. The directory is still to be synced.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn replace(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is there no more once it was put in its place.
        fs::remove_file(&self.temporary).ok();
    }
}

/// A file taken out of a policy set, which can be put back.
#[derive(Debug)]
pub struct Moved {
    from: PathBuf,
    to: PathBuf,
}

impl Moved {
    /// Moves a file to a place that is free; the directories of the place are made. Both directories are still to be
    /// synced.
    ///
    /// # Errors
    /// When the disk refuses, or the place is taken.
    pub fn to(from: &Path, to: &Path) -> io::Result<Self> {
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory)?;
        }
        rename_to_free(from, to)?;
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }

    /// Where it is now.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.to
    }

    /// Makes the move last: a crash of the machine does not undo it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        sync_directory(&self.to)?;
        sync_directory(&self.from)
    }

    /// Puts it back.
    ///
    /// # Errors
    /// When the disk refuses, or something has taken its place.
    pub fn undo(self) -> io::Result<()> {
        rename_to_free(&self.to, &self.from)?;
        sync_directory(&self.from)
    }
}

/// Syncs the directory that a file is in.
///
/// # Errors
/// When the disk refuses.
pub fn sync_directory(file: &Path) -> io::Result<()> {
    File::open(directory_of(file))?.sync_all()
}

/// The directory a file is in; a bare name is in the one of the process.
fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a file that was not there: its name can be guessed, and a link that somebody has put there would lead the
/// writing, and the change of mode and owner after it, to a file of their choice.
fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options.open(path).map_err(|error| match error.kind() {
        // Not the place of the file itself, which is what this kind of error says of it.
        io::ErrorKind::AlreadyExists => {
            io::Error::other(format!("somebody keeps making `{}`", path.display()))
        }
        _ => error,
    })
}

/// What a file in this directory may be used for: what the directory may be, but that nobody gets to write who is
/// neither its owner nor its group, and where everybody may leave files (`/tmp`) only the owner does.
fn mode_in(directory: &fs::Metadata) -> u32 {
    let is_for_all = directory.mode() & 0o1000 != 0;
    directory.mode() & if is_for_all { 0o644 } else { 0o664 }
}

/// One atomic step, which never replaces anything.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // File systems that cannot rename so, such as NFS: a second name for the file is never made over another.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_comes_whole_and_replaces_nothing_unless_told_to() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.toml");
        assert_eq!(Draft::write(&target, b"one").unwrap().place().unwrap(), target);
        let again = Draft::write(&target, b"two").unwrap().place().unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"one");
        assert_eq!(names(home.path()), ["a.toml"], "no draft is left");
        Draft::write(&target, b"three").unwrap().replace().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"three");
        drop(Draft::write(&target, b"four").unwrap());
        assert_eq!(names(home.path()), ["a.toml"]);
    }

    #[test]
    fn whoever_may_read_the_directory_may_read_the_file() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let target = home.path().join("a.toml");
        Draft::write(&target, b"one").unwrap().place().unwrap();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn where_everybody_may_leave_files_only_the_owner_writes_to_this_one() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.toml");
        for (around, expected) in [(0o1777, 0o644), (0o777, 0o664), (0o2775, 0o664)] {
            fs::set_permissions(home.path(), fs::Permissions::from_mode(around)).unwrap();
            Draft::write(&target, b"one").unwrap().replace().unwrap();
            assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, expected, "{around:o}");
        }
    }

    #[test]
    fn a_link_at_the_name_of_the_draft_leads_nowhere() {
        let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (target, victim) = (home.path().join("a.toml"), elsewhere.path().join("victim"));
        fs::write(&victim, "untouched").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        let planted = home.path().join(format!(".{}.a.toml", std::process::id()));
        std::os::unix::fs::symlink(&victim, &planted).unwrap();
        Draft::write(&target, b"one").unwrap().place().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"one");
        assert!(fs::symlink_metadata(&target).unwrap().is_file());
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o600);
        assert_eq!(names(home.path()), ["a.toml"]);
    }

    #[test]
    fn what_cannot_be_removed_from_the_name_of_the_draft_stays() {
        let home = tempfile::tempdir().unwrap();
        let planted = home.path().join(format!(".{}.a.toml", std::process::id()));
        fs::create_dir(&planted).unwrap();
        let refused = Draft::write(&home.path().join("a.toml"), b"one").unwrap_err();
        assert_ne!(refused.kind(), io::ErrorKind::AlreadyExists, "that is said of the file itself");
        assert!(planted.is_dir());
    }

    #[test]
    fn a_file_that_was_moved_can_be_put_back_and_pushes_nothing_out() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("a"), home.path().join("ended/a"));
        fs::write(&from, "one").unwrap();
        let moved = Moved::to(&from, &to).unwrap();
        moved.sync().unwrap();
        assert!(!from.exists() && moved.place() == to);
        fs::write(&from, "two").unwrap();
        assert!(Moved::to(&from, &to).is_err());
        assert!(moved.undo().is_err());
        assert_eq!((fs::read(&from).unwrap(), fs::read(&to).unwrap()), (b"two".to_vec(), b"one".to_vec()));
    }
}
