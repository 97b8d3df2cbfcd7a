//! What is wrong in a file, where, and what to write instead.

mod collection;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

pub use self::collection::Diagnostics;
use crate::limits;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file, and the set it belongs to, cannot be used.
    Error,
    /// It can be used, but hardly means what its author meant.
    Warning,
}

impl Severity {
    /// The word in a printed diagnostic.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding in one place of one file.
///
/// Printed as `cases/a.toml:12:9: error: unknown key`, with the hint on an indented second line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file: relative to the policy directory, or as the configuration was named.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// The offending text, cut to [`limits::EXCERPT_CHARS`] and escaped; empty when something is missing.
    pub text: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write instead, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error about a file as a whole, at its first character.
    pub fn error(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::about(Severity::Error, file, message)
    }

    /// A warning about a file as a whole, at its first character.
    pub fn warning(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::about(Severity::Warning, file, message)
    }

    fn about(severity: Severity, file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity,
            file: file.into(),
            line: 1,
            column: 1,
            text: String::new(),
            message: message.into(),
            hint: None,
        }
    }

    /// Says where in the file; both count from 1.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        self.line = line;
        self.column = column;
        self
    }

    /// Says which text is meant; it is cut and escaped here.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.text = excerpt(text);
        self
    }

    /// Says what to write instead.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, .. } = self;
        write!(f, "{file}:{line}:{column}: {}: {message}", self.severity.as_str())?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A text made fit for one line of a message: control and formatting characters escaped, long ones cut.
///
/// Files come from many hands, and a message is read on a terminal: an escape sequence or a character that
/// turns the writing direction must not act there.
#[must_use]
pub fn excerpt(text: &str) -> String {
    excerpt_of(text, limits::EXCERPT_CHARS)
}

/// [`excerpt`] of bytes that may be no text: what is not UTF-8 is shown as `\xNN`.
#[must_use]
pub fn excerpt_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")));
    }
    excerpt(&text)
}

/// [`excerpt`] of at most `most` characters of the text.
pub(crate) fn excerpt_of(text: &str, most: usize) -> String {
    let mut kept = String::new();
    let mut chars = text.chars();
    for character in chars.by_ref().take(most) {
        match character {
            ' ' => kept.push(' '),
            // `escape_debug` knows controls and what does not print; quotes and backslashes are no danger here.
            '\'' | '"' | '\\' => kept.push(character),
            _ => kept.extend(character.escape_debug()),
        }
    }
    if chars.next().is_some() {
        kept.push('…');
    }
    kept
}

/// The known word nearest to a mistyped one, when one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().take(limits::SUGGESTION_CHARS + 1).count();
    if length > limits::SUGGESTION_CHARS {
        return None;
    }
    let word = word.to_lowercase();
    // One slip for a short word, a third of the letters for a long one.
    let reach = (length / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= 4 * limits::SUGGESTION_CHARS)
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
