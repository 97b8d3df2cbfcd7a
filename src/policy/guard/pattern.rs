//! Patterns held against each other.

use std::net::Ipv4Addr;

use crate::policy::Form;

/// A name, then each parent, down to the last label; an address has no parents.
pub(super) fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let is_address = name.starts_with('[') || is_ipv4(name);
    std::iter::successors(Some(name), move |name| {
        if is_address { None } else { name.split_once('.').map(|(_, parent)| parent) }
    })
}

fn is_ipv4(name: &str) -> bool {
    name.ends_with(|last: char| last.is_ascii_digit()) && name.parse::<Ipv4Addr>().is_ok()
}

/// Whether `wide` covers all that `narrow` does.
pub(super) fn covers(wide: (Form, &str), narrow: (Form, &str)) -> bool {
    if wide.1 == narrow.1 {
        return match wide.0 {
            Form::Subtree => true,
            form => form == narrow.0,
        };
    }
    wide.0 != Form::Exact && is_below(narrow.1, wide.1)
}

/// What both patterns cover, itself a pattern; nothing when they share no name.
pub(super) fn meeting<'p>(one: (Form, &'p str), other: (Form, &'p str)) -> Option<(Form, &'p str)> {
    if one.1 == other.1 {
        return match (one.0, other.0) {
            (a, b) if a == b => Some((a, one.1)),
            (Form::Subtree, narrow) | (narrow, Form::Subtree) => Some((narrow, one.1)),
            _ => None,
        };
    }
    match (is_below(one.1, other.1), is_below(other.1, one.1)) {
        (true, _) if other.0 != Form::Exact => Some(one),
        (_, true) if one.0 != Form::Exact => Some(other),
        _ => None,
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')) && !is_ipv4(name)
}
