//! The names of a large set on disk, and their merging beside the traffic.
//!
//! `names/VERSION/image` in the state directory holds the names of the set in force, compiled; `lists.json` beside it
//! says which lists were read for it, and how these look in the policy directory. A start that finds both reads neither
//! lists nor names again. Each is written whole beside its place, synced and renamed; one that is damaged, or of another
//! version, is as good as none.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::source::known::Known;
use crate::policy::{Book, HostList, MergedNames, NamesMark, ReadAt, Ruleset};
use crate::{background, limits};

/// What a name means may change with a version, and the image with it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Which lists were read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    lists: Vec<HostList>,
    known: Known,
}

/// What an earlier process has left.
#[derive(Debug, Default)]
pub(super) struct Restored {
    pub(super) book: Book,
    pub(super) known: Known,
}

/// Merges the names of the set in force, and keeps them for the next start. Only the keeper's thread calls it.
#[derive(Debug)]
pub(super) struct NamesKeeper {
    directory: PathBuf,
    work: Option<JoinHandle<()>>,
    merged: Arc<Mutex<Option<MergedNames>>>,
    /// What the image on disk holds, or is about to.
    kept: NamesMark,
    /// How many lists the disk knows by their looks.
    kept_known: usize,
    /// Before this nothing is merged again: the last attempt may have failed.
    not_before: Option<Instant>,
    /// Whether what is under way writes to the disk.
    writes: bool,
    /// Ends what is under way.
    cancelled: Arc<AtomicBool>,
}

impl NamesKeeper {
    /// Works in the state directory `root`, and reads what it holds.
    pub(super) fn open(root: &Path) -> (Self, Restored) {
        let directory = root.join("names").join(VERSION);
        let mut keeper = Self {
            directory,
            work: None,
            merged: Arc::default(),
            kept: NamesMark::default(),
            kept_known: 0,
            not_before: None,
            writes: false,
            cancelled: Arc::default(),
        };
        match keeper.read() {
            Ok((names, Lists { lists, known })) => {
                let book = Book::restored(lists, &names);
                (keeper.kept, keeper.kept_known) = (names.mark(), known.len());
                (keeper, Restored { book, known })
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "the compiled names cannot be used: the lists are read again");
                }
                (keeper, Restored::default())
            }
        }
    }

    fn read(&self) -> io::Result<(MergedNames, Lists)> {
        let lists = serde_json::from_slice(&fs::read(self.directory.join("lists.json"))?)?;
        let image = File::open(self.directory.join("image"))?;
        let length = image.metadata()?.len();
        Ok((MergedNames::read(&Image(image), length)?, lists))
    }

    /// Begins what there is to do, unless something is under way.
    pub(super) fn tend(&mut self, rules: &Arc<Ruleset>, book: &Book, known: &Known) {
        if self.work.as_ref().is_some_and(|work| !work.is_finished()) {
            return;
        }
        if let Some(work) = self.work.take()
            && work.join().is_err()
        {
            tracing::error!("the thread that merges names ended in a panic");
        }
        let image = rules.image();
        // A list that had been changed just before it was read is not known by its looks until it is read again.
        let is_learnt = image.is_some() && known.len() > self.kept_known;
        let to_keep = image.filter(|image| !self.kept.is_of(image));
        self.writes = false;
        let work = match (rules.merging(), to_keep) {
            (None, None) if !is_learnt => return,
            (Some(_), _) if self.not_before.is_some_and(|moment| Instant::now() < moment) => return,
            (Some(merging), _) => {
                self.not_before = Some(Instant::now() + limits::MERGE_AGAIN_AFTER);
                let (merged, rules) = (Arc::clone(&self.merged), Arc::clone(rules));
                let cancelled = Arc::clone(&self.cancelled);
                self.spawn(move || match merging.merge(&cancelled) {
                    Ok(None) => {}
                    Ok(names) => *merged.lock().unwrap_or_else(PoisonError::into_inner) = names,
                    Err(error) => {
                        let revision = rules.revision();
                        tracing::error!(%error, %revision, "the names of the set cannot be merged");
                    }
                })
            }
            (None, image) => {
                let lists = serde_json::to_vec(&serde_json::json!({
                    "lists": book.lists().collect::<Vec<_>>(),
                    "known": known,
                }));
                let (directory, cancelled) = (self.directory.clone(), Arc::clone(&self.cancelled));
                if let Some(image) = &image {
                    self.kept = image.mark();
                }
                self.kept_known = known.len();
                self.writes = true;
                self.spawn(move || {
                    let lists = lists.map_err(io::Error::from);
                    let kept = lists.and_then(|lists| keep(&directory, image.as_ref(), &lists, &cancelled));
                    if let Err(error) = kept {
                        tracing::warn!(%error, "the compiled names could not be kept: a restart reads the lists again");
                    }
                })
            }
        };
        match work {
            Ok(work) => self.work = Some(work),
            Err(error) => tracing::warn!(%error, "there is no thread to merge names on"),
        }
    }

    fn spawn(&self, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("names".to_owned()).spawn(|| {
            background::stand_back(limits::MERGE_NICENESS);
            background::step_aside(limits::ASIDE_AT_MOST);
            work();
        })
    }

    /// Another process is about to have the state directory: nothing is written there after this. A merge that is under way
    /// ends soon, since that process makes its own; it has nothing to do with the disk, and is not waited for.
    pub(super) fn let_go(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        let _waiting = background::Awaited::new();
        if self.writes
            && let Some(work) = self.work.take()
            && work.join().is_err()
        {
            tracing::error!("the thread that keeps names ended in a panic");
        }
        // When the directory comes back, what the other process has left there is not known.
        (self.kept, self.kept_known) = (NamesMark::default(), 0);
        self.cancelled = Arc::default();
        self.not_before = None;
    }

    /// Names that were merged since it was asked last.
    pub(super) fn take_merged(&mut self) -> Option<MergedNames> {
        let merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner).take();
        if merged.is_some() {
            self.not_before = None;
        }
        merged
    }
}

