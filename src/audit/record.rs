//! One record of the journal becomes one line of JSON.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    event::Event,
    id::EventId,
    journal::{Asked, Decision, Draft, Entry, Facts, List},
    privacy::Privacy,
    repeated::Repeated,
    text::{self, Origin, write_number, write_ours},
};

/// No line is longer, whatever the event holds; a property test holds it.
pub(super) const MAX_LINE: usize = 128 * 1024;

/// The most bytes that each text of a record keeps.
pub(super) mod limits {
    pub(in crate::audit) const PATH: usize = 2048;
    pub(in crate::audit) const USER_AGENT: usize = 256;
    pub(in crate::audit) const NAME: usize = 320;
    pub(in crate::audit) const METHOD: usize = 32;
    pub(in crate::audit) const WORD: usize = 64;
    pub(in crate::audit) const LABEL: usize = 256;
    /// The most names of one request.
    pub(in crate::audit) const NAMES: usize = 8;
    /// The most other cases.
    pub(in crate::audit) const ALSO: usize = 32;
}

/// Bytes that the kind-specific fields of one record may take.
const MAX_DETAIL: usize = 24 * 1024;
/// How deep a value among them may be nested.
const MAX_DEPTH: usize = 8;

/// Keys that every record may have and a detail may not take.
const TAKEN: &[&str] = &[
    "id",
    "seq",
    "time",
    "edge",
    "kind",
    "case",
    "customer",
    "basis",
    "action",
    "status",
    "host",
    "names",
    "matched",
    "method",
    "path",
    "client",
    "listener",
    "protocol",
    "tls",
    "user_agent",
    "revision",
    "also",
    "upstream",
    "truncated",
];

/// Writes the line of a record, its newline included.
pub(super) fn line(out: &mut Vec<u8>, edge: &str, seq: u64, entry: &Entry<'_>, repeated: &mut Repeated) {
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(entry.id.encode(&mut [0; 36]).as_bytes());
    out.extend_from_slice(b"\",\"seq\":");
    write_number(out, seq);
    out.extend_from_slice(b",\"time\":\"");
    out.extend_from_slice(repeated.time(entry.time).as_bytes());
    out.extend_from_slice(b"\",\"edge\":");
    write_ours(out, edge, limits::LABEL);
    body(out, &entry.facts, repeated);
    out.extend_from_slice(b"}\n");
}

fn body(out: &mut Vec<u8>, facts: &Facts<'_>, repeated: &mut Repeated) {
    field(out, "kind", facts.kind.as_str().as_bytes(), limits::WORD);
    if let Some(decision) = &facts.enforcement {
        let make = |text: &mut Vec<u8>| terms(text, decision);
        out.extend_from_slice(repeated.terms(decision.terms, decision.status, make));
    }
    if let Some(asked) = &facts.request {
        out.extend_from_slice(repeated.subject(asked.subject, |text| subject(text, asked)));
    }
    if let Some(decision) = &facts.enforcement {
        field(out, "matched", decision.matched, limits::NAME);
    }
    if let Some(asked) = &facts.request {
        question(out, asked, repeated);
    }
    if facts.revision != 0 {
        number(out, "revision", facts.revision);
    }
    if let Some(decision) = &facts.enforcement {
        list(out, "also", decision.also, limits::ALSO, limits::WORD, Origin::Ours);
    }
    if let Some(asked) = &facts.request {
        field(out, "upstream", asked.upstream, limits::LABEL);
    }
    out.extend_from_slice(facts.fields);
}

/// What was decided.
fn terms(out: &mut Vec<u8>, decision: &Decision<'_>) {
    field(out, "case", decision.case, limits::WORD);
    field(out, "customer", decision.customer, limits::LABEL);
    field(out, "basis", decision.basis, limits::WORD);
    field(out, "action", decision.action, limits::WORD);
    if let Some(status) = decision.status {
        number(out, "status", status.into());
    }
}

/// Host and names.
fn subject(out: &mut Vec<u8>, asked: &Asked<'_>) {
    field(out, "host", asked.host, limits::LABEL);
    list(out, "names", asked.names, limits::NAMES, limits::NAME, Origin::Client);
}

/// What the client asked for, and over what.
fn question(out: &mut Vec<u8>, asked: &Asked<'_>, repeated: &mut Repeated) {
    seen(out, "method", asked.method, limits::METHOD);
    seen(out, "path", asked.path, limits::PATH);
    key(out, "client");
    out.extend_from_slice(repeated.client(asked.client));
    field(out, "listener", asked.listener, limits::LABEL);
    field(out, "protocol", asked.protocol, limits::WORD);
    field(out, "tls", asked.tls, limits::WORD);
    seen(out, "user_agent", asked.user_agent, limits::USER_AGENT);
}

