//! One event as the journal holds it: compact, binary, with everything that becomes text later.
//!
//! ```text
//! u32  length of what follows the checksum          all numbers little-endian
//! u32  CRC-32C of facts, then id, then time         a record whose copy was cut off does not match
//! [16] id
//! i64  time, microseconds since 1970
//! …    facts: kind, revision, case, request, fields of the kind
//! ```
//!
//! The client is in it only as the configured privacy lets it be recorded, and the path is without query and
//! credentials: what may not be in the log is not in the journal either. Texts are cut to one byte more than their
//! limit, so that the line still shows that they were cut.

use jiff::Timestamp;

use crate::audit::{
    event::{Enforcement, Event, Kind, RequestFacts},
    id::EventId,
    privacy::{ClientText, Privacy},
    record::{self, limits},
};

/// Length and checksum.
pub(in crate::audit) const FRAME: usize = 8;
/// Id and time.
const STAMP: usize = 24;
/// Where the facts start.
const HEAD: usize = FRAME + STAMP;
/// No record is longer; recovery takes a longer one for damage.
pub(in crate::audit) const MAX_RECORD: usize = 64 * 1024;

const HAS_ENFORCEMENT: u8 = 1;
const HAS_REQUEST: u8 = 2;
const HAS_STATUS: u8 = 4;
const HAS_UPSTREAM: u8 = 8;

/// A record in the making: facts first, outside the journal's lock; [`Draft::stamp`] does the rest under it.
#[derive(Debug, Default)]
pub(in crate::audit) struct Draft {
    bytes: Vec<u8>,
    facts_crc: u32,
}

impl Draft {
    pub(in crate::audit) const fn new() -> Self {
        Self { bytes: Vec::new(), facts_crc: 0 }
    }

    /// Writes down the facts of `event`, which happens `now`.
    pub(in crate::audit) fn facts(&mut self, event: &Event<'_>, privacy: &Privacy, now: Timestamp) {
        self.begin(event.kind, event.revision, flags(event));
        if let Some(enforcement) = &event.enforcement {
            self.enforcement(enforcement);
        }
        if let Some(request) = &event.request {
            self.request(request, privacy.text(request.client, now));
        }
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        if let Some(fields) = event.detail {
            record::detail(&mut self.bytes, fields);
        }
        self.end_fields(from);
    }

