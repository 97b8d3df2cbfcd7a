//! A policy directory put back to an earlier set.
//!
//! A directory cannot be swapped in one step while others watch it, so a mark is put up first, and taken down last:
//! as long as it is there no edge reads the directory, neither a running one nor one that starts. A rollback that is
//! cut off in the middle leaves the mark, and the set in force stays in force until it is run again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::placing::{Draft, Moved, sync_directory};
use super::source::{self, Snapshot};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::{PolicyFile, PolicyFiles};

/// The mark, in the policy directory.
pub(super) const MARK: &str = "rollback.unfinished";

/// A step of a rollback failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} `{}`: {cause}", path.display())]
pub struct RollbackError {
    what: &'static str,
    path: PathBuf,
    cause: io::Error,
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RollbackError + 'a {
    move |cause| RollbackError { what, path: path.to_owned(), cause }
}

/// What a policy directory lacks and has too much, compared with the set that it is to hold.
#[derive(Debug)]
pub struct Plan {
    directory: PathBuf,
    /// Files to be written, new or over others, with their content.
    writes: BTreeMap<String, Arc<[u8]>>,
    /// Files to be taken out.
    removals: Vec<String>,
}

impl Plan {
    /// What leads from the files that are there to those of an earlier set.
    #[must_use]
    pub fn between(directory: &Path, there: &PolicyFiles, wanted: &PolicyFiles) -> Self {
        let differs = |(path, file): &(&String, &PolicyFile)| {
            there.files.get(*path).is_none_or(|there| there.digest != file.digest)
        };
        let writes = wanted.files.iter().filter(differs);
        let surplus = there.files.keys().filter(|path| !wanted.has(path));
        Self {
            directory: directory.to_owned(),
            // What is read back from the state directory is at hand whole.
            writes: writes.filter_map(|(path, file)| Some((path.clone(), file.content.clone()?))).collect(),
            removals: surplus.cloned().collect(),
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.removals.is_empty() && !self.directory.join(MARK).exists()
    }

    /// The paths that are written, then those that are taken out.
    #[must_use]
    pub fn paths(&self) -> (Vec<&str>, Vec<&str>) {
        (self.writes.keys().map(String::as_str).collect(), self.removals.iter().map(String::as_str).collect())
    }

    /// Writes every new file beside its place. Nothing that belongs to a policy set has changed after it.
    ///
    /// # Errors
    /// When a file cannot be written, or a directory is in its place; nothing is left then.
    pub fn prepare(self) -> Result<Prepared, RollbackError> {
        let mut drafts = Vec::with_capacity(self.writes.len());
        for (path, content) in &self.writes {
            let target = self.directory.join(path);
            if target.is_dir() {
                return Err(failed("replace", &target)(io::ErrorKind::IsADirectory.into()));
            }
            let parent = target.parent().unwrap_or(&self.directory);
            fs::create_dir_all(parent).map_err(failed("create", parent))?;
            let draft = Draft::write(&target, content).map_err(failed("write", &target))?;
            drafts.push((target, draft));
        }
        Ok(Prepared { plan: self, drafts })
    }
}

/// A rollback of which every file lies ready.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    drafts: Vec<(PathBuf, Draft)>,
}

impl Prepared {
    /// Carries it out: put up the mark and sync; every file into its place; out with those that are too many; sync
    /// the directories; take down the mark and sync. What was there before is kept in `archive`, under its path.
    ///
    /// # Errors
    /// At the first step that fails; the mark stays up then, and the rollback has to be run again.
    pub fn carry_out(self, archive: &Path) -> Result<(), RollbackError> {
        let Self { plan, drafts } = self;
        if plan.is_empty() {
            return Ok(());
        }
        let mark = plan.directory.join(MARK);
        put_up(&mark).map_err(failed("write", &mark))?;
        for ((target, draft), path) in drafts.into_iter().zip(plan.writes.keys()) {
            if target.symlink_metadata().is_ok() {
                let kept = archive.join(path);
                keep(&target, &kept).map_err(failed("keep a copy of", &target))?;
            }
            draft.replace().map_err(failed("replace", &target))?;
            sync_directory(&target).map_err(failed("sync the directory of", &target))?;
        }
        for path in &plan.removals {
            let from = plan.directory.join(path);
            let moved = Moved::to(&from, &archive.join(path)).map_err(failed("take out", &from))?;
            moved.sync().map_err(failed("sync the directory of", &from))?;
        }
        fs::remove_file(&mark).and_then(|()| sync_directory(&mark)).map_err(failed("remove", &mark))
    }
}

