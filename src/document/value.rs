//! A value and the types it may have.

use std::fmt;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::{Spot, Table, Text};
use crate::diagnostic::excerpt;

/// The value of a key, not yet known to be of any type. An accessor of the wrong type reports an error.
#[derive(Debug, Clone, Copy)]
pub struct Value<'r> {
    pub(super) spot: Spot<'r>,
    key_spot: Spot<'r>,
    pub(super) key: &'static str,
    /// Whether it is an entry of the list under that key.
    is_entry: bool,
    pub(super) value: &'r DeValue<'r>,
}

/// What a value is called in a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    key: &'static str,
    is_entry: bool,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.is_entry { "an entry of " } else { "" };
        write!(f, "{prefix}`{}`", self.key)
    }
}

impl<'r> Value<'r> {
    pub(super) fn new(spot: Spot<'r>, key_spot: Spot<'r>, key: &'static str, value: &'r DeValue<'r>) -> Self {
        Self { spot, key_spot, key, is_entry: false, value }
    }

    /// Where the value stands.
    #[must_use]
    pub fn spot(&self) -> Spot<'r> {
        self.spot
    }

    /// Where its key stands.
    #[must_use]
    pub fn key_spot(&self) -> Spot<'r> {
        self.key_spot
    }

    /// A string.
    #[must_use]
    pub fn string(&self) -> Option<Text<'r>> {
        if let DeValue::String(text) = self.value {
            return Some(Text::new(self.spot, self.label(), text));
        }
        match self.value {
            DeValue::Array(_) | DeValue::Table(_) => self.wrong_type("a string"),
            _ => {
                let written = excerpt(self.spot.source());
                let key = if self.is_entry { String::new() } else { format!("{} = ", self.key) };
                self.wrong_type_with_hint("a string", &format!("write `{key}\"{written}\"`"));
            }
        }
        None
    }

    /// A list of at most `most` strings. What is no string in it is reported and left out.
    #[must_use]
    pub fn strings(&self, most: usize) -> Vec<Text<'r>> {
        let Some(items) = self.list("a list of strings", most) else { return Vec::new() };
        items.iter().filter_map(|item| self.item(item).string()).collect()
    }

    /// At most `most` values of any type; `wanted` is what they are called in a message.
    #[must_use]
    pub fn entries(&self, wanted: &str, most: usize) -> Vec<Self> {
        let items = self.list(wanted, most).map(|items| items.iter().map(|item| self.item(item)).collect());
        items.unwrap_or_default()
    }

    /// Whether it is a table.
    #[must_use]
    pub fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        let known = self.value.as_bool();
        if known.is_none() {
            self.wrong_type_with_hint(
                "`true` or `false`",
                &format!("write `{} = true`, without quotes", self.key),
            );
        }
        known
    }

    /// A whole number within bounds.
    #[must_use]
    pub fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let hint = format!("write a number from {} to {}", range.start(), range.end());
        self.integer_or(range, &hint)
    }

    /// The same, for what takes only some of the numbers in between: `hint` names them.
    #[must_use]
    pub fn integer_or(&self, range: RangeInclusive<u64>, hint: &str) -> Option<u64> {
        let DeValue::Integer(written) = self.value else {
            self.wrong_type_with_hint("a whole number", &format!("{hint}, without quotes"));
            return None;
        };
        let known = u64::from_str_radix(written.as_str(), written.radix()).ok();
        let fits = known.filter(|number| range.contains(number));
        if fits.is_none() {
            self.spot.error_with_hint(format_args!("`{}` is out of range: {}", self.key, self.shown()), hint);
        }
        fits
    }

    /// A table: `[key]` or `key = { … }`.
    #[must_use]
    pub fn table(&self) -> Option<Table<'r>> {
        if let DeValue::Table(entries) = self.value {
            let heading = if self.is_entry { format!("[[{}]]", self.key) } else { format!("[{}]", self.key) };
            return Some(Table::new(self.spot, heading, entries));
        }
        if matches!(self.value, DeValue::Array(_)) {
            self.wrong_type_with_hint("one table", &format!("write `[{}]` once", self.key));
        } else {
            self.wrong_type_with_hint("a table", &format!("start it with a line `[{}]`", self.key));
        }
        None
    }

    /// At most `most` tables: `[[key]]`. What is no table in the list is reported and left out.
    #[must_use]
    pub fn tables(&self, most: usize) -> Vec<Table<'r>> {
        if matches!(self.value, DeValue::Table(_)) {
            self.wrong_type_with_hint(
                "a list of tables",
                &format!("write `[[{}]]`, in double brackets", self.key),
            );
            return Vec::new();
        }
        let Some(items) = self.list("a list of tables", most) else { return Vec::new() };
        items.iter().filter_map(|item| self.item(item).table()).collect()
    }

    /// Whether it is a list without entries.
    #[must_use]
    pub fn is_empty_list(&self) -> bool {
        self.value.as_array().is_some_and(|items| items.is_empty())
    }

    fn list(&self, wanted: &str, most: usize) -> Option<&'r DeArray<'r>> {
        let DeValue::Array(items) = self.value else {
            match self.value {
                DeValue::String(_) => {
                    let written = excerpt(self.spot.source());
                    self.wrong_type_with_hint(wanted, &format!("write `{} = [{written}]`", self.key));
                }
                _ => self.wrong_type(wanted),
            }
            return None;
        };
        if items.len() > most {
            self.key_spot.error(format_args!(
                "`{}` has {} entries, which is more than the {most} allowed",
                self.key,
                items.len()
            ));
            return None;
        }
        Some(items)
    }

    fn item(&self, item: &'r Spanned<DeValue<'r>>) -> Self {
        let value = Self::new(self.spot.elsewhere(item.span()), self.key_spot, self.key, item.get_ref());
        Self { is_entry: true, ..value }
    }

    /// What it is called in a message.
    fn label(&self) -> Label {
        Label { key: self.key, is_entry: self.is_entry }
    }

    /// The value as it is written, in backticks.
    pub(super) fn shown(&self) -> String {
        format!("`{}`", excerpt(self.spot.source()))
    }

    pub(super) fn wrong_type(&self, wanted: &str) {
        self.spot.error(self.wrong_type_message(wanted));
    }

    pub(super) fn wrong_type_with_hint(&self, wanted: &str, hint: &str) {
        self.spot.error_with_hint(self.wrong_type_message(wanted), hint);
    }

    fn wrong_type_message(&self, wanted: &str) -> String {
        let kind = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "a truth value",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        format!("{} must be {wanted}, not {kind}", self.label())
    }
}
