//! Case files become settled cases: every key read, every rule checked, all errors of a set at once.

mod edges;
mod facts;
mod legal;
pub(crate) use self::legal::absolute_url;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(super) use self::reach::Written;
use super::list::Lists;
use super::{Case, CaseId, PolicyFiles};
use crate::diagnostic::Diagnostics;
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
    let mut set = Set::new(files);
    let sizes = files.files.values().map(|content| bytes(content));
    set.found
        .extend(PolicyFiles::check_total(files.files.len(), sizes.sum()).map(Into::into).unwrap_or_default());
    for (path, content) in files.under("pages/") {
        set.found.extend(PolicyFiles::check_size(path, bytes(content)).map(Into::into).unwrap_or_default());
    }
    for (path, content) in files.cases() {
        set.read(path, content);
    }
    set.found.extend(set.lists.findings());
    (set.cases, set.found.sorted())
}

fn bytes(content: &[u8]) -> u64 {
    u64::try_from(content.len()).unwrap_or(u64::MAX)
}

/// What the cases of a set share while they are read one after the other.
struct Set<'f> {
    files: &'f PolicyFiles,
    lists: Lists<'f>,
    /// Where each id was first used: file and line.
    ids: BTreeMap<CaseId, (String, u32)>,
    /// How many host patterns there are so far.
    hosts: usize,
    cases: Vec<Case>,
    found: Diagnostics,
}

impl<'f> Set<'f> {
    fn new(files: &'f PolicyFiles) -> Self {
        Self {
            files,
            lists: Lists::new(files),
            ids: BTreeMap::new(),
            hosts: 0,
            cases: Vec::new(),
            found: Diagnostics::new(),
        }
    }

    fn read(&mut self, path: &str, content: &[u8]) {
        if let Some(refusal) = PolicyFiles::check_size(path, bytes(content)) {
            self.found.push(refusal);
            return;
        }
        let (case, found) = document::read(path, content, |top| self.case(top));
        self.found.extend(found);
        self.cases.extend(case);
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
