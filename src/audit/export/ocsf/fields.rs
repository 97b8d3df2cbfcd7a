//! The fields of a record, each of which is taken at most once.

use serde_json::{Map, Value};

/// What is still there of a record. A field of another type than the log gives it stays where it is.
pub(super) struct Fields {
    left: Map<String, Value>,
}

impl Fields {
    pub(super) fn new(record: Map<String, Value>) -> Self {
        Self { left: record }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// The text, which stays.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.left.get(name)?.as_str()
    }

    /// A text within an object, which stays.
    pub(super) fn inner_text(&self, name: &str, inner: &str) -> Option<&str> {
        self.left.get(name)?.get(inner)?.as_str()
    }

    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?.to_owned();
        self.left.remove(name);
        Some(text)
    }

    /// A number that fits into the schema's signed integers.
    pub(super) fn take_number(&mut self, name: &str) -> Option<i64> {
        let number = self.left.get(name)?.as_i64()?;
        self.left.remove(name);
        Some(number)
    }

    /// Takes a text into an attribute, if it is there.
    pub(super) fn move_text(&mut self, name: &str, into: &mut Map<String, Value>, attribute: &str) {
        if let Some(text) = self.take_text(name) {
            into.insert(attribute.to_owned(), text.into());
        }
    }

    /// All that was not taken.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.left
    }
}

/// The fields of a JSON object written in place.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
