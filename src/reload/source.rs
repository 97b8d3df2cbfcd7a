//! The policy directory as it is on disk at one moment, read whole.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::background::breathe;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::limits;
use crate::policy::{PolicyFile, PolicyFiles};

pub(super) mod known;
pub(super) mod places;

use known::Known;

/// Everything the policy directory held while it did not change.
#[derive(Debug)]
pub struct Snapshot {
    /// The files, by their path in the directory.
    pub files: PolicyFiles,
    /// What tells this state of the directory from another without reading it.
    pub fingerprint: Fingerprint,
    /// What is legal and hardly meant: files that look like cases and are none. No errors.
    pub warnings: Diagnostics,
    /// The files that were left out, because somebody was writing them.
    pub(super) unfinished: BTreeSet<String>,
    /// When it was looked at.
    pub(super) at: SystemTime,
}

/// Knows who is in the middle of writing a file of the directory.
pub(super) trait Writers {
    /// The files that somebody has begun and not closed, by their path in the directory, as of this moment.
    fn at_work(&mut self) -> BTreeSet<String>;

    /// Whether anything has happened since the reading began, so that another one follows.
    fn is_heard(&self) -> bool;
}

/// Nobody is known to write: what reads the directory without listening to it.
pub(super) struct Unheard;

impl Writers for Unheard {
    fn at_work(&mut self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn is_heard(&self) -> bool {
        false
    }
}

/// Names, sizes, inodes and times of the files of a policy directory. The time of the last status change is in
/// it too: new permissions, and content put back with its old date, show there alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint(BTreeMap<String, FileMark>);

impl Fingerprint {
    /// The names of what is not the same in both.
    fn differing(&self, other: &Self) -> BTreeSet<String> {
        let names = self.0.keys().chain(other.0.keys());
        names.filter(|name| self.0.get(*name) != other.0.get(*name)).cloned().collect()
    }