    /// Writes down an event that has nothing but fields of its kind, already as text: `,"name":value…`.
    pub(in crate::audit) fn fields(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        self.begin(kind, 0, 0);
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes);
        self.end_fields(from);
    }

    /// Gives the record its id and time, and returns it whole.
    pub(in crate::audit) fn stamp(&mut self, id: EventId, now: Timestamp) -> &[u8] {
        let mut stamp = [0; STAMP];
        stamp[..16].copy_from_slice(&id.as_u128().to_le_bytes());
        stamp[16..].copy_from_slice(&now.as_microsecond().to_le_bytes());
        let crc = crc32c::crc32c_append(self.facts_crc, &stamp);
        let length = u32::try_from(self.bytes.len() - FRAME).unwrap_or(u32::MAX);
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..8].copy_from_slice(&crc.to_le_bytes());
        head[8..].copy_from_slice(&stamp);
        if let Some(room) = self.bytes.get_mut(..HEAD) {
            room.copy_from_slice(&head);
        }
        &self.bytes
    }

    /// Bytes of the whole record.
    pub(in crate::audit) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn begin(&mut self, kind: Kind, revision: u64, flags: u8) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; HEAD]);
        let kind = Kind::ALL.iter().position(|known| *known == kind).unwrap_or_default();
        self.bytes.extend_from_slice(&[kind as u8, flags]);
        self.bytes.extend_from_slice(&revision.to_le_bytes());
    }

    fn end_fields(&mut self, from: usize) {
        let length = u32::try_from(self.bytes.len() - from - 4).unwrap_or(u32::MAX);
        if let Some(room) = self.bytes.get_mut(from..from + 4) {
            room.copy_from_slice(&length.to_le_bytes());
        }
        self.facts_crc = crc32c::crc32c(self.bytes.get(HEAD..).unwrap_or_default());
    }

    fn enforcement(&mut self, enforcement: &Enforcement<'_>) {
        self.text(enforcement.case.as_bytes(), limits::WORD);
        self.text(enforcement.customer.as_bytes(), limits::LABEL);
        self.text(enforcement.basis.as_bytes(), limits::WORD);
        self.text(enforcement.action.as_bytes(), limits::WORD);
        self.bytes.extend_from_slice(&enforcement.status.unwrap_or_default().to_le_bytes());
        self.text(enforcement.matched.as_bytes(), limits::NAME);
        self.list(enforcement.also, limits::ALSO, |draft, id| draft.text(id.as_bytes(), limits::WORD));
    }

    fn request(&mut self, request: &RequestFacts<'_>, client: ClientText) {
        self.text(request.host.as_bytes(), limits::LABEL);
        self.list(request.names, limits::NAMES, |draft, name| {
            draft.text(record::without_userinfo(name), limits::NAME);
        });
        self.text(request.method.as_bytes(), limits::METHOD);
        self.text(record::path_only(request.path), limits::PATH);
        self.bytes.extend_from_slice(&client.to_bytes());
        self.text(request.listener.as_bytes(), limits::LABEL);
        self.text(request.protocol.as_bytes(), limits::WORD);
        self.text(request.tls.unwrap_or_default().as_bytes(), limits::WORD);
        self.text(request.user_agent.unwrap_or_default(), limits::USER_AGENT);
        if let Some(upstream) = request.upstream {
            self.text(upstream.to_string().as_bytes(), limits::LABEL);
        }
    }

    fn text(&mut self, text: &[u8], limit: usize) {
        let kept = text.get(..limit + 1).unwrap_or(text);
        self.bytes.extend_from_slice(&(kept.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(kept);
    }

    fn list<T: Copy>(&mut self, items: &[T], most: usize, write: impl Fn(&mut Self, T)) {
        let kept = items.get(..most + 1).unwrap_or(items);
        self.bytes.push(kept.len() as u8);
        kept.iter().for_each(|item| write(self, *item));
    }
}

fn flags(event: &Event<'_>) -> u8 {
    let set = |condition: bool, flag: u8| if condition { flag } else { 0 };
    set(event.enforcement.is_some(), HAS_ENFORCEMENT)
        | set(event.request.is_some(), HAS_REQUEST)
        | set(event.enforcement.is_some_and(|enforcement| enforcement.status.is_some()), HAS_STATUS)
        | set(event.request.is_some_and(|request| request.upstream.is_some()), HAS_UPSTREAM)
}

/// A record read back.
#[derive(Debug, Clone, Copy)]
pub(in crate::audit) struct Entry<'a> {
    pub(in crate::audit) id: EventId,
    pub(in crate::audit) time: Timestamp,
    pub(in crate::audit) facts: Facts<'a>,
}

/// What a record says; texts as they came, one byte over their limit at most.
#[derive(Debug, Clone, Copy)]
pub(in crate::audit) struct Facts<'a> {
    pub(in crate::audit) kind: Kind,
    pub(in crate::audit) revision: u64,
    pub(in crate::audit) enforcement: Option<Decision<'a>>,
    pub(in crate::audit) request: Option<Asked<'a>>,
    /// `,"name":value…`, or nothing.
    pub(in crate::audit) fields: &'a [u8],
}

/// See [`Enforcement`].
#[derive(Debug, Clone, Copy)]
pub(in crate::audit) struct Decision<'a> {
    /// The bytes of the five fields that follow: where they are the same, so are these, save that the status may be absent.
    pub(in crate::audit) terms: &'a [u8],
    pub(in crate::audit) case: &'a [u8],
    pub(in crate::audit) customer: &'a [u8],
    pub(in crate::audit) basis: &'a [u8],
    pub(in crate::audit) action: &'a [u8],
    pub(in crate::audit) status: Option<u16>,
    pub(in crate::audit) matched: &'a [u8],
    pub(in crate::audit) also: List<'a>,
}

/// See [`RequestFacts`].
#[derive(Debug, Clone, Copy)]
pub(in crate::audit) struct Asked<'a> {
    /// The bytes of the two fields that follow.
    pub(in crate::audit) subject: &'a [u8],
    pub(in crate::audit) host: &'a [u8],
    pub(in crate::audit) names: List<'a>,
    pub(in crate::audit) method: &'a [u8],
    pub(in crate::audit) path: &'a [u8],
    pub(in crate::audit) client: ClientText,
    pub(in crate::audit) listener: &'a [u8],
    pub(in crate::audit) protocol: &'a [u8],
    pub(in crate::audit) tls: &'a [u8],
    pub(in crate::audit) user_agent: &'a [u8],
    pub(in crate::audit) upstream: &'a [u8],
}

