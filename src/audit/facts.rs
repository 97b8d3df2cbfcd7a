//! What one record's line tells, in one pass over it.

use std::borrow::Cow;

use super::line::{Head, count, text};

/// The fields that an index and the account of gaps are made of.
#[derive(Default)]
pub(in crate::audit) struct Facts<'l> {
    pub(in crate::audit) kind: Option<Cow<'l, str>>,
    pub(in crate::audit) case: Option<Cow<'l, str>>,
    pub(in crate::audit) host: Option<Cow<'l, str>>,
    /// The list as it stands in the line.
    pub(in crate::audit) names: Option<&'l [u8]>,
    pub(in crate::audit) matched: Option<Cow<'l, str>>,
    pub(in crate::audit) client: Option<Cow<'l, str>>,
    pub(in crate::audit) revision: u64,
    /// Events that a gap record counts; 0 in every other.
    pub(in crate::audit) missed: u64,
    /// The ordinal up to which it does.
    pub(in crate::audit) through: u64,
    /// Where, in what follows the head, the last of the fields that say what a record is about ends ([`is_subject`]): a
    /// record that begins with the same text and a comma, and has none of these fields behind it, is about the same. 0 when
    /// its client or revision stands before that.
    pub(in crate::audit) subject: usize,
}

impl<'l> Facts<'l> {
    pub(in crate::audit) fn of(head: &Head<'l>) -> Self {
        let (mut facts, mut fields, mut is_mixed) = (Self::default(), head.fields(), false);
        while let Some((key, value)) = fields.next() {
            if is_subject(key) {
                facts.subject = if is_mixed { 0 } else { fields.end() };
            }
            match key {
                b"kind" => facts.kind = text(value),
                b"case" => facts.case = text(value),
                b"host" => facts.host = text(value),
                b"names" => facts.names = Some(value),
                b"matched" => facts.matched = text(value),
                b"client" => (facts.client, is_mixed) = (text(value), true),
                b"revision" => (facts.revision, is_mixed) = (count(value).unwrap_or(0), true),
                b"missed" => facts.missed = count(value).unwrap_or(0),
                b"through" => facts.through = count(value).unwrap_or(0),
                _ => {}
            }
        }
        if facts.kind.as_deref() != Some("audit.gap") {
            (facts.missed, facts.through) = (0, 0);
        }
        facts
    }
}

/// Whether a field is one of those that say what a record is about, whoever asked for it.
pub(in crate::audit) fn is_subject(key: &[u8]) -> bool {
    matches!(key, b"kind" | b"case" | b"host" | b"names" | b"matched")
}
