//! Every kind of record is an event that the published schema allows, and the check of that can fail.

use std::net::{IpAddr, Ipv6Addr};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{ExportOptions, Exporter, Format};
use super::{VERSION, checker};
use crate::audit::{Enforcement, Event, Kind, RequestFacts, line_of};

fn exported(line: &[u8], options: ExportOptions) -> Value {
    let mut out = Vec::new();
    let mut exporter = Exporter::new(Format::Ocsf, &mut out, options).unwrap();
    exporter.record(line).unwrap();
    exporter.finish().unwrap();
    let (end, rest) = out.split_last().unwrap();
    assert_eq!(*end, b'\n');
    assert!(!rest.contains(&b'\n'));
    serde_json::from_slice(rest).unwrap()
}

fn line(event: &Event<'_>) -> Vec<u8> {
    let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
    line_of(event, "ams-1", id, 42, "2026-11-20T22:30:00.000042Z".parse().unwrap())
}

const ENFORCEMENT: Enforcement<'_> = Enforcement {
    case: "TS-1",
    customer: "cust-20931",
    basis: "imminent-threat",
    action: "page",
    status: Some(403),
    matched: ".forum.example",
    also: &["TS-9"],
};

fn request() -> RequestFacts<'static> {
    RequestFacts {
        host: "forum.example",
        names: &[b"FORUM.example."],
        method: "GET",
        path: b"/a",
        client: IpAddr::from([192, 0, 2, 1]),
        listener: "127.0.0.1:8080",
        protocol: "HTTP/1.1",
        tls: Some("TLSv1.3"),
        user_agent: Some(b"curl/8.5.0"),
        upstream: None,
    }
}

/// What the edge records with each kind, as far as kinds have fields of their own.
fn detail(kind: Kind) -> Map<String, Value> {
    let detail = match kind {
        Kind::PolicyApplied => json!({"result": "reload", "digest": "ab12", "cases": 3, "hosts": 9}),
        Kind::PolicyRejected => json!({"error_count": 2, "errors": ["a", "b"]}),
        Kind::CaseEffective | Kind::CaseExpired | Kind::ExemptionExpired | Kind::ReviewOverdue => {
            json!({"at": "2026-11-20T22:30:00Z"})
        }
        Kind::EdgeStarted => json!({"version": "0.1.0", "recovered": {"torn_bytes": 3}}),
        Kind::AuditGap => json!({
            "missed": 3, "counts": [{"case": "TS-1", "kind": "request.blocked", "count": 3}],
            "first": "2026-11-20T22:30:00.000042Z", "last": "2026-11-20T22:30:01.5Z",
        }),
        Kind::HoldPlaced => json!({"hold": {"name": "court-7", "reason": "order 7/26"}}),
        Kind::HoldReleased => json!({"hold": {"name": "court-7", "reason": "order 7/26"}, "reason": "done"}),
        Kind::AuditPruned => json!({"segments": [1, 48213], "records": 119_000}),
        _ => json!({}),
    };
    super::fields::object(detail)
}

fn record(kind: Kind) -> Vec<u8> {
    let request_of = |kind: Kind| match kind {
        Kind::HandshakeRefused => RequestFacts {
            method: "",
            path: b"",
            protocol: "",
            tls: None,
            user_agent: None,
            names: &[b"forum.example"],
            ..request()
        },
        Kind::UpstreamRefused => {
            RequestFacts { upstream: Some("198.51.100.7:443".parse().unwrap()), ..request() }
        }
        _ => request(),
    };
    let enforces = kind.required().contains(&"matched");
    let status = ENFORCEMENT.status.filter(|_| kind == Kind::RequestBlocked);
    let case = matches!(
        kind,
        Kind::CaseEffective | Kind::CaseExpired | Kind::ExemptionExpired | Kind::ReviewOverdue
    );
    let (matched, also): (_, &[&str]) = if case { ("", &[]) } else { (ENFORCEMENT.matched, &["TS-9"]) };
    line(&Event {
        kind,
        revision: 7,
        enforcement: (enforces || case).then_some(Enforcement { status, matched, also, ..ENFORCEMENT }),
        request: enforces.then(|| request_of(kind)),
        detail: Some(&detail(kind)),
    })
}

#[test]
fn every_kind_is_an_event_of_the_published_schema() {
    assert_eq!(VERSION, checker::version());
    for kind in Kind::ALL {
        let event = exported(&record(*kind), ExportOptions::default());
        assert_eq!(checker::findings(&event), Vec::<String>::new(), "{kind}: {event:#}");
        assert_eq!(event["metadata"]["uid"], "01930000-0000-7000-8000-000000000000");
        assert_eq!(event["metadata"]["sequence"], 42);
        assert_eq!(event["metadata"]["event_code"], kind.as_str());
        assert_eq!(event["time"], 1_795_213_800_000_i64);
    }
}