    /// Whether both are the same but for files that are being written.
    pub(super) fn is_as(&self, other: &Self, but_for: &BTreeSet<String>) -> bool {
        self.differing(other).is_subset(but_for)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileMark {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Why no snapshot could be taken.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Files that cannot be read, or that break a limit, and the directory as it was then.
    #[error("{0}")]
    Unreadable(Diagnostics, Fingerprint),
    /// Somebody was writing all the time.
    #[error("the policy directory changed while it was read")]
    Unsettled,
}

/// Which files of a subdirectory belong to a policy set.
#[derive(Debug, Clone, Copy)]
struct Part {
    directory: &'static str,
    /// `cases/` must be there: a directory that is not mounted must not end every block.
    required: bool,
    recursive: bool,
}

const PARTS: [Part; 3] = [
    Part { directory: "cases", required: true, recursive: false },
    Part { directory: "lists", required: false, recursive: true },
    Part { directory: "pages", required: false, recursive: false },
];

/// Reads the directory whole. When it changes meanwhile, reads again, a few times.
///
/// # Errors
/// All files that cannot be taken, at once; or that the directory never stood still.
pub fn read(root: &Path) -> Result<Snapshot, SourceError> {
    let whole = |path: &Path, bytes| read_bounded(path, bytes).map(PolicyFile::new);
    read_with(root, &mut Unheard, |found| load(found, whole))
}

/// The same, but lists that `known` knows are not read, and long ones are left on the disk once they are hashed: a reload
/// costs what has changed, and never takes the memory of all lists at once. And what `writers` are at is left out: half a
/// list is a valid, shorter list.
pub(super) fn read_changed(
    root: &Path,
    known: &Known,
    writers: &mut dyn Writers,
) -> Result<Snapshot, SourceError> {
    read_with(root, writers, |found| {
        let room = Cell::new(limits::LISTS_AT_HAND_BYTES);
        load(found, |path, bytes| {
            let name = path.strip_prefix(root).ok().and_then(Path::to_str).unwrap_or_default();
            let mark = found.get(name).map(|found| mark(&found.metadata));
            if !name.starts_with("lists/") {
                return read_bounded(path, bytes).map(PolicyFile::new);
            }
            match mark.and_then(|mark| known.digest(name, &mark)) {
                Some(digest) => Ok(PolicyFile { digest, bytes, content: None }),
                None if bytes <= room.get() => {
                    room.set(room.get() - bytes);
                    read_bounded(path, bytes).map(PolicyFile::new)
                }
                None => known::hash(path, bytes),
            }
        })
    })
}

fn read_with(
    root: &Path,
    writers: &mut dyn Writers,
    load: impl Fn(&BTreeMap<String, Found>) -> (PolicyFiles, Diagnostics),
) -> Result<Snapshot, SourceError> {
    // What never stands still.
    let mut restless = BTreeSet::new();
    for attempt in 1..=limits::SOURCE_ATTEMPTS {
        let at = SystemTime::now();
        let mut before = scan(root);
        let unfinished = before.leave_out(&writers.at_work() | &restless);
        let (files, problems) = load(&before.found);
        let mut after = scan(root);
        let mut busy = &writers.at_work() | &unfinished;
        // One list after the other is being unpacked: the rest must not wait for the last of them.
        let is_restless = writers.is_heard() && attempt >= limits::SOURCE_ATTEMPTS / 2;
        if is_restless {
            busy.extend(after.found.keys().filter(|name| !before.found.contains_key(*name)).cloned());
        }
        // A file that was cut to nothing looks the same before and after: only its writer tells.
        let left_out = after.leave_out(busy);
        let differing = before.fingerprint().differing(&after.fingerprint());
        if !differing.is_empty() || left_out.iter().any(|name| before.found.contains_key(name)) {
            if is_restless {
                restless.extend(differing);
            }
            continue;
        }
        let unfinished = &unfinished | &left_out;
        let mut diagnostics = before.problems;
        diagnostics.extend(problems);
        if diagnostics.has_errors() {
            return Err(SourceError::Unreadable(diagnostics, after.fingerprint()));
        }
        let (fingerprint, warnings) = (after.fingerprint(), diagnostics);
        return Ok(Snapshot { files, fingerprint, warnings, unfinished, at });
    }
    Err(SourceError::Unsettled)
}

/// The fingerprint alone, for a cheap look whether anything changed.
#[must_use]
pub(super) fn fingerprint(root: &Path) -> Fingerprint {
    scan(root).fingerprint()
}

struct Found {
    path: PathBuf,
    metadata: fs::Metadata,
}

#[derive(Default)]
struct Scan {
    found: BTreeMap<String, Found>,
    problems: Diagnostics,
}

impl Scan {
    /// Leaves out files, and every other name of the same ones: links. Returns what is left out by it; of files that are
    /// not there only those that belong to no set, such as its signatures.
    fn leave_out(&mut self, files: BTreeSet<String>) -> BTreeSet<String> {
        let identity = |found: &Found| (found.metadata.dev(), found.metadata.ino());
        let same: HashSet<_> = files.iter().filter_map(|name| self.found.get(name)).map(identity).collect();
        let mut left_out: BTreeSet<String> =
            files.into_iter().filter(|name| !PolicyFiles::belongs(name)).collect();
        if !same.is_empty() {
            let links = self.found.extract_if(.., |_, found| same.contains(&identity(found)));
            left_out.extend(links.map(|(name, _)| name));
        }
        left_out
    }

    fn fingerprint(&self) -> Fingerprint {
        let marked = self.found.iter().map(|(name, found)| (name.clone(), mark(&found.metadata)));
        Fingerprint(marked.collect())
    }

    fn problem(&mut self, file: &str, message: impl Into<String>, hint: &str) {
        self.problems.push(Diagnostic::error(file, message).with_hint(hint));
    }
}

fn mark(meta: &fs::Metadata) -> FileMark {
    FileMark {
        device: meta.dev(),
        inode: meta.ino(),
        bytes: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    }
}

fn scan(root: &Path) -> Scan {
    let mut scan = Scan::default();
    for part in PARTS {
        scan_directory(&mut scan, &root.join(part.directory), part.directory, part, 0);
    }
    scan
}

fn scan_directory(scan: &mut Scan, directory: &Path, name: &str, part: Part, depth: usize) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !part.required => return,
        Err(error) => {
            let hint = "create the directory, or name another one";
            let message = format!("cannot read the directory `{}`: {error}", directory.display());
            return scan.problem(name, message, hint);
        }
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                scan.problem(name, format!("cannot read the directory: {error}"), "check the disk");
                continue;
            }
        };
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else {
            scan.problem(name, format!("the file name {file_name:?} is not UTF-8"), "rename the file");
            continue;
        };
        scan_entry(scan, &entry.path(), &format!("{name}/{file_name}"), part, depth);
    }
}