/// Texts one after the other, checked when they were read.
#[derive(Debug, Clone, Copy)]
pub(in crate::audit) struct List<'a> {
    pub(in crate::audit) count: usize,
    bytes: &'a [u8],
}

impl<'a> List<'a> {
    pub(in crate::audit) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut source = Source(self.bytes);
        (0..self.count).map_while(move |_| source.text())
    }
}

/// The payload length that a frame announces, when it can be one.
pub(in crate::audit) fn announced(frame: &[u8]) -> Option<usize> {
    let length = usize::try_from(u32::from_le_bytes(*frame.first_chunk()?)).ok()?;
    (HEAD - FRAME..=MAX_RECORD - FRAME).contains(&length).then_some(length)
}

/// Reads a record from its frame on. `None` when the checksum does not fit or it says nothing that can be understood.
pub(in crate::audit) fn decode(record: &[u8]) -> Option<Entry<'_>> {
    let length = announced(record)?;
    let record = record.get(..FRAME + length)?;
    let crc = u32::from_le_bytes(*record.get(4..)?.first_chunk()?);
    let (stamp, facts) = record.get(FRAME..)?.split_at_checked(STAMP)?;
    (crc32c::crc32c_append(crc32c::crc32c(facts), stamp) == crc).then(|| parse(record))?
}

/// Reads a record whose checksum fits.
pub(in crate::audit) fn parse(record: &[u8]) -> Option<Entry<'_>> {
    let (stamp, facts) = record.get(FRAME..)?.split_at_checked(STAMP)?;
    let (id, time) = stamp.split_first_chunk::<16>()?;
    // The last microsecond that a clock can tell is past what can be read back.
    let time =
        Timestamp::from_microsecond(i64::from_le_bytes(*time.first_chunk()?)).unwrap_or(Timestamp::MAX);
    let id = EventId::from_bits(u128::from_le_bytes(*id))?;
    Some(Entry { id, time, facts: Source(facts).facts()? })
}

struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn facts(&mut self) -> Option<Facts<'a>> {
        let [kind, flags] = *self.chunk::<2>()?;
        let kind = *Kind::ALL.get(usize::from(kind))?;
        let revision = u64::from_le_bytes(*self.chunk()?);
        let enforcement =
            if flags & HAS_ENFORCEMENT == 0 { None } else { Some(self.decision(flags & HAS_STATUS != 0)?) };
        let request =
            if flags & HAS_REQUEST == 0 { None } else { Some(self.asked(flags & HAS_UPSTREAM != 0)?) };
        let length = usize::try_from(u32::from_le_bytes(*self.chunk()?)).ok()?;
        let fields = self.take(length)?;
        self.0.is_empty().then_some(Facts { kind, revision, enforcement, request, fields })
    }

    fn decision(&mut self, has_status: bool) -> Option<Decision<'a>> {
        let start = self.0;
        let [case, customer, basis, action] = [self.text()?, self.text()?, self.text()?, self.text()?];
        let status = u16::from_le_bytes(*self.chunk()?);
        Some(Decision {
            terms: self.since(start),
            case,
            customer,
            basis,
            action,
            status: has_status.then_some(status),
            matched: self.text()?,
            also: self.list()?,
        })
    }

    fn asked(&mut self, has_upstream: bool) -> Option<Asked<'a>> {
        let start = self.0;
        let (host, names) = (self.text()?, self.list()?);
        Some(Asked {
            subject: self.since(start),
            host,
            names,
            method: self.text()?,
            path: self.text()?,
            client: ClientText::from_bytes(*self.chunk()?)?,
            listener: self.text()?,
            protocol: self.text()?,
            tls: self.text()?,
            user_agent: self.text()?,
            upstream: if has_upstream { self.text()? } else { &[] },
        })
    }

    fn list(&mut self) -> Option<List<'a>> {
        let [count] = *self.chunk::<1>()?;
        let bytes = self.0;
        for _ in 0..count {
            self.text()?;
        }
        Some(List { count: count.into(), bytes: self.since(bytes) })
    }

    /// What was read since `start` was left.
    fn since(&self, start: &'a [u8]) -> &'a [u8] {
        start.get(..start.len() - self.0.len()).unwrap_or_default()
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_le_bytes(*self.chunk()?);
        self.take(length.into())
    }

    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}
