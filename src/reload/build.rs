//! From the policy directory to a ruleset, by way of what is known of the one before.

use std::path::{Path, PathBuf};
use std::thread;

use super::guarding::Candidate;
use super::names::Restored;
use super::partial::Partial;
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
    /// Whether lists are what they were, because somebody is writing them.
    pub(super) is_partial: bool,
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

/// Who writes to the directory while it is read, and what comes of that.
pub(super) struct Around<'a> {
    pub(super) writers: &'a mut dyn Writers,
    pub(super) partial: Partial<'a>,
}

/// The directory cannot be read before somebody has written what he is writing.
#[derive(Debug)]
pub(super) struct Unfinished(pub(super) Diagnostics);

/// What was read, and the directory as it was then.
pub(super) type Read = (Result<Built, Diagnostics>, Fingerprint);

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

    /// Reads the directory and compiles what it holds, beside the set in force.
    pub(super) fn read(&mut self, before: Option<&Ruleset>) -> Read {
        let mut around = Around { writers: &mut Unheard, partial: Partial::Never };
        self.read_around(before, &mut around)
            .unwrap_or_else(|Unfinished(awaited)| (Err(awaited), Fingerprint::default()))
    }

    /// The same while somebody may be writing to it.
    ///
    /// Lists are read after the directory was looked at, so it may have changed by then: what could not be taken is
    /// read again when it has. And what is remembered of files may be wrong, which must not refuse every set from then
    /// on: a set that cannot be taken is read once more without it.
    pub(super) fn read_around(
        &mut self,
        before: Option<&Ruleset>,
        around: &mut Around<'_>,
    ) -> Result<Read, Unfinished> {
        let mut last = self.read_once(before, around)?;
        for _ in 1..limits::SOURCE_ATTEMPTS {
            if last.0.is_ok() || source::fingerprint(self.directory()) == last.1 {
                break;
            }
            last = self.read_once(before, around)?;
        }
        if last.0.is_err() && !self.known.is_empty() {
            self.known = Known::default();
            last = self.read_once(before, around)?;
        }
        Ok(last)
    }

    fn read_once(&self, before: Option<&Ruleset>, around: &mut Around<'_>) -> Result<Read, Unfinished> {
        let mut snapshot = match self.snapshot(around)? {
            Ok(snapshot) => snapshot,
            Err(unread) => return Ok((Err(unread.0), unread.1)),
        };
        let known = Known::of(&snapshot);
        around.partial.complete(&mut snapshot).map_err(Unfinished)?;
        let is_partial = !snapshot.unfinished.is_empty();
        let built = match self.build_beside(&snapshot.files, before) {
            Ok(mut built) => {
                (built.known, built.is_partial) = (known, is_partial);
                built.warnings.extend(snapshot.warnings);
                Ok(built)
            }
            // It may be for want of what is still to come.
            Err(errors) if is_partial => return Err(Unfinished(errors)),
            Err(mut errors) => {
                errors.extend(snapshot.warnings);
                Err(errors)
            }
        };
        Ok((built, snapshot.fingerprint))
    }

    /// The files of the directory as they are now, read as far as they must be.
    fn snapshot(
        &self,
        around: &mut Around<'_>,
    ) -> Result<Result<Snapshot, (Diagnostics, Fingerprint)>, Unfinished> {
        let directory = self.directory();
        if let Some(errors) = rollback::cut_off(directory) {
            return Ok(Err((errors, source::fingerprint(directory))));
        }
        match source::read_changed(directory, &self.known, around.writers) {
            Ok(snapshot) => Ok(Ok(snapshot)),
            Err(SourceError::Unreadable(errors, fingerprint)) => Ok(Err((errors, fingerprint))),
            Err(unsettled @ SourceError::Unsettled) => {
                let error = Diagnostic::error(directory.display().to_string(), unsettled.to_string()).into();
                // What was heard is read when it has settled. An empty fingerprint has it read again by the next look.
                if around.writers.is_heard() {
                    Err(Unfinished(error))
                } else {
                    Ok(Err((error, Fingerprint::default())))
                }
            }
        }
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

    /// The files of the directory as they would be read now.
    pub(super) fn files(&self, around: &mut Around<'_>) -> Result<PolicyFiles, Diagnostics> {
        let read = self
            .snapshot(around)
            .unwrap_or_else(|Unfinished(awaited)| Err((awaited, Fingerprint::default())));
        let mut snapshot = read.map_err(|(errors, _)| errors)?;
        around.partial.complete(&mut snapshot)?;
        Ok(snapshot.files)
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
                let (known, is_partial) = (Known::default(), false);
                Ok(Built { files, ruleset, facts, warnings, lists_read, is_partial, cases, known })
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