#[test]
fn kinds_have_the_class_and_activity_they_are_documented_with() {
    let classes = |kind: Kind| match kind {
        Kind::RequestBlocked | Kind::RequestShadowed | Kind::RequestExempted => 400_203,
        Kind::UpstreamRefused | Kind::ConnectionCut => 400_203,
        Kind::HandshakeRefused => 400_105,
        Kind::PolicyApplied | Kind::PolicyRejected => 300_403,
        Kind::ExemptionExpired | Kind::ReviewOverdue => 300_403,
        Kind::CaseEffective => 300_410,
        Kind::CaseExpired => 300_411,
        Kind::HoldPlaced => 300_401,
        Kind::HoldReleased => 300_404,
        Kind::EdgeStarted => 600_203,
        Kind::EdgeStopped => 600_204,
        Kind::AuditGap => 100_899,
        Kind::AuditPruned => 100_802,
    };
    for kind in Kind::ALL {
        let event = exported(&record(*kind), ExportOptions::default());
        assert_eq!(event["type_uid"], classes(*kind), "{kind}");
    }
}

#[test]
fn a_blocked_request_says_all_its_record_says() {
    let event = exported(&record(Kind::RequestBlocked), ExportOptions::default());
    let expected = json!({
        "action_id": 2, "action": "Denied", "disposition_id": 2, "disposition": "Blocked",
        "activity_id": 3, "activity_name": "Get", "category_uid": 4, "category_name": "Network Activity",
        "class_uid": 4002, "class_name": "HTTP Activity", "type_uid": 400_203, "type_name": "HTTP Activity: Get",
        "severity_id": 1, "severity": "Informational", "status_id": 2, "status": "Failure",
        "message": "the request was blocked", "time": 1_795_213_800_000_i64,
        "metadata": {
            "version": "1.8.0", "product": {"name": "interdict", "vendor_name": "interdict"},
            "profiles": ["security_control"], "log_name": "audit", "log_provider": "interdict",
            "log_format": "JSON Lines", "event_code": "request.blocked",
            "original_time": "2026-11-20T22:30:00.000042Z", "uid": "01930000-0000-7000-8000-000000000000",
            "sequence": 42, "tenant_uid": "cust-20931", "reporter": {"name": "ams-1"},
        },
        "firewall_rule": {
            "uid": "TS-1", "type": "case", "category": "imminent-threat", "condition": ".forum.example",
        },
        "policy": {"name": "policies", "version": "7", "is_applied": true},
        "src_endpoint": {"ip": "192.0.2.1"},
        "dst_endpoint": {"hostname": "forum.example", "ip": "127.0.0.1", "port": 8080},
        "connection_info": {"direction_id": 1, "direction": "Inbound", "protocol_name": "tcp"},
        "http_request": {
            "http_method": "GET", "url": {"path": "/a", "hostname": "forum.example"},
            "user_agent": "curl/8.5.0", "version": "1.1",
        },
        "http_response": {"code": 403},
        "tls": {"version": "TLSv1.3"},
        "unmapped": {"action": "page", "names": ["FORUM.example."], "also": ["TS-9"]},
    });
    assert_eq!(event, expected, "{event:#}");
}

#[test]
fn what_the_schema_has_no_place_for_is_kept_unmapped() {
    let gap = exported(&record(Kind::AuditGap), ExportOptions::default());
    assert_eq!(gap["unmapped"]["counts"][0]["count"], 3);
    assert_eq!((&gap["count"], &gap["severity"]), (&json!(3), &json!("High")));
    for (kind, comment) in [(Kind::HoldPlaced, "order 7/26"), (Kind::HoldReleased, "done")] {
        let hold = exported(&record(kind), ExportOptions::default());
        assert_eq!((&hold["entity"]["name"], &hold["comment"]), (&json!("court-7"), &json!(comment)));
    }
    let method = RequestFacts { method: "PROPFIND", ..request() };
    let event = line(&Event {
        kind: Kind::RequestShadowed,
        revision: 7,
        enforcement: Some(ENFORCEMENT),
        request: Some(method),
        detail: None,
    });
    let event = exported(&event, ExportOptions::default());
    assert_eq!((&event["activity_id"], &event["activity_name"]), (&json!(99), &json!("PROPFIND")));
    assert_eq!(event["unmapped"]["method"], "PROPFIND");
    assert_eq!(checker::findings(&event), Vec::<String>::new());
    let later = br#"{"id":"x","seq":1,"time":"2026-11-20T22:30:00Z","kind":"quota.reached","limit":5}"#;
    let later = exported(later, ExportOptions::default());
    assert_eq!((&later["class_uid"], &later["unmapped"]), (&json!(0), &json!({"limit": 5})));
    assert_eq!(checker::findings(&later), Vec::<String>::new());
}

