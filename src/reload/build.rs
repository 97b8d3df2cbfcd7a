//! From the policy directory to a ruleset, by way of what is known of the one before.

use std::path::{Path, PathBuf};
use std::thread;

use super::guarding::Candidate;
use super::names::Restored;
use super::rollback;
use super::source::known::{DirectoryContents, Known};
use super::source::{self, Fingerprint, SourceError};
use super::spool::DiskSpool;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::guard::CaseSet;
use crate::policy::{
    self, Book, CompileError, CompileOptions, Compiling, Contents, MemorySpool, ParsedCase, ParsedSet,
    PolicyFiles, Ruleset,
};
use crate::{background, limits};

/// A policy set that has passed every check, with its warnings.
pub(super) struct Built {
    pub(super) files: PolicyFiles,
    pub(super) ruleset: Ruleset,
    /// What the guard has to know of it.
    pub(super) facts: CaseSet,
    pub(super) warnings: Diagnostics,
    /// How many lists had to be read for it.
    pub(super) lists_read: usize,
    cases: Vec<ParsedCase>,
    known: Known,
}

impl Built {
    pub(super) fn candidate<'b>(&'b self, contents: &'b dyn Contents) -> Candidate<'b> {
        Candidate { files: &self.files, contents, facts: &self.facts, ruleset: &self.ruleset }
    }
}

/// A set that is about to come into force, and what is still needed of it.
pub(super) struct Settled {
    pub(super) files: PolicyFiles,
    pub(super) ruleset: Ruleset,
    pub(super) facts: CaseSet,
    pub(super) warnings: Diagnostics,
}

/// Reads and compiles the policy directory. It remembers what it has read, so that a change costs its own size.
#[derive(Debug)]
pub(super) struct Builder {
    contents: DirectoryContents,
    options: CompileOptions,
    /// Where names wait while they are compiled.
    spool: PathBuf,
    book: Book,
    known: Known,
}

impl Builder {
    pub(super) fn new(directory: PathBuf, options: CompileOptions, spool: &Path, restored: Restored) -> Self {
        let Restored { book, known } = restored;
        Self { contents: DirectoryContents(directory), options, spool: spool.to_owned(), book, known }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.contents.0
    }

    /// Has the files of the directory that a set was built from.
    pub(super) fn contents(&self) -> &dyn Contents {
        &self.contents
    }

    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// Reads the directory and compiles what it holds, beside the set in force.
    ///
    /// Lists are read after the directory was looked at, so it may have changed by then: what could not be taken is
    /// read again when it has. And what is remembered of files may be wrong, which must not refuse every set from then
    /// on: a set that cannot be taken is read once more without it.
    pub(super) fn read(&mut self, before: Option<&Ruleset>) -> (Result<Built, Diagnostics>, Fingerprint) {
        let mut last = self.read_once(before);
        for _ in 1..limits::SOURCE_ATTEMPTS {
            if last.0.is_ok() || source::fingerprint(self.directory()) == last.1 {
                break;
            }
            last = self.read_once(before);
        }
        if last.0.is_err() && !self.known.is_empty() {
            self.known = Known::default();
            last = self.read_once(before);
        }
        last
    }

    fn read_once(&self, before: Option<&Ruleset>) -> (Result<Built, Diagnostics>, Fingerprint) {
        if let Some(errors) = rollback::cut_off(self.directory()) {
            return (Err(errors), source::fingerprint(self.directory()));
        }
        let snapshot = match source::read_changed(self.directory(), &self.known) {
            Ok(snapshot) => snapshot,
            Err(SourceError::Unreadable(errors, fingerprint)) => return (Err(errors), fingerprint),
            // An empty fingerprint makes the next comparison read it again.
            Err(unsettled @ SourceError::Unsettled) => {
                let name = self.directory().display().to_string();
                let error = Diagnostic::error(name, unsettled.to_string());
                return (Err(error.into()), Fingerprint::default());
            }
        };
        let known = Known::of(&snapshot);
        let mut built = self.build_beside(&snapshot.files, before);
        if let Ok(built) = &mut built {
            built.known = known;
            built.warnings.extend(snapshot.warnings);
        }
        (built, snapshot.fingerprint)
    }

