//! What a line looks like, and that nothing makes it two.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    super::{
        Enforcement, Event, Kind, RequestFacts,
        journal::{self, Draft},
        privacy::Privacy,
        repeated::Repeated,
        testing::blocked,
    },
    MAX_LINE, line_of,
};

#[test]
fn a_record_has_its_fields_in_the_documented_order() {
    let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
    let now: Timestamp = "2026-11-20T22:30:00.0000425Z".parse().unwrap();
    let line = blocked("TS-1", b"/a?token=secret#x", |event| line_of(event, "ams-1", id, 42, now));
    assert_eq!(
        String::from_utf8(line).unwrap(),
        concat!(
            r#"{"id":"01930000-0000-7000-8000-000000000000","seq":42,"time":"2026-11-20T22:30:00.000042Z","#,
            r#""edge":"ams-1","kind":"request.blocked","case":"TS-1","customer":"cust-20931","#,
            r#""basis":"imminent-threat","action":"page","status":403,"host":"forum.example","#,
            r#""names":["FORUM.example."],"matched":".forum.example","method":"GET","path":"/a","#,
            r#""client":"192.0.2.1","listener":"127.0.0.1:8080","protocol":"HTTP/1.1","#,
            r#""user_agent":"curl/8.5.0","revision":7,"also":["TS-9"]}"#,
            "\n"
        )
    );
}

/// What the record before was about is not written anew. That must not show.
#[test]
fn a_line_does_not_depend_on_the_line_before() {
    fn with(event: &Event<'_>, change: impl FnOnce(&mut Enforcement<'_>, &mut RequestFacts<'_>)) -> Vec<u8> {
        let (mut decision, mut asked) = (event.enforcement.unwrap(), event.request.unwrap());
        change(&mut decision, &mut asked);
        let mut draft = Draft::default();
        let event = Event { enforcement: Some(decision), request: Some(asked), ..*event };
        draft.facts(&event, &Privacy::Full, Timestamp::UNIX_EPOCH);
        let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
        draft.stamp(id, Timestamp::UNIX_EPOCH).to_vec()
    }
    let journaled = blocked("TS-1", b"/", |event| {
        [
            with(event, |_, _| ()),
            with(event, |decision, _| decision.case = "TS-2"),
            // The same octets, cut elsewhere.
            with(event, |decision, _| (decision.case, decision.customer) = ("T", "S-1cust-20931")),
            with(event, |decision, _| decision.status = None),
            with(event, |decision, _| decision.status = Some(0)),
            with(event, |decision, _| decision.status = Some(451)),
            with(event, |decision, _| decision.matched = "forum.example"),
            with(event, |_, asked| asked.host = "other.example"),
            with(event, |_, asked| asked.names = &[]),
            with(event, |_, asked| (asked.host, asked.names) = ("", &[])),
            with(event, |_, asked| asked.names = &[b"FORUM.example.", b"other.example"]),
            with(event, |_, asked| asked.path = b"/other"),
        ]
    });
    let line = |record: &[u8], repeated: &mut Repeated| {
        let mut out = Vec::new();
        super::line(&mut out, "ams-1", 1, &journal::decode(record).unwrap(), repeated);
        String::from_utf8(out).unwrap()
    };
    let mut repeated = Repeated::default();
    for first in &journaled {
        for second in &journaled {
            for record in [first, second, second] {
                assert_eq!(line(record, &mut repeated), line(record, &mut Repeated::default()));
            }
        }
    }
}

#[test]
fn queries_and_credentials_never_get_in() {
    for (target, expected) in [
        (&b"/a?b"[..], Some("/a")),
        (b"/a#b", Some("/a")),
        (b"http://user:secret@forum.example/a/b?c", Some("/a/b")),
        (b"http://user:secret@forum.example", None),
        (b"/a://b", Some("/a://b")),
        (b"*", Some("*")),
        (b"?secret", None),
    ] {
        let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
        let line = blocked("TS-1", target, |event| line_of(event, "e", id, 1, Timestamp::UNIX_EPOCH));
        let fields: Map<String, Value> = serde_json::from_slice(&line).unwrap();
        assert_eq!(fields.get("path").and_then(Value::as_str), expected);
        assert!(!String::from_utf8(line).unwrap().contains("secret"));
    }
}

