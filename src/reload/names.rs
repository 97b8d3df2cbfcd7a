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
            not_before: None,
            writes: false,
            cancelled: Arc::default(),
        };
        match keeper.read() {
            Ok((names, Lists { lists, known })) => {
                let book = Book::restored(lists, &names);
                keeper.kept = names.mark();
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
        let to_keep = rules.image().filter(|image| !self.kept.is_of(image));
        self.writes = false;
        let work = match (rules.merging(), to_keep) {
            (None, None) => return,
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
            (None, Some(image)) => {
                let lists = serde_json::to_vec(&serde_json::json!({
                    "lists": book.lists().collect::<Vec<_>>(),
                    "known": known,
                }));
                let (directory, cancelled) = (self.directory.clone(), Arc::clone(&self.cancelled));
                self.kept = image.mark();
                self.writes = true;
                self.spawn(move || {
                    let lists = lists.map_err(io::Error::from);
                    let kept = lists.and_then(|lists| keep(&directory, &image, &lists, &cancelled));
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
        if self.writes
            && let Some(work) = self.work.take()
            && work.join().is_err()
        {
            tracing::error!("the thread that keeps names ended in a panic");
        }
        // When the directory comes back, what the other process has left there is not known.
        self.kept = NamesMark::default();
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
fn keep(directory: &Path, image: &MergedNames, lists: &[u8], cancelled: &AtomicBool) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    sweep(directory);
    write(&directory.join("lists.json"), cancelled, |to| to.write_all(lists))?;
    write(&directory.join("image"), cancelled, |to| image.write(to).map(drop))?;
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
mod tests {
    use super::super::build::Builder;
    use super::*;
    use crate::policy::CompileOptions;

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_written_any_more_once_the_directory_was_let_go() {
        let home = tempfile::tempdir().unwrap();
        let (mut keeper, _) = NamesKeeper::open(home.path());
        let (cancelled, ended) = (Arc::clone(&keeper.cancelled), Arc::new(AtomicBool::new(false)));
        let end = Arc::clone(&ended);
        keeper.work = Some(std::thread::spawn(move || {
            while check(&cancelled).is_ok() {
                std::thread::yield_now();
            }
            end.store(true, Ordering::SeqCst);
        }));
        keeper.writes = true;
        keeper.let_go();
        assert!(ended.load(Ordering::SeqCst), "it was waited for");
        check(&keeper.cancelled).unwrap();
    }

    #[test]
    fn a_merge_is_cancelled_when_the_directory_is_let_go_and_is_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let (mut keeper, _) = NamesKeeper::open(home.path());
        let (cancelled, (go, wait)) = (Arc::clone(&keeper.cancelled), std::sync::mpsc::channel());
        keeper.work = Some(std::thread::spawn(move || {
            wait.recv().unwrap();
            assert!(cancelled.load(Ordering::Relaxed));
        }));
        keeper.let_go();
        go.send(()).unwrap();
        keeper.work.take().unwrap().join().unwrap();
    }

    #[test]
    fn names_are_merged_again_when_their_merging_was_cancelled() {
        let home = tempfile::tempdir().unwrap();
        let policies = home.path().join("policies");
        let write = |id: &str| {
            let text = format!(
                "id = \"{id}\"\ncustomer = \"c\"\nbasis = \"fraud\"\ndecided = 2026-11-20T22:15:00Z\n\
                 decided_by = [\"j\"]\nhosts = [\"{id}.example\"]\n"
            );
            fs::create_dir_all(policies.join("cases")).unwrap();
            fs::write(policies.join(format!("cases/{id}.toml")), text).unwrap();
        };
        let options = CompileOptions { image_from_names: 1, ..CompileOptions::default() };
        let mut builder = Builder::new(policies.clone(), options, home.path(), Restored::default());
        let mut read = |before: Option<&Ruleset>| {
            let built = builder.read(before).0.unwrap_or_else(|errors| panic!("{errors}"));
            builder.settle(built).ruleset
        };
        write("a");
        let first = read(None);
        write("b");
        let rules = Arc::new(read(Some(&first)));
        assert!(rules.merging().is_some(), "two images");
        let (mut keeper, _) = NamesKeeper::open(home.path());
        keeper.cancelled.store(true, Ordering::Relaxed);
        for merged in [false, true] {
            keeper.tend(&rules, builder.book(), builder.known());
            keeper.work.take().unwrap().join().unwrap();
            assert_eq!(keeper.take_merged().is_some(), merged);
            keeper.let_go();
        }
    }

    #[test]
    fn a_draft_is_of_one_process_and_none_stays_when_its_writing_was_cancelled() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("image");
        fs::write(&path, "before").unwrap();
        let cancelled = AtomicBool::new(false);
        let outcome = write(&path, &cancelled, |to| {
            to.write_all(b"after")?;
            let draft = format!("image.{}.new", std::process::id());
            assert_eq!(names_in(home.path()), ["image".to_owned(), draft]);
            cancelled.store(true, Ordering::Relaxed);
            Ok(())
        });
        outcome.unwrap_err();
        assert_eq!(
            (names_in(home.path()), fs::read(&path).unwrap()),
            (vec!["image".to_owned()], b"before".into())
        );
        cancelled.store(false, Ordering::Relaxed);
        write(&path, &cancelled, |to| to.write_all(b"after")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        // One that a killed process has left goes with the next writing.
        fs::write(home.path().join("image.1.new"), "half").unwrap();
        sweep(home.path());
        assert_eq!(names_in(home.path()), ["image"]);
    }

    #[test]
    fn names_are_merged_behind_the_requests_and_nothing_else_stands_back() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let home = tempfile::tempdir().unwrap();
        let (keeper, _) = NamesKeeper::open(home.path());
        let (said, heard) = std::sync::mpsc::channel();
        let work = keeper.spawn(move || said.send(rustix::process::getpriority_process(None)).unwrap());
        work.unwrap().join().unwrap();
        let there = heard.recv().unwrap().unwrap();
        assert_eq!((there, own()), ((before + limits::MERGE_NICENESS).min(19), before));
    }
}