    /// Long lists that are new take seconds, on every processor there is: a thread that stands back reads them. One that does
    /// could never come forward again, so it is not the keeper's own, which has to be quick with what is small.
    fn build_beside(&self, files: &PolicyFiles, before: Option<&Ruleset>) -> Result<Built, Diagnostics> {
        let build = || self.build(files.clone(), &self.contents, before);
        if !self.is_much(files) {
            return build();
        }
        let behind = || {
            background::stand_back(limits::COMPILE_NICENESS);
            background::step_aside(limits::ASIDE_AT_MOST);
            build()
        };
        thread::scope(|scope| {
            match thread::Builder::new().name("compile".to_owned()).spawn_scoped(scope, behind) {
                Ok(compiling) => compiling.join().unwrap_or_else(|_| Err(lost())),
                Err(_) => build(),
            }
        })
    }

    fn is_much(&self, files: &PolicyFiles) -> bool {
        let new = files.under("lists/").filter(|(_, file)| !self.book.has_list(file.digest));
        new.map(|(_, file)| file.bytes).sum::<u64>() > limits::COMPILED_AT_ONCE_BYTES
    }

    /// The files of the directory as they are now, read as far as they must be.
    pub(super) fn files(&self) -> Result<PolicyFiles, Diagnostics> {
        if let Some(errors) = rollback::cut_off(self.directory()) {
            return Err(errors);
        }
        match source::read_changed(self.directory(), &self.known) {
            Ok(snapshot) => Ok(snapshot.files),
            Err(SourceError::Unreadable(errors, _)) => Err(errors),
            Err(unsettled @ SourceError::Unsettled) => {
                let name = self.directory().display().to_string();
                Err(Diagnostic::error(name, unsettled.to_string()).into())
            }
        }
    }

    /// Compiles files beside the set in force; `contents` has those that are not at hand.
    pub(super) fn build(
        &self,
        files: PolicyFiles,
        contents: &dyn Contents,
        before: Option<&Ruleset>,
    ) -> Result<Built, Diagnostics> {
        let built = match self.compile(&files, contents, before, &self.book) {
            Err(CompileError::Forgotten) => self.compile(&files, contents, None, &Book::default()),
            compiled => compiled,
        };
        match built {
            Ok((ruleset, ParsedSet { cases, found: warnings, lists_read })) => {
                let facts = CaseSet::new(&ruleset, &cases);
                Ok(Built { files, ruleset, facts, warnings, lists_read, cases, known: Known::default() })
            }
            Err(CompileError::Faulty(errors)) => Err(errors),
            Err(CompileError::Forgotten) => Err(lost()),
        }
    }

    fn compile(
        &self,
        files: &PolicyFiles,
        contents: &dyn Contents,
        before: Option<&Ruleset>,
        book: &Book,
    ) -> Result<(Ruleset, ParsedSet), CompileError> {
        let mut spool = DiskSpool::new(&self.spool);
        let set = policy::parse_set(files, contents, book, &mut spool);
        if set.found.has_errors() {
            return Err(CompileError::Faulty(set.found));
        }
        let with = Compiling { options: &self.options, before, book, spool: &mut spool };
        let ruleset = Ruleset::compile_set(&set.cases, files, with)?;
        Ok((ruleset, set))
    }

    /// Remembers what the set that is in force now was built from; its rules come back to be shared.
    pub(super) fn settle(&mut self, built: Built) -> Settled {
        let Built { files, ruleset, facts, warnings, cases, known, .. } = built;
        self.book = Book::of(&cases, &ruleset);
        self.known = known;
        Settled { files, ruleset, facts, warnings }
    }

    /// The names of the set in force lie in other layers now.
    pub(super) fn moved(&mut self, ruleset: &Ruleset) {
        self.book.moved(ruleset);
    }

    /// Whether every case only watches on this edge.
    pub(super) fn is_shadow(&self) -> bool {
        self.options.here.shadow
    }

    /// Compiles a set that was kept, all of it at hand. Lists and names that are remembered are not read again.
    pub(super) fn compile_kept(&self, files: &PolicyFiles) -> Result<(Ruleset, CaseSet), Diagnostics> {
        let built = self.build(files.clone(), files, None)?;
        Ok((built.ruleset, built.facts))
    }
}

/// Compiles a set that is at hand whole, by itself.
pub(super) fn compile_whole(
    files: &PolicyFiles,
    options: &CompileOptions,
) -> Result<(Ruleset, CaseSet, Diagnostics), Diagnostics> {
    let (book, mut spool) = (Book::default(), MemorySpool);
    let set = policy::parse_set(files, files, &book, &mut spool);
    if set.found.has_errors() {
        return Err(set.found);
    }
    let with = Compiling { options, before: None, book: &book, spool: &mut spool };
    match Ruleset::compile_set(&set.cases, files, with) {
        Ok(ruleset) => {
            let facts = CaseSet::new(&ruleset, &set.cases);
            Ok((ruleset, facts, set.found))
        }
        Err(CompileError::Faulty(errors)) => Err(errors),
        Err(CompileError::Forgotten) => Err(lost()),
    }
}