#[test]
fn a_detail_is_flat_bounded_and_takes_no_key_of_ours() {
    let errors: Vec<Value> =
        (0..5000).map(|number| json!(format!("cases/{number}.toml: \u{2028} bad"))).collect();
    let detail = json!({"digest": "ab", "cases": 3, "id": "mine", "a_nested": {"a": [1, null, true]}, "zeros": 0, "errors": errors});
    let event = Event {
        kind: Kind::PolicyRejected,
        revision: 0,
        enforcement: None,
        request: None,
        detail: detail.as_object(),
    };
    let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
    let line = line_of(&event, "ams-1", id, 1, Timestamp::UNIX_EPOCH);
    let fields: Map<String, Value> = serde_json::from_slice(&line).unwrap();
    assert_eq!(fields["digest"], "ab");
    assert_eq!(fields["_id"], "mine");
    assert_eq!(fields["zeros"], 0);
    assert_eq!(fields["a_nested"], json!({"a": [1, null, true]}));
    assert_eq!(fields["truncated"], true);
    assert_eq!(fields["errors"][0], "cases/0.toml: \u{2028} bad");
    assert!(line.len() < 26 * 1024 && fields["errors"].as_array().unwrap().len() > 100);
    assert!(!fields.contains_key("revision"));
}

proptest! {
    #[test]
    fn one_event_is_one_bounded_line_whatever_is_in_it(
        texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 12),
        repeat in 1..40usize,
        words in proptest::collection::vec(any::<String>(), 6),
        upper: bool,
    ) {
        let long: Vec<Vec<u8>> = texts.iter().map(|text| if upper { vec![0x01; 64 * 1024] } else { text.repeat(repeat) }).collect();
        let names: Vec<&[u8]> = long.iter().map(Vec::as_slice).collect();
        let words: Vec<String> = words.iter().map(|word| if upper { "\u{1}".repeat(70_000) } else { word.repeat(repeat) }).collect();
        let also: Vec<&str> = words.iter().map(String::as_str).cycle().take(100).collect();
        let detail = json!({&words[0]: &words[1], "list": &words, "deep": [[[[[[[[[[1]]]]]]]]]]});
        let event = Event {
            kind: Kind::UpstreamRefused,
            revision: u64::MAX,
            enforcement: Some(Enforcement {
                case: &words[0], customer: &words[1], basis: &words[2], action: &words[3],
                status: Some(u16::MAX), matched: &words[4], also: &also,
            }),
            request: Some(RequestFacts {
                host: &words[5], names: &names, method: &words[0], path: &long[0],
                client: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(), listener: &words[1],
                protocol: &words[2], tls: Some(&words[3]), user_agent: Some(&long[1]),
                upstream: Some("[2001:db8::1]:65535".parse().unwrap()),
            }),
            detail: detail.as_object(),
        };
        let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
        let line = line_of(&event, &words[5], id, u64::MAX / 2 - 1, Timestamp::MAX);
        prop_assert!(line.len() <= MAX_LINE);
        let (end, rest) = line.split_last().unwrap();
        prop_assert_eq!(*end, b'\n');
        let text = std::str::from_utf8(rest).unwrap();
        let raw = text.chars().find(|char| char.is_control() || "\u{2028}\u{2029}\u{202e}\u{feff}".contains(*char));
        prop_assert_eq!(raw, None);
        let fields: Map<String, Value> = serde_json::from_str(text).unwrap();
        prop_assert_eq!(&fields["kind"], "upstream.refused");
    }
}
