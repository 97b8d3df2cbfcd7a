//! The last good policy sets, kept on disk under their revisions.
//!
//! `objects/<sha256>` holds each file's content once, `revisions/<number>.json` the manifest of one set.
//! A swap writes only what is new, so a changed case file costs its own size, not that of every list.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::background::breathe;
use crate::limits;
use crate::policy::{Contents, Digest, PolicyFile, PolicyFiles};

#[cfg(test)]
mod tests;

/// One kept policy set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its revision: 1, 2, 3 …, never given twice.
    pub revision: u64,
    /// The SHA-256 of the set, in hexadecimal.
    pub digest: String,
    /// When it came into force, UTC.
    pub applied: Timestamp,
    /// The SHA-256 of each file, in hexadecimal, by its path in the policy directory.
    pub files: BTreeMap<String, String>,
}

/// A kept policy set, read back whole and held against its digests.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What it is.
    pub manifest: Manifest,
    /// Its files.
    pub files: PolicyFiles,
}

/// Why the state directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An operation on the disk failed.
    #[error("cannot {what} `{path}`: {cause}; repair the state directory, or name another one")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// Another edge uses the directory.
    #[error("`{0}` is in use by another edge; give each edge a state directory of its own")]
    InUse(PathBuf),
    /// A kept file is not what its name says.
    #[error("`{0}` is damaged; a file in the state directory was altered or cut")]
    Damaged(PathBuf),
}

/// The state directory of one edge, locked for as long as this lives.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// The newest revision ever given, whether or not its set can still be read.
    newest: u64,
    /// How many sets are kept.
    kept: usize,
    _lock: File,
}

