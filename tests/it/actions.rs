//! What a client of a blocked host gets: a page it can read, or nothing at all.

use crate::harness::audit::{of_kind, only};
use crate::harness::tools::{curl, h2load};
use crate::harness::{CaseFile, Edge, Origin, Response, Setup};

const HOST: &str = "blocked.example";

/// One host per kind of answer.
fn edge(origin: &Origin) -> Edge {
    Setup::new()
        .origin(origin)
        .case(CaseFile::new("page", &[HOST]))
        .case(CaseFile::new("order", &["ordered.example"]).by_court_order())
        .case(CaseFile::new("gone", &["gone.example"]).key("status = 410"))
        .case(CaseFile::new("refuse", &["refused.example"]).refuse())
        .start()
}

fn ask(edge: &Edge, host: &str, accept: &str) -> Response {
    edge.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n")).unwrap()
}

#[test]
fn a_browser_gets_a_page_of_html_with_the_public_words_only() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let response = ask(&edge, HOST, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
    response.assert_blocked(403);
    assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
    let page = response.text();
    assert!(page.contains("public words about page"), "{page}");
    assert!(page.contains(response.enforcement_id().unwrap()) || page.contains("page"), "{page}");
    for private in ["internal words", "cust-page", "j.doe", "<script", "http-equiv"] {
        assert!(!page.contains(private), "`{private}` is on the page: {page}");
    }
    origin.assert_untouched();
}

#[test]
fn a_program_gets_a_problem_document() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for accept in ["application/problem+json", "application/json"] {
        let response = ask(&edge, "ordered.example", accept);
        response.assert_blocked(451);
        assert_eq!(response.field("content-type"), Some("application/problem+json"));
        let problem = response.json();
        assert_eq!(problem["status"], 451);
        assert!(problem["title"].is_string(), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("public words"), "{problem}");
    }
}

#[test]
fn who_asks_for_text_gets_text() {
    let origin = Origin::start();
    let response = ask(&edge(&origin), HOST, "text/plain");
    response.assert_blocked(403);
    assert_eq!(response.field("content-type"), Some("text/plain; charset=utf-8"));
    assert!(response.text().contains("public words about page"));
}

#[test]
fn who_says_nothing_or_something_odd_still_gets_an_answer() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.get(HOST).assert_blocked(403);
    for accept in ["", "*/*", "image/png", ";;;,q=", "text/html;q=0, text/plain;q=0", "\u{fc}"] {
        ask(&edge, HOST, accept).assert_blocked(403);
    }
}

#[test]
fn words_with_markup_in_them_are_escaped() {
    let origin = Origin::start();
    let markup = CaseFile::new("markup", &["markup.example"])
        .toml()
        .replace("public words", "</p><script>alert('x')</script>");
    let setup = Setup::new().origin(&origin);
    setup.policies().write_case("markup", &markup);
    let edge = setup.start();
    let page = ask(&edge, "markup.example", "text/html").text();
    assert!(!page.contains("<script>"), "{page}");
    assert!(page.contains("&lt;script&gt;"), "{page}");
}

#[test]
fn no_cache_may_keep_a_block() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for host in [HOST, "ordered.example", "gone.example"] {
        assert_eq!(edge.get(host).field("cache-control"), Some("no-store"));
    }
}

#[test]
fn a_legal_block_links_to_who_ordered_it() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let response = edge.get("ordered.example");
    response.assert_blocked(451);
    assert_eq!(response.field("link"), Some("<https://example.org/orders/345>; rel=\"blocked-by\""));
    assert_eq!(edge.get(HOST).field("link"), None);
}

#[test]
fn a_case_may_choose_410() {
    let origin = Origin::start();
    edge(&origin).get("gone.example").assert_blocked(410);
}

#[test]
fn head_gets_the_fields_of_get_and_no_content() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let length = edge.get(HOST).body.len();
    let mut client = edge.connect();
    let request = format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let response = client.send(request).response_to_head().unwrap();
    response.assert_blocked(403);
    assert_eq!(response.field("content-length"), Some(length.to_string().as_str()));
    // The connection is in step: the next answer starts where the fields ended.
    client.get(HOST, "/").unwrap().assert_blocked(403);
}

#[test]
fn a_request_with_content_is_blocked_and_none_of_it_is_taken_for_a_request() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: allowed.example\r\n\r\n";
    let length = smuggled.len();
    let heads = [
        format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n{smuggled}"),
        format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n\
             {length:x}\r\n{smuggled}\r\n0\r\n\r\n"
        ),
    ];
    for head in heads {
        let mut client = edge.connect();
        client.send(head).response().unwrap().assert_blocked(403);
        // Either the content was read and the connection goes on in step, or the connection ends.
        if let Some(next) = client.get(HOST, "/") {
            next.assert_blocked(403);
        }
    }
    origin.assert_untouched();
}

#[test]
fn a_client_that_expects_100_continue_gets_the_block_instead() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let request =
        format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n");
    let response = edge.send(request).unwrap();
    response.assert_blocked(403);
    assert!(response.interim.is_empty(), "invited to send content: {:?}", response.interim);
    origin.assert_untouched();
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn a_websocket_to_a_blocked_host_is_not_upgraded() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{UPGRADE}\r\n")).unwrap().assert_blocked(403);
    origin.assert_untouched();
}

#[test]
fn a_websocket_to_an_allowed_host_goes_through_both_ways() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    let response =
        client.send(format!("GET / HTTP/1.1\r\nHost: allowed.example\r\n{UPGRADE}\r\n")).response();
    assert_eq!(response.unwrap().status, 101);
    assert_eq!(client.send("ping").read_exact(4).unwrap(), b"ping");
}

