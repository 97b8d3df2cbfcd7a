//! One event becomes one line of JSON.
//!
//! A line is made in two steps. [`body`] writes all that depends on the event alone, behind [`ROOM`] free bytes and
//! outside the journal's lock; [`finish`] then puts `id`, `seq` and `time` right in front of it, under the lock.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    event::{Enforcement, Event, RequestFacts},
    id::EventId,
    privacy::{ClientText, Privacy},
    text::{self, Origin, write_number, write_ours},
};

/// Bytes kept free in front of a body for `{"id":…,"seq":…,"time":…,`: 109 are the most it takes.
pub(super) const ROOM: usize = 128;
/// No line is longer, whatever the event holds; a property test holds it.
pub(super) const MAX_LINE: usize = 128 * 1024;

const MAX_PATH: usize = 2048;
const MAX_USER_AGENT: usize = 256;
const MAX_NAME: usize = 320;
const MAX_NAMES: usize = 8;
const MAX_METHOD: usize = 32;
const MAX_WORD: usize = 64;
const MAX_LABEL: usize = 256;
const MAX_ALSO: usize = 32;
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

/// Writes everything of the line that follows `time`, its end included. The client is written as it may be at `now`.
pub(super) fn body(out: &mut Vec<u8>, edge: &str, event: &Event<'_>, privacy: &Privacy, now: Timestamp) {
    out.clear();
    out.extend_from_slice(&[b' '; ROOM]);
    out.extend_from_slice(b"\"edge\":");
    write_ours(out, edge, MAX_LABEL);
    field(out, "kind", event.kind.as_str(), MAX_WORD);
    if let Some(enforcement) = &event.enforcement {
        field(out, "case", enforcement.case, MAX_WORD);
        field(out, "customer", enforcement.customer, MAX_LABEL);
        field(out, "basis", enforcement.basis, MAX_WORD);
        field(out, "action", enforcement.action, MAX_WORD);
        if let Some(status) = enforcement.status {
            number(out, "status", status.into());
        }
    }
    let client = event.request.as_ref().map(|request| privacy.text(request.client, now));
    subject(out, event.request.as_ref(), event.enforcement.as_ref());
    if let (Some(request), Some(client)) = (&event.request, client) {
        asked(out, request, client);
    }
    if event.revision != 0 {
        number(out, "revision", event.revision);
    }
    if let Some(enforcement) = &event.enforcement {
        list(out, "also", enforcement.also, MAX_ALSO, |out, id| write_ours(out, id, MAX_WORD));
    }
    if let Some(upstream) = event.request.as_ref().and_then(|request| request.upstream) {
        shown(out, "upstream", &upstream);
    }
    if let Some(fields) = event.detail {
        detail(out, fields);
    }
    out.extend_from_slice(b"}\n");
}

/// Puts `id`, `seq` and `time` in front of a body and returns the whole line.
pub(super) fn finish<'b>(body: &'b mut [u8], id: EventId, seq: u64, time: &str) -> &'b [u8] {
    let mut head = [0u8; ROOM];
    let mut cursor = std::io::Cursor::new(head.as_mut_slice());
    let mut text = [0; 36];
    use std::io::Write;
    // 109 bytes fit into the room, so that writing cannot fail.
    write!(cursor, "{{\"id\":\"{}\",\"seq\":{seq},\"time\":\"{time}\",", id.encode(&mut text)).ok();
    let used = usize::try_from(cursor.position()).unwrap_or(ROOM);
    let start = ROOM.saturating_sub(used);
    if let (Some(room), Some(head)) = (body.get_mut(start..ROOM), head.get(..used)) {
        room.copy_from_slice(head);
    }
    body.get(start..).unwrap_or_default()
}

/// Host, names and what matched them.
fn subject(out: &mut Vec<u8>, request: Option<&RequestFacts<'_>>, enforcement: Option<&Enforcement<'_>>) {
    if let Some(request) = request {
        field(out, "host", request.host, MAX_LABEL);
        list(out, "names", request.names, MAX_NAMES, |out, name| {
            text::write(out, without_userinfo(name), MAX_NAME, Origin::Client);
        });
    }
    if let Some(enforcement) = enforcement {
        field(out, "matched", enforcement.matched, MAX_NAME);
    }
}

