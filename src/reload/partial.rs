//! Sets read while files are being written: these stay what they are in the set in force, so that no decision waits for a
//! download.
//!
//! Two sets can be made of a directory that is not complete. The one has all that is complete. The other is the set in force
//! with the files that are new, and without the cases that a command ends: what else has changed waits, so that it can
//! hold nothing up.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::kept::kept_file;
use super::note::Note;
use super::source::Snapshot;
use super::store::{self, Manifest};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::{Book, Digest, MemorySpool, PolicyFile, PolicyFiles, parse_set};

/// The set in force as the state directory keeps it.
pub(super) struct InForce<'a> {
    state: &'a Path,
    manifest: Manifest,
}

impl<'a> InForce<'a> {
    /// The set that has this digest, if it is the one that the state directory `state` has kept last.
    pub(super) fn find(state: &'a Path, digest: Digest) -> Option<Self> {
        Self::newest(state).filter(|newest| newest.is(digest))
    }

    /// The set that the state directory `state` has kept last, whichever that is.
    pub(super) fn newest(state: &'a Path) -> Option<Self> {
        store::newest_manifest(state).map(|manifest| Self { state, manifest })
    }

    /// Whether it has this digest.
    pub(super) fn is(&self, digest: Digest) -> bool {
        self.manifest.digest == digest.to_string()
    }

    /// All of its files; none when one is lost.
    pub(super) fn files(&self) -> Option<PolicyFiles> {
        let files = self.manifest.files.keys().map(|name| Some((name.clone(), self.file(name)?)));
        Some(PolicyFiles { files: files.collect::<Option<_>>()? })
    }

    /// The new cases of a set: those that have no file in this one.
    pub(super) fn new_cases(&self, files: &PolicyFiles) -> Vec<String> {
        let new = files.cases().filter(|(name, _)| !self.manifest.files.contains_key(*name));
        new.map(|(name, _)| name.to_owned()).collect()
    }

    fn digest_of(&self, name: &str) -> Option<Digest> {
        Digest::parse(self.manifest.files.get(name)?)
    }

    /// The file as it is in the set.
    fn file(&self, name: &str) -> Option<PolicyFile> {
        let digest = self.digest_of(name).filter(|_| PolicyFiles::belongs(name))?;
        kept_file(self.state, name, digest).ok()
    }

    /// All that is complete, and what is being written as it was; none when something has to be waited for.
    pub(super) fn completed(&self, snapshot: &Snapshot) -> Option<(PolicyFiles, Diagnostics)> {
        let (mut files, mut warnings) = (snapshot.files.clone(), Diagnostics::default());
        for name in &snapshot.unfinished {
            // A manifest and its signatures.
            if !PolicyFiles::belongs(name) {
                return None;
            }
            let message = if self.manifest.files.contains_key(name) {
                files.files.insert(name.clone(), self.file(name)?);
                "the file is being written: until it is complete it stays what it was"
            } else {
                "the file is being written: until it is complete it belongs to no set"
            };
            warnings.push(Diagnostic::warning(name.as_str(), message));
        }
        Some((files, warnings))
    }

    /// The set in force, and of a completed one no more than its new files, and the end of cases that are `ended`.
    pub(super) fn with_additions(
        &self,
        completed: &PolicyFiles,
        ended: &BTreeSet<String>,
        book: &Book,
        is_much: impl Fn(&PolicyFiles) -> bool,
    ) -> Option<(PolicyFiles, Diagnostics)> {
        let (mut files, mut warnings) = (completed.clone(), Diagnostics::default());
        let mut stay = BTreeSet::new();
        for name in self.manifest.files.keys() {
            if completed.files.get(name).map(|file| file.digest) == Some(self.digest_of(name)?) {
                continue;
            }
            let before = self.file(name)?;
            let id = id_of(name, &before);
            if !completed.has(name) && id.as_ref().is_some_and(|id| ended.contains(id)) {
                continue;
            }
            stay.extend(id);
            files.files.insert(name.clone(), before);
            let message = "the change waits for a file that is being written: a name may be on its way from one to the other";
            warnings.push(Diagnostic::warning(name.as_str(), message));
        }
        if is_much(&files) {
            // They can wait, and the cases that name them.
            files.files.retain(|name, list| {
                !name.starts_with("lists/")
                    || self.manifest.files.contains_key(name)
                    || book.has_list(list.digest)
            });
        }
        let mut leave_out = |name: &str, files: &mut PolicyFiles, message: &str| {
            if !self.manifest.files.contains_key(name) && files.files.remove(name).is_some() {
                warnings.push(Diagnostic::warning(name, message));
            }
        };
        let is_new = |name: &str| !self.manifest.files.contains_key(name);
        for (name, file) in completed.cases().filter(|(name, _)| is_new(name)) {
            if id_of(name, file).is_some_and(|id| stay.contains(&id)) {
                leave_out(
                    name,
                    &mut files,
                    "the case waits for a file that is being written: it is in force as it was",
                );
            }
        }
        for name in wanting(&files, book) {
            leave_out(
                &name,
                &mut files,
                "the case waits for a file that is being written, and that it names",
            );
        }
        Some((files, warnings))
    }
}

