//! Case files become settled cases: every key read, every rule checked, all errors of a set at once.

mod edges;
mod facts;
mod legal;
pub(crate) use self::legal::absolute_url;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use self::reach::Written;
use super::book::{Book, ParsedCase, ParsedSet};
use super::files::PolicyFile;
use super::list::Lists;
use super::names::{MemorySpool, Spool};
use super::{Case, CaseId, Contents, PolicyFiles};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{self, Spot, Table};
use crate::limits;

/// The keys at the top of a case file.
const KEYS: [&str; 22] = [
    "id",
    "customer",
    "basis",
    "decided",
    "decided_by",
    "summary",
    "statement",
    "action",
    "status",
    "mode",
    "effective",
    "expires",
    "review",
    "hosts",
    "host_lists",
    "on_bad_entry",
    "except",
    "origins",
    "page",
    "legal",
    "exempt",
    "edges",
];

/// Parses and checks every case of a policy set, with the lists the cases name.
///
/// The cases come in the order of their files. When the findings hold an error the cases are those that
/// could still be read, for tools that want to show them; such a set is never put in force.
#[must_use]
pub fn parse_cases(files: &PolicyFiles) -> (Vec<Case>, Diagnostics) {
    let set = parse_set(files, files, &Book::default(), &mut MemorySpool);
    (set.cases.into_iter().map(|parsed| Arc::unwrap_or_clone(parsed.case)).collect(), set.found)
}

/// The same, reading anew only what has changed since `book` was written. `contents` has the files that are not at
/// hand, and the names of lists wait in `spool` until they are compiled.
#[must_use]
pub fn parse_set(
    files: &PolicyFiles,
    contents: &dyn Contents,
    book: &Book,
    spool: &mut dyn Spool,
) -> ParsedSet {
    let mut set = Set::new(files, Lists::new(files, contents, spool, book), book);
    let sizes = files.files.values().map(|file| file.bytes);
    set.found
        .extend(PolicyFiles::check_total(files.files.len(), sizes.sum()).map(Into::into).unwrap_or_default());
    for (path, file) in files.under("pages/") {
        set.found.extend(PolicyFiles::check_size(path, file.bytes).map(Into::into).unwrap_or_default());
    }
    for (path, file) in files.cases() {
        if !set.take_known(path, file) {
            set.read(path, file, contents);
        }
    }
    let lists_read = set.lists.loaded();
    set.found.extend(set.lists.findings());
    ParsedSet { cases: set.cases, found: set.found.sorted(), lists_read }
}

/// What the cases of a set share while they are read one after the other.
struct Set<'f> {
    files: &'f PolicyFiles,
    lists: Lists<'f>,
    book: &'f Book,
    /// Where each id was first used: file and line.
    ids: BTreeMap<CaseId, (String, u32)>,
    /// How many host patterns there are so far.
    hosts: usize,
    cases: Vec<ParsedCase>,
    found: Diagnostics,
}

impl<'f> Set<'f> {
    fn new(files: &'f PolicyFiles, lists: Lists<'f>, book: &'f Book) -> Self {
        Self {
            files,
            lists,
            book,
            ids: BTreeMap::new(),
            hosts: 0,
            cases: Vec::new(),
            found: Diagnostics::new(),
        }
    }

    /// Takes a case that was read before, and nothing of which has changed. One that does not go with the others is
    /// read again, so that it is reported where it stands.
    fn take_known(&mut self, path: &str, file: &PolicyFile) -> bool {
        let Some(known) = self.book.known(path, file, self.files) else { return false };
        let patterns = known.patterns;
        if self.ids.contains_key(&known.case.id)
            || self.hosts.saturating_add(patterns) > limits::HOSTS_PER_SET
        {
            return false;
        }
        self.hosts += patterns;
        self.ids.insert(known.case.id.clone(), (path.to_owned(), known.id_line));
        known.case.lists.iter().for_each(|named| self.lists.note(named, path));
        self.found.extend(known.found.clone());
        self.cases.push(known.clone());
        true
    }

    fn read(&mut self, path: &str, file: &PolicyFile, contents: &dyn Contents) {
        if let Some(refusal) = PolicyFiles::check_size(path, file.bytes) {
            self.found.push(refusal);
            return;
        }
        let content = match contents.content(path, file) {
            Ok(content) => content,
            Err(error) => {
                let message = format!("cannot read the file: {error}");
                return self.found.push(Diagnostic::error(path, message));
            }
        };
        let (case, found) = document::read(path, &content, |top| self.case(top));
        if let Some(mut case) = case {
            // Names that no layer has must be at hand when the set is compiled.
            if case.lists.iter().any(|named| named.list.names().is_none()) && !self.book.has_names(&case) {
                case.lists = case.lists.iter().map(|named| self.lists.with_names(named)).collect();
            }
            let id_line = self.ids.get(&case.id).map_or(1, |(_, line)| *line);
            self.cases.push(ParsedCase::new(path, file.digest, id_line, case, found.clone()));
        }
        self.found.extend(found);
    }

    /// Reads every part before it gives up on one, so that no error hides another.
    fn case(&mut self, top: &Table<'_>) -> Option<Case> {
        let identity = facts::identity(top, |id, spot| self.claim(id, spot));
        let basis = facts::basis(top);
        let effect = facts::effect(top, basis, self.files);
        let schedule = facts::schedule(top);
        let reach = reach::reach(top, self);
        let legal = legal::legal(top, basis);
        let exempt = legal::exemptions(top);
        let (identity, schedule) = (identity?, schedule?);
        schedule.check_against(identity.decided, top);
        Some(Case {
            id: identity.id,
            customer: identity.customer,
            basis: basis?,
            decided: identity.decided,
            decided_by: identity.decided_by,
            summary: identity.summary,
            statement: identity.statement,
            action: effect.action,
            status: effect.status,
            mode: effect.mode,
            effective: schedule.effective,
            expires: schedule.expires,
            review: schedule.review,
            hosts: reach.hosts,
            lists: reach.lists,
            except: reach.except,
            origins: reach.origins,
            page: effect.page,
            legal,
            exempt,
            edges: edges::edges(top),
        })
    }

    /// Takes an id for the case at `spot`; a second case with the same id is an error.
    fn claim(&mut self, id: &CaseId, spot: Spot<'_>) {
        match self.ids.get(id) {
            Some((file, line)) => spot.error_with_hint(
                format_args!("the id `{id}` is taken by `{file}`, line {line}"),
                "give each case an id of its own; an old id is not used again",
            ),
            None => {
                self.ids.insert(id.clone(), (spot.file().to_owned(), spot.line()));
            }
        }
    }

    /// Counts patterns; false when the set has more than it may have.
    fn has_room_for(&mut self, patterns: usize) -> bool {
        self.hosts = self.hosts.saturating_add(patterns);
        self.hosts <= limits::HOSTS_PER_SET
    }
}
