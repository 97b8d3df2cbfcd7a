//! The comment that a case file gets and loses again, so that policies are new to the edge. Whatever else is written
//! to the file meanwhile stays.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use crate::limits;

/// The line.
const MARK: &[u8] = b"# touched by `interdict load`";
/// Files with it may stand here: a case that was ended meanwhile took its mark along.
const FOLDERS: [&str; 2] = ["cases", "ended"];

/// The bit of a mode by which everybody may read.
const READABLE_BY_ALL: u32 = 0o004;

/// The case files of a policy directory, in order.
pub(super) fn cases(policies: &Path) -> io::Result<Vec<PathBuf>> {
    files(&policies.join("cases"))
}

/// Whether there is room for the line.
pub(super) fn fits(file: &Path) -> bool {
    let most = limits::CASE_FILE_BYTES.saturating_sub(MARK.len() as u64 + 1);
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= most)
}

/// Puts the line at the end of a file, or takes it out when it is there; whether it is there now.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when the file has gone: it is not made anew.
pub(super) fn turn(file: &Path) -> io::Result<bool> {
    let mut is_marked = false;
    rewrite(file, &mut |text| {
        let without = without_mark(text);
        is_marked = without == text;
        if is_marked { with_mark(text) } else { without }
    })?;
    Ok(is_marked)
}

/// Takes the line out of every file that has it, whoever put it there; what could not be done, by file.
pub(super) fn sweep(policies: &Path) -> Vec<(PathBuf, io::Error)> {
    let mut problems = Vec::new();
    for folder in FOLDERS {
        let folder = policies.join(folder);
        match files(&folder) {
            Ok(files) => problems.extend(files.into_iter().filter_map(|file| cleared(file).err())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => problems.push((folder, error)),
        }
    }
    problems
}

fn cleared(file: PathBuf) -> Result<(), (PathBuf, io::Error)> {
    match rewrite(&file, &mut without_mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err((file, error)),
        _ => Ok(()),
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| {
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        !is_hidden && path.extension().is_some_and(|extension| extension == "toml") && path.is_file()
    });
    files.sort_unstable();
    Ok(files)
}

fn with_mark(text: &[u8]) -> Vec<u8> {
    match text.last() {
        None | Some(b'\n') => [text, MARK, b"\n"].concat(),
        Some(_) => [text, b"\n", MARK].concat(),
    }
}

fn without_mark(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii() != MARK {
            kept.extend_from_slice(line);
        } else if !line.ends_with(b"\n") && kept.ends_with(b"\n") {
            // The file had no newline at its end.
            kept.pop();
        }
    }
    kept
}

/// A file as it was read, so that a later one in its place is told from it.
#[derive(PartialEq)]
struct Seen {
    file: (u64, u64),
    changed: (i64, i64),
    text: Vec<u8>,
}

impl Seen {
    fn read(path: &Path) -> io::Result<(Self, fs::Metadata)> {
        let mut file = File::open(path)?;
        let mut text = Vec::new();
        let metadata = file.metadata()?;
        if metadata.len() > limits::CASE_FILE_BYTES {
            return Err(io::Error::other("it is larger than a case file may be"));
        }
        file.read_to_end(&mut text)?;
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        Ok((Self { file: (metadata.dev(), metadata.ino()), changed, text }, metadata))
    }
}

