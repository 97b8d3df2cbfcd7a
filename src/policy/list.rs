//! Host lists: one pattern a line, `#` comments, blank lines; a list that several cases name is read once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::names::{Run, Spool, Unsorted};
use super::{Contents, Digest, Pattern, PolicyFiles};
use crate::background::Breath;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, excerpt_bytes};
use crate::document::BYTE_ORDER_MARK;
use crate::limits;

/// What a case does with entries of its lists that are no host pattern (`on_bad_entry`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadEntries {
    /// The whole policy set is refused.
    Refuse,
    /// They are counted, reported and left out.
    Skip,
}

impl BadEntries {
    pub(super) const ALL: [Self; 2] = [Self::Refuse, Self::Skip];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Skip => "skip",
        }
    }
}

/// A list, read. It knows its names while they are on the way into the index, and afterwards only about them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostList {
    /// Its path in the policy directory.
    pub path: String,
    /// The SHA-256 of its content.
    pub digest: Digest,
    /// How many host patterns it has, doubles included.
    pub entries: usize,
    #[serde(skip)]
    names: Option<Run>,
    /// Why the list as a whole was not taken, whatever its cases say of bad entries. Such a list is not remembered.
    #[serde(skip)]
    refusal: Option<Diagnostic>,
    bad: Vec<BadEntry>,
    /// Every entry that is no host pattern, whether its text was kept or not.
    pub bad_entries: usize,
}

impl PartialEq for HostList {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, self.digest) == (&other.path, other.digest)
    }
}

impl HostList {
    /// The names, while they are at hand.
    pub(super) fn names(&self) -> Option<&Run> {
        self.names.as_ref()
    }

    /// All that is known of the list but its names, which are in the index.
    pub(super) fn without_names(&self) -> Self {
        Self { names: None, ..self.clone() }
    }

    /// Whether it is of no use whatever its cases say.
    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }
}

/// A list that a case names.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedList {
    /// The list.
    pub list: Arc<HostList>,
    /// Whether one bad entry is reason enough to refuse the whole policy set (`on_bad_entry = "refuse"`).
    pub refuses_bad_entries: bool,
}

/// An entry that is no host pattern.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BadEntry {
    line: u32,
    column: u32,
    text: String,
    reason: String,
    hint: Option<String>,
}

/// The lists of one policy set, each read when the first case names it.
pub(super) struct Lists<'f> {
    files: &'f PolicyFiles,
    contents: &'f dyn Contents,
    spool: &'f mut dyn Spool,
    book: &'f Book,
    read: BTreeMap<String, Used>,
    /// How many contents were read.
    loaded: usize,
}

/// A list and who uses it.
struct Used {
    list: Arc<HostList>,
    /// The first case file that refuses bad entries, else the first that skips them.
    user: String,
    refused: bool,
}

impl<'f> Lists<'f> {
    pub(super) fn new(
        files: &'f PolicyFiles,
        contents: &'f dyn Contents,
        spool: &'f mut dyn Spool,
        book: &'f Book,
    ) -> Self {
        Self { files, contents, spool, book, read: BTreeMap::new(), loaded: 0 }
    }

    /// A list that the case file `user` names; nothing when there is no such list. One that the book knows comes
    /// without its names.
    pub(super) fn named(&mut self, path: &str, user: &str, on_bad: BadEntries) -> Option<NamedList> {
        let list = match self.read.get(path) {
            Some(used) => Arc::clone(&used.list),
            None => Arc::new(match self.book.list(self.files.files.get(path)?.digest) {
                Some(known) => HostList { path: path.to_owned(), ..known.clone() },
                None => self.load(path)?,
            }),
        };
        let named = NamedList { list, refuses_bad_entries: on_bad == BadEntries::Refuse };
        self.note(&named, user);
        Some(named)
    }

    /// The same list with its names at hand, read again if need be.
    pub(super) fn with_names(&mut self, named: &NamedList) -> NamedList {
        let path = &named.list.path;
        let read = self.read.get(path).map(|used| Arc::clone(&used.list));
        let at_hand = read.filter(|list| list.names.is_some() || list.is_refused());
        let list =
            at_hand.or_else(|| self.load(path).map(Arc::new)).unwrap_or_else(|| Arc::clone(&named.list));
        if let Some(used) = self.read.get_mut(path) {
            used.list = Arc::clone(&list);
        }
        NamedList { list, refuses_bad_entries: named.refuses_bad_entries }
    }

