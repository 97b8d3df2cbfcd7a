//! A table whose keys are asked for by name.

use std::cell::RefCell;
use std::fmt;

use toml::de::DeTable;

use super::{Reader, Spot, Value};
use crate::diagnostic::{excerpt, nearest};

/// A table that remembers which keys it was asked for.
#[derive(Debug)]
pub struct Table<'r> {
    spot: Spot<'r>,
    /// How it is headed in the file, `[legal]` or `[[exempt]]`; empty for the top.
    heading: String,
    entries: &'r DeTable<'r>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'r> Table<'r> {
    pub(super) fn top(reader: &'r Reader<'r>, entries: &'r DeTable<'r>) -> Self {
        Self::new(Spot::new(reader, 0..0), String::new(), entries)
    }

    pub(super) fn new(spot: Spot<'r>, heading: String, entries: &'r DeTable<'r>) -> Self {
        Self { spot, heading, entries, asked: RefCell::default() }
    }

    /// Where the table starts.
    #[must_use]
    pub fn spot(&self) -> Spot<'r> {
        self.spot
    }

    /// The value of a key, when the key is there.
    #[must_use]
    pub fn optional(&self, key: &'static str) -> Option<Value<'r>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let (name, value) = self.entries.get_key_value(key)?;
        Some(Value::new(
            self.spot.elsewhere(value.span()),
            self.spot.elsewhere(name.span()),
            key,
            value.get_ref(),
        ))
    }

    /// The value of a key; its absence is an error. `example` is a line that could be added.
    #[must_use]
    pub fn required(&self, key: &'static str, example: &str) -> Option<Value<'r>> {
        let value = self.optional(key);
        if value.is_none() {
            let message = format!("missing key `{key}`{}", self.place());
            self.spot.error_with_hint(message, format_args!("add `{example}`"));
        }
        value
    }

    /// Whether a key is there.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Reports the keys nobody asked for. `upper` are the keys of the top of the file: TOML takes a key
    /// written after a `[table]` line into that table, which is hardly ever what its author meant.
    pub fn finish(&self, upper: &[&'static str]) {
        let asked = self.asked.borrow();
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let spot = self.spot.elsewhere(key.span());
            let message = format!("unknown key `{}`{}", excerpt(name), self.place());
            if !spot.has_room_for_an_error() {
                // The search for what was meant is worth its time only for somebody who reads it.
                spot.error(message);
            } else if !self.heading.is_empty() && upper.contains(&name) {
                let hint =
                    format!("`{name}` belongs above the first line in brackets, to the top of the file");
                spot.error_with_hint(message, hint);
            } else if let Some(known) = nearest(name, asked.iter().copied()) {
                spot.error_with_hint(message, format_args!("did you mean `{known}`?"));
            } else {
                spot.error_with_hint(message, format_args!("known keys are {}", Words(&asked)));
            }
        }
    }

    fn place(&self) -> String {
        if self.heading.is_empty() { String::new() } else { format!(" in `{}`", self.heading) }
    }
}

/// Words of a choice, for a message: `a`, `b`, `c`.
pub(super) struct Words<'a>(pub(super) &'a [&'a str]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}`{word}`")?;
        }
        Ok(())
    }
}
