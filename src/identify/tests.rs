//! Tests of identities.

use super::*;
use Version::{Http2, Http10, Http11};

/// A request of HTTP/1.1, as a test wants to write it.
fn http1<'a>(method: &'a str, target: &'a str, hosts: &'a [&'a [u8]]) -> RequestParts<'a> {
    RequestParts { version: Http11, method, target: target.as_bytes(), authority: None, hosts, sni: None }
}

/// A request of HTTP/2, as a test wants to write it.
fn http2<'a>(authority: Option<&'a str>, hosts: &'a [&'a [u8]]) -> RequestParts<'a> {
    let authority = authority.map(str::as_bytes);
    RequestParts { version: Http2, method: "GET", target: b"/", authority, hosts, sni: None }
}

fn host(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

/// The word of the error, or the host and port that were found.
fn outcome(parts: &RequestParts<'_>) -> String {
    identify(parts).map_or_else(|error| error.as_str().to_owned(), |identity| identity.authority())
}

#[test]
fn the_host_field_names_the_host_of_a_path() {
    let identity = identify(&http1("GET", "/x", &[b"A.Example.:8080"])).unwrap();
    assert_eq!(identity.host, host("a.example"));
    assert_eq!(identity.port, Some(8080));
    assert_eq!(identity.names.as_slice(), [host("a.example")]);
    assert_eq!(identity.seen.as_slice(), [b"A.Example.:8080".to_vec()]);
    assert_eq!(identity.authority(), "a.example:8080");
}

#[test]
fn http1_asks_for_exactly_one_host_field() {
    for version in [Http10, Http11] {
        let ask = |target, hosts| outcome(&RequestParts { version, ..http1("GET", target, hosts) });
        assert_eq!(ask("/", &[]), "missing");
        assert_eq!(ask("http://a.example/", &[]), "missing");
        assert_eq!(ask("/", &[b"a.example", b"b.example"]), "repeated");
        assert_eq!(ask("/", &[b"a.example", b"a.example"]), "repeated");
        assert_eq!(ask("/", &[b"a.example"]), "a.example");
    }
}

#[test]
fn a_host_field_that_cannot_be_read_is_refused() {
    let fields: [&[u8]; 10] = [
        b"",
        b":80",
        b".",
        b"user@a.example",
        b"a.example, b.example",
        b"a.example/",
        b"a.example:x",
        b"a%2eexample",
        b"127.1",
        b"\xff.example",
    ];
    for field in fields {
        assert_eq!(outcome(&http1("GET", "/", &[field])), "unreadable", "{}", field.escape_ascii());
    }
}

#[test]
fn an_absolute_target_has_to_name_the_same_host_in_any_spelling() {
    let ask = |target, host: &str| outcome(&http1("GET", target, &[host.as_bytes()]));
    assert_eq!(ask("http://a.example/x", "a.example"), "a.example");
    assert_eq!(ask("HTTPS://A.EXAMPLE./x", "a.example"), "a.example");
    assert_eq!(ask("http://xn--bcher-kva.example", "bücher.example"), "xn--bcher-kva.example");
    assert_eq!(ask("http://[2001:db8:0::1]?x", "[2001:db8::1]"), "[2001:db8::1]");
    assert_eq!(ask("http://b.example/x", "a.example"), "mismatch");
    assert_eq!(ask("http://a.example.b.example/", "a.example"), "mismatch");
    assert_eq!(ask("http://a.example?@b.example/", "a.example"), "a.example");
}

#[test]
fn the_port_comes_from_the_target_when_it_names_a_host() {
    let ask = |target, host: &str| outcome(&http1("GET", target, &[host.as_bytes()]));
    assert_eq!(ask("http://a.example:81/", "a.example:82"), "a.example:81");
    assert_eq!(ask("http://a.example/", "a.example:82"), "a.example");
    assert_eq!(ask("http://a.example:/", "a.example"), "a.example");
}

#[test]
fn a_target_that_cannot_be_read_is_refused() {
    let ask = |target| outcome(&http1("GET", target, &[b"a.example"]));
    for target in
        ["http://user@a.example/", "http:///x", "http://", "http://?x", "http://:80/", "http://a.example#/"]
    {
        assert_eq!(ask(target), "unreadable", "{target}");
    }
    for target in [r"http://a.example\@b.example/", "http://b.example#@a.example/", "http://a.example:x/"] {
        assert_eq!(ask(target), "unreadable", "{target}");
    }
    for target in ["ftp://a.example/", "ws://a.example/", "://a.example/", " http://a.example/"] {
        assert_eq!(ask(target), "scheme", "{target}");
    }
    for target in
        ["", "x", "*", "a.example", "a.example:80", "http:a.example", "http:/a.example", r"http:/\a.example"]
    {
        assert_eq!(ask(target), "target-form", "{target}");
    }
}

#[test]
fn a_path_that_begins_with_two_slashes_names_no_host() {
    assert_eq!(outcome(&http1("GET", "//b.example/", &[b"a.example"])), "a.example");
}

#[test]
fn an_asterisk_is_for_options_alone() {
    assert_eq!(outcome(&http1("OPTIONS", "*", &[b"a.example"])), "a.example");
    assert_eq!(outcome(&http1("options", "*", &[b"a.example"])), "target-form");
}

#[test]
fn a_tunnel_has_to_name_the_same_host_and_a_port() {
    let ask = |method, target| outcome(&http1(method, target, &[b"a.example:443"]));
    assert_eq!(ask("CONNECT", "A.example:443"), "a.example:443");
    assert_eq!(ask("CONNECT", "b.example:443"), "mismatch");
    assert_eq!(ask("CONNECT", "a.example"), "tunnel-without-port");
    assert_eq!(ask("CONNECT", "a.example:"), "tunnel-without-port");
    assert_eq!(ask("CONNECT", "http://a.example/"), "unreadable");
    assert_eq!(ask("CONNECT", "/"), "unreadable");
    assert_eq!(ask("connect", "a.example:443"), "target-form");
}

#[test]
fn http2_names_its_host_in_authority_or_host_or_both_alike() {
    let ask = |authority, hosts| outcome(&http2(authority, hosts));
    assert_eq!(ask(Some("A.example:8443"), &[]), "a.example:8443");
    assert_eq!(ask(None, &[b"a.example"]), "a.example");
    assert_eq!(ask(Some("a.example"), &[b"A.EXAMPLE."]), "a.example");
    assert_eq!(ask(Some("a.example:1"), &[b"a.example:2"]), "a.example:1");
    assert_eq!(ask(None, &[]), "missing");
    assert_eq!(ask(Some("a.example"), &[b"b.example"]), "mismatch");
    assert_eq!(ask(Some("a.example"), &[b"a.example", b"a.example"]), "repeated");
    assert_eq!(ask(Some(""), &[b"a.example"]), "unreadable");
    assert_eq!(ask(Some("a.example"), &[b""]), "unreadable");
    assert_eq!(ask(Some("user@a.example"), &[]), "unreadable");
}

#[test]
fn http2_looks_at_no_target_and_http1_at_no_authority() {
    let two = RequestParts { target: b"http://b.example/", ..http2(Some("a.example"), &[]) };
    assert_eq!(outcome(&two), "a.example");
    let one = RequestParts { authority: Some(b"b.example"), ..http1("GET", "/", &[b"a.example"]) };
    assert_eq!(outcome(&one), "a.example");
}

#[test]
fn a_server_name_that_differs_is_judged_beside_the_host() {
    let sni = host("b.example");
    let identity = identify(&RequestParts { sni: Some(&sni), ..http2(Some("a.example"), &[]) }).unwrap();
    assert_eq!(identity.host, host("a.example"));
    assert_eq!(identity.names.as_slice(), [host("a.example"), sni]);
    assert_eq!(identity.seen.as_slice(), [b"a.example".to_vec(), b"b.example".to_vec()]);
}

#[test]
fn a_server_name_alone_does_not_make_a_request() {
    let sni = host("a.example");
    assert_eq!(outcome(&RequestParts { sni: Some(&sni), ..http1("GET", "/", &[]) }), "missing");
}

#[test]
fn every_spelling_is_kept_once() {
    let sni = host("a.example");
    let parts = http1("GET", "http://A.example/", &[b"a.example"]);
    let identity = identify(&RequestParts { sni: Some(&sni), ..parts }).unwrap();
    assert_eq!(identity.names.as_slice(), [host("a.example")]);
    assert_eq!(identity.seen.as_slice(), [b"A.example".to_vec(), b"a.example".to_vec()]);
}

#[test]
fn an_absolute_target_becomes_a_path_for_the_origin() {
    let cases = [
        ("GET", "http://a.example/x?y", "/x?y"),
        ("GET", "http://a.example", "/"),
        ("GET", "http://a.example?y", "/?y"),
        ("GET", "http://a.example//b.example/", "//b.example/"),
        ("GET", "/x?http://b.example/", "/x?http://b.example/"),
        ("OPTIONS", "http://a.example", "*"),
        ("OPTIONS", "http://a.example/", "/"),
        ("OPTIONS", "http://a.example?y", "/?y"),
        ("OPTIONS", "*", "*"),
    ];
    for (method, target, expected) in cases {
        let found =
            Target::parse(method, target.as_bytes()).unwrap().for_origin(method).unwrap().into_owned();
        assert_eq!(found, expected.as_bytes(), "{method} {target}");
    }
    assert_eq!(Target::parse("CONNECT", b"a.example:443").unwrap().for_origin("CONNECT"), None);
}

#[test]
fn an_error_says_which_place_is_wrong_and_how() {
    let message = |parts| identify(&parts).unwrap_err().to_string();
    let mismatch = message(http1("GET", "http://b.example/", &[b"A.example"]));
    assert_eq!(mismatch, "the request-target names `b.example`, but `Host` names `a.example`");
    assert_eq!(message(http2(Some("a b"), &[])), "`:authority`: ` ` is not allowed in a host");
    assert_eq!(message(http1("GET", "/", &[b"a", b"a"])), "the request has 2 `Host` fields");
}
