//! Gathers the index of a segment, line by line.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use hashbrown::HashSet;
use jiff::Timestamp;
use serde::Deserialize;

use super::{EVERY_HOST, Hash, SegmentIndex, Term, VERSION};
use crate::audit::{
    facts::{Facts, is_subject},
    hosts,
    line::{Fields, Head, TIME, count, text, texts},
    sealed::bloom::{self, Filter},
};

/// What an index is made of, in a line that is JSON but not in the form we write: by another hand, and found all the same.
#[derive(Deserialize)]
struct Foreign<'a> {
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
    revision: Option<u64>,
}

/// Gathers an index from the lines of a segment, first to last.
pub struct IndexBuilder {
    index: SegmentIndex,
    /// The earliest and the latest time, as texts: parsing them once is enough.
    times: Option<([u8; TIME], [u8; TIME])>,
    /// Hashes of the terms, 8 bytes each however long they are.
    terms: HashSet<u64>,
    /// Those of hosts that are not in `host`: an index of an early version has none of them.
    named: HashSet<u64>,
    /// A term that is being hashed.
    scratch: String,
    /// Case, host and client of the record before: under a flood most are about the same.
    last: [String; 3],
    /// Its `names`, as they stand in the line, and what `matched`.
    last_names: Vec<u8>,
    last_matched: String,
    /// Its kind, and the text from there up to `matched`: a line that begins with the same is about the same.
    last_kind: String,
    last_subject: Vec<u8>,
}

impl IndexBuilder {
    /// An index of no line yet.
    #[must_use]
    pub fn new(epoch: u64, first_seq: u64) -> Self {
        let index = SegmentIndex {
            version: VERSION,
            epoch,
            first_seq,
            records: 0,
            bytes: 0,
            first_time: None,
            last_time: None,
            last_revision: 0,
            kinds: BTreeMap::new(),
            range: Vec::new(),
            filter: Filter::of(&HashSet::new()),
        };
        Self {
            index,
            times: None,
            terms: HashSet::new(),
            named: HashSet::new(),
            scratch: String::new(),
            last: Default::default(),
            last_names: Vec::new(),
            last_matched: String::new(),
            last_kind: String::new(),
            last_subject: Vec::new(),
        }
    }

    /// Takes the next line, without its newline, in. A line that is no record counts, and has nothing to be found by.
    pub fn line(&mut self, line: &[u8]) {
        let length = line.len() as u64;
        let Some(head) = Head::parse(line) else { return self.foreign(line) };
        if self.take_alike(&head, length) {
            return;
        }
        let facts = Facts::of(&head);
        self.record(&head, &facts, length);
        self.last_subject.clear();
        self.last_subject.extend_from_slice(head.rest().get(..facts.subject).unwrap_or_default());
        self.last_kind.clear();
        self.last_kind.push_str(facts.kind.as_deref().unwrap_or_default());
    }

    /// Takes in a record about the same as the last line: only its client and its revision may be others. Under a flood
    /// nearly all are, and this reads half of the line. False, with nothing taken in, when it is another.
    pub(super) fn take_alike(&mut self, head: &Head<'_>, length: u64) -> bool {
        if self.last_subject.is_empty() {
            return false;
        }
        let rest = head.rest().strip_prefix(self.last_subject.as_slice());
        // A comma: the end of a value, not the middle of one.
        let Some(rest) = rest.and_then(|rest| rest.strip_prefix(b",")) else { return false };
        let (mut client, mut revision) = (None, 0);
        for (key, value) in Fields::of(rest) {
            match key {
                b"client" => client = text(value),
                b"revision" => revision = count(value).unwrap_or(0),
                key if is_subject(key) => return false,
                _ => {}
            }
        }
        self.tally(head, length);
        let kind = std::mem::take(&mut self.last_kind);
        self.known(&kind, revision, [None, None, client.as_deref()]);
        self.last_kind = kind;
        true
    }

    /// Takes in a record whose facts were read already; `length` is that of its line, without its newline.
    pub(in crate::audit) fn record(&mut self, head: &Head<'_>, facts: &Facts<'_>, length: u64) {
        self.tally(head, length);
        let kind = facts.kind.as_deref().unwrap_or_default();
        self.known(kind, facts.revision, [&facts.case, &facts.host, &facts.client].map(Option::as_deref));
        // Names that are those of the record before are in, whatever its host was.
        if let Some(names) = facts.names.filter(|names| *names != self.last_names) {
            texts(names).for_each(|name| self.name(&name, facts.host.as_deref()));
            self.last_names.clear();
            self.last_names.extend_from_slice(names);
        }
        self.matched(facts.matched.as_deref());
    }

