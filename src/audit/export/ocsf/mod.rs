//! Records as events of the Open Cybersecurity Schema Framework, version [`VERSION`].
//!
//! | kind | class | why |
//! |---|---|---|
//! | `request.*`, `upstream.refused`, `connection.cut` | HTTP Activity 4002 | a request was judged |
//! | the same and `handshake.refused`, when there was no request | Network Activity 4001 | 4002 demands one |
//! | `policy.*`, `case.*`, `hold.*` | Entity Management 3004 | a managed entity was changed |
//! | `edge.*` | Application Lifecycle 6002 | start and stop |
//! | `audit.gap`, `audit.pruned` | Event Log Activity 1008 | about the log itself |
//! | kinds of a later version | Base Event 0 | nothing is known of them |
//!
//! A field is *taken* from the record when it has a place in the class; whatever is left goes into `unmapped`, so
//! that an event has all a record has. `metadata.uid` and `metadata.sequence` lead back to the record.

mod fields;
mod network;
mod upkeep;

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value, json};

use self::fields::Fields;
use super::super::{event::Kind, text::is_hidden};
use super::{ExportError, ExportOptions};

/// The version of the schema that events are written in: the newest published one, of March 2026.
const VERSION: &str = "1.8.0";

/// The profile that brings `action_id`, `disposition_id`, `firewall_rule` and `policy`.
const SECURITY_CONTROL: &str = "security_control";

/// An event class and its category.
#[derive(Debug, Clone, Copy)]
struct Class {
    uid: u32,
    name: &'static str,
    category: &'static str,
}

const BASE_EVENT: Class = Class { uid: 0, name: "Base Event", category: "Uncategorized" };

/// What an event says of what happened.
struct Event {
    class: Class,
    activity: u32,
    activity_name: String,
    severity: Severity,
    status: Status,
    message: &'static str,
    profiles: &'static [&'static str],
    /// The attributes of the class and its profiles.
    attributes: Map<String, Value>,
}

/// How much somebody has to do about it; the numbers are those of `severity_id`.
#[derive(Debug, Clone, Copy)]
enum Severity {
    Informational = 1,
    Medium = 3,
    High = 4,
}

/// How it ended; the numbers are those of `status_id`.
#[derive(Debug, Clone, Copy)]
enum Status {
    Unknown = 0,
    Success = 1,
    Failure = 2,
}

/// The event of one record.
pub(super) fn event(
    record: Map<String, Value>,
    options: ExportOptions,
) -> Result<Map<String, Value>, ExportError> {
    let mut fields = Fields::new(record);
    let time = fields.take_text("time").ok_or(ExportError::NoTime)?;
    let moment: Timestamp = time.parse().map_err(|_| ExportError::NoTime)?;
    let kind = fields.take_text("kind").unwrap_or_default();
    let mut metadata = metadata(&mut fields, &kind, &time);
    let event = match kind.parse() {
        Ok(kind) => of_kind(kind, &mut fields, options),
        Err(_) => unknown(&kind),
    };
    if !event.profiles.is_empty() {
        metadata.insert("profiles".into(), json!(event.profiles));
    }
    let Class { uid, name, category } = event.class;
    let mut out = event.attributes;
    let common = json!({
        "activity_id": event.activity,
        "category_uid": uid / 1000,
        "category_name": category,
        "class_uid": uid,
        "class_name": name,
        "type_uid": uid * 100 + event.activity,
        "type_name": format!("{name}: {}", event.activity_name),
        "activity_name": event.activity_name,
        "severity_id": event.severity as u32,
        "severity": format!("{:?}", event.severity),
        "status_id": event.status as u32,
        "status": format!("{:?}", event.status),
        "message": event.message,
        "time": moment.as_millisecond(),
        "metadata": metadata,
    });
    out.extend(fields::object(common));
    let rest = fields.rest();
    if !rest.is_empty() {
        out.insert("unmapped".into(), Value::Object(rest));
    }
    Ok(out)
}

fn of_kind(kind: Kind, fields: &mut Fields, options: ExportOptions) -> Event {
    match kind {
        Kind::RequestBlocked
        | Kind::RequestShadowed
        | Kind::RequestExempted
        | Kind::HandshakeRefused
        | Kind::UpstreamRefused
        | Kind::ConnectionCut => network::event(kind, fields, options),
        Kind::PolicyApplied => upkeep::applied(fields),
        Kind::PolicyRejected => upkeep::rejected(fields),
        Kind::CaseEffective => upkeep::case(fields, true),
        Kind::CaseExpired => upkeep::case(fields, false),
        Kind::ExemptionExpired | Kind::ReviewOverdue => upkeep::turn(kind, fields),
        Kind::HoldPlaced => upkeep::hold(fields, true),
        Kind::HoldReleased => upkeep::hold(fields, false),
        Kind::EdgeStarted => upkeep::started(fields),
        Kind::EdgeStopped => upkeep::stopped(),
        Kind::AuditGap => upkeep::gap(fields),
        Kind::AuditPruned => upkeep::pruned(),
    }
}

/// A kind that a later version of the edge wrote.
fn unknown(kind: &str) -> Event {
    Event {
        class: BASE_EVENT,
        activity: OTHER,
        activity_name: kind.to_owned(),
        severity: Severity::Informational,
        status: Status::Unknown,
        message: "a record of a kind this version does not know",
        profiles: &[],
        attributes: Map::new(),
    }
}

/// The activity of which only the name tells.
const OTHER: u32 = 99;

/// Where the event comes from. No `product.version`: a record does not say which version wrote it.
fn metadata(fields: &mut Fields, kind: &str, time: &str) -> Map<String, Value> {
    let mut metadata = fields::object(json!({
        "version": VERSION,
        "product": {"name": "interdict", "vendor_name": "interdict"},
        "log_name": "audit",
        "log_provider": "interdict",
        "log_format": "JSON Lines",
        "event_code": kind,
        "original_time": time,
    }));
    fields.move_text("id", &mut metadata, "uid");
    fields.move_text("customer", &mut metadata, "tenant_uid");
    if let Some(seq) = fields.take_number("seq") {
        metadata.insert("sequence".into(), seq.into());
    }
    if let Some(edge) = fields.take_text("edge") {
        metadata.insert("reporter".into(), json!({ "name": edge }));
    }
    metadata
}

/// Writes the event as one line in which nothing is invisible.
pub(super) fn write(out: &mut impl Write, event: &Map<String, Value>) -> io::Result<()> {
    let mut line = Vec::with_capacity(2048);
    event.serialize(&mut Serializer::with_formatter(&mut line, Visible))?;
    line.push(b'\n');
    out.write_all(&line)
}

/// JSON in which characters that are invisible, or end a line for some readers, are written as `\uXXXX`.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, hidden) in fragment.char_indices().filter(|(_, character)| is_hidden(*character)) {
            out.write_all(fragment.get(plain..at).unwrap_or_default().as_bytes())?;
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            plain = at + hidden.len_utf8();
        }
        out.write_all(fragment.get(plain..).unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
mod checker;
#[cfg(test)]
mod tests;