/// What the client asked for, and over what.
fn asked(out: &mut Vec<u8>, request: &RequestFacts<'_>, client: ClientText) {
    seen(out, "method", request.method.as_bytes(), MAX_METHOD);
    seen(out, "path", path_only(request.path), MAX_PATH);
    shown(out, "client", &client);
    field(out, "listener", request.listener, MAX_LABEL);
    field(out, "protocol", request.protocol, MAX_WORD);
    field(out, "tls", request.tls.unwrap_or_default(), MAX_WORD);
    seen(out, "user_agent", request.user_agent.unwrap_or_default(), MAX_USER_AGENT);
}

/// The path of a target: no query, no fragment, no authority (which may hold credentials).
fn path_only(target: &[u8]) -> &[u8] {
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
fn without_userinfo(name: &[u8]) -> &[u8] {
    let start = name.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    name.get(start..).unwrap_or_default()
}

/// Kind-specific fields, flat, within [`MAX_DETAIL`]: a list is cut where the budget ends, and `truncated` says so.
/// Plain values come first, so that a long list takes no space from a count.
fn detail(out: &mut Vec<u8>, fields: &Map<String, Value>) {
    let limit = out.len() + MAX_DETAIL;
    let mut truncated = false;
    let is_plain = |value: &Value| !value.is_array() && !value.is_object();
    let plain = fields.iter().filter(|(_, value)| is_plain(value));
    for (name, value) in plain.chain(fields.iter().filter(|(_, value)| !is_plain(value))) {
        let before = out.len();
        out.extend_from_slice(b",");
        let name = if TAKEN.contains(&name.as_str()) { &format!("_{name}") } else { name };
        write_ours(out, name, MAX_WORD);
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
                if out.len() + MAX_WORD > limit {
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
                write_ours(out, name, MAX_WORD);
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
fn field(out: &mut Vec<u8>, name: &str, value: &str, limit: usize) {
    if !value.is_empty() {
        key(out, name);
        write_ours(out, value, limit);
    }
}

/// A text that the client chose; an empty one is absent.
fn seen(out: &mut Vec<u8>, name: &str, value: &[u8], limit: usize) {
    if !value.is_empty() {
        key(out, name);
        text::write(out, value, limit, Origin::Client);
    }
}

/// A value whose text needs no escaping: an address.
fn shown(out: &mut Vec<u8>, name: &str, value: &dyn std::fmt::Display) {
    use std::io::Write;
    key(out, name);
    write!(out, "\"{value}\"").ok();
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    write_number(out, value);
}

/// A list; an empty one is absent, and one that is too long ends with `…`.
fn list<T: Copy>(out: &mut Vec<u8>, name: &str, items: &[T], most: usize, write: impl Fn(&mut Vec<u8>, T)) {
    if items.is_empty() {
        return;
    }
    key(out, name);
    out.push(b'[');
    for (index, item) in items.iter().take(most).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, *item);
    }
    if items.len() > most {
        out.extend_from_slice(b",\"\xe2\x80\xa6\"");
    }
    out.push(b']');
}

/// Times as records show them: RFC 3339 in UTC with six fractional digits. The text of the second is kept, since
/// thousands of records share it.
#[derive(Default)]
pub(super) struct Times {
    second: Option<i64>,
    text: String,
}

impl Times {
    /// `now` as text; moments before 1970 are shown as its start.
    pub(super) fn text(&mut self, now: Timestamp) -> &str {
        use std::fmt::Write;
        let now = now.max(Timestamp::UNIX_EPOCH);
        if self.second != Some(now.as_second()) {
            self.second = Some(now.as_second());
            self.text.clear();
            write!(self.text, "{:.0}", now).ok();
            self.text.pop();
        }
        self.text.truncate(19);
        write!(self.text, ".{:06}Z", now.subsec_microsecond()).ok();
        &self.text
    }
}

/// The line that `event` becomes, for fuzzing and benches; the journal does the same in two steps.
///
/// The client is written in full.
#[must_use]
pub fn line_of(event: &Event<'_>, edge: &str, id: EventId, seq: u64, now: Timestamp) -> Vec<u8> {
    let mut buffer = Vec::new();
    body(&mut buffer, edge, event, &Privacy::Full, now);
    finish(&mut buffer, id, seq, Times::default().text(now)).to_vec()
}

#[cfg(test)]
mod tests;