    fn tally(&mut self, head: &Head<'_>, length: u64) {
        self.index.records += 1;
        self.index.bytes += length + 1;
        match &mut self.times {
            None => self.times = Some((head.time, head.time)),
            Some((first, last)) => {
                *first = head.time.min(*first);
                *last = head.time.max(*last);
            }
        }
    }

    fn foreign(&mut self, line: &[u8]) {
        self.index.records += 1;
        self.index.bytes += line.len() as u64 + 1;
        let Ok(facts) = serde_json::from_slice::<Foreign<'_>>(line) else { return };
        self.time(facts.time);
        let terms = [&facts.case, &facts.host, &facts.client].map(Option::as_deref);
        self.known(&facts.kind, facts.revision.unwrap_or(0), terms);
        facts.names.iter().flatten().for_each(|name| self.name(name, facts.host.as_deref()));
        self.matched(facts.matched.as_deref());
    }

    /// Takes in one of the `names` of a record of this `host`.
    fn name(&mut self, name: &str, host: Option<&str>) {
        if host == Some(name) {
            return;
        }
        if let Some(known) = hosts::canonical(name).filter(|known| host != Some(known.as_str())) {
            self.host(known.as_str());
        }
    }

    fn matched(&mut self, matched: Option<&str>) {
        let Some(matched) = matched.filter(|matched| *matched != self.last_matched) else { return };
        if let Some(host) = hosts::matched_host(matched) {
            self.host(host);
        }
        self.last_matched.clear();
        self.last_matched.push_str(matched);
    }

    /// Takes in a host that may be another than that of the record.
    fn host(&mut self, host: &str) {
        self.scratch.clear();
        // Writing into a text cannot fail.
        write!(self.scratch, "{}", Term::Host(host)).ok();
        self.named.insert(bloom::hash(&self.scratch));
    }

    /// `terms` are the case, the host and the client.
    fn known(&mut self, kind: &str, revision: u64, terms: [Option<&str>; 3]) {
        let index = &mut self.index;
        index.last_revision = index.last_revision.max(revision);
        match index.kinds.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(index.kinds.insert(kind.to_owned(), 1)),
        }
        let [case, host, client] = terms;
        let terms = [case.map(Term::Case), host.map(Term::Host), client.map(Term::Client)];
        for (term, last) in terms.into_iter().zip(&mut self.last) {
            let Some(term @ (Term::Case(text) | Term::Host(text) | Term::Client(text))) = term else {
                continue;
            };
            // No record has an empty one, as the first `last` are.
            if text == last.as_str() {
                continue;
            }
            self.scratch.clear();
            // Writing into a text cannot fail.
            write!(self.scratch, "{term}").ok();
            self.terms.insert(bloom::hash(&self.scratch));
            last.clear();
            last.push_str(text);
        }
    }

    /// Takes in that a record has this time.
    fn time(&mut self, time: Timestamp) {
        self.index.first_time = Some(self.index.first_time.map_or(time, |first| first.min(time)));
        self.index.last_time = self.index.last_time.max(Some(time));
    }

    /// Lines so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.index.records
    }

    /// The index, with the hashes that cover the segment's leaves.
    #[must_use]
    pub fn finish(self, range: &[Hash]) -> SegmentIndex {
        self.finish_as(VERSION, range)
    }

    /// The index that says the same as this one, in the same version, when it says what the lines do; its hashes are
    /// taken as they are.
    pub(in crate::audit) fn finish_like(self, index: &SegmentIndex) -> SegmentIndex {
        self.finish_as(index.version, &index.range)
    }

    pub(super) fn finish_as(mut self, version: u32, range: &[Hash]) -> SegmentIndex {
        if version >= EVERY_HOST {
            self.terms.extend(std::mem::take(&mut self.named));
        }
        for text in self.times.take().into_iter().flat_map(|(first, last)| [first, last]) {
            // Digits in their places may still be no date: such a record has no time to be found by.
            if let Some(time) = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()) {
                self.time(time);
            }
        }
        SegmentIndex { version, range: range.to_vec(), filter: Filter::of(&self.terms), ..self.index }
    }
}