fn lost() -> Diagnostics {
    Diagnostic::error("cases", "the names of a list were lost while they were compiled").into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use serde_json::json;

    use super::*;
    use crate::policy::Digest;

    /// A policy directory with one case and one list.
    fn policies(home: &Path, list: &str) -> PathBuf {
        let policies = home.join("policies");
        for (name, text) in [
            (
                "cases/a.toml",
                "id = \"a\"\ncustomer = \"c\"\nbasis = \"fraud\"\ndecided = 2026-11-20T22:15:00Z\n\
                 decided_by = [\"j\"]\nhost_lists = [\"lists/l.txt\"]\n",
            ),
            ("lists/l.txt", list),
        ] {
            let path = policies.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        policies
    }

    fn read(builder: &mut Builder) -> Built {
        builder.read(None).0.unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn a_kept_set_is_compiled_from_what_is_remembered_of_its_lists() {
        let home = tempfile::tempdir().unwrap();
        let policies = policies(home.path(), "one.example\ntwo.example\n");
        let restored = Restored::default();
        let mut builder = Builder::new(policies, CompileOptions::default(), home.path(), restored);
        let built = read(&mut builder);
        let mut kept = built.files.clone();
        builder.settle(built);
        // Nobody could read the list.
        let list = kept.files.get_mut("lists/l.txt").unwrap();
        list.content = None;
        let (ruleset, _) = builder.compile_kept(&kept).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(ruleset.host_count(), 2);
        // A list that it does not know is not taken for one that it does.
        kept.files.get_mut("lists/l.txt").unwrap().digest = Digest::of(b"something else");
        assert!(builder.compile_kept(&kept).is_err());
        let mut other = builder.files().unwrap();
        other.insert("lists/l.txt", b"three.example\n".to_vec());
        let (ruleset, _) = builder.compile_kept(&other).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(ruleset.host_count(), 1);
    }

    #[test]
    fn long_lists_that_are_new_are_compiled_by_a_thread_that_stands_back_and_not_by_the_keeper() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let home = tempfile::tempdir().unwrap();
        let long: String = (0..50_000).map(|number| format!("{number}.long-list.example\n")).collect();
        let policies = policies(home.path(), &long);
        let restored = Restored::default();
        let mut builder = Builder::new(policies, CompileOptions::default(), home.path(), restored);
        let built = read(&mut builder);
        assert!(builder.is_much(&built.files));
        assert_eq!((built.ruleset.host_count(), own()), (50_000, before));
        let files = built.files.clone();
        builder.settle(built);
        assert!(!builder.is_much(&files), "the list is known");
        let mut small = files;
        small.insert("lists/l.txt", b"one.example\n".to_vec());
        assert!(!builder.is_much(&small));
    }

    #[test]
    fn a_wrong_mark_of_a_list_refuses_no_set_from_then_on() {
        let home = tempfile::tempdir().unwrap();
        let policies = policies(home.path(), "one.example\ntwo.example\n");
        // What an earlier process has left: the list looks as it does, and is said to hold something else.
        let there = fs::metadata(policies.join("lists/l.txt")).unwrap();
        let known = json!({ "lists/l.txt": {
            "mark": {
                "device": there.dev(),
                "inode": there.ino(),
                "bytes": there.size(),
                "modified": [there.mtime(), there.mtime_nsec()],
                "changed": [there.ctime(), there.ctime_nsec()],
            },
            "sha256": Digest::of(b"something else").to_string(),
        }});
        let restored = Restored { book: Book::default(), known: serde_json::from_value(known).unwrap() };
        let mut builder = Builder::new(policies, CompileOptions::default(), home.path(), restored);
        let files = builder.files().unwrap();
        let mark = files.files.get("lists/l.txt").unwrap().digest;
        assert_eq!(mark, Digest::of(b"something else"), "the mark is believed");
        for _ in 0..2 {
            let (built, _) = builder.read(None);
            let built = built.unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(built.ruleset.host_count(), 2);
            assert!(builder.known().is_empty(), "and then it is not");
        }
    }
}
