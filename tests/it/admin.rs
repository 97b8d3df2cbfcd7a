//! The admin listener: who may ask what of it, and with which method.

use std::fs;

use crate::harness::ledger::Ledger;
use crate::harness::setup::TOKEN;
use crate::harness::{CaseFile, Client, Edge, Response, Setup};

/// A request to the admin listener with this authorization, if any.
fn ask(edge: &Edge, method: &str, path: &str, authorization: Option<&str>) -> Response {
    let field = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{field}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let mut client = Client::connect(edge.process().admin, Ledger::default()).unwrap();
    client.send(head).response().expect("an answer from the admin listener")
}

#[test]
fn a_reload_is_asked_for_and_answered_as_on_the_control_socket() {
    let edge = Setup::new().case(CaseFile::new("a", &["a.example"])).start();
    let told = ask(&edge, "POST", "/reload", None);
    assert_eq!((told.status, &told.json()["result"]), (200, &"unchanged".into()));
    edge.policies().write(&CaseFile::new("b", &["b.example"]));
    let told = ask(&edge, "POST", "/reload", None);
    let (status, told) = (told.status, told.json());
    // The edge may have taken it up by itself just before.
    assert!(told["result"] == "applied" || told["result"] == "unchanged", "{told}");
    assert_eq!((status, &told["revision"], &told["config"]["result"]), (200, &2.into(), &"unchanged".into()));
    edge.get("b.example").assert_blocked(403);
    edge.policies().write_case("c", "id = 1");
    let told = ask(&edge, "POST", "/reload", None);
    assert_eq!((told.status, &told.json()["result"]), (409, &"rejected".into()));
    assert!(told.json()["errors"][0].as_str().unwrap().contains("cases/c.toml"), "{}", told.text());
    fs::remove_file(edge.policies().case_path("c")).unwrap();
    assert_eq!(ask(&edge, "POST", "/reload", None).status, 200);
}

#[test]
fn another_method_is_told_which_ones_there_are_and_does_nothing() {
    let edge = Setup::new().case(CaseFile::new("a", &["a.example"])).start();
    for (method, path, allowed) in [
        ("GET", "/reload", "POST"),
        ("OPTIONS", "/reload", "POST"),
        ("PUT", "/reload", "POST"),
        ("POST", "/status", "GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
    ] {
        let told = ask(&edge, method, path, None);
        assert_eq!((told.status, told.field("allow")), (405, Some(allowed)), "{method} {path}");
    }
    assert_eq!(ask(&edge, "POST", "/other", None).status, 404);
    assert_eq!(edge.status().last_result(), "applied", "nothing was read again");
}

#[test]
fn no_page_in_a_browser_asks_for_a_reload() {
    let edge = Setup::new().case(CaseFile::new("a", &["a.example"])).start();
    for field in ["Origin: http://localhost", "Sec-Fetch-Site: cross-site"] {
        let head = format!(
            "POST /reload HTTP/1.1\r\nHost: localhost\r\n{field}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let mut client = Client::connect(edge.process().admin, Ledger::default()).unwrap();
        let told = client.send(head).response().expect("an answer from the admin listener");
        assert_eq!(told.status, 403, "{field}");
    }
    assert_eq!(edge.status().last_result(), "applied", "nothing was read again");
}

#[test]
fn the_token_is_asked_for_everywhere_and_its_scheme_is_written_in_any_case() {
    let setup = Setup::new().admin("token_file = \"token\"").case(CaseFile::new("a", &["a.example"]));
    fs::write(setup.home().join("token"), TOKEN).unwrap();
    let edge = setup.start();
    for scheme in ["Bearer", "bearer", "BEARER", "bearer  "] {
        let shown = format!("{} {TOKEN}", scheme);
        assert_eq!(ask(&edge, "GET", "/status", Some(&shown)).status, 200, "{shown}");
        assert_eq!(ask(&edge, "POST", "/reload", Some(&shown)).status, 200, "{shown}");
    }
    let wrong =
        [format!("Bearer{TOKEN}"), format!("Basic {TOKEN}"), format!("Bearer {TOKEN}x"), "Bearer".into()];
    for shown in wrong.iter().map(|shown| Some(shown.as_str())).chain([None]) {
        for (method, path) in
            [("GET", "/status"), ("GET", "/metrics"), ("POST", "/reload"), ("GET", "/reload")]
        {
            let told = ask(&edge, method, path, shown);
            assert_eq!(
                (told.status, told.field("www-authenticate")),
                (401, Some("Bearer")),
                "{shown:?} {path}"
            );
        }
    }
}
