//! What a closed segment holds, in a small file beside it, so that a search opens only segments that may answer it.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hashbrown::HashSet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bloom::{self, Filter};
use crate::audit::{
    facts::Facts,
    hosts,
    line::{Head, TIME, texts},
};

/// The version that is written.
const VERSION: u32 = 2;
/// The first version that is read.
const OLDEST: u32 = 1;
/// From this version on the filter has every host that a record names; before, it had the `host` field alone.
const EVERY_HOST: u32 = 2;

/// A Merkle hash, as [`crate::audit::merkle`] has it.
type Hash = [u8; 32];

/// The index of one segment: a JSON object on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentIndex {
    version: u32,
    /// The epoch whose tree its lines are in.
    pub epoch: u64,
    /// The `seq` of its first line.
    pub first_seq: u64,
    /// Its lines.
    pub records: u64,
    /// Bytes of its text, uncompressed.
    pub bytes: u64,
    /// The earliest time of a record.
    pub first_time: Option<Timestamp>,
    /// The latest time of a record.
    pub last_time: Option<Timestamp>,
    /// The largest revision of a record; 0 when none has one.
    pub last_revision: u64,
    /// How many records there are of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// The perfect subtrees that cover its leaves, left to right.
    #[serde(with = "hashes")]
    pub range: Vec<Hash>,
    /// What it may hold.
    pub filter: Filter,
}

/// The bytes are no index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// No JSON of this shape.
    #[error("not the index of a segment: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Written by another version of the edge.
    #[error("version {0} of the index is unknown, {OLDEST} to {VERSION} are known")]
    Version(u32),
}

/// Something to look for: its text must be as it stands in a record, unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term<'a> {
    /// A case's id.
    Case(&'a str),
    /// A canonical hostname: that of the request, or another one of its names.
    Host(&'a str),
    /// A client as the record shows it: address, network or pseudonym.
    Client(&'a str),
}

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Case(text) => write!(f, "case:{text}"),
            Self::Host(text) => write!(f, "host:{text}"),
            Self::Client(text) => write!(f, "client:{text}"),
        }
    }
}

impl SegmentIndex {
    /// Reads the bytes of an `.idx` file.
    ///
    /// # Errors
    /// When they are no index, or one of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        // A newer version may have other fields: say the version first.
        match serde_json::from_slice(bytes)? {
            Versioned { version: OLDEST..=VERSION } => Ok(serde_json::from_slice(bytes)?),
            Versioned { version } => Err(IndexError::Version(version)),
        }
    }

    /// The `seq` of the first line and the number of lines, from the start of an `.idx` file.
    pub(super) fn extent(start: &[u8]) -> Option<(u64, u64)> {
        let text = std::str::from_utf8(start).ok()?;
        let mut fields = text.strip_prefix('{')?.split(',');
        let mut number = |name: &str| fields.next()?.strip_prefix(name)?.parse::<u64>().ok();
        let version = number("\"version\":")?;
        number("\"epoch\":")?;
        let extent = (number("\"first_seq\":")?, number("\"records\":")?);
        (u64::from(OLDEST)..=u64::from(VERSION)).contains(&version).then_some(extent)
    }

    /// The bytes of an `.idx` file: one line.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists always serialize.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The `seq` that the next segment starts with.
    #[must_use]
    pub fn end_seq(&self) -> u64 {
        self.first_seq.saturating_add(self.records)
    }

    /// Whether a record with this term may be in the segment; false is certain.
    #[must_use]
    pub fn may_hold(&self, term: Term<'_>) -> bool {
        if matches!(term, Term::Host(_)) && self.version < EVERY_HOST {
            return true;
        }
        self.filter.may_contain(bloom::hash(&term.to_string()))
    }

    /// Whether a record from `since` (included) to `until` (left out) may be in the segment; false is certain.
    #[must_use]
    pub fn may_hold_time(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> bool {
        match (self.first_time, self.last_time) {
            (Some(first), Some(last)) => {
                since.is_none_or(|since| since <= last) && until.is_none_or(|until| first < until)
            }
            _ => false,
        }
    }
}

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
        }
    }

    /// Takes the next line, without its newline, in. A line that is no record counts, and has nothing to be found by.
    pub fn line(&mut self, line: &[u8]) {
        match Head::parse(line) {
            Some(head) => self.record(&head, &Facts::of(&head), line.len() as u64),
            None => self.foreign(line),
        }
    }

    /// Takes in a record whose facts were read already; `length` is that of its line, without its newline.
    pub(in crate::audit) fn record(&mut self, head: &Head<'_>, facts: &Facts<'_>, length: u64) {
        self.index.records += 1;
        self.index.bytes += length + 1;
        match &mut self.times {
            None => self.times = Some((head.time, head.time)),
            Some((first, last)) => {
                *first = head.time.min(*first);
                *last = head.time.max(*last);
            }
        }
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

    fn finish_as(mut self, version: u32, range: &[Hash]) -> SegmentIndex {
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

/// Hashes as base64.
mod hashes {
    use serde::{Deserializer, Serializer, de::Error};

    use super::{Deserialize, Engine, Hash, STANDARD};

    pub(super) fn serialize<S: Serializer>(hashes: &[Hash], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(hashes.iter().map(|hash| STANDARD.encode(hash)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hash>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let hash = |text: String| {
            let bytes = STANDARD.decode(&text).map_err(D::Error::custom)?;
            bytes.try_into().map_err(|_| D::Error::custom("a hash has 32 bytes"))
        };
        texts.into_iter().map(hash).collect()
    }
}

#[cfg(test)]
mod tests;
