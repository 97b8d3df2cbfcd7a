//! Records as a table (RFC 4180): one header for every kind, one record a row, one row a line.
//!
//! A spreadsheet takes a cell that starts with `=` for a formula, and clients choose what stands in paths, names and
//! user agents. A text that starts with one of [`FORMULA`] therefore gets an apostrophe in front of it
//! (OWASP, *CSV Injection*); one that starts with an apostrophe gets a second one, so that taking one leading
//! apostrophe away always gives the record's text. Controls and invisible characters are written as `\uXXXX`.

use std::fmt::Write as _;
use std::io::{self, Write};

use csv::{Terminator, Writer, WriterBuilder};
use serde_json::{Map, Value};

use super::super::text::is_hidden;

/// The header: the record's fields in their order, and last the kind's own fields as one JSON object.
pub(super) const COLUMNS: &[&str] = &[
    "id",
    "seq",
    "time",
    "edge",
    "kind",
    "case",
    "customer",
    "basis",
    "action",
    "status",
    "host",
    "names",
    "matched",
    "method",
    "path",
    "client",
    "listener",
    "protocol",
    "tls",
    "user_agent",
    "revision",
    "also",
    "upstream",
    DETAIL,
];

/// The column of all fields that have none of their own.
const DETAIL: &str = "detail";

/// What makes a spreadsheet see more than a text; the last four are the wide forms of the first four.
const FORMULA: &[char] = &['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Writes the table.
pub(super) struct Table<W: Write> {
    rows: Writer<W>,
}

impl<W: Write> Table<W> {
    /// Starts a table with its header.
    pub(super) fn new(out: W) -> io::Result<Self> {
        let mut rows = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
        rows.write_record(COLUMNS)?;
        Ok(Self { rows })
    }

    /// Writes one row.
    pub(super) fn record(&mut self, mut fields: Map<String, Value>) -> io::Result<()> {
        for column in COLUMNS.iter().filter(|column| **column != DETAIL) {
            let cell = fields.remove(*column).map(|value| cell(&value)).unwrap_or_default();
            self.rows.write_field(cell)?;
        }
        let detail = if fields.is_empty() { String::new() } else { cell(&Value::Object(fields)) };
        self.rows.write_field(detail)?;
        Ok(self.rows.write_record(None::<&[u8]>)?)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.rows.flush()
    }
}

/// A value as the text of a cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => guarded(&shown(text)),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            // A blank inside an item would look like the end of it.
            let item = |item: &Value| shown(item.as_str().unwrap_or_default()).replace(' ', "\\x20");
            guarded(&items.iter().map(item).collect::<Vec<_>>().join(" "))
        }
        Value::Array(_) | Value::Object(_) => shown(&value.to_string()),
        plain => plain.to_string(),
    }
}

/// The text with nothing in it that breaks a line or cannot be seen.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing into a String cannot fail.
                write!(shown, "\\u{unit:04x}").ok();
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The text as one that no spreadsheet computes.
fn guarded(text: &str) -> String {
    if text.starts_with(FORMULA) || text.starts_with('\'') { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