#[test]
fn a_pseudonym_is_never_given_out_as_an_address() {
    let full = ExportOptions { full_addresses: true };
    for (client, options, expected) in [
        ("192.0.2.1", ExportOptions::default(), json!({"ip": "192.0.2.1"})),
        ("2001:db8::1", ExportOptions::default(), json!({"uid": "2001:db8::1"})),
        ("2001:db8::1", full, json!({"ip": "2001:db8::1"})),
        ("192.0.2.0/24", full, json!({"uid": "192.0.2.0/24"})),
    ] {
        let text = String::from_utf8(record(Kind::RequestBlocked)).unwrap();
        let event = exported(text.replace("192.0.2.1", client).as_bytes(), options);
        assert_eq!(event["src_endpoint"], expected);
        assert_eq!(checker::findings(&event), Vec::<String>::new());
    }
}

#[test]
fn what_has_no_time_is_no_record() {
    let mut exporter = Exporter::new(Format::Ocsf, Vec::new(), ExportOptions::default()).unwrap();
    for line in [&b"{}"[..], br#"{"time":"yesterday"}"#, br#"{"time":7}"#, b"[]", b""] {
        assert!(exporter.record(line).is_err());
    }
}

#[test]
fn the_checker_sees_what_is_wrong() {
    type Break = fn(&mut Value);
    let breaks: &[(&str, Break)] = &[
        (".client: unknown attribute", |event| event["client"] = json!("x")),
        (".time: required and missing", |event| drop(event.as_object_mut().unwrap().remove("time"))),
        (".time: \"now\" is no timestamp_t", |event| event["time"] = json!("now")),
        (".severity_id: 7 is not in the enum", |event| event["severity_id"] = json!(7)),
        (".severity: \"Low\" is not the caption", |event| event["severity"] = json!("Low")),
        ("type_uid is not", |event| event["activity_id"] = json!(2)),
        (".http_request.http_method: BREW is not", |event| {
            event["http_request"]["http_method"] = json!("BREW")
        }),
        (".http_response.code: required", |event| event["http_response"] = json!({})),
        (".src_endpoint.ip: \"a/24\" is no ip_t", |event| event["src_endpoint"]["ip"] = json!("a/24")),
        (".src_endpoint: at least one", |event| event["src_endpoint"] = json!({"port": 1})),
        (".dst_endpoint.port: 65536 is out", |event| event["dst_endpoint"]["port"] = json!(65536)),
        (".http_request.url: at least one", |event| event["http_request"]["url"] = json!({"hostname": "a"})),
        (".http_status: unknown attribute", |event| event["http_status"] = json!(403)),
        (".metadata.profiles: not a list", |event| event["metadata"]["profiles"] = json!("security_control")),
        (".action_id: unknown attribute", |event| event["metadata"]["profiles"] = json!([])),
        ("`osnit` is none", |event| event["metadata"]["profiles"] = json!(["security_control", "osnit"])),
        (".file: objects of type `file`", |event| event["file"] = json!({"name": "a"})),
        (".unmapped: not an object", |event| event["unmapped"] = json!([])),
        (".tls: not an object", |event| event["tls"] = json!("TLSv1.3")),
        ("metadata.version", |event| event["metadata"]["version"] = json!("1.0.0")),
        ("class_uid 4003 is not compiled", |event| event["class_uid"] = json!(4003)),
    ];
    for (expected, break_it) in breaks {
        let mut event = exported(&record(Kind::RequestBlocked), ExportOptions::default());
        break_it(&mut event);
        let findings = checker::findings(&event);
        assert!(findings.iter().any(|found| found.contains(expected)), "{expected}: {findings:?}");
    }
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_an_event_of_the_schema(
        kind in proptest::sample::select(Kind::ALL),
        texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 3),
        words in proptest::collection::vec(".{0,20}", 6),
        client: u128,
        status: Option<u16>,
        full_addresses: bool,
    ) {
        let event = Event {
            kind,
            revision: 7,
            enforcement: Some(Enforcement { case: "TS-1", status, matched: &words[0], also: &[&words[1]], ..ENFORCEMENT }),
            request: Some(RequestFacts {
                host: &words[2], names: &[&texts[0]], method: &words[3], path: &texts[1],
                client: Ipv6Addr::from(client).into(), listener: &words[4], protocol: &words[5], tls: Some(&words[0]),
                user_agent: Some(&texts[2]), upstream: None,
            }),
            detail: Some(&detail(kind)),
        };
        let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
        let event = exported(&line_of(&event, "e", id, 1, Timestamp::UNIX_EPOCH), ExportOptions { full_addresses });
        prop_assert_eq!(checker::findings(&event), Vec::<String>::new());
    }
}
