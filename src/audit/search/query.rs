//! What is looked for, and whether a line or a segment has it.

use std::borrow::Cow;

use jiff::Timestamp;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{Kind, SegmentIndex, Term, hosts, id::EventId, line, text::write_ours};

/// What records to find: each condition that is set must hold. Texts are compared whole, as records show them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// The case that was enforced; other cases that matched (`also`) do not count.
    pub case: Option<String>,
    /// The canonical host: that of the request, or another one of its names, such as that of its TLS handshake.
    pub host: Option<String>,
    /// The client as records show it: an address, a network or a pseudonym.
    pub client: Option<String>,
    /// One of these kinds; any when there is none.
    pub kinds: Vec<Kind>,
    /// The record with this id.
    pub id: Option<EventId>,
    /// Records of this time or later.
    pub since: Option<Timestamp>,
    /// Records before this time.
    pub until: Option<Timestamp>,
}

/// What a line is to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A record that was looked for.
    Found,
    /// Another one.
    Other,
    /// The line is no record.
    Damaged,
}

impl Query {
    /// Whether every record is found.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The conditions that are set, by their names.
    #[must_use]
    pub fn to_fields(&self) -> Map<String, Value> {
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let shown = |shown: Option<String>| shown.map(Value::from);
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        let fields = [
            ("case", text(&self.case)),
            ("host", text(&self.host)),
            ("client", text(&self.client)),
            ("kinds", (!kinds.is_empty()).then(|| kinds.into())),
            ("id", shown(self.id.map(|id| id.to_string()))),
            ("since", shown(self.since.map(|time| time.to_string()))),
            ("until", shown(self.until.map(|time| time.to_string()))),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// Whether a segment may hold what is looked for; false is certain.
    #[must_use]
    pub fn may_be_in(&self, index: &SegmentIndex) -> bool {
        let terms = [
            self.case.as_deref().map(Term::Case),
            self.host.as_deref().map(Term::Host),
            self.client.as_deref().map(Term::Client),
        ];
        let kinds = self.kinds.is_empty()
            || self.kinds.iter().any(|kind| index.kinds.get(kind.as_str()).is_some_and(|count| *count > 0));
        // Times say nothing of a segment whose lines have none: it is read, and its damage told.
        let timed = index.first_time.is_none() || index.may_hold_time(self.since, self.until);
        kinds && timed && terms.into_iter().flatten().all(|term| index.may_hold(term))
    }

    /// Whether the record with the wanted id was most likely written while this segment was: an id carries the
    /// millisecond it was given at. No more than likely, since ids do not follow a clock that is set back.
    pub(super) fn likely_in(&self, index: &SegmentIndex) -> bool {
        let Some(id) = self.id else { return true };
        let millis = i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX);
        match (index.first_time, index.last_time) {
            (Some(first), Some(last)) => (first.as_millisecond()..=last.as_millisecond()).contains(&millis),
            _ => true,
        }
    }

    /// Keeps the lines of records that are looked for, for whoever reads them elsewhere than in segments. Lines that are
    /// no record are left out.
    pub fn filter<'q, L: AsRef<[u8]> + 'q>(
        &'q self,
        lines: impl Iterator<Item = L> + 'q,
    ) -> impl Iterator<Item = L> + 'q {
        let matcher = self.matcher();
        lines.filter(move |line| matcher.judge(line.as_ref()) == Verdict::Found)
    }

    /// The query made ready to be held against many lines.
    pub(super) fn matcher(&self) -> Matcher<'_> {
        let kind = match self.kinds.as_slice() {
            [kind] => Some(kind.as_str()),
            _ => None,
        };
        let id = self.id.map(|id| id.to_string());
        let wanted = [
            ("id", id.as_deref()),
            ("client", self.client.as_deref()),
            ("case", self.case.as_deref()),
            ("kind", kind),
        ];
        let needles = wanted.into_iter().filter_map(|(name, text)| Some(needle(name, text?))).collect();
        Matcher { query: self, needles, host: self.host.as_deref().map(HostNeedle::of) }
    }
}