fn scan_entry(scan: &mut Scan, path: &Path, name: &str, part: Part, depth: usize) {
    if !PolicyFiles::belongs(name) {
        if is_stray_case(name, path) {
            let message = "this belongs to no policy set: what stands in it is not carried out";
            let hint = "a case is a file of its own in `cases/`, its name ends in `.toml`; move what is none elsewhere";
            scan.problems.push(Diagnostic::warning(name, message).with_hint(hint));
        }
        return;
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() && part.recursive => {
            if depth >= limits::SOURCE_DEPTH {
                scan.problem(name, "directories are nested too deep", "move the lists up");
            } else {
                scan_directory(scan, path, name, part, depth + 1);
            }
        }
        Ok(metadata) if metadata.is_dir() => {
            scan.problem(name, "this is a directory where a file belongs", "remove it, or put the file back");
        }
        Ok(metadata) if !metadata.is_file() => {
            scan.problem(name, "this is neither a file nor a link to one", "remove it");
        }
        Ok(metadata) => {
            scan.found.insert(name.to_owned(), Found { path: path.to_path_buf(), metadata });
        }
        // A file that was there a moment ago: the second scan sees the difference, and all is read again.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {}
        Err(error) => scan.problem(name, format!("cannot read the file: {error}"), "correct or remove it"),
    }
}

/// Whether somebody may take it for a case, or for a directory of cases. Hidden files and what editors leave are left alone.
fn is_stray_case(name: &str, path: &Path) -> bool {
    let Some(name) = name.strip_prefix("cases/").filter(|name| !name.starts_with(['.', '#'])) else {
        return false;
    };
    !name.ends_with('~') && (name.to_lowercase().contains(".toml") || path.is_dir())
}

fn load(
    found: &BTreeMap<String, Found>,
    read: impl Fn(&Path, u64) -> io::Result<PolicyFile>,
) -> (PolicyFiles, Diagnostics) {
    let mut files = PolicyFiles::new();
    let mut problems = Diagnostics::default();
    let bytes = found.values().map(|file| file.metadata.len()).sum();
    if let Some(problem) = PolicyFiles::check_total(found.len(), bytes) {
        problems.push(problem);
        return (files, problems);
    }
    for (name, file) in found {
        // The size is asked for before anything is read: a huge file costs nothing but its error.
        if let Some(problem) = PolicyFiles::check_size(name, file.metadata.len()) {
            problems.push(problem);
            continue;
        }
        match read(&file.path, file.metadata.len()) {
            Ok(file) => {
                files.files.insert(name.clone(), file);
            }
            Err(error) => {
                let message = format!("cannot read the file: {error}");
                problems.push(Diagnostic::error(name, message).with_hint("check its permissions"));
            }
        }
    }
    (files, problems)
}

/// The content. A file that has grown since it was looked at is read no further than a byte past its end:
/// the set is read again anyway, and a file that grows for ever must not fill the memory.
pub(super) fn read_bounded(path: &Path, expected: u64) -> io::Result<Arc<[u8]>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(expected + 1);
    while file.by_ref().take(limits::HASH_PIECE_BYTES as u64).read_to_end(&mut bytes)? > 0 {
        breathe();
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests;
