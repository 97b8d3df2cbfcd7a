//! The names of a large set on disk, and their merging beside the traffic.
//!
//! `names/VERSION/image` in the state directory holds the names of the set in force, compiled; `lists.json` beside it
//! says which lists were read for it, and how these look in the policy directory. A start that finds both reads neither
//! lists nor names again. Each is written whole beside its place, synced and renamed; one that is damaged, or of another
//! version, is as good as none.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::source::known::Known;
use crate::limits;
use crate::policy::{Book, HostList, MergedNames, NamesMark, Ruleset};

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
        Ok((MergedNames::read(&mut BufReader::new(image), length)?, lists))
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
        let work = match (rules.merging(), to_keep) {
            (None, None) => return,
            (Some(_), _) if self.not_before.is_some_and(|moment| Instant::now() < moment) => return,
            (Some(merging), _) => {
                self.not_before = Some(Instant::now() + limits::MERGE_AGAIN_AFTER);
                let (merged, rules) = (Arc::clone(&self.merged), Arc::clone(rules));
                self.spawn(move || match merging.merge() {
                    Ok(names) => *merged.lock().unwrap_or_else(PoisonError::into_inner) = Some(names),
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
                let directory = self.directory.clone();
                self.kept = image.mark();
                self.spawn(move || {
                    let kept = lists.map_err(io::Error::from).and_then(|lists| keep(&directory, &image, &lists));
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
        std::thread::Builder::new().name("names".to_owned()).spawn(work)
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

/// Lists first: an image with the lists of another set is of use, and lists without their image only cost a reading.
fn keep(directory: &Path, image: &MergedNames, lists: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    write(&directory.join("lists.json"), |to| to.write_all(lists))?;
    write(&directory.join("image"), |to| image.write(to).map(drop))?;
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

fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = BufWriter::new(File::create(&draft)?);
    content(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&draft, path)
}
