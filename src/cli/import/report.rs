//! What `import` says of the lists it read.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::diagnostic::excerpt;
use crate::limits;
use crate::policy::exchange::{Format, Imported, Reason, Settled, Skipped};
use crate::policy::{Digest, Pattern};

/// One import.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    format: &'static str,
    files: Vec<FileReport>,
    /// Patterns of the list.
    patterns: usize,
    /// Bytes of the list, without its remarks.
    bytes: u64,
    /// What has to go into `except` of the case, since a list cannot hold it.
    except: Vec<String>,
    /// Patterns that an exception of the lists takes away whole.
    excepted: usize,
    /// Exceptions that no case can express: how many, and the first.
    exceptions_around: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    first_around: Vec<String>,
    /// Where the list went; nothing for standard output, and when nothing was written.
    pub(super) output: Option<String>,
}

/// One list that was read.
#[derive(Debug, Serialize)]
pub(super) struct FileReport {
    file: String,
    sha256: String,
    lines: u64,
    /// Different patterns in it.
    taken: usize,
    doubled: u64,
    /// How many entries were skipped, by reason.
    skipped: BTreeMap<Reason, u64>,
    /// The first of each reason.
    first_skipped: Vec<Skipped>,
}

impl FileReport {
    pub(super) fn of(path: &Path, digest: Digest, imported: &Imported) -> Self {
        let mut first_skipped = imported.skipped.clone();
        first_skipped.sort_by_key(|skipped| (skipped.reason, skipped.line));
        Self {
            file: excerpt(&path.display().to_string()),
            sha256: digest.to_string(),
            lines: imported.lines,
            taken: imported.patterns.len(),
            doubled: imported.doubled,
            skipped: imported.counts.clone(),
            first_skipped,
        }
    }

    fn skipped_count(&self) -> u64 {
        self.skipped.values().sum()
    }

    fn counts(&self) -> String {
        let Self { lines, taken, doubled, .. } = self;
        format!("{lines} lines, {taken} patterns taken, {doubled} doubled, {} skipped", self.skipped_count())
    }
}

impl Report {
    pub(super) fn of(format: Format, files: Vec<FileReport>, settled: &Settled, show: usize) -> Self {
        let bytes_of = |one: &Pattern| one.form.prefix().len() + one.name.as_str().len() + 1;
        let bytes: usize = settled.patterns.iter().map(bytes_of).sum();
        Self {
            format: format.as_str(),
            files,
            patterns: settled.patterns.len(),
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            except: settled.except.iter().map(ToString::to_string).collect(),
            excepted: settled.excepted.len(),
            exceptions_around: settled.around.len(),
            first_around: settled.around.iter().take(show).map(ToString::to_string).collect(),
            output: None,
        }
    }

    /// Why this list must not take the place of another, if so.
    pub(super) fn refusal(&self, strict: bool) -> Option<String> {
        // A list that was cut to nothing, or is in another format, would free every name it held before.
        if let Some(empty) = self.files.iter().find(|file| file.taken == 0) {
            return Some(format!("`{}` gave no name", empty.file));
        }
        if self.patterns == 0 {
            return Some("the exceptions leave no name".to_owned());
        }
        let skipped: u64 = self.files.iter().map(FileReport::skipped_count).sum();
        (strict && skipped > 0)
            .then(|| format!("{skipped} entries were skipped, and `--strict` asks for all"))
    }

    /// What stands at the top of the list. There is no time in it: the same input gives the same list.
    pub(super) fn remarks(&self, except: &[Pattern]) -> Vec<String> {
        let mut remarks =
            vec![format!("{} patterns, imported from the format {}", self.patterns, self.format)];
        for file in &self.files {
            let name = Path::new(&file.file).file_name().map(|name| name.to_string_lossy().into_owned());
            remarks.push(format!("{}: sha256 {}", name.unwrap_or_default(), file.sha256));
            remarks.push(format!("  {}{}", file.counts(), by_reason(&file.skipped)));
        }
        if self.excepted > 0 {
            remarks.push(format!(
                "{} patterns are left out: exceptions of the source take them away",
                self.excepted
            ));
        }
        if self.exceptions_around > 0 {
            remarks.push(format!("{} exceptions of the source no case can express", self.exceptions_around));
        }
        if !except.is_empty() {
            remarks.push(
                "The source lets these pass. A list cannot say so: write them into `except` of the case."
                    .to_owned(),
            );
            remarks.extend(except.iter().map(|pattern| format!("except: {pattern}")));
        }
        remarks
    }

    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            match serde_json::to_string(self) {
                Ok(line) => note!("{line}"),
                Err(error) => note!("interdict: {error}"),
            }
            return;
        }
        for file in &self.files {
            note!("{}: {}", file.file, file.counts());
            for (reason, count) in &file.skipped {
                note!("  {count} {}: {}", reason.as_str(), reason.meaning());
                for skipped in file.first_skipped.iter().filter(|skipped| skipped.reason == *reason) {
                    let Skipped { line, text, detail, .. } = skipped;
                    let colon = if detail.is_empty() { "" } else { ": " };
                    note!("    line {line}: `{text}`{colon}{detail}");
                }
            }
        }
        self.print_exceptions();
        let output = self.output.as_ref().map(|output| format!(" in `{output}`")).unwrap_or_default();
        note!("{} patterns{output}", self.patterns);
        if self.bytes > limits::LIST_FILE_BYTES {
            let most = limits::LIST_FILE_BYTES;
            note!(
                "warning: {} bytes are more than the {most} that a policy set takes as one list",
                self.bytes
            );
        }
    }

    fn print_exceptions(&self) {
        if self.excepted > 0 {
            note!("{} patterns are taken away by exceptions", self.excepted);
        }
        if self.exceptions_around > 0 {
            let first = self.first_around.join(", ");
            note!("{} exceptions no case can express: {first}", self.exceptions_around);
        }
        if !self.except.is_empty() {
            let count = self.except.len();
            note!("{count} exceptions belong into `except` of the case; they stand at the top of the list");
        }
    }
}

fn by_reason(counts: &BTreeMap<Reason, u64>) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let each: Vec<String> =
        counts.iter().map(|(reason, count)| format!("{count} {}", reason.as_str())).collect();
    format!(" ({})", each.join(", "))
}
