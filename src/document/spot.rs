//! A place in a file, and the words about it.

use std::fmt;
use std::ops::Range;

use super::Reader;
use crate::diagnostic::{Diagnostic, Severity};
use crate::limits;

/// A stretch of the file being read; reporting about it is all it can do.
#[derive(Clone, Copy)]
pub struct Spot<'r> {
    reader: &'r Reader<'r>,
    start: usize,
    end: usize,
}

impl<'r> Spot<'r> {
    pub(super) fn new(reader: &'r Reader<'r>, span: Range<usize>) -> Self {
        Self { reader, start: span.start, end: span.end }
    }

    /// The spot of something inside the same file.
    pub(super) fn elsewhere(self, span: Range<usize>) -> Self {
        Self::new(self.reader, span)
    }

    /// The file this is in.
    #[must_use]
    pub fn file(self) -> &'r str {
        self.reader.file
    }

    /// The line, from 1.
    #[must_use]
    pub fn line(self) -> u32 {
        self.reader.position(self.start).0
    }

    /// The first line of the text as it stands in the file.
    #[must_use]
    pub fn source(self) -> &'r str {
        let whole = self.reader.text.get(self.start..self.end).unwrap_or_default();
        whole.lines().next().unwrap_or_default()
    }

    /// Reports an error here.
    pub fn error(self, message: impl fmt::Display) {
        self.report(Severity::Error, &message, None);
    }

    /// Reports an error here and says what to write instead.
    pub fn error_with_hint(self, message: impl fmt::Display, hint: impl fmt::Display) {
        self.report(Severity::Error, &message, Some(&hint));
    }

    /// Reports a warning here and says what to write instead.
    pub fn warning(self, message: impl fmt::Display, hint: impl fmt::Display) {
        self.report(Severity::Warning, &message, Some(&hint));
    }

    /// Whether the text of one more error would be kept; one that is not is only counted.
    pub(super) fn has_room_for_an_error(self) -> bool {
        self.reader.found.borrow().kept(Severity::Error) < limits::DIAGNOSTICS_KEPT_PER_FILE
    }

    fn report(self, severity: Severity, message: &dyn fmt::Display, hint: Option<&dyn fmt::Display>) {
        let diagnostic = || {
            let (line, column) = self.reader.position(self.start);
            let source = self.source().trim_matches(['"', '\'']);
            Diagnostic {
                severity,
                hint: hint.map(ToString::to_string),
                ..Diagnostic::error(self.reader.file, message.to_string())
            }
            .at(line, column)
            .with_text(source)
        };
        let mut found = self.reader.found.borrow_mut();
        if found.kept(severity) < limits::DIAGNOSTICS_KEPT_PER_FILE {
            found.push_with(severity, diagnostic);
        } else {
            found.count(severity, 1);
        }
    }
}

impl fmt::Debug for Spot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}..{}]", self.reader.file, self.start, self.end)
    }
}