/// Changes a file as it is now. When somebody else changes it at the same time, theirs is taken up and ours made anew.
fn rewrite(file: &Path, change: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> io::Result<()> {
    for _ in 0..limits::LOAD_TOUCH_TRIES {
        // Through links: it is the file that changes, and not where it is found.
        let target = fs::canonicalize(file)?;
        let (seen, metadata) = Seen::read(&target)?;
        let text = change(&seen.text);
        if text == seen.text {
            return Ok(());
        }
        let draft = Draft::write(&target, &text, &metadata)?;
        let is_as_read = fs::canonicalize(file)? == target && Seen::read(&target)?.0 == seen;
        if is_as_read && draft.take_place_of(&target, &seen)? {
            return Ok(());
        }
    }
    Err(io::Error::other("somebody else keeps changing it"))
}

/// What a file is to be, written beside it under a hidden name that belongs to no policy set. Dropped, it is gone.
struct Draft(PathBuf);

impl Draft {
    /// Made anew, for the same owner and with the same mode, written, synced.
    fn write(target: &Path, text: &[u8], like: &fs::Metadata) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        // A process that was killed may have left a draft, and this one may have its number.
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let path = target.with_file_name(format!(".{}-{moment}.interdict-load.{name}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let mut file = options.open(&path)?;
        let draft = Self(path);
        let own = file.metadata()?;
        if (like.uid(), like.gid()) != (own.uid(), own.gid()) {
            // Only root can give a file away; anybody else may still give it to a group of theirs.
            let given = fchown(&file, Some(like.uid()), Some(like.gid()))
                .or_else(|_| fchown(&file, None, Some(like.gid())));
            // Whoever reads it by its group or owner alone, as an edge does, must not lose it.
            if given.is_err() && like.mode() & READABLE_BY_ALL == 0 {
                return Err(io::Error::other(
                    "it belongs to a group to which nobody but its owner can give it",
                ));
            }
        }
        file.set_permissions(like.permissions())?;
        file.write_all(text)?;
        file.sync_all()?;
        Ok(draft)
    }

    /// Changes places with the file, which also says that it is still there, and looks at what came out: when that is
    /// not what was read, it goes back.
    fn take_place_of(self, target: &Path, seen: &Seen) -> io::Result<bool> {
        use rustix::io::Errno;
        let exchange = || renameat_with(CWD, &self.0, CWD, target, RenameFlags::EXCHANGE);
        match exchange() {
            Ok(()) => {}
            // A mere rename would make a case anew that somebody has ended a moment ago.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                return Err(io::Error::other(
                    "this file system cannot exchange two files: use `--config` alone",
                ));
            }
            Err(error) => return Err(error.into()),
        }
        if Seen::read(&self.0).is_ok_and(|(now, _)| now == *seen) {
            return Ok(true);
        }
        exchange().map_err(|error| {
            let told = format!("somebody's change of it is in `{}` now: {error}", self.0.display());
            // Dropped, it would take that change with it.
            std::mem::forget(self);
            io::Error::other(told)
        })?;
        Ok(false)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is there no more once it was renamed.
        fs::remove_file(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A policy directory with one case.
    fn policies(text: &str) -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("cases")).unwrap();
        let case = home.path().join("cases/a.toml");
        fs::write(&case, text).unwrap();
        (home, case)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn names(home: &Path) -> Vec<String> {
        let entries = fs::read_dir(home.join("cases")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_mark_goes_as_it_came_and_leaves_every_edit() {
        for text in ["a = 1\n", "a = 1", "", "a = 1\r\n", "a = 1\n\n"] {
            let (home, case) = policies(text);
            assert!(turn(&case).unwrap());
            assert!(read(&case).contains("# touched by"), "{text:?}");
            fs::write(&case, format!("# an edit\n{}", read(&case))).unwrap();
            assert!(!turn(&case).unwrap());
            assert_eq!(read(&case), format!("# an edit\n{text}"));
            assert_eq!(names(home.path()), ["a.toml"], "no draft is left");
        }
    }

    #[test]
    fn a_change_that_comes_while_ours_is_made_is_taken_up() {
        let (home, case) = policies("a = 1\n");
        let mut turns = 0;
        rewrite(&case, &mut |text| {
            turns += 1;
            match turns {
                1 => fs::write(&case, "a = 2\n").unwrap(),
                // As editors do: beside, then renamed; of the same length, at whatever time.
                2 => {
                    fs::write(home.path().join("beside"), "a = 3\n").unwrap();
                    fs::rename(home.path().join("beside"), &case).unwrap();
                }
                _ => {}
            }
            with_mark(text)
        })
        .unwrap();
        assert_eq!((turns, without_mark(read(&case).as_bytes())), (3, b"a = 3\n".to_vec()));
        let always = |text: &[u8]| {
            fs::write(&case, [text, b"#\n"].concat()).unwrap();
            with_mark(text)
        };
        let mut always = always;
        assert!(rewrite(&case, &mut always).unwrap_err().to_string().contains("keeps changing"));
        assert_eq!(names(home.path()), ["a.toml"]);
    }

    #[test]
    fn what_comes_out_at_the_exchange_and_was_not_read_goes_back() {
        let (home, case) = policies("a = 1\n");
        let (seen, metadata) = Seen::read(&case).unwrap();
        let draft = Draft::write(&case, b"ours\n", &metadata).unwrap();
        fs::write(&case, "theirs\n").unwrap();
        assert!(!draft.take_place_of(&case, &seen).unwrap());
        assert_eq!(read(&case), "theirs\n");
        assert_eq!(names(home.path()), ["a.toml"]);
    }

    #[test]
    fn a_file_that_has_gone_is_not_made_anew() {
        let (home, case) = policies("a = 1\n");
        let gone = rewrite(&case, &mut |text| {
            fs::remove_file(&case).unwrap();
            with_mark(text)
        });
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(turn(&case).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(names(home.path()).is_empty());
    }

    #[test]
    fn links_stay_links_and_modes_stay_modes() {
        let (home, case) = policies("a = 1\n");
        let elsewhere = home.path().join("elsewhere.toml");
        fs::rename(&case, &elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&elsewhere, &case).unwrap();
        assert!(turn(&case).unwrap());
        assert!(case.is_symlink());
        assert!(read(&elsewhere).ends_with("`interdict load`\n"));
        assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn marks_that_an_earlier_run_left_are_taken_out_wherever_they_are() {
        let (home, case) = policies("a = 1\n\n# touched by `interdict load`\nb = 2\n");
        fs::create_dir(home.path().join("ended")).unwrap();
        let ended = home.path().join("ended/b.toml");
        fs::write(&ended, "a = 1\n# touched by `interdict load`").unwrap();
        assert!(sweep(home.path()).is_empty());
        assert_eq!((read(&case), read(&ended)), ("a = 1\n\nb = 2\n".to_owned(), "a = 1".to_owned()));
    }
}
