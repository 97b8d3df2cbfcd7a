//! Reads TOML written by people: every accessor knows where its value stands, and says what is wrong with it
//! instead of stopping, so that one reading finds all errors of a file.
//!
//! [`read`] opens a file and hands its top [`Table`] to a closure. The closure asks for keys; keys that
//! nobody asked for are errors. A value comes out only when nothing at all was wrong.

mod scalar;
mod spot;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod value;

use std::cell::{OnceCell, RefCell};

use toml::de::DeTable;

pub use self::scalar::moment;
pub use self::spot::Spot;
pub use self::table::Table;
pub use self::text::Text;
pub use self::value::Value;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::limits;

/// The bytes some editors put before UTF-8 text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One file being read: its text and what was found in it so far.
#[derive(Debug)]
pub struct Reader<'r> {
    file: &'r str,
    /// The text after a byte order mark; all offsets count from here.
    text: &'r str,
    /// The offset of each line's first byte, found when the first diagnostic asks.
    lines: OnceCell<Vec<usize>>,
    found: RefCell<Diagnostics>,
}

/// Reads one TOML file. `take` gets the top table and returns what it means; keys that `take` did not ask
/// for are reported after it.
///
/// The value is there exactly when no error was found, by `take` or by the reader.
pub fn read<T>(
    file: &str,
    bytes: &[u8],
    take: impl FnOnce(&Table<'_>) -> Option<T>,
) -> (Option<T>, Diagnostics) {
    let whole = |top: &Table<'_>| {
        let taken = take(top);
        top.finish(&[]);
        taken
    };
    read_part(file, bytes, whole)
}

/// The same for who needs a part of the file: keys at its top that `take` did not ask for are passed over.
pub fn read_part<T>(
    file: &str,
    bytes: &[u8],
    take: impl FnOnce(&Table<'_>) -> Option<T>,
) -> (Option<T>, Diagnostics) {
    let text = match text_of(file, bytes) {
        Ok(text) => text,
        Err(diagnostic) => return (None, diagnostic.into()),
    };
    let reader = Reader { file, text, lines: OnceCell::new(), found: RefCell::default() };
    let mut settled = None;
    if let Some(root) = reader.parse() {
        let top = Table::top(&reader, &root);
        settled = take(&top);
    }
    let found = reader.found.into_inner();
    if found.has_errors() {
        settled = None;
    }
    (settled, found)
}

/// The text of a file, after a byte order mark.
///
/// # Errors
/// Where the first byte stands that is not UTF-8.
pub fn text_of<'r>(file: &str, bytes: &'r [u8]) -> Result<&'r str, Diagnostic> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let (before, rest) = bytes.split_at(error.valid_up_to());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let on_line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = 1 + String::from_utf8_lossy(on_line).chars().count();
        let wrong = rest.first().map_or_else(String::new, |byte| format!("\\x{byte:02X}"));
        let message = format!("the file is not UTF-8: byte `{wrong}`");
        let at = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut diagnostic = Diagnostic::error(file, message).at(at(line), at(column));
        diagnostic.text = wrong;
        diagnostic.with_hint("save the file in the encoding UTF-8")
    })
}

impl<'r> Reader<'r> {
    /// The document, or nothing when its syntax is broken: half a document would only add errors that
    /// are none.
    fn parse(&self) -> Option<DeTable<'r>> {
        if self.text.len() > limits::ALL_SYNTAX_ERRORS_BYTES {
            return match DeTable::parse(self.text) {
                Ok(table) => Some(table.into_inner()),
                Err(error) => {
                    self.syntax_error(&error);
                    None
                }
            };
        }
        let (table, mut errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Some(table.into_inner());
        }
        // What follows on the same line is mostly an echo of the first error there.
        errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
        errors.dedup_by_key(|error| self.position(error.span().map_or(0, |span| span.start)).0);
        for error in &errors {
            self.syntax_error(error);
        }
        None
    }

    fn syntax_error(&self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        let message = crate::diagnostic::excerpt_of(error.message(), 4 * limits::EXCERPT_CHARS);
        let spot = Spot::new(self, span);
        let hint = match message.split(',').next() {
            Some("duplicate key") => Some("keep one of the two"),
            Some("invalid date") => {
                Some("write a day of the calendar, like `2026-12-20` or `2026-11-20T22:15:00Z`")
            }
            Some("invalid time") => Some("write a time of day, like `2026-11-20T22:15:00Z`"),
            _ => None,
        };
        let message = match spot.source().trim() {
            "" => message,
            source => format!("{message}: `{}`", crate::diagnostic::excerpt(source)),
        };
        match hint {
            Some(hint) => spot.error_with_hint(message, hint),
            None => spot.error(message),
        }
    }

    /// Line and column, both from 1, of a byte offset; the column counts characters.
    fn position(&self, offset: usize) -> (u32, u32) {
        let lines = self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
        });
        let line = lines.partition_point(|start| *start <= offset);
        let start = lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let end = self.text.floor_char_boundary(offset.max(start));
        let column = 1 + self.text.get(start..end).map_or(0, |before| before.chars().count());
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (number(line), number(column))
    }
}
