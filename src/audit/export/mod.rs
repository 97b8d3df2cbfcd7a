//! Records in the forms other programs read: JSON Lines, a spreadsheet's table, OCSF events.
//!
//! An [`Exporter`] takes record lines as the log holds them, one at a time, and keeps nothing of them.

mod csv;
mod ocsf;

use std::io::{self, Write};

use serde_json::{Map, Value};

/// The form records are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The records themselves, one JSON object a line.
    Jsonl,
    /// A table with a header line (RFC 4180): the record's fields in their order, then the kind's own as one JSON object.
    Csv,
    /// One event of the Open Cybersecurity Schema Framework a line.
    Ocsf,
}

/// What a record line does not say itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportOptions {
    /// Every `client` is the client's own address (`client = "full"`). A pseudonym looks like an IPv6 address and the
    /// record does not say which it is, so without this an IPv6 address is written as a name, never as an address.
    pub full_addresses: bool,
}

/// Why a record was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The line is no JSON object.
    #[error("the line is not a record: {0}")]
    NotARecord(#[from] serde_json::Error),
    /// The record has no time, or one that is not RFC 3339.
    #[error("the record's `time` is missing or not RFC 3339")]
    NoTime,
    /// The output takes no more.
    #[error("writing the records: {0}")]
    Output(#[source] io::Error),
}

/// Writes records to `out` in one [`Format`].
pub struct Exporter<W: Write> {
    form: Form<W>,
}

enum Form<W: Write> {
    Jsonl(W),
    Csv(Box<csv::Table<W>>),
    Ocsf(W, ExportOptions),
}

impl<W: Write> Exporter<W> {
    /// Starts an export; a table gets its header here, so that no match is still a table.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn new(format: Format, out: W, options: ExportOptions) -> Result<Self, ExportError> {
        Ok(Self {
            form: match format {
                Format::Jsonl => Form::Jsonl(out),
                Format::Csv => Form::Csv(Box::new(csv::Table::new(out).map_err(ExportError::Output)?)),
                Format::Ocsf => Form::Ocsf(out, options),
            },
        })
    }

    /// Writes one record, given as its line without the newline.
    ///
    /// # Errors
    /// When the line is no record (nothing is written then), or `out` takes no more.
    pub fn record(&mut self, line: &[u8]) -> Result<(), ExportError> {
        match &mut self.form {
            Form::Jsonl(out) => {
                out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(ExportError::Output)
            }
            Form::Csv(table) => table.record(fields(line)?).map_err(ExportError::Output),
            Form::Ocsf(out, options) => {
                let event = ocsf::event(fields(line)?, *options)?;
                ocsf::write(out, &event).map_err(ExportError::Output)
            }
        }
    }

    /// Ends the export and flushes it.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn finish(self) -> Result<(), ExportError> {
        match self.form {
            Form::Jsonl(mut out) | Form::Ocsf(mut out, _) => out.flush(),
            Form::Csv(mut table) => table.flush(),
        }
        .map_err(ExportError::Output)
    }
}

fn fields(line: &[u8]) -> Result<Map<String, Value>, ExportError> {
    Ok(serde_json::from_slice(line)?)
}
