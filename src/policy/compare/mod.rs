//! What differs between two policy sets: names, cases field by field, pages.

mod fields;
mod names;
mod pages;
#[cfg(test)]
mod tests;

pub use fields::{FieldChange, fields_changed};
pub use names::{Listed, NameChange, Tally, compare_names};
pub use pages::{PageChanges, compare_pages};
