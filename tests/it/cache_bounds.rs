//! What the cache takes: never more than it may, and never half an answer.

use crate::harness::{Canned, Origin, Setup};

#[test]
fn the_bound_holds_under_many_objects() {
    let origin = Origin::start();
    let edge =
        Setup::new().origin(&origin).table("[cache]\nbytes = 1_048_576\nobject_bytes = 65_536").start();
    let mut client = edge.connect();
    for number in 0..150 {
        let path = format!("/{number}");
        origin.answers(&path, Canned::new("max-age=600").body(vec![b'x'; 20_000]));
        assert_eq!(client.get("a.example", &path).unwrap().body.len(), 20_000);
        let status = edge.status();
        assert!(status.cache("bytes") <= status.cache("limit_bytes"), "{number}");
    }
    let status = edge.status();
    assert!(status.cache("evictions") >= 90 && status.cache("objects") >= 30, "{:?}", status.0);
    let metrics = edge.admin("/metrics").text();
    assert!(metrics.contains(&format!("interdict_cache_objects {}", status.cache("objects"))), "{metrics}");
}

#[test]
fn an_answer_that_is_too_large_passes_whole_and_is_not_kept() {
    let origin = Origin::start();
    let large = || Canned::new("max-age=600").body(vec![b'x'; 100_000]);
    origin.answers("/said", large());
    origin.answers("/unsaid", large().chunked());
    let edge = Setup::new().origin(&origin).table("[cache]\nobject_bytes = 65_536").start();
    for path in ["/said", "/unsaid"] {
        for count in 1..=3 {
            assert_eq!(edge.connect().get("a.example", path).unwrap().body.len(), 100_000);
            assert_eq!(origin.asked_for(path), count);
        }
    }
    assert_eq!(edge.status().cache("objects"), 0);
}

#[test]
fn an_answer_that_breaks_off_is_not_kept() {
    let origin = Origin::start();
    origin.answers("/", Canned::new("max-age=60").broken_off());
    let edge = Setup::new().origin(&origin).table("[cache]").start();
    let mut client = edge.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(client.try_response(false).is_err());
    origin.answers("/", Canned::new("max-age=60"));
    assert_eq!(edge.get("a.example").text(), "/ of a.example #2");
}