impl Drop for NamesKeeper {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Lists first: an image with the lists of another set is of use, and lists without their image only cost a reading.
/// Without an image the one that is there stays.
fn keep(
    directory: &Path,
    image: Option<&MergedNames>,
    lists: &[u8],
    cancelled: &AtomicBool,
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    sweep(directory);
    write(&directory.join("lists.json"), cancelled, |to| to.write_all(lists))?;
    if let Some(image) = image {
        write(&directory.join("image"), cancelled, |to| image.write(to).map(drop))?;
    }
    File::open(directory)?.sync_all()?;
    // Images of other versions are of no use to this one, and an older version reads its lists again.
    for entry in directory.parent().map(fs::read_dir).transpose()?.into_iter().flatten().flatten() {
        if entry.file_name() != VERSION
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, path = %entry.path().display(), "compiled names of another version stay");
        }
    }
    Ok(())
}

/// Takes away the drafts of processes that were killed. Whoever lives has let go of the directory, or has it.
fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "new")
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::debug!(%error, path = %entry.path().display(), "a draft of compiled names stays");
        }
    }
}

/// The draft has the number of the process in its name: no two ever write into one file.
fn write(
    path: &Path,
    cancelled: &AtomicBool,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let written = File::create(&draft).and_then(|file| {
        let mut file = BufWriter::new(Unless { cancelled, file });
        content(&mut file)?;
        let Unless { file, .. } = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        check(cancelled)?;
        file.sync_all()?;
        check(cancelled)?;
        fs::rename(&draft, path)
    });
    written.inspect_err(|_| {
        fs::remove_file(&draft).ok();
    })
}

/// The compiled names on disk.
struct Image(File);

impl ReadAt for Image {
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.0, bytes, at)
    }
}

/// A file that is written to unless that was cancelled.
struct Unless<'c> {
    cancelled: &'c AtomicBool,
    file: File,
}

impl Write for Unless<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check(self.cancelled)?;
        background::breathe();
        self.file.write(bytes.get(..limits::HASH_PIECE_BYTES).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn check(cancelled: &AtomicBool) -> io::Result<()> {
    if cancelled.load(Ordering::Relaxed) {
        return Err(io::Error::other("another process is about to have the directory"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