#[test]
fn an_allowed_request_with_content_arrives_whole() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let content = "0123456789".repeat(20_000);
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    );
    assert_eq!(edge.send(request).unwrap().assert_forwarded().text(), content);
}

#[test]
fn a_refused_host_gets_not_one_byte_on_http_1() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    client.get("allowed.example", "/").unwrap().assert_forwarded();
    assert!(client.get("refused.example", "/").is_none());
    client.assert_closed();
    assert_eq!(origin.requests().len(), 1);
    let records = edge.finish();
    let record = only(&records, "request.blocked");
    assert_eq!(record.text("action"), "refuse");
    assert!(record.0.get("status").is_none(), "{}", record.0);
}

#[test]
fn a_refused_host_resets_its_own_stream_on_http_2_and_no_other() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect_h2();
    let get = |host: &str, path: &str| http::Request::get(format!("http://{host}{path}")).body(()).unwrap();
    let sibling = client.open(get("allowed.example", "/slow/10"), None).unwrap();
    let refused = client.get("refused.example", "/").unwrap_err();
    assert!(refused.is_reset() && refused.is_remote(), "{refused}");
    assert_eq!(client.finish(sibling).unwrap().assert_forwarded().body.len(), 80);
    client.get("allowed.example", "/").unwrap().assert_forwarded();
}

#[test]
fn a_page_is_the_same_over_http_2() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let response = edge.connect_h2().get("ordered.example", "/").unwrap();
    response.assert_blocked(451);
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert!(response.field("link").unwrap().contains("rel=\"blocked-by\""));
    let one = edge.get("ordered.example");
    assert_eq!(one.field("content-type"), response.field("content-type"));
    assert_eq!(one.body.len(), response.body.len());
}

#[test]
fn a_posted_stream_on_http_2_is_blocked_and_its_siblings_go_on() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect_h2();
    let post = || http::Request::post(format!("http://{HOST}/")).body(()).unwrap();
    client.request(post(), Some(&[0; 10_000])).unwrap().assert_blocked(403);
    client.get("allowed.example", "/").unwrap().assert_forwarded();
}

#[test]
fn a_blocked_keep_alive_connection_still_serves_allowed_hosts() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut client = edge.connect();
    for _ in 0..5 {
        client.get(HOST, "/").unwrap().assert_blocked(403);
        client.get("allowed.example", "/").unwrap().assert_forwarded();
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let one = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut client = edge.connect();
    client.send([one(HOST), one("ordered.example"), one("gone.example")].concat());
    for status in [403, 451, 410] {
        client.response().unwrap().assert_blocked(status);
    }
}

#[test]
fn a_case_may_bring_its_own_page() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin);
    setup.policies().write_page("own.html", "<!doctype html><title>own</title><p>A page of our own.</p>");
    setup
        .policies()
        .write_page("own.de.html", "<!doctype html><title>eigene</title><p>Eine eigene Seite.</p>");
    let edge = setup.case(CaseFile::new("own", &["own.example"]).key("page = \"own\"")).start();
    let ask = |language: &str| {
        let fields = format!("Accept: text/html\r\nAccept-Language: {language}\r\n");
        edge.send(format!("GET / HTTP/1.1\r\nHost: own.example\r\n{fields}\r\n")).unwrap().text()
    };
    assert!(ask("en").contains("A page of our own."));
    assert!(ask("de-DE, en;q=0.5").contains("Eine eigene Seite."));
    assert!(ask("fr").contains("A page of our own."));
}

#[test]
fn curl_agrees_over_both_protocols() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let status = |host| curl(edge.address(), host, &[protocol, "-o", "/dev/null", "-w", "%{http_code}"]);
        assert_eq!(status(HOST).stdout, "403", "{protocol}");
        assert_eq!(status("allowed.example").stdout, "200", "{protocol}");
        assert_ne!(status("refused.example").code, 0, "{protocol}");
    }
}

#[test]
fn thousands_of_blocks_over_both_protocols_are_thousands_of_records() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for http1 in [true, false] {
        let counts = h2load(edge.address(), HOST, 2000, http1);
        assert_eq!((counts.done, counts.errored, counts.blocked), (2000, 0, 2000), "http1: {http1}");
    }
    origin.assert_untouched();
    assert_eq!(of_kind(&edge.finish(), "request.blocked").len(), 4000);
}

#[test]
fn a_record_says_all_that_was_decided_and_nothing_secret() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let request = "GET /p/a?token=secret HTTP/1.1\r\nHost: ordered.example\r\nUser-Agent: tests/1\r\n\
                   Cookie: session=secret\r\nAuthorization: Basic secret\r\n\r\n";
    edge.send(request).unwrap().assert_blocked(451);
    let records = edge.finish();
    let record = only(&records, "request.blocked");
    let expected = [
        ("edge", "edge-under-test"),
        ("case", "order"),
        ("customer", "cust-order"),
        ("basis", "court-order"),
        ("action", "page"),
        ("host", "ordered.example"),
        ("matched", "ordered.example"),
        ("method", "GET"),
        ("path", "/p/a"),
        ("client", "127.0.0.1"),
        ("protocol", "HTTP/1.1"),
        ("user_agent", "tests/1"),
    ];
    for (field, value) in expected {
        assert_eq!(record.text(field), value, "{field} in {}", record.0);
    }
    assert_eq!(record.number("status"), 451);
    assert_eq!(record.number("revision"), 1);
    assert!(!record.0.to_string().contains("secret"), "{}", record.0);
}