/// Tells most lines that do not name a host.
struct HostNeedle {
    host: String,
    /// As the record's `host`, and as what matched.
    fields: [Finder<'static>; 2],
    names: Finder<'static>,
}

impl HostNeedle {
    fn of(host: &str) -> Self {
        let fields = ["host", "matched"].map(|name| needle(name, host));
        Self { host: host.to_owned(), fields, names: Finder::new(b"\"names\":").into_owned() }
    }

    fn may_be_in(&self, line: &[u8]) -> bool {
        let [host, matched] = &self.fields;
        host.find(line).is_some() || self.is_listed(line) || matched.find(line).is_some()
    }

    /// The record's own list is the first: what a kind adds comes after it.
    fn is_listed(&self, line: &[u8]) -> bool {
        let Some(at) = self.names.find(line) else { return false };
        let value = line.get(at + self.names.needle().len()..).unwrap_or_default();
        let list = line::value_end(value).and_then(|end| value.get(..end));
        list.is_none_or(|list| hosts::may_list(list, &self.host))
    }
}

/// The bytes that a field with this text is in a line: the log writes each text in one way only.
fn needle(name: &str, text: &str) -> Finder<'static> {
    let mut bytes = format!("\"{name}\":").into_bytes();
    write_ours(&mut bytes, text, usize::MAX);
    Finder::new(&bytes).into_owned()
}

/// See [`Query::matcher`].
pub(super) struct Matcher<'q> {
    query: &'q Query,
    /// The rarest first; every record that is looked for has them all.
    needles: Vec<Finder<'static>>,
    host: Option<HostNeedle>,
}

/// What a query asks of a record.
#[derive(Deserialize)]
struct Facts<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    time: Timestamp,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    case: Option<Cow<'a, str>>,
    #[serde(borrow)]
    host: Option<Cow<'a, str>>,
    names: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    matched: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client: Option<Cow<'a, str>>,
}

impl Facts<'_> {
    fn is_about(&self, host: &str) -> bool {
        let matched = self.matched.as_deref().and_then(hosts::matched_host);
        self.host.as_deref() == Some(host)
            || matched == Some(host)
            || self.names.iter().flatten().any(|name| hosts::is_host(name, host))
    }
}

impl Matcher<'_> {
    /// What one line, without its newline, is. Damage is seen only in a line that has every needle.
    pub(super) fn judge(&self, line: &[u8]) -> Verdict {
        if self.needles.iter().any(|needle| needle.find(line).is_none()) {
            return Verdict::Other;
        }
        if self.host.as_ref().is_some_and(|host| !host.may_be_in(line)) {
            return Verdict::Other;
        }
        if self.query.is_everything() {
            return Verdict::Found;
        }
        match serde_json::from_slice::<Facts<'_>>(line) {
            Ok(facts) if self.holds(&facts) => Verdict::Found,
            Ok(_) => Verdict::Other,
            Err(_) => Verdict::Damaged,
        }
    }

    fn holds(&self, facts: &Facts<'_>) -> bool {
        let query = self.query;
        let same = |wanted: &Option<String>, found: &Option<Cow<'_, str>>| {
            wanted.as_deref().is_none_or(|wanted| found.as_deref() == Some(wanted))
        };
        same(&query.case, &facts.case)
            && query.host.as_deref().is_none_or(|host| facts.is_about(host))
            && same(&query.client, &facts.client)
            && (query.kinds.is_empty() || query.kinds.iter().any(|kind| kind.as_str() == facts.kind))
            && query.id.is_none_or(|id| facts.id.parse() == Ok(id))
            && query.since.is_none_or(|since| since <= facts.time)
            && query.until.is_none_or(|until| facts.time < until)
    }
}

#[cfg(test)]
mod tests;
