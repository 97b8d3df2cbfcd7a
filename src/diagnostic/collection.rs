//! All findings of a set at once, bounded in memory, exact in number.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Diagnostic, Severity};
use crate::limits;

/// Findings, of which at most [`limits::DIAGNOSTICS_KEPT`] errors and as many warnings are kept with their
/// text. The rest is counted: a list of 390,000 lines of rubbish must not take the memory of the edge.
///
/// As JSON: `{"errors": 2, "warnings": 0, "items": [{…}, {…}]}`, where the numbers count what was left out, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    errors: Kept,
    warnings: Kept,
}

/// The findings of one severity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kept {
    items: Vec<Diagnostic>,
    /// Every one, kept or not.
    total: usize,
}

impl Kept {
    fn has_room(&self) -> bool {
        self.items.len() < limits::DIAGNOSTICS_KEPT
    }

    fn left_out(&self) -> usize {
        self.total.saturating_sub(self.items.len())
    }

    fn extend(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        let room = limits::DIAGNOSTICS_KEPT.saturating_sub(self.items.len());
        self.items.extend(other.items.into_iter().take(room));
    }

    fn sort(&mut self) {
        self.items.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    }
}

impl Diagnostics {
    /// Nothing found yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.push_with(diagnostic.severity, || diagnostic);
    }

    /// Takes one finding that is only put into words while there is room for it.
    pub fn push_with(&mut self, severity: Severity, diagnostic: impl FnOnce() -> Diagnostic) {
        let kept = self.kept_mut(severity);
        kept.total = kept.total.saturating_add(1);
        if kept.has_room() {
            kept.items.push(diagnostic());
        }
    }

    /// Counts findings that nobody puts into words.
    pub fn count(&mut self, severity: Severity, number: usize) {
        let kept = self.kept_mut(severity);
        kept.total = kept.total.saturating_add(number);
    }

    /// Takes all findings of another collection.
    pub fn extend(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.warnings.extend(other.warnings);
    }

    /// How many of a severity are kept with their text.
    #[must_use]
    pub fn kept(&self, severity: Severity) -> usize {
        match severity {
            Severity::Error => self.errors.items.len(),
            Severity::Warning => self.warnings.items.len(),
        }
    }

    /// Whether anything makes the input unusable.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors.total > 0
    }

    /// Whether nothing was found at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.errors.total == 0 && self.warnings.total == 0
    }

    /// The kept errors.
    pub fn errors(&self) -> impl ExactSizeIterator<Item = &Diagnostic> {
        self.errors.items.iter()
    }

    /// The kept warnings.
    pub fn warnings(&self) -> impl ExactSizeIterator<Item = &Diagnostic> {
        self.warnings.items.iter()
    }

    /// The kept findings, errors first.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.errors().chain(self.warnings())
    }

    /// How many errors there are, kept or not.
    #[must_use]
    pub fn error_count(&self) -> usize {
        self.errors.total
    }

    /// How many warnings there are, kept or not.
    #[must_use]
    pub fn warning_count(&self) -> usize {
        self.warnings.total
    }

    /// The same findings in the order of files, lines and columns.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.errors.sort();
        self.warnings.sort();
        self
    }

    fn kept_mut(&mut self, severity: Severity) -> &mut Kept {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut all = Self::new();
        all.push(diagnostic);
        all
    }
}

/// One finding a line (its hint below it), then how many were left out.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for diagnostic in self.iter() {
            write!(f, "{separator}{diagnostic}")?;
            separator = "\n";
        }
        for (kept, word) in [(&self.errors, "error"), (&self.warnings, "warning")] {
            let left_out = kept.left_out();
            if left_out > 0 {
                let plural = if left_out == 1 { "" } else { "s" };
                write!(f, "{separator}and {left_out} more {word}{plural}")?;
                separator = "\n";
            }
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Serialize for Diagnostics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shape = serializer.serialize_struct("Diagnostics", 3)?;
        shape.serialize_field("errors", &self.errors.total)?;
        shape.serialize_field("warnings", &self.warnings.total)?;
        shape.serialize_field("items", &self.iter().collect::<Vec<_>>())?;
        shape.end()
    }
}
