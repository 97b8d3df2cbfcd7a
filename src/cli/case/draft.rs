//! A case file while its questions are being answered.

use std::fmt::Write as _;

use crate::diagnostic::Diagnostic;
use crate::policy::{PolicyFiles, parse_cases};

/// Asked in place of a key: whether the case concerns anything at all.
pub(super) const REACH: &str = "what it concerns";

/// Where the draft stands among the other files while it is checked: behind all of them, so that of two cases with
/// one id it is the draft that is told of it.
const PLACE: &str = "cases/\u{10FFFF}.toml";

/// Lines that make a file whole whose questions are not all answered yet.
const STAND_INS: [(&str, &str); 6] = [
    ("id", "id = \"case-new.stand-in\""),
    ("customer", "customer = \"stand-in\""),
    ("basis", "basis = \"terms-of-service\""),
    ("decided", "decided = 2000-01-01T00:00:00Z"),
    ("decided_by", "decided_by = [\"stand-in\"]"),
    ("hosts", "hosts = [\"stand-in.invalid\"]"),
];

const LEGAL_STAND_INS: [(&str, &str); 2] =
    [("authority", "authority = \"stand-in\""), ("reference", "reference = \"stand-in\"")];

/// The answers so far, each as the lines it is in the file.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Keys at the top, in the order of the file.
    keys: Vec<(&'static str, String)>,
    /// The `[legal]` table, as its lines.
    legal: Vec<(&'static str, String)>,
    /// `[[exempt]]` tables, whole.
    exempt: Vec<String>,
}

impl Draft {
    pub(super) fn set(&mut self, key: &'static str, value: &str) {
        self.keys.retain(|(known, _)| *known != key);
        self.keys.push((key, format!("{key} = {value}")));
    }

    pub(super) fn unset(&mut self, key: &str) {
        self.keys.retain(|(known, _)| *known != key);
        self.legal.retain(|(known, _)| *known != key);
    }

    pub(super) fn set_legal(&mut self, key: &'static str, value: &str) {
        self.legal.retain(|(known, _)| *known != key);
        self.legal.push((key, format!("{key} = {value}")));
    }

    /// Begins an exemption, or writes the last one anew.
    pub(super) fn set_exemption(&mut self, number: usize, lines: String) {
        self.exempt.truncate(number);
        self.exempt.push(lines);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|(known, _)| *known == key)
    }

    /// The file as it is to be written.
    pub(super) fn text(&self) -> String {
        self.file(|_| true, &[], &[])
    }

    fn file(&self, is_in: impl Fn(&str) -> bool, stand_ins: &[&str], legal_stand_ins: &[&str]) -> String {
        let mut text = String::new();
        let keys = self.keys.iter().filter(|(key, _)| is_in(key)).map(|(_, line)| line.as_str());
        for line in keys.chain(stand_ins.iter().copied()) {
            // Writing into a String cannot fail.
            writeln!(text, "{line}").ok();
        }
        if !self.legal.is_empty() || !legal_stand_ins.is_empty() {
            text.push_str("\n[legal]\n");
            for line in
                self.legal.iter().map(|(_, line)| line.as_str()).chain(legal_stand_ins.iter().copied())
            {
                writeln!(text, "{line}").ok();
            }
        }
        for table in &self.exempt {
            write!(text, "\n[[exempt]]\n{table}").ok();
        }
        text
    }

    /// What the parser of case files says of the answer to the question `asked`, one objection an item; nothing when it
    /// takes it. `set` are the files of the policy set; `is_legal` tells whether the basis needs a `[legal]` table.
    pub(super) fn objections(&self, set: &PolicyFiles, asked: &str, is_legal: bool) -> Vec<String> {
        // A list may have millions of lines: lists are read for the questions about them, and not for each one.
        let about_lists = matches!(asked, "host_lists" | "on_bad_entry");
        let part = match asked {
            "id" => "cases/",
            "page" => "pages/",
            _ if about_lists => "lists/",
            _ => "none/",
        };
        let mut files = PolicyFiles::new();
        let needed = set.files.iter().filter(|(path, _)| path.starts_with(part));
        files.files.extend(needed.map(|(path, content)| (path.clone(), content.clone())));
        let is_in = |key: &str| about_lists || !matches!(key, "host_lists" | "on_bad_entry");
        let is_there = |key: &str| self.has(key) || (key == "hosts" && asked == REACH);
        let missing = STAND_INS.iter().filter(|(key, _)| !is_there(key));
        let stand_ins: Vec<&str> = missing.map(|(_, line)| *line).collect();
        let is_said = |key: &str| self.legal.iter().any(|(known, _)| *known == key);
        let legal = LEGAL_STAND_INS.iter().filter(|(key, _)| is_legal && !is_said(key));
        let legal_stand_ins: Vec<&str> = legal.map(|(_, line)| *line).collect();
        files.insert(PLACE, self.file(is_in, &stand_ins, &legal_stand_ins).into_bytes());
        let (_, found) = parse_cases(&files);
        let ours = found.errors().filter(|error| error.file == PLACE || error.file.starts_with("lists/"));
        ours.map(said).collect()
    }

    /// What the parser says of the whole file at its place among all others: errors, then warnings.
    pub(super) fn verdict(&self, set: &PolicyFiles, path: &str) -> (Vec<String>, Vec<String>) {
        let mut files = set.clone();
        files.insert(path, self.text().into_bytes());
        let (_, found) = parse_cases(&files);
        let ours = |diagnostic: &&Diagnostic| diagnostic.file == path;
        (found.errors().filter(ours).map(said).collect(), found.warnings().filter(ours).map(said).collect())
    }
}

fn said(diagnostic: &Diagnostic) -> String {
    match &diagnostic.hint {
        Some(hint) => format!("{}: {hint}", diagnostic.message),
        None => diagnostic.message.clone(),
    }
}