    /// A list that was read for an earlier set, and that a case file names which has not changed since.
    pub(super) fn note(&mut self, named: &NamedList, user: &str) {
        let NamedList { list, refuses_bad_entries } = named;
        let fresh = || Used { list: Arc::clone(list), user: user.to_owned(), refused: false };
        let used = self.read.entry(list.path.clone()).or_insert_with(fresh);
        if *refuses_bad_entries && !used.refused {
            user.clone_into(&mut used.user);
        }
        used.refused |= refuses_bad_entries;
    }

    fn load(&mut self, path: &str) -> Option<HostList> {
        let file = self.files.files.get(path)?;
        let mut list = HostList {
            path: path.to_owned(),
            digest: file.digest,
            entries: 0,
            names: None,
            refusal: PolicyFiles::check_size(path, file.bytes),
            bad: Vec::new(),
            bad_entries: 0,
        };
        if list.is_refused() {
            return Some(list);
        }
        let content = match self.contents.content(path, file) {
            Ok(content) => content,
            Err(error) => {
                list.refusal = Some(Diagnostic::error(path, format!("cannot read the list: {error}")));
                return Some(list);
            }
        };
        self.loaded += 1;
        if let Some(patterns) = read_list(&mut list, &content) {
            drop(content);
            match Run::new(patterns, self.spool) {
                Ok(run) => list.names = Some(run),
                Err(error) => {
                    let message = format!("cannot put the names of the list away: {error}");
                    list.refusal = Some(Diagnostic::error(path, message));
                }
            }
        }
        Some(list)
    }

    /// How many lists were read, not only known.
    pub(super) fn loaded(&self) -> usize {
        self.loaded
    }

    /// What was wrong in the lists: errors where a case refuses bad entries, warnings where all skip them.
    pub(super) fn findings(self) -> Diagnostics {
        let mut found = Diagnostics::new();
        for (path, Used { list, user, refused }) in self.read {
            let severity = if refused { Severity::Error } else { Severity::Warning };
            if let Some(refusal) = &list.refusal {
                found.push(refusal.clone());
                continue;
            }
            found.count(severity, list.bad_entries.saturating_sub(list.bad.len()));
            if list.entries == 0 && list.bad_entries == 0 {
                // A list that was cut to nothing would free every name it held.
                let message = format!("the list is empty; `{user}` names it");
                let hint = "check where the list comes from, or take it out of `host_lists`";
                found.push(Diagnostic::error(path, message).with_hint(hint));
                continue;
            }
            for entry in &list.bad {
                found.push_with(severity, || entry.clone().diagnostic(&path, &user, refused));
            }
        }
        found
    }
}

impl BadEntry {
    fn diagnostic(self, path: &str, user: &str, refused: bool) -> Diagnostic {
        let Self { line, column, text, reason, hint } = self;
        let skipped = if refused { "" } else { "skipped, " };
        let message = format!("`{text}` is no host pattern: {reason} ({skipped}in a list of `{user}`)");
        let mut diagnostic =
            if refused { Diagnostic::error(path, message) } else { Diagnostic::warning(path, message) };
        diagnostic.text = text;
        let fallback =
            || refused.then(|| format!("correct the line, or write `on_bad_entry = \"skip\"` in `{user}`"));
        diagnostic.hint = hint.or_else(fallback);
        diagnostic.at(line, column)
    }
}

/// Reads the lines of a list. What is no pattern is kept apart; nothing comes back when the list as a whole is refused.
fn read_list(list: &mut HostList, content: &[u8]) -> Option<Unsorted> {
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
    let mut patterns = Unsorted::default();
    let mut breath = Breath::every(256);
    for (line, number) in content.split(|byte| *byte == b'\n').zip(1_u32..) {
        breath.tick();
        let Some((column, entry)) = entry_of(line) else { continue };
        match parse_entry(entry) {
            Ok(pattern) => {
                if patterns.len() >= limits::HOSTS_PER_SET || !patterns.push(&pattern) {
                    let message =
                        format!("the list has more than the {} entries allowed", limits::HOSTS_PER_SET);
                    list.refusal = Some(Diagnostic::error(&list.path, message).at(number, 1));
                    return None;
                }
            }
            Err(reason) => {
                list.bad_entries += 1;
                if list.bad.len() < limits::DIAGNOSTICS_KEPT_PER_FILE {
                    list.bad.push(reason.at(number, column, entry));
                }
            }
        }
    }
    list.entries = patterns.len();
    Some(patterns)
}