/// The path of a target: no query, no fragment, no authority (which may hold credentials).
pub(super) fn path_only(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    let target = target.get(..end).unwrap_or_default();
    if target.first() == Some(&b'/') {
        return target;
    }
    match target.windows(3).position(|window| window == b"://") {
        None => target,
        Some(scheme) => {
            let rest = target.get(scheme + 3..).unwrap_or_default();
            let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            rest.get(slash..).unwrap_or_default()
        }
    }
}

/// A name as seen, but never with a user name or password in front of it.
pub(super) fn without_userinfo(name: &[u8]) -> &[u8] {
    let start = name.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    name.get(start..).unwrap_or_default()
}

/// Kind-specific fields, flat, within [`MAX_DETAIL`]: a list is cut where the budget ends, and `truncated` says so.
/// Plain values come first, so that a long list takes no space from a count.
pub(super) fn detail(out: &mut Vec<u8>, fields: &Map<String, Value>) {
    let limit = out.len() + MAX_DETAIL;
    let mut truncated = false;
    let is_plain = |value: &Value| !value.is_array() && !value.is_object();
    let plain = fields.iter().filter(|(_, value)| is_plain(value));
    for (name, value) in plain.chain(fields.iter().filter(|(_, value)| !is_plain(value))) {
        let before = out.len();
        out.extend_from_slice(b",");
        let name = if TAKEN.contains(&name.as_str()) { &format!("_{name}") } else { name };
        write_ours(out, name, limits::WORD);
        out.push(b':');
        value_within(out, value, limit, 0, &mut truncated);
        if out.len() > limit {
            out.truncate(before);
            truncated = true;
        }
    }
    if truncated {
        out.extend_from_slice(b",\"truncated\":true");
    }
}

fn value_within(out: &mut Vec<u8>, value: &Value, limit: usize, depth: usize, truncated: &mut bool) {
    match value {
        Value::String(text) => write_ours(out, text, 4096),
        Value::Array(items) if depth < MAX_DEPTH => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                let before = out.len();
                if index > 0 {
                    out.push(b',');
                }
                value_within(out, item, limit, depth + 1, truncated);
                if out.len() + limits::WORD > limit {
                    out.truncate(before);
                    *truncated = true;
                    break;
                }
            }
            out.push(b']');
        }
        Value::Object(fields) if depth < MAX_DEPTH => {
            out.push(b'{');
            for (index, (name, item)) in fields.iter().enumerate() {
                if out.len() > limit {
                    // The caller takes the whole value back.
                    break;
                }
                if index > 0 {
                    out.push(b',');
                }
                write_ours(out, name, limits::WORD);
                out.push(b':');
                value_within(out, item, limit, depth + 1, truncated);
            }
            out.push(b'}');
        }
        Value::Array(_) | Value::Object(_) => {
            *truncated = true;
            out.extend_from_slice(b"null");
        }
        plain => out.extend_from_slice(plain.to_string().as_bytes()),
    }
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// One of our own texts; an empty one is absent.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8], limit: usize) {
    if !value.is_empty() {
        key(out, name);
        text::write(out, value, limit, Origin::Ours);
    }
}

/// A text that the client chose; an empty one is absent.
fn seen(out: &mut Vec<u8>, name: &str, value: &[u8], limit: usize) {
    if !value.is_empty() {
        key(out, name);
        text::write(out, value, limit, Origin::Client);
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    write_number(out, value);
}

/// A list; an empty one is absent, and one that is too long ends with `…`.
fn list(out: &mut Vec<u8>, name: &str, items: List<'_>, most: usize, limit: usize, origin: Origin) {
    if items.count == 0 {
        return;
    }
    key(out, name);
    out.push(b'[');
    for (index, item) in items.iter().take(most).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text::write(out, item, limit, origin);
    }
    if items.count > most {
        out.extend_from_slice(b",\"\xe2\x80\xa6\"");
    }
    out.push(b']');
}

/// The line that `event` becomes on its way through the journal, for fuzzing and benches.
///
/// The client is written in full.
#[must_use]
pub fn line_of(event: &Event<'_>, edge: &str, id: EventId, seq: u64, now: Timestamp) -> Vec<u8> {
    let mut draft = Draft::default();
    draft.facts(event, &Privacy::Full, now);
    let mut out = Vec::new();
    if let Some(entry) = super::journal::decode(draft.stamp(id, now)) {
        line(&mut out, edge, seq, &entry, &mut Repeated::default());
    }
    out
}

/// The line that the bytes of a journal record become, for fuzzing; `None` when they are no record.
///
/// The checksum is taken to fit: what only damage can bring about must be read without a panic, too.
#[must_use]
pub fn line_of_journaled(record: &[u8], edge: &str, seq: u64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    line(&mut out, edge, seq, &super::journal::parse(record)?, &mut Repeated::default());
    Some(out)
}

#[cfg(test)]
mod tests;
