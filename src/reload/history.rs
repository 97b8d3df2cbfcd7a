//! The kept revisions: what each one changed, and why.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::note::Note;
use super::store::{self, Manifest, StoreError};
use crate::audit::EventId;
use crate::policy::{Pattern, PolicyFiles, parse_cases};

/// One kept revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its number.
    pub revision: u64,
    /// When it came into force, UTC.
    pub applied: Timestamp,
    /// The digest of its files, in hexadecimal.
    pub digest: String,
    /// How many cases it has.
    pub cases: usize,
    /// How its names differ from those of the kept revision before it; none for the first, and where a file of either
    /// cannot be read any more.
    pub names: Option<Difference>,
    /// The id of its `policy.applied` record.
    pub event: Option<String>,
    /// What the commands said that made it.
    pub changes: Vec<Note>,
}

/// How the host patterns of two sets differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Difference {
    /// Patterns that a changed case has and none of those it replaces had.
    pub added: usize,
    /// Patterns that are gone with the cases that changed.
    pub removed: usize,
}

/// The kept revisions, oldest first. It needs no lock: an edge may be running.
///
/// # Errors
/// When the state directory cannot be read.
pub fn history(root: &Path) -> Result<Vec<Entry>, StoreError> {
    let manifests = store::manifests(root)?;
    let mut entries = Vec::with_capacity(manifests.len());
    let mut before: Option<&Manifest> = None;
    for manifest in &manifests {
        let names = before.and_then(|before| between(root, before, manifest).ok());
        let Remark { event, changes } = remark(root, manifest.revision);
        entries.push(Entry {
            revision: manifest.revision,
            applied: manifest.applied,
            digest: manifest.digest.clone(),
            cases: manifest.files.keys().filter(|path| path.starts_with("cases/")).count(),
            names,
            event,
            changes,
        });
        before = Some(manifest);
    }
    Ok(entries)
}

fn between(root: &Path, before: &Manifest, after: &Manifest) -> Result<Difference, StoreError> {
    let changed = changed(&before.files, &after.files);
    let side = |manifest: &Manifest| {
        let read = |path: &str| manifest.files.get(path).map(|sha256| store::object(root, sha256));
        touched(manifest.files.keys(), &changed, |path| read(path).transpose())
    };
    Ok(compare(&side(before)?, &side(after)?))
}

/// How the names of two whole sets differ.
#[must_use]
pub fn difference(before: &PolicyFiles, after: &PolicyFiles) -> Difference {
    let changed = changed(&before.files, &after.files);
    let side = |files: &PolicyFiles| {
        let content = |path: &str| files.files.get(path).and_then(|file| file.content.clone());
        let read = |path: &str| Ok::<_, std::convert::Infallible>(content(path));
        touched(files.files.keys(), &changed, read)
    };
    let (Ok(before), Ok(after)) = (side(before), side(after));
    compare(&before, &after)
}

/// The paths whose content differs.
fn changed<'m, T: PartialEq>(
    before: &'m BTreeMap<String, T>,
    after: &'m BTreeMap<String, T>,
) -> BTreeSet<&'m str> {
    let all = before.keys().chain(after.keys());
    all.filter(|path| before.get(*path) != after.get(*path)).map(String::as_str).collect()
}

/// The part of a case file that says which lists it reads.
#[derive(Deserialize)]
struct Naming {
    #[serde(default)]
    host_lists: Vec<String>,
}

fn lists_of(content: &[u8]) -> Vec<String> {
    let naming = std::str::from_utf8(content).ok().and_then(|text| toml::from_str::<Naming>(text).ok());
    naming.map(|naming| naming.host_lists).unwrap_or_default()
}

/// The cases that changed, or of which a list did, with all of their lists. The others have the same names on both
/// sides, and millions of names that did not change are not read.
fn touched<'p, E>(
    paths: impl Iterator<Item = &'p String>,
    changed: &BTreeSet<&str>,
    read: impl Fn(&str) -> Result<Option<Arc<[u8]>>, E>,
) -> Result<PolicyFiles, E> {
    let is_list_changed = changed.iter().any(|path| path.starts_with("lists/"));
    let mut files = PolicyFiles::new();
    for path in paths {
        if path.starts_with("pages/") {
            // What a page says changes no name; that it is there is asked for.
            files.insert(path.clone(), Vec::new());
        }
        let is_changed = changed.contains(path.as_str());
        if !path.starts_with("cases/") || !(is_changed || is_list_changed) {
            continue;
        }
        let Some(content) = read(path)? else { continue };
        let lists = lists_of(&content);
        if !is_changed && !lists.iter().any(|list| changed.contains(list.as_str())) {
            continue;
        }
        for list in lists {
            if files.get(&list).is_none()
                && let Some(content) = read(&list)?
            {
                files.insert(list, content);
            }
        }
        files.insert(path.clone(), content);
    }
    Ok(files)
}

fn compare(before: &PolicyFiles, after: &PolicyFiles) -> Difference {
    let names = |files: &PolicyFiles| -> HashSet<Pattern> {
        let mut names = HashSet::new();
        for case in parse_cases(files).0 {
            // The names of these few lists are in memory, where they can be read.
            case.for_each_pattern(|pattern| names.extend([pattern])).ok();
        }
        names
    };
    let (before, after) = (names(before), names(after));
    Difference {
        added: after.iter().filter(|name| !before.contains(*name)).count(),
        removed: before.iter().filter(|name| !after.contains(*name)).count(),
    }
}

