//! What the exceptions of a list leave of its blocks.

use std::collections::{HashMap, HashSet};

use super::format::Format;
use super::overlap::Overlap;
use crate::policy::{Form, Pattern};

/// The blocks of a list, and its exceptions as far as a case can have them.
#[derive(Debug, Default)]
pub struct Settled {
    /// What is blocked.
    pub patterns: Vec<Pattern>,
    /// What has to be in `except` of the case, since it takes away parts of what is blocked.
    pub except: Vec<Pattern>,
    /// What an exception takes away whole.
    pub excepted: Vec<Pattern>,
    /// Exceptions with blocked names inside them. In an `except` they would free those as well.
    pub around: Vec<Pattern>,
}

/// Holds the blocks of a list, or of several that are used together, against the exceptions.
#[must_use]
pub fn settle(patterns: Vec<Pattern>, except: Vec<Pattern>, format: Format) -> Settled {
    if except.is_empty() {
        return Settled { patterns, ..Settled::default() };
    }
    let overlap = Overlap::of(&except);
    let taken_away = |pattern: &Pattern| {
        overlap.covers_at_its_name(pattern)
            || (format.exceptions_always_win() && overlap.covering_parent(pattern).is_some())
    };
    let (excepted, patterns): (Vec<_>, Vec<_>) = patterns.into_iter().partition(taken_away);
    let around: HashSet<&str> =
        patterns.iter().filter_map(|pattern| nearest_exception(&overlap, pattern)).collect();
    // Of the blocks, which may be many, only those matter that an exception is on or below.
    let mut wide: HashMap<&str, Form> = HashMap::new();
    for pattern in patterns.iter().filter(|pattern| pattern.form != Form::Exact) {
        if overlap.is_near(pattern.name.as_str()) {
            let form = wide.entry(pattern.name.as_str()).or_insert(pattern.form);
            *form = (*form).min(pattern.form);
        }
    }
    let cuts = |exception: &Pattern| {
        let meets = |(depth, name): (usize, &str)| {
            wide.get(name).is_some_and(|form| depth > 0 || *form == Form::Subtree)
        };
        exception.name.suffixes().enumerate().any(meets)
    };
    let mut settled = Settled { excepted, ..Settled::default() };
    for exception in &except {
        if exception.form != Form::Exact && around.contains(exception.name.as_str()) {
            settled.around.push(exception.clone());
        } else if cuts(exception) {
            settled.except.push(exception.clone());
        }
    }
    settled.patterns = patterns;
    settled
}

/// The name of an exception that has all of `pattern` inside it.
fn nearest_exception<'a>(overlap: &Overlap<'_>, pattern: &'a Pattern) -> Option<&'a str> {
    overlap.covering_parent(pattern)
}
