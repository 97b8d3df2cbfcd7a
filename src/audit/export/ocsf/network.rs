//! Enforcement: what a client asked for, and what the edge did about it.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value, json};

use super::super::super::event::Kind;
use super::fields::{Fields, object};
use super::{Class, Event, ExportOptions, OTHER, SECURITY_CONTROL, Severity, Status};

const NETWORK_ACTIVITY: Class = Class { uid: 4001, name: "Network Activity", category: "Network Activity" };
const HTTP_ACTIVITY: Class = Class { uid: 4002, name: "HTTP Activity", category: "Network Activity" };

/// The methods the schema knows: as sent, their activity, its name.
const METHODS: &[(&str, u32, &str)] = &[
    ("CONNECT", 1, "Connect"),
    ("DELETE", 2, "Delete"),
    ("GET", 3, "Get"),
    ("HEAD", 4, "Head"),
    ("OPTIONS", 5, "Options"),
    ("POST", 6, "Post"),
    ("PUT", 7, "Put"),
    ("TRACE", 8, "Trace"),
    ("PATCH", 9, "Patch"),
];

/// What the edge did, in the words of the security control profile.
struct Outcome {
    action: (u32, &'static str),
    disposition: (u32, &'static str),
    /// Whether the case was applied to the request.
    applied: bool,
    status: Status,
    /// The activity of a connection without a request.
    connection: (u32, &'static str),
    message: &'static str,
}

const DENIED: (u32, &str) = (2, "Denied");
const BLOCKED: (u32, &str) = (2, "Blocked");
const REFUSE: (u32, &str) = (5, "Refuse");
const TRAFFIC: (u32, &str) = (6, "Traffic");

/// A client that was stopped did not succeed; of one that was let through the record does not know it.
fn outcome(kind: Kind) -> Outcome {
    let stopped = Outcome {
        action: DENIED,
        disposition: BLOCKED,
        applied: true,
        status: Status::Failure,
        connection: REFUSE,
        message: "the request was blocked",
    };
    let passed = Outcome { applied: false, status: Status::Unknown, connection: TRAFFIC, ..stopped };
    match kind {
        Kind::RequestShadowed => Outcome {
            action: (3, "Observed"),
            disposition: (17, "Logged"),
            message: "a case in shadow mode matched; the request went through",
            ..passed
        },
        Kind::RequestExempted => Outcome {
            action: (1, "Allowed"),
            disposition: (1, "Allowed"),
            message: "a case matched and its exemption let the client through",
            ..passed
        },
        Kind::ConnectionCut => Outcome {
            disposition: (6, "Dropped"),
            connection: (3, "Reset"),
            message: "a live connection was ended because its host became blocked",
            ..stopped
        },
        Kind::HandshakeRefused => {
            Outcome { message: "the TLS handshake was refused for its server name", ..stopped }
        }
        Kind::UpstreamRefused => {
            Outcome { message: "a connection into a blocked origin network was not opened", ..stopped }
        }
        _ => stopped,
    }
}

/// The event of an enforcement record.
pub(super) fn event(kind: Kind, fields: &mut Fields, options: ExportOptions) -> Event {
    let outcome = outcome(kind);
    let is_request = fields.has("method") || fields.has("path") || fields.has("status");
    let (class, (activity, activity_name)) = match (is_request, fields.text("method")) {
        (false, _) => (NETWORK_ACTIVITY, (outcome.connection.0, outcome.connection.1.to_owned())),
        (true, method) => (HTTP_ACTIVITY, activity(method)),
    };
    let mut attributes = control(&outcome, fields);
    attributes.extend(endpoints(kind, fields, options));
    if is_request {
        attributes.insert("http_request".into(), request(fields, &attributes).into());
        if let Some(code) = fields.take_number("status") {
            attributes.insert("http_response".into(), json!({ "code": code }));
        }
    }
    if let Some(version) = fields.take_text("tls") {
        attributes.insert("tls".into(), json!({ "version": version }));
    }
    Event {
        class,
        activity,
        activity_name,
        severity: Severity::Informational,
        status: outcome.status,
        message: outcome.message,
        profiles: &[SECURITY_CONTROL],
        attributes,
    }
}

/// The activity of a method; one the schema does not know is named as it was sent.
fn activity(method: Option<&str>) -> (u32, String) {
    let Some(method) = method else { return (0, "Unknown".to_owned()) };
    let known = METHODS.iter().find(|(name, ..)| *name == method);
    known.map_or_else(|| (OTHER, method.to_owned()), |(_, activity, name)| (*activity, (*name).to_owned()))
}

/// The attributes of the security control profile. The case is the rule, the set it stands in the policy.
fn control(outcome: &Outcome, fields: &mut Fields) -> Map<String, Value> {
    let mut control = object(json!({
        "action_id": outcome.action.0,
        "action": outcome.action.1,
        "disposition_id": outcome.disposition.0,
        "disposition": outcome.disposition.1,
    }));
    if let Some(case) = fields.take_text("case") {
        let mut rule = object(json!({ "uid": case, "type": "case" }));
        fields.move_text("basis", &mut rule, "category");
        fields.move_text("matched", &mut rule, "condition");
        control.insert("firewall_rule".into(), rule.into());
    }
    if let Some(revision) = fields.take_number("revision") {
        let policy =
            json!({ "name": "policies", "version": revision.to_string(), "is_applied": outcome.applied });
        control.insert("policy".into(), policy);
    }
    control
}

/// Who connected to whom. A connection to an origin has the origin as its other end, and the listener is left over.
fn endpoints(kind: Kind, fields: &mut Fields, options: ExportOptions) -> Map<String, Value> {
    let mut endpoints = Map::new();
    if let Some(client) = fields.take_text("client") {
        endpoints.insert("src_endpoint".into(), client_endpoint(&client, options));
    }
    let upstream = kind == Kind::UpstreamRefused && fields.has("upstream");
    let mut destination = Map::new();
    fields.move_text("host", &mut destination, "hostname");
    if let Some(address) = fields.take_text(if upstream { "upstream" } else { "listener" }) {
        destination.extend(match address.parse::<SocketAddr>() {
            Ok(address) => object(json!({ "ip": address.ip().to_string(), "port": address.port() })),
            Err(_) => object(json!({ "name": address })),
        });
    }
    if !destination.is_empty() {
        endpoints.insert("dst_endpoint".into(), destination.into());
    }
    let (direction, name) = if upstream { (2, "Outbound") } else { (1, "Inbound") };
    let connection = json!({ "direction_id": direction, "direction": name, "protocol_name": "tcp" });
    endpoints.insert("connection_info".into(), connection);
    endpoints
}

/// `ip` is for what is surely the client's address: an IPv4 address, since a pseudonym is never one in practice
/// (1 in 2^96), or any when the log is known to hold addresses. A pseudonym or a network identifies an endpoint all
/// the same: `uid`.
fn client_endpoint(client: &str, options: ExportOptions) -> Value {
    match client.parse::<IpAddr>() {
        Ok(address) if address.is_ipv4() || options.full_addresses => json!({ "ip": address.to_string() }),
        _ => json!({ "uid": client }),
    }
}

/// The request. A method that the schema does not know stays out of `http_method`, whose values are a closed list.
fn request(fields: &mut Fields, endpoints: &Map<String, Value>) -> Map<String, Value> {
    let mut request = Map::new();
    let known = fields.text("method").is_some_and(|method| METHODS.iter().any(|(name, ..)| *name == method));
    if known {
        fields.move_text("method", &mut request, "http_method");
    }
    if let Some(path) = fields.take_text("path") {
        let mut url = object(json!({ "path": path }));
        if let Some(host) = endpoints.get("dst_endpoint").and_then(|endpoint| endpoint.get("hostname")) {
            url.insert("hostname".into(), host.clone());
        }
        request.insert("url".into(), url.into());
    }
    fields.move_text("user_agent", &mut request, "user_agent");
    if let Some(protocol) = fields.take_text("protocol") {
        let version = protocol.strip_prefix("HTTP/").unwrap_or(&protocol);
        request.insert("version".into(), version.into());
    }
    request
}
