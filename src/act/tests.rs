//! Tests of answers.

use std::collections::BTreeMap;

use super::{Answer, Ask, prepare, prepare_short};
use crate::audit::Receipt;
use crate::policy::sample::{self, case, legal_case, rules};
use crate::policy::{Action, Case};

const ID: u128 = 0x0193_4f2e_9d1a_7cc0_8123_4567_89ab_cdef;

/// Status, headers by name, and body of the answer to `ask`.
fn answered(case: Case, ask: &Ask<'_>) -> (u16, BTreeMap<String, String>, String) {
    let rules = rules(vec![case]);
    let Answer::Page { status, headers, body } =
        prepare(&rules.cases()[0], ask).answer(&Receipt::for_test(ID))
    else {
        panic!("a page expected");
    };
    let count = headers.len();
    let headers: BTreeMap<String, String> = headers
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    assert_eq!(headers.len(), count, "every field once");
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn a_page_carries_its_record_and_may_not_be_stored() {
    let (status, headers, body) = answered(legal_case("TS-1", &["a.example"]), &Ask::default());
    assert_eq!(status, 451);
    let expected = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-language", "en"),
        ("content-length", &body.len().to_string()),
        ("cache-control", "no-store"),
        ("vary", "accept, accept-language"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("enforcement-id", "01934f2e-9d1a-7cc0-8123-456789abcdef"),
        ("link", "<https://example.org/orders/345>; rel=\"blocked-by\""),
    ];
    for (name, value) in expected {
        assert_eq!(headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(headers["content-security-policy"].starts_with("default-src 'none'; style-src 'unsafe-inline'"));
    assert_eq!(headers.len(), expected.len() + 1);
}

#[test]
fn a_head_request_gets_the_same_headers_and_no_body() {
    let accept: [Option<&[u8]>; 3] = [None, Some(b"application/json"), Some(b"text/plain")];
    for accept in accept {
        let ask = Ask { accept, ..Ask::default() };
        let get = answered(legal_case("TS-1", &["a.example"]), &ask);
        let head = answered(legal_case("TS-1", &["a.example"]), &Ask { head: true, ..ask });
        assert_eq!((get.0, &get.1), (head.0, &head.1));
        assert!(!get.2.is_empty() && head.2.is_empty());
    }
}

#[test]
fn the_form_follows_accept() {
    let table: [(&[u8], &str, &str); 3] = [
        (b"application/json", "application/problem+json", "{\"type\":"),
        (b"text/plain", "text/plain; charset=utf-8", "403 Forbidden\n"),
        (b"text/html", "text/html; charset=utf-8", "<!doctype html>"),
    ];
    for (accept, content_type, start) in table {
        let ask = Ask { accept: Some(accept), ..Ask::default() };
        let (status, headers, body) = answered(case("TS-1", &["a.example"]), &ask);
        assert_eq!((status, headers["content-type"].as_str()), (403, content_type));
        assert!(body.starts_with(start) && !headers.contains_key("link"), "{body}");
    }
}

#[test]
fn a_grpc_caller_gets_a_status_it_understands() {
    for (asked, answered_with) in [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc"),
        ("Application/GRPC; charset=x", "application/grpc"),
        ("application/grpc-web+proto", "application/grpc-web"),
        ("application/grpc-web-text", "application/grpc-web-text"),
    ] {
        let ask = Ask { content_type: Some(asked.as_bytes()), ..Ask::default() };
        let (status, headers, body) = answered(case("TS-1", &["a.example"]), &ask);
        assert_eq!((status, body.as_str()), (200, ""));
        assert_eq!(headers["content-type"], answered_with);
        assert_eq!(headers["grpc-status"], "7");
        assert_eq!(headers["grpc-message"], "blocked, case TS-1: The service for this site was ended.");
        assert_eq!(headers["enforcement-id"], "01934f2e-9d1a-7cc0-8123-456789abcdef");
    }
    for other in ["application/grpcx", "text/application/grpc", "application/json", ""] {
        let ask = Ask { content_type: Some(other.as_bytes()), ..Ask::default() };
        assert_eq!(answered(case("TS-1", &["a.example"]), &ask).0, 403, "{other}");
    }
}

#[test]
fn a_case_that_refuses_gives_no_answer_whoever_asks() {
    let rules = rules(vec![Case { action: Action::Refuse, ..case("TS-1", &["a.example"]) }]);
    for content_type in [None, Some(&b"application/grpc"[..])] {
        let ask = Ask { content_type, ..Ask::default() };
        assert!(matches!(prepare(&rules.cases()[0], &ask).answer(&Receipt::for_test(ID)), Answer::Refuse));
    }
}

#[test]
fn http2_gets_the_same_answer_from_fields_that_are_made_once() {
    let rules = sample::rules(vec![legal_case("TS-1", &["a.example"])]);
    let case = &rules.cases()[0];
    let asks = [
        Ask::default(),
        Ask { head: true, ..Ask::default() },
        Ask { accept: Some(b"application/json"), ..Ask::default() },
        Ask { accept: Some(b"text/plain"), ..Ask::default() },
        Ask { content_type: Some(b"application/grpc"), ..Ask::default() },
    ];
    for (ask, prepare) in asks.iter().flat_map(|ask| [(ask, prepare as fn(_, _) -> _), (ask, prepare_short)])
    {
        for id in [ID, ID + 1] {
            let receipt = Receipt::for_test(id);
            let Answer::Page { status, headers, body } = prepare(case, ask).answer(&receipt) else {
                panic!("a page expected")
            };
            let date = http::HeaderValue::from_static("Thu, 26 Nov 2026 20:00:00 GMT");
            let response = prepare(case, ask).response(&receipt, date.clone()).unwrap();
            assert_eq!((response.status().as_u16(), response.body()), (status, &body));
            let mut fields: Vec<_> = response.headers().iter().collect();
            assert_eq!(fields.pop(), Some((&http::header::DATE, &date)));
            assert!(
                fields.iter().copied().eq(headers.iter().map(|(name, value)| (name, value))),
                "{fields:?}"
            );
        }
    }
}
