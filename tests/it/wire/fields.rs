//! What of a head passes: the fields of one connection (RFC 9110 §7.6.1), versions, and what frames an answer.

use super::house::{ALLOWED, edge};
use crate::harness::secure::Secure;
use crate::harness::{Edge, Origin, Setup};

/// An edge before an origin that speaks nothing but HTTP/2.
fn before(origin: &Secure) -> Edge {
    let route = format!("[[route]]\nhosts = [\"*\"]\norigins = [\"{}\"]\nhttp2 = true", origin.address());
    Setup::new().table(&route).start()
}

#[test]
fn cookies_that_come_in_pieces_reach_the_origin_as_one_field() {
    let crumbs = || {
        let request = http::Request::get(format!("http://{ALLOWED}/"));
        let request = request.header("cookie", "a=1").header("cookie", "b=2; c=3").header("cookie", "d=4");
        request.body(()).unwrap()
    };
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.connect_h2().request(crumbs(), None).unwrap().assert_forwarded();
    let lines =
        format!("GET / HTTP/1.1\r\nHost: {ALLOWED}\r\nCookie: a=1\r\nCookie: b=2; c=3\r\ncookie: d=4\r\n");
    edge.send(format!("{lines}\r\n")).unwrap().assert_forwarded();
    edge.send(format!("GET / HTTP/1.1\r\nHost: {ALLOWED}\r\nCookie: one=1\r\n\r\n")).unwrap();
    let cookies: Vec<Vec<String>> = origin.requests().iter().map(|request| request.field("cookie")).collect();
    assert_eq!(cookies, [["a=1; b=2; c=3; d=4"], ["a=1; b=2; c=3; d=4"], ["one=1"]]);
    let secure = Secure::cleartext();
    before(&secure).connect_h2().request(crumbs(), None).unwrap().assert_forwarded();
    let seen = secure.seen();
    let cookies: Vec<&[u8]> = seen.fields.get_all("cookie").iter().map(|value| value.as_bytes()).collect();
    assert_eq!(cookies, [b"a=1; b=2; c=3; d=4"]);
}
