//! From the policy directory to a ruleset, by way of what is known of the one before.

use std::path::{Path, PathBuf};
use std::thread;

use super::guarding::Candidate;
use super::names::Restored;
use super::partial::awaited;
use super::rollback;
use super::source::known::{DirectoryContents, Known};
use super::source::{self, Fingerprint, Snapshot, SourceError, Unheard, Writers};
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

    /// The same, with what is known of the files of the directory by their looks.
    pub(super) fn knowing(self, known: Known) -> Self {
        Self { known, ..self }
    }
}

/// A set that is about to come into force, and what is still needed of it.
pub(super) struct Settled {
    pub(super) files: PolicyFiles,
    pub(super) ruleset: Ruleset,
    pub(super) facts: CaseSet,
    pub(super) warnings: Diagnostics,
}

/// What was read, and the directory as it was then.
pub(super) type Read = (Result<Built, Diagnostics>, Fingerprint);

/// What comes of reading the directory.
pub(super) enum Reading {
    /// It is complete.
    Whole(Box<Read>),
    /// Somebody is writing files of it, which were left out.
    Incomplete(Snapshot),
    /// It never stood still.
    Unsettled(Diagnostics),
}

/// Reads and compiles the policy directory. It remembers what it has read, so that a change costs its own size.
#[derive(Debug)]
pub(super) struct Builder {
    contents: DirectoryContents,
    options: CompileOptions,
    book: Book,
    known: Known,
}

impl Builder {
    /// Reads `directory`; names wait in the state directory `state` while they are compiled.
    pub(super) fn new(directory: PathBuf, options: CompileOptions, state: &Path, restored: Restored) -> Self {
        let Restored { book, known } = restored;
        let contents = DirectoryContents { directory, state: state.to_owned() };
        Self { contents, options, book, known }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.contents.directory
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

    /// Reads the directory and compiles what it holds, beside the set in force. Who writes to it is not known.
    pub(super) fn read(&mut self, before: Option<&Ruleset>) -> Read {
        match self.read_beside(before, &mut Unheard) {
            Reading::Whole(read) => *read,
            Reading::Incomplete(Snapshot { unfinished, .. }) => {
                (Err(awaited(&unfinished)), Fingerprint::default())
            }
            Reading::Unsettled(errors) => (Err(errors), Fingerprint::default()),
        }
    }

    /// The same beside `writers`. Nothing is compiled when something was left out for them.
    ///
    /// Lists are read after the directory was looked at, so it may have changed by then: what could not be taken is
    /// read again when it has. And what is remembered of files may be wrong, which must not refuse every set from then
    /// on: a set that cannot be taken is read once more without it.
    pub(super) fn read_beside(&mut self, before: Option<&Ruleset>, writers: &mut dyn Writers) -> Reading {
        let mut last = self.read_once(before, writers);
        for _ in 1..limits::SOURCE_ATTEMPTS {
            let has_changed = |then: &Fingerprint| source::fingerprint(self.directory()) != *then;
            if !matches!(&last, Reading::Whole(read) if read.0.is_err() && has_changed(&read.1)) {
                break;
            }
            last = self.read_once(before, writers);
        }
        if matches!(&last, Reading::Whole(read) if read.0.is_err()) && !self.known.is_empty() {
            self.known = Known::default();
            last = self.read_once(before, writers);
        }
        last
    }

    fn read_once(&mut self, before: Option<&Ruleset>, writers: &mut dyn Writers) -> Reading {
        let snapshot = match self.snapshot(writers) {
            Ok(snapshot) if snapshot.unfinished.is_empty() => snapshot,
            Ok(snapshot) => {
                // What was hashed is not hashed again, whenever it comes into force.
                self.known = Known::of(&snapshot);
                return Reading::Incomplete(snapshot);
            }
            // What was heard is read when it has settled. An empty fingerprint has it read again by the next look.
            Err((errors, None)) if writers.is_heard() => return Reading::Unsettled(errors),
            Err((errors, fingerprint)) => {
                return Reading::Whole(Box::new((Err(errors), fingerprint.unwrap_or_default())));
            }
        };
        let known = Known::of(&snapshot);
        let built = match self.build_beside(&snapshot.files, before) {
            Ok(mut built) => {
                built.known = known;
                built.warnings.extend(snapshot.warnings);
                Ok(built)
            }
            Err(mut errors) => {
                errors.extend(snapshot.warnings);
                Err(errors)
            }
        };
        Reading::Whole(Box::new((built, snapshot.fingerprint)))
    }

    /// The files of the directory as they are now, read as far as they must be; without a fingerprint it never stood still.
    pub(super) fn snapshot(
        &self,
        writers: &mut dyn Writers,
    ) -> Result<Snapshot, (Diagnostics, Option<Fingerprint>)> {
        let directory = self.directory();
        if let Some(errors) = rollback::cut_off(directory) {
            return Err((errors, Some(source::fingerprint(directory))));
        }
        source::read_changed(directory, &self.known, writers).map_err(|error| match error {
            SourceError::Unreadable(errors, fingerprint) => (errors, Some(fingerprint)),
            SourceError::Unsettled => {
                (Diagnostic::error(directory.display().to_string(), error.to_string()).into(), None)
            }
        })
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

    /// Whether it takes long to compile them.
    pub(super) fn is_much(&self, files: &PolicyFiles) -> bool {
        let new = files.under("lists/").filter(|(_, file)| !self.book.has_list(file.digest));
        new.map(|(_, file)| file.bytes).sum::<u64>() > limits::COMPILED_AT_ONCE_BYTES
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
        let mut spool = DiskSpool::new(&self.contents.state);
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
mod tests;
