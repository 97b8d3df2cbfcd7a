//! What happens around enforcement: policies, cases, holds, the edge and the log itself.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fields::{Fields, object};
use super::{Class, Event, OTHER, Severity, Status};
use crate::audit::Kind;

const EVENT_LOG_ACTIVITY: Class =
    Class { uid: 1008, name: "Event Log Activity", category: "System Activity" };
const ENTITY_MANAGEMENT: Class =
    Class { uid: 3004, name: "Entity Management", category: "Identity & Access Management" };
const APPLICATION_LIFECYCLE: Class =
    Class { uid: 6002, name: "Application Lifecycle", category: "Application Activity" };

/// An ordinary event of a class: it succeeded, and nobody has to do anything.
fn plain(
    class: Class,
    (activity, name): (u32, &str),
    message: &'static str,
    attributes: Map<String, Value>,
) -> Event {
    Event {
        class,
        activity,
        activity_name: name.to_owned(),
        severity: Severity::Informational,
        status: Status::Success,
        message,
        profiles: &[],
        attributes,
    }
}

/// `policy.applied`: the policy set, as one entity, was updated to this revision.
pub(super) fn applied(fields: &mut Fields) -> Event {
    let mut policy = object(json!({ "name": "policies", "is_applied": true }));
    fields.move_text("digest", &mut policy, "uid");
    if let Some(revision) = fields.take_number("revision") {
        policy.insert("version".into(), revision.to_string().into());
    }
    plain(ENTITY_MANAGEMENT, (3, "Update"), "a policy set came into force", policy_entity(policy))
}

/// `policy.rejected`: an update that failed. The record's revision is that of the set still in force, not of the one
/// refused, and so is left over.
pub(super) fn rejected(fields: &mut Fields) -> Event {
    let policy = object(json!({ "name": "policies", "is_applied": false }));
    let mut attributes = policy_entity(policy);
    if let Some(count) = fields.take_number("error_count") {
        attributes.insert("status_detail".into(), format!("{count} errors").into());
    }
    let message = "a policy set had errors and was refused whole";
    let event = plain(ENTITY_MANAGEMENT, (3, "Update"), message, attributes);
    Event { severity: Severity::Medium, status: Status::Failure, ..event }
}

/// `case.effective` and `case.expired`: a transient change of state, which is how the schema tells Activate from
/// Enable.
pub(super) fn case(fields: &mut Fields, effective: bool) -> Event {
    let attributes = case_entity(fields, effective);
    if effective {
        plain(ENTITY_MANAGEMENT, (10, "Activate"), "a scheduled case started", attributes)
    } else {
        plain(ENTITY_MANAGEMENT, (11, "Deactivate"), "a case ended by itself", attributes)
    }
}

/// `exemption.expired` and `review.overdue`: the case goes on, and something about it is another thing now.
pub(super) fn turn(kind: Kind, fields: &mut Fields) -> Event {
    let message = match kind {
        Kind::ExemptionExpired => "an exemption from a case ended by itself",
        _ => "the review of a case is overdue",
    };
    plain(ENTITY_MANAGEMENT, (3, "Update"), message, case_entity(fields, true))
}

fn case_entity(fields: &mut Fields, applied: bool) -> Map<String, Value> {
    let mut policy = object(json!({ "type": "case", "is_applied": applied }));
    policy.insert("uid".into(), fields.take_text("case").unwrap_or_default().into());
    fields.move_text("basis", &mut policy, "desc");
    policy_entity(policy)
}

/// An entity of type Policy, whose name, uid and version are those of its policy, as the schema asks.
fn policy_entity(policy: Map<String, Value>) -> Map<String, Value> {
    let mut entity = object(json!({ "type_id": 5, "type": "Policy" }));
    for name in ["name", "uid", "version"] {
        if let Some(value) = policy.get(name) {
            entity.insert(name.into(), value.clone());
        }
    }
    entity.insert("policy".into(), policy.into());
    object(json!({ "entity": entity }))
}

/// `hold.placed` and `hold.released`: an entity of a type the schema does not have is created or deleted.
pub(super) fn hold(fields: &mut Fields, placed: bool) -> Event {
    let name = fields.inner_text("hold", "name").unwrap_or("hold").to_owned();
    let comment = fields.inner_text("hold", "reason").map(str::to_owned);
    let mut attributes = object(json!({
        "entity": { "type_id": OTHER, "type": "Hold", "name": name },
    }));
    // A release has a reason of its own beside the hold that it ends.
    if let Some(comment) = fields.take_text("reason").or(comment) {
        attributes.insert("comment".into(), comment.into());
    }
    if placed {
        plain(ENTITY_MANAGEMENT, (1, "Create"), "records were put on hold", attributes)
    } else {
        plain(ENTITY_MANAGEMENT, (4, "Delete"), "a hold was released", attributes)
    }
}

/// `edge.started`.
pub(super) fn started(fields: &mut Fields) -> Event {
    let mut app = product();
    fields.move_text("version", &mut app, "version");
    plain(APPLICATION_LIFECYCLE, (3, "Start"), "the edge started", object(json!({ "app": app })))
}

/// `edge.stopped`.
pub(super) fn stopped() -> Event {
    let app = object(json!({ "app": product() }));
    plain(APPLICATION_LIFECYCLE, (4, "Stop"), "the edge stopped in order", app)
}

fn product() -> Map<String, Value> {
    object(json!({ "name": "interdict", "vendor_name": "interdict" }))
}

/// `audit.gap`: the schema has no activity for events that could not be logged. The counts are evidence lost, which is
/// the most severe thing this log can say.
pub(super) fn gap(fields: &mut Fields) -> Event {
    let mut attributes = log();
    if let Some(missed) = fields.take_number("missed") {
        attributes.insert("count".into(), missed.into());
    }
    for (name, attribute) in [("first", "start_time"), ("last", "end_time")] {
        let time = fields.text(name).and_then(|text| text.parse::<Timestamp>().ok());
        if let Some(time) = time {
            // The text stays for its microseconds.
            attributes.insert(attribute.into(), time.as_millisecond().into());
        }
    }
    let event =
        plain(EVENT_LOG_ACTIVITY, (OTHER, "Gap"), "events could not be written and were counted", attributes);
    Event { severity: Severity::High, status: Status::Failure, ..event }
}

/// `audit.pruned`.
pub(super) fn pruned() -> Event {
    plain(EVENT_LOG_ACTIVITY, (2, "Delete"), "old segments were removed by retention", log())
}

/// The log as the schema names one.
fn log() -> Map<String, Value> {
    object(json!({
        "log_name": "audit",
        "log_provider": "interdict",
        "log_type_id": 2,
        "log_type": "Application",
    }))
}
