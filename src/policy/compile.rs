//! From cases that were read to a ruleset, with all that has not changed taken over from the one before.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::book::{Book, ParsedCase};
use super::compiled::CompiledCase;
use super::files::{Digest, PolicyFiles};
use super::names::{BuildError, Layer, Layers, NamesKey, NamesOf, Run, Spool, Unsorted};
use super::page::Templates;
use super::revision::Revision;
use super::ruleset::{CompileOptions, Ruleset, lapses, origins, transitions};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};

/// Why a set was not compiled.
#[derive(Debug)]
pub enum CompileError {
    /// Faults of the pages or of the set as a whole.
    Faulty(Diagnostics),
    /// Some cases were remembered without their names, and no layer has them: the files must be read whole.
    Forgotten,
}

/// What a set is compiled with.
pub struct Compiling<'a> {
    /// What the operator says about itself.
    pub options: &'a CompileOptions,
    /// The set in force, most of which stays as a rule.
    pub before: Option<&'a Ruleset>,
    /// What is known of that set, names above all.
    pub book: &'a Book,
    /// Where names wait until they are merged.
    pub spool: &'a mut dyn Spool,
}

impl Ruleset {
    /// Compiles a set that was read, and takes over from the one before what has not changed: names that a layer has
    /// already, and cases whose pages are made.
    ///
    /// # Errors
    /// As [`CompileError`] says; nothing is taken half.
    pub fn compile_set(
        cases: &[ParsedCase],
        files: &PolicyFiles,
        with: Compiling<'_>,
    ) -> Result<Self, CompileError> {
        let mut diagnostics = Diagnostics::default();
        let here = &with.options.here;
        let mut cases: Vec<&ParsedCase> = cases.iter().filter(|parsed| here.has(&parsed.case)).collect();
        cases.sort_by(|a, b| a.case.id.cmp(&b.case.id));
        for pair in cases.windows(2) {
            if let [first, second] = pair
                && first.case.id == second.case.id
            {
                diagnostics.push(set_error(second.case.id.as_str(), "two cases have this id"));
            }
        }
        let Compiling { options, before, book, spool } = with;
        let pages = pages_digest(files, options);
        let kept = before.filter(|before| before.pages == pages);
        let mut compiled = compile_cases(&cases, files, options, kept, &mut diagnostics);
        if diagnostics.has_errors() {
            return Err(CompileError::Faulty(diagnostics));
        }
        let hosts = place(&cases, book.layers(), options.image_from_names, spool)?;
        for (case, count) in compiled.iter_mut().zip(hosts.counts(cases.len())) {
            case.count_hosts(count as usize);
        }
        let compiled: Vec<Arc<CompiledCase>> = compiled.into_iter().map(Prepared::shared).collect();
        Ok(Self {
            revision: Revision::default(),
            digest: Digest::default(),
            transitions: transitions(&compiled),
            lapses: lapses(&compiled),
            origins: origins(&compiled),
            cases: compiled,
            hosts,
            pages,
            image_from: options.image_from_names,
        })
    }
}

/// A case of the new set: one of the set before, or one that nobody shares yet.
enum Prepared {
    Kept(Arc<CompiledCase>),
    New(Box<CompiledCase>),
}

impl Prepared {
    fn count_hosts(&mut self, count: usize) {
        if let Self::New(case) = self {
            case.host_count = count;
        }
    }

    fn shared(self) -> Arc<CompiledCase> {
        match self {
            Self::Kept(case) => case,
            Self::New(case) => Arc::from(case),
        }
    }
}

fn compile_cases(
    cases: &[&ParsedCase],
    files: &PolicyFiles,
    options: &CompileOptions,
    kept: Option<&Ruleset>,
    diagnostics: &mut Diagnostics,
) -> Vec<Prepared> {
    let unchanged = |parsed: &ParsedCase| {
        let before = kept?.case(&parsed.case.id)?;
        before.is_of(parsed.file, parsed.names()).then(|| Arc::clone(before))
    };
    // Pages are only looked at when one has to be made, or has changed.
    let mut templates = kept.is_none().then(|| Templates::load(files, diagnostics));
    let mut compiled = Vec::with_capacity(cases.len());
    for parsed in cases {
        if let Some(before) = unchanged(parsed) {
            compiled.push(Prepared::Kept(before));
            continue;
        }
        let templates = templates.get_or_insert_with(|| Templates::load(files, diagnostics));
        let pages = templates.render(&parsed.case, options, diagnostics);
        let mode = options.here.mode(parsed.case.mode);
        match CompiledCase::new(&parsed.case, mode, pages, parsed.file, parsed.names()) {
            Ok(case) => compiled.push(Prepared::New(Box::new(case))),
            Err(full) => diagnostics.push(set_error("", &full.to_string())),
        }
    }
    compiled
}

/// What cases are compiled with beside their own files: the pages, and what the operator says about itself.
fn pages_digest(files: &PolicyFiles, options: &CompileOptions) -> Digest {
    let mut all = options.blocked_by.clone().unwrap_or_default().into_bytes();
    all.push(u8::from(options.here.shadow));
    for (path, file) in files.under("pages/") {
        all.push(0);
        all.extend(path.as_bytes());
        all.extend(file.digest.as_bytes());
    }
    Digest::of(&all)
}

/// Finds every case in a layer of the set before, and makes one of the names that are new.
fn place(
    cases: &[&ParsedCase],
    before: &[Arc<Layer>],
    image_from: u64,
    spool: &mut dyn Spool,
) -> Result<Layers, CompileError> {
    let keys: Vec<NamesKey> = cases.iter().map(|parsed| parsed.key.clone()).collect();
    let missing = match Layers::place(&keys, before.to_vec()) {
        Ok(layers) => return Ok(layers),
        Err(missing) => missing,
    };
    let fault =
        |error: &dyn std::fmt::Display| CompileError::Faulty(set_error("", &error.to_string()).into());
    let mut names = Vec::with_capacity(missing.len());
    for parsed in missing.into_iter().filter_map(|position| cases.get(position)) {
        if !parsed.has_names {
            return Err(CompileError::Forgotten);
        }
        names.push(names_of(parsed, spool).map_err(|error| fault(&error))?);
    }
    let live: HashSet<&NamesKey> = keys.iter().collect();
    let fresh = Layer::new(&names, image_from);
    let layers = fresh
        .and_then(|fresh| Layers::folded(fresh, before.to_vec(), |key| live.contains(key), image_from))
        .map_err(|error: BuildError| fault(&error))?;
    Layers::place(&keys, layers).map_err(|_| CompileError::Forgotten)
}

/// The names of a case: those in its file, and the runs of its lists.
fn names_of(parsed: &ParsedCase, spool: &mut dyn Spool) -> io::Result<NamesOf> {
    let mut written = Unsorted::default();
    for pattern in &parsed.case.hosts {
        if !written.push(pattern) {
            return Err(io::Error::other("a case has more names than the index can address"));
        }
    }
    let mut runs = vec![Run::new(written, spool)?];
    for named in &parsed.case.lists {
        let gone = || io::Error::other(format!("the names of `{}` are not at hand", named.list.path));
        runs.push(named.list.names().ok_or_else(gone)?.clone());
    }
    Ok(NamesOf { key: parsed.key.clone(), runs })
}

/// A fault that belongs to the set, not to a place in a file.
pub(super) fn set_error(text: &str, message: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        file: "cases".to_owned(),
        line: 1,
        column: 1,
        text: text.to_owned(),
        message: message.to_owned(),
        hint: None,
    }
}