/// The entry of a line without blanks and comment, and the offset of its first byte; nothing when there is none.
fn entry_of(line: &[u8]) -> Option<(usize, &[u8])> {
    let start = line.iter().position(|byte| !is_blank(*byte))?;
    let (_, rest) = line.split_at_checked(start)?;
    let mut end = rest.len();
    let mut after_blank = true;
    for (at, byte) in rest.iter().enumerate() {
        if *byte == b'#' && after_blank {
            end = at;
            break;
        }
        after_blank = is_blank(*byte);
    }
    let entry = rest.get(..end)?;
    let length = entry.iter().rposition(|byte| !is_blank(*byte))? + 1;
    Some((start, entry.get(..length)?))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// Why an entry is no pattern, before its place is known.
struct Reason {
    reason: String,
    hint: Option<String>,
    /// Where in the entry, in bytes.
    offset: usize,
}

impl Reason {
    fn new(reason: impl Into<String>, hint: Option<&str>) -> Self {
        Self { reason: reason.into(), hint: hint.map(str::to_owned), offset: 0 }
    }

    fn at(self, line: u32, start: usize, entry: &[u8]) -> BadEntry {
        let before = entry.get(..self.offset).unwrap_or_default();
        let column = start + String::from_utf8_lossy(before).chars().count() + 1;
        // Only so much of a long line is looked at; the excerpt is shorter still.
        let shown = entry.get(..limits::LIST_LINE_BYTES).unwrap_or(entry);
        BadEntry {
            line,
            column: u32::try_from(column).unwrap_or(u32::MAX),
            text: excerpt_bytes(shown),
            reason: self.reason,
            hint: self.hint,
        }
    }
}

fn parse_entry(entry: &[u8]) -> Result<Pattern, Reason> {
    if entry.len() > limits::LIST_LINE_BYTES {
        let reason = format!("the line has {} bytes, more than {}", entry.len(), limits::LIST_LINE_BYTES);
        return Err(Reason::new(reason, Some("write one pattern a line")));
    }
    let text = std::str::from_utf8(entry).map_err(|error| Reason {
        reason: "it is not UTF-8".to_owned(),
        hint: Some("save the list in the encoding UTF-8".to_owned()),
        offset: error.valid_up_to(),
    })?;
    let pattern = Pattern::parse(text).map_err(|error| {
        let hint = error.hint();
        let known = foreign_format(text).map(str::to_owned);
        Reason { reason: error.to_string(), hint: known.or(hint), offset: 0 }
    })?;
    // `0.0.0.0forum.example` is a name by the letter, and never what was meant: the name that was meant would
    // be missed in silence.
    match pattern.name.glued_address() {
        Some((_, name)) => {
            let hint = format!("a blank seems to be missing: write `{name}`");
            Err(Reason::new("an address and a name are written together", Some(&hint)))
        }
        None => Ok(pattern),
    }
}

/// What to do with an entry that looks like one of another list format.
fn foreign_format(text: &str) -> Option<&'static str> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    if words.next().is_some() {
        let hosts_file = first.parse::<IpAddr>().is_ok();
        return Some(if hosts_file {
            "this is the format of a hosts file: write the name alone"
        } else {
            "write one pattern a line, and a blank before a `#` comment"
        });
    }
    if text.starts_with("||") || text.starts_with("@@") || text.starts_with('!') {
        return Some("this is a filter rule of a browser: write the name alone");
    }
    if text.starts_with("address=/") || text.starts_with("server=/") || text.starts_with("local=/") {
        return Some("this is a line of dnsmasq: write the name alone");
    }
    text.contains('#').then_some("write a blank before a `#` comment")
}

#[cfg(test)]
mod tests;