/// What is written down of a revision beside its manifest.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Remark {
    event: Option<String>,
    changes: Vec<Note>,
}

fn remarks(root: &Path) -> PathBuf {
    root.join("notes")
}

fn remark(root: &Path, revision: u64) -> Remark {
    let text = fs::read(remarks(root).join(format!("{revision:012}.json"))).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Writes down which record tells of a revision, and what the commands said that made it. The record itself has all
/// of that, so a note that cannot be written is only missed in the history.
pub(super) fn note(root: &Path, revision: u64, event: Option<EventId>, changes: &[Note]) {
    let directory = remarks(root);
    let remark = Remark { event: event.map(|event| event.to_string()), changes: changes.to_vec() };
    let path = directory.join(format!("{revision:012}.json"));
    let draft = path.with_extension("new");
    let written = serde_json::to_vec(&remark).map_err(std::io::Error::from).and_then(|text| {
        fs::create_dir_all(&directory)?;
        fs::write(&draft, text)?;
        fs::rename(&draft, &path)
    });
    if let Err(error) = written {
        tracing::warn!(%error, revision, "the history will not say why this revision came into force");
    }
    forget_old(root);
}

/// Drops the notes of revisions that are not kept any more.
fn forget_old(root: &Path) {
    for entry in fs::read_dir(remarks(root)).into_iter().flatten().flatten() {
        if !root.join("revisions").join(entry.file_name()).exists() {
            // One that stays is dropped the next time.
            fs::remove_file(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> EventId {
        "01930000-0000-7000-8000-000000000000".parse().unwrap()
    }

    fn files(all: &[(&str, &str)]) -> PolicyFiles {
        let mut files = PolicyFiles::new();
        for (path, content) in all {
            files.insert(*path, content.as_bytes());
        }
        files
    }

    fn case(id: &str, hosts: &str, lists: &str) -> String {
        format!(
            "id = \"{id}\"\ncustomer = \"c\"\nbasis = \"abuse\"\ndecided = 2026-01-05T09:00:00Z\n\
             decided_by = [\"j.doe\"]\nhosts = {hosts}\n{lists}"
        )
    }

    #[test]
    fn names_are_counted_over_cases_and_the_lists_they_read() {
        let (one, two) =
            (case("one", "[\"a.example\"]", ""), case("two", "[]", "host_lists = [\"lists/l\"]"));
        let same = case("same", "[\"s.example\"]", "");
        let before = files(&[
            ("cases/1.toml", &one),
            ("cases/2.toml", &two),
            ("cases/s.toml", &same),
            ("lists/l", "b.example\nc.example"),
        ]);
        let more = case("one", "[\"a.example\", \".z.example\"]", "");
        let after = files(&[
            ("cases/1.toml", &more),
            ("cases/2.toml", &two),
            ("cases/s.toml", &same),
            ("lists/l", "c.example\nd.example\ne.example"),
        ]);
        assert_eq!(difference(&before, &after), Difference { added: 3, removed: 1 });
        assert_eq!(difference(&after, &before), Difference { added: 1, removed: 3 });
        assert_eq!(difference(&before, &before), Difference::default());
        let fewer =
            files(&[("cases/2.toml", &two), ("cases/s.toml", &same), ("lists/l", "b.example\nc.example")]);
        assert_eq!(difference(&before, &fewer), Difference { added: 0, removed: 1 });
    }

    #[test]
    fn the_history_says_what_each_revision_changed_and_why() {
        let home = tempfile::tempdir().unwrap();
        let store = store::Store::open(home.path()).unwrap();
        let first = files(&[("cases/1.toml", &case("one", "[\"a.example\"]", ""))]);
        let mut second = first.clone();
        second.insert("cases/2.toml", case("two", "[\"b.example\", \"c.example\"]", "").into_bytes());
        let at: Timestamp = "2026-11-20T22:15:00Z".parse().unwrap();
        store.keep(1, &first, at).unwrap();
        store.keep(2, &second, at).unwrap();
        let changes =
            [Note { command: "terminate".to_owned(), case: Some("two".to_owned()), ..Note::default() }];
        note(home.path(), 2, Some(event()), &changes);
        let history = history(home.path()).unwrap();
        let numbers: Vec<_> =
            history.iter().map(|entry| (entry.revision, entry.cases, entry.names)).collect();
        let names = Some(Difference { added: 2, removed: 0 });
        assert_eq!(numbers, [(1, 1, None), (2, 2, names)]);
        assert_eq!(history[1].changes, changes);
        assert_eq!(history[1].event, Some(event().to_string()));
        assert_eq!((&history[0].event, history[0].changes.len()), (&None, 0));
    }

    #[test]
    fn a_note_goes_with_its_revision() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("revisions")).unwrap();
        for revision in [1, 2] {
            fs::write(home.path().join("revisions").join(format!("{revision:012}.json")), "").unwrap();
            note(home.path(), revision, Some(event()), &[]);
        }
        assert!(remark(home.path(), 1).event.is_some());
        fs::remove_file(home.path().join("revisions/000000000001.json")).unwrap();
        note(home.path(), 2, Some(event()), &[]);
        assert!(remark(home.path(), 1).event.is_none());
        assert!(remark(home.path(), 2).event.is_some());
    }
}