/// A second name in the archive, so that the file is never away from its place; a copy where links cannot be made.
fn keep(file: &Path, kept: &Path) -> io::Result<()> {
    if let Some(directory) = kept.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::hard_link(file, kept).or_else(|_| fs::copy(file, kept).map(drop))
}

fn put_up(mark: &Path) -> io::Result<()> {
    let mut file = File::create(mark)?;
    file.write_all(
        b"A rollback was cut off here. Run it again, or put the directory in order and remove this file.\n",
    )?;
    file.sync_all()?;
    sync_directory(mark)
}

/// Whether a policy directory is still as it was when it was read.
#[must_use]
pub fn is_unchanged(directory: &Path, snapshot: &Snapshot) -> bool {
    source::fingerprint(directory) == snapshot.fingerprint
}

/// The error of a directory in which a rollback was cut off.
#[must_use]
pub fn cut_off(directory: &Path) -> Option<Diagnostics> {
    let mark = directory.join(MARK);
    let is_there = mark.symlink_metadata().is_ok();
    is_there.then(|| {
        let hint = "run `interdict rollback` again, or put the directory in order and remove that file";
        Diagnostic::error(MARK, "a rollback is under way, or was cut off in the middle")
            .with_hint(hint)
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> PolicyFiles {
        let mut files = PolicyFiles::new();
        for (path, content) in all {
            files.insert(*path, content.as_bytes());
        }
        files
    }

    fn put(root: &Path, files: &PolicyFiles) {
        for (path, file) in &files.files {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), file.content.as_ref().unwrap()).unwrap();
        }
    }

    fn there(root: &Path) -> PolicyFiles {
        super::super::source::read(root).unwrap().files
    }

    #[test]
    fn a_directory_is_put_back_whole_and_what_was_there_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let (root, archive) = (home.path().join("policies"), home.path().join("archive"));
        let before = files(&[("cases/a.toml", "a"), ("cases/b.toml", "b"), ("lists/x/l.txt", "l")]);
        let now = files(&[("cases/a.toml", "A"), ("cases/c.toml", "c"), ("pages/p.html", "p")]);
        put(&root, &now);
        let plan = Plan::between(&root, &there(&root), &before);
        assert_eq!(
            plan.paths(),
            (vec!["cases/a.toml", "cases/b.toml", "lists/x/l.txt"], vec!["cases/c.toml", "pages/p.html"])
        );
        plan.prepare().unwrap().carry_out(&archive).unwrap();
        assert_eq!(there(&root), before);
        assert!(cut_off(&root).is_none());
        for (path, content) in [("cases/a.toml", "A"), ("cases/c.toml", "c"), ("pages/p.html", "p")] {
            assert_eq!(fs::read_to_string(archive.join(path)).unwrap(), content);
        }
        assert!(Plan::between(&root, &there(&root), &before).is_empty());
    }

    #[test]
    fn a_rollback_that_cannot_be_prepared_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let now = files(&[("cases/a.toml", "A"), ("lists/l/x.txt", "x")]);
        put(home.path(), &now);
        let wanted = files(&[("cases/a.toml", "a"), ("lists/l", "l")]);
        let plan = Plan::between(home.path(), &there(home.path()), &wanted);
        let error = plan.prepare().unwrap_err().to_string();
        assert!(error.contains("lists/l"), "{error}");
        assert_eq!(there(home.path()), now);
        assert!(cut_off(home.path()).is_none());
        assert_eq!(fs::read_dir(home.path().join("cases")).unwrap().count(), 1);
    }

    #[test]
    fn a_rollback_that_fails_in_the_middle_leaves_its_mark_and_can_be_run_again() {
        let home = tempfile::tempdir().unwrap();
        let (root, archive) = (home.path().join("policies"), home.path().join("archive"));
        let now = files(&[("cases/a.toml", "A"), ("cases/b.toml", "B")]);
        let wanted = files(&[("cases/a.toml", "a")]);
        put(&root, &now);
        // The archive is no directory, so that nothing can be kept.
        fs::write(&archive, "").unwrap();
        let plan = Plan::between(&root, &now, &wanted);
        plan.prepare().unwrap().carry_out(&archive).unwrap_err();
        assert!(cut_off(&root).unwrap().to_string().contains("rollback"));
        fs::remove_file(&archive).unwrap();
        let plan = Plan::between(&root, &there(&root), &wanted);
        plan.prepare().unwrap().carry_out(&archive).unwrap();
        assert!(cut_off(&root).is_none());
        assert_eq!(there(&root), wanted);
    }
}