impl Store {
    /// Opens or creates the directory and takes its lock.
    ///
    /// # Errors
    /// When the disk refuses, or another edge holds the lock.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for directory in ["objects", "revisions"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(failed("create", &path))?;
        }
        let lock_path = root.join("edge.lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::InUse(root.to_path_buf())),
            Err(error) => return Err(failed("lock", &lock_path)(error.into())),
        }
        let mut store =
            Self { root: root.to_path_buf(), newest: 0, kept: limits::KEPT_REVISIONS, _lock: lock };
        let kept = store.revisions()?.last().copied().unwrap_or(0);
        store.newest = kept.max(counted(&store.counter_path()).unwrap_or(0));
        Ok(store)
    }

    /// Raises the counter, when a record of a higher revision was found elsewhere.
    pub fn seen(&mut self, revision: u64) {
        if revision < limits::LARGEST_NUMBER {
            self.newest = self.newest.max(revision);
        }
    }

    /// The newest revision ever given.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The kept revisions, oldest first.
    fn revisions(&self) -> Result<Vec<u64>, StoreError> {
        revisions_in(&self.root)
    }

    /// The newest set that can be read back whole, and the problems met on the way to it.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn last_good(&self) -> Result<(Option<Kept>, Vec<StoreError>), StoreError> {
        let mut problems = Vec::new();
        for revision in self.revisions()?.into_iter().rev() {
            match load(&self.root, revision) {
                Ok(kept) => return Ok((Some(kept), problems)),
                Err(problem) => problems.push(problem),
            }
        }
        Ok((None, problems))
    }

    /// What was in force last, whether or not its files can be read back.
    #[must_use]
    pub fn newest_manifest(&self) -> Option<Manifest> {
        newest_manifest(&self.root)
    }

    /// Whether every file of a set is kept as it is. A list that is not at hand is taken by its length.
    #[must_use]
    pub fn holds(&self, files: &PolicyFiles) -> bool {
        files.files.values().all(|file| self.holds_file(file))
    }

    fn holds_file(&self, file: &PolicyFile) -> bool {
        let name = file.digest.to_string();
        match &file.content {
            // Read back, not only looked for: one that was damaged would spoil every set that names it.
            Some(_) => object(&self.root, &name).is_ok(),
            None => {
                self.root.join("objects").join(name).metadata().is_ok_and(|kept| kept.len() == file.bytes)
            }
        }
    }

    /// The revision the next new set gets.
    #[must_use]
    pub fn next_revision(&self) -> u64 {
        self.newest + 1
    }

    /// Takes the next revision for a set about to be swapped in, whether or not it can be kept. The counter is
    /// written first, and not synced: it outlives the process, and a block does not wait for the disk.
    pub fn take_revision(&mut self) -> u64 {
        self.newest += 1;
        let draft = self.counter_path().with_extension("new");
        let counted = fs::write(&draft, format!("{}\n", self.newest))
            .and_then(|()| fs::rename(&draft, self.counter_path()));
        if let Err(error) = counted {
            tracing::error!(%error, "the revision counter could not be written; the audit log has it as well");
        }
        self.newest
    }

    fn counter_path(&self) -> PathBuf {
        self.root.join("revision")
    }

    /// Up to when starts and ends of cases have been announced, if that was ever written down.
    #[must_use]
    pub fn announced(&self) -> Option<Timestamp> {
        fs::read_to_string(self.root.join("announced")).ok()?.trim().parse().ok()
    }

    /// Writes down that starts and ends of cases have been announced up to `at`.
    pub fn note_announced(&self, at: Timestamp) {
        let path = self.root.join("announced");
        let draft = path.with_extension("new");
        if let Err(error) = fs::write(&draft, format!("{at}\n")).and_then(|()| fs::rename(&draft, &path)) {
            tracing::warn!(%error, "a restart may announce the start or end of a case once more");
        }
    }

    /// Keeps a set. The order: every new object is written to a temporary name, synced and renamed; their
    /// directory is synced; then the manifest in the same way. A crash leaves the older sets whole, and at
    /// most an object nobody names.
    ///
    /// # Errors
    /// When the disk refuses. The set can be in force all the same.
    pub fn keep(&self, revision: u64, files: &PolicyFiles, applied: Timestamp) -> Result<(), StoreError> {
        self.keep_from(revision, files, files, applied)
    }

    /// The same for a set some of whose files are not at hand; `contents` has them.
    ///
    /// # Errors
    /// As [`Store::keep`], and when such a file is another one by now.
    pub fn keep_from(
        &self,
        revision: u64,
        files: &PolicyFiles,
        contents: &dyn Contents,
        applied: Timestamp,
    ) -> Result<(), StoreError> {
        let mut manifest =
            Manifest { revision, digest: files.digest().to_string(), applied, files: BTreeMap::new() };
        let objects = self.root.join("objects");
        for (name, file) in &files.files {
            let sha256 = file.digest.to_string();
            let path = objects.join(&sha256);
            if !self.holds_file(file) {
                let content = contents.content(name, file).map_err(failed("read", Path::new(name)))?;
                write_durably(&path, &content)?;
            }
            manifest.files.insert(name.clone(), sha256);
        }
        sync_directory(&objects)?;
        let path = self.manifest_path(revision);
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| StoreError::Io {
            what: "write",
            path: path.clone(),
            cause: error.into(),
        })?;
        write_durably(&path, &text)?;
        sync_directory(&self.root.join("revisions"))?;
        self.forget_old()
    }

    /// Drops all but the newest few sets, and the objects none of these names.
    fn forget_old(&self) -> Result<(), StoreError> {
        let revisions = self.revisions()?;
        let surplus = revisions.len().saturating_sub(self.kept);
        if surplus == 0 {
            return Ok(());
        }
        for revision in revisions.iter().take(surplus) {
            let path = self.manifest_path(*revision);
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        let mut named = HashSet::new();
        for revision in revisions.iter().skip(surplus) {
            let path = self.manifest_path(*revision);
            let text = fs::read(&path).map_err(failed("read", &path))?;
            // A manifest that cannot be read may name anything: then nothing is dropped.
            let Ok(manifest) = serde_json::from_slice::<Manifest>(&text) else { return Ok(()) };
            named.extend(manifest.files.into_values());
        }
        let objects = self.root.join("objects");
        for entry in fs::read_dir(&objects).map_err(failed("list", &objects))?.flatten() {
            if entry.file_name().to_str().is_none_or(|name| !named.contains(name)) {
                fs::remove_file(entry.path()).map_err(failed("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    fn manifest_path(&self, revision: u64) -> PathBuf {
        manifest_path(&self.root, revision)
    }
}

impl Store {
    /// From here on so many sets are kept, at least one. Default: [`limits::KEPT_REVISIONS`].
    #[must_use]
    pub fn keeping(self, kept: usize) -> Self {
        Self { kept: kept.max(1), ..self }
    }

    /// How many sets are kept.
    #[must_use]
    pub(super) fn kept(&self) -> usize {
        self.kept
    }
}

/// What the state directory `root` keeps, oldest first; a manifest that cannot be read is left out. It needs no lock.
///
/// # Errors
/// When the directory cannot be listed.
pub(super) fn manifests(root: &Path) -> Result<Vec<Manifest>, StoreError> {
    let read = |revision: u64| serde_json::from_slice(&fs::read(manifest_path(root, revision)).ok()?).ok();
    Ok(revisions_in(root)?.into_iter().filter_map(read).collect())
}

/// The counter as it was written last. One that is damaged says nothing: what is kept and the log know as well.
fn counted(path: &Path) -> Option<u64> {
    let mut text = String::new();
    File::open(path).ok()?.take(limits::NUMBER_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|revision| *revision < limits::LARGEST_NUMBER)
}

pub(super) fn revisions_in(root: &Path) -> Result<Vec<u64>, StoreError> {
    let path = root.join("revisions");
    let entries = fs::read_dir(&path).map_err(failed("list", &path))?;
    let mut found: Vec<u64> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
        .filter(|revision| *revision <= limits::LARGEST_NUMBER)
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// The newest revision that the state directory `root` keeps, if it is the set with this digest. It needs no lock
/// either: an edge that drains follows the one that succeeded it, and takes no older set because it lies there again.
#[must_use]
pub(super) fn newest_revision_of(root: &Path, digest: &str) -> Option<u64> {
    newest_manifest(root).filter(|newest| newest.digest == digest).map(|newest| newest.revision)
}

/// What the state directory `root` has kept last, whether or not its files can be read back.
pub(super) fn newest_manifest(root: &Path) -> Option<Manifest> {
    let newest = revisions_in(root).ok()?.pop()?;
    serde_json::from_slice(&fs::read(manifest_path(root, newest)).ok()?).ok()
}

/// The policy set of a revision as the state directory `root` keeps it, or `None` when it does not any more. It needs
/// no lock, since a kept file never changes: an edge may be running.
///
/// # Errors
/// When the disk refuses, or what is kept is damaged.
pub fn kept(root: &Path, revision: u64) -> Result<Option<Kept>, StoreError> {
    match load(root, revision) {
        Ok(kept) => Ok(Some(kept)),
        // Never kept, dropped, or about to be: the manifest goes first.
        Err(_) if !manifest_path(root, revision).exists() => Ok(None),
        Err(error) => Err(error),
    }
}

fn load(root: &Path, revision: u64) -> Result<Kept, StoreError> {
    let path = manifest_path(root, revision);
    let text = fs::read(&path).map_err(failed("read", &path))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| StoreError::Damaged(path.clone()))?;
    let mut files = PolicyFiles::new();
    for (name, sha256) in &manifest.files {
        // These names become paths: a manifest that somebody else has written leads nowhere.
        if !PolicyFiles::belongs(name) || Digest::parse(sha256).is_none() {
            return Err(StoreError::Damaged(path));
        }
        files.insert(name.clone(), object(root, sha256)?);
    }
    if manifest.revision != revision || files.digest().to_string() != manifest.digest {
        return Err(StoreError::Damaged(path));
    }
    Ok(Kept { manifest, files })
}

pub(super) fn object(root: &Path, sha256: &str) -> Result<Arc<[u8]>, StoreError> {
    let path = root.join("objects").join(sha256);
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    if Digest::of(&bytes).to_string() != sha256 {
        return Err(StoreError::Damaged(path));
    }
    Ok(bytes.into())
}

fn manifest_path(root: &Path, revision: u64) -> PathBuf {
    root.join("revisions").join(format!("{revision:012}.json"))
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |cause| StoreError::Io { what, path: path.to_path_buf(), cause }
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        for piece in bytes.chunks(limits::HASH_PIECE_BYTES) {
            file.write_all(piece)?;
            breathe();
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(failed("write", path))
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path))
}