/// As much of a case file as has to be read.
#[derive(Deserialize)]
struct Named {
    id: String,
    #[serde(default)]
    host_lists: Vec<String>,
    page: Option<String>,
}

fn named(name: &str, file: &PolicyFile) -> Option<Named> {
    let content = file.content.as_ref().filter(|_| name.starts_with("cases/"))?;
    toml::from_str(std::str::from_utf8(content).ok()?).ok()
}

/// The id of a case, by its file.
fn id_of(name: &str, file: &PolicyFile) -> Option<String> {
    named(name, file).map(|named| named.id)
}

/// Of what was asked for, all that these files carry out; `whole` is the digest of all that is there.
pub(super) fn carried_out(notes: &[Note], files: &PolicyFiles, whole: Digest, book: &Book) -> Vec<Note> {
    if notes.is_empty() {
        return Vec::new();
    }
    let wanted: BTreeSet<&str> = notes.iter().filter_map(|note| note.case.as_deref()).collect();
    // Nearly all cases are known: no decision waits until thousands of files were read again.
    let id = |(name, file): (&str, &PolicyFile)| match book.case_in(name, file.digest) {
        Some(id) => wanted.get(id.as_str()).map(|id| (*id).to_owned()),
        None => id_of(name, file).filter(|id| wanted.contains(id.as_str())),
    };
    let found: BTreeSet<String> = files.cases().filter_map(id).collect();
    let is_whole = files.digest() == whole;
    let is_done = |note: &&Note| match (note.command.as_str(), &note.case) {
        ("terminate", Some(case)) => found.contains(case),
        ("reinstate", Some(case)) => !found.contains(case),
        _ => is_whole,
    };
    notes.iter().filter(is_done).cloned().collect()
}

/// What is wrong in the cases whatever their lists will hold. What new cases name is taken to be still to come.
pub(super) fn faults(in_force: &InForce<'_>, files: &PolicyFiles, book: &Book) -> Diagnostics {
    let mut all = unread(files);
    let is_new = |name: &str, file: &PolicyFile| in_force.digest_of(name) != Some(file.digest);
    for named in
        files.cases().filter(|(name, file)| is_new(name, file)).filter_map(|(name, file)| named(name, file))
    {
        let lists =
            named.host_lists.into_iter().filter(|list| PolicyFiles::belongs(list) && !files.has(list));
        lists.for_each(|list| all.insert(list, UNREAD));
        let page = named.page.map(|page| format!("pages/{page}.html"));
        if let Some(page) = page.filter(|page| PolicyFiles::belongs(page) && !files.has(page)) {
            all.insert(page, b"".as_slice());
        }
    }
    found_in(&all, book)
}

/// The cases that want for a file that is not there. A list that is has some name in it.
fn wanting(files: &PolicyFiles, book: &Book) -> BTreeSet<String> {
    found_in(&unread(files), book).errors().map(|error| error.file.clone()).collect()
}

/// Cases that have not changed, and name no list, are not read again.
fn found_in(files: &PolicyFiles, book: &Book) -> Diagnostics {
    parse_set(files, files, book, &mut MemorySpool).found
}

const UNREAD: &[u8] = b"unread.invalid";

fn unread(files: &PolicyFiles) -> PolicyFiles {
    let mut unread = files.clone();
    for (name, _) in files.under("lists/") {
        unread.insert(name, UNREAD);
    }
    unread
}

/// What all the rest has to wait for.
pub(super) fn waits_for(unfinished: &BTreeSet<String>) -> Diagnostics {
    let mut warnings = Diagnostics::default();
    for name in unfinished {
        let message = "the file is being written: what else has changed waits until it is complete";
        warnings.push(Diagnostic::warning(name.as_str(), message));
    }
    warnings
}

/// The same, as the reason of a refusal.
pub(super) fn awaited(unfinished: &BTreeSet<String>) -> Diagnostics {
    let mut awaited = Diagnostics::default();
    for name in unfinished {
        awaited.push(Diagnostic::error(name.as_str(), "somebody is writing the file").with_hint(
            "the set is read when it is complete; write files beside their place and rename them",
        ));
    }
    awaited
}
