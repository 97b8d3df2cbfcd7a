//! Tests of what is kept.

use super::*;

fn request(fields: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in fields {
        request.append_header(*name, *value).unwrap();
    }
    request
}

fn response(status: u16, fields: &[(&'static str, &str)]) -> ResponseHeader {
    let mut response = ResponseHeader::build(status, None).unwrap();
    for (name, value) in fields {
        response.append_header(*name, *value).unwrap();
    }
    response
}

fn kept(status: u16, fields: &[(&'static str, &str)]) -> Option<CacheMeta> {
    kept_of(&[], status, fields, None)
}

fn kept_of(
    asked: &[(&'static str, &str)],
    status: u16,
    fields: &[(&'static str, &str)],
    default_ttl: Option<u64>,
) -> Option<CacheMeta> {
    let ttl = default_ttl.map(Duration::from_secs);
    match storable(&request(asked), &response(status, fields), ttl) {
        RespCacheable::Cacheable(meta) => Some(meta),
        RespCacheable::Uncacheable(_) => None,
    }
}

#[test]
fn an_answer_is_kept_for_as_long_as_it_says() {
    assert_eq!(kept(200, &[("cache-control", "max-age=60")]).unwrap().fresh_sec(), 60);
    assert_eq!(kept(404, &[("cache-control", "max-age=60, s-maxage=5")]).unwrap().fresh_sec(), 5);
    let swr = kept(200, &[("cache-control", "max-age=60, stale-while-revalidate=30")]).unwrap();
    assert_eq!((swr.stale_while_revalidate_sec(), swr.stale_if_error_sec()), (30, 0));
}

#[test]
fn an_answer_for_one_reader_is_not_kept() {
    for control in ["no-store", "private, max-age=60", "max-age=60, no-store", "private"] {
        assert!(kept(200, &[("cache-control", control)]).is_none(), "{control}");
    }
    assert!(kept(200, &[("cache-control", "public, max-age=60"), ("set-cookie", "a=b")]).is_none());
    assert!(kept(200, &[("cache-control", "max-age=60"), ("vary", "accept, *")]).is_none());
}

#[test]
fn a_part_of_an_answer_and_no_answer_at_all_are_not_kept() {
    for status in [100, 101, 206, 304] {
        assert!(kept(status, &[("cache-control", "max-age=60")]).is_none(), "{status}");
    }
}

#[test]
fn an_answer_to_credentials_is_kept_only_if_it_says_so() {
    let asked = [("authorization", "Basic YTpi")];
    assert!(kept_of(&asked, 200, &[("cache-control", "max-age=60")], None).is_none());
    assert!(kept_of(&asked, 200, &[], Some(60)).is_none());
    for control in ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"] {
        assert!(kept_of(&asked, 200, &[("cache-control", control)], None).is_some(), "{control}");
    }
}

#[test]
fn an_answer_that_says_nothing_is_kept_only_where_the_configuration_says_so() {
    assert!(kept(200, &[]).is_none());
    assert_eq!(kept_of(&[], 200, &[], Some(7)).unwrap().fresh_sec(), 7);
    assert_eq!(kept_of(&[], 404, &[], Some(7)).unwrap().fresh_sec(), 7);
    assert!(kept_of(&[], 302, &[], Some(7)).is_none());
    assert!(kept_of(&[], 503, &[], Some(7)).is_none());
    assert_eq!(kept_of(&[], 302, &[("cache-control", "public")], Some(7)).unwrap().fresh_sec(), 7);
    for own in [("cache-control", "private"), ("expires", "0"), ("cache-control", "max-age=0")] {
        assert!(kept_of(&[], 200, &[own], Some(7)).is_none(), "{own:?}");
    }
}

#[test]
fn what_is_stale_from_the_start_is_kept_only_if_the_origin_can_be_asked_about_it() {
    for stale in ["no-cache", "max-age=0"] {
        assert!(kept(200, &[("cache-control", stale)]).is_none(), "{stale}");
        let meta = kept(200, &[("cache-control", stale), ("etag", "\"1\"")]).unwrap();
        assert!(!meta.is_fresh(SystemTime::now()), "{stale}");
    }
    assert!(kept(200, &[("cache-control", "max-age=0, stale-while-revalidate=5")]).is_some());
}

#[test]
fn the_time_an_answer_has_spent_on_its_way_counts() {
    let meta = kept(200, &[("cache-control", "max-age=60"), ("age", "50")]).unwrap();
    assert!(!meta.is_fresh(SystemTime::now() + Duration::from_secs(11)));
    assert!(meta.is_fresh(SystemTime::now() + Duration::from_secs(8)));
    assert!((50..52).contains(&meta.age().as_secs()), "{:?}", meta.age());
    assert!(!meta.headers().contains_key("age"));
    assert!(kept(200, &[("cache-control", "max-age=60"), ("age", "61")]).is_none());
}

#[test]
fn fields_between_neighbours_are_not_kept() {
    let fields = [
        ("cache-control", "max-age=60"),
        ("connection", "x-hop, keep-alive"),
        ("keep-alive", "timeout=5"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("x-end", "1"),
    ];
    let meta = kept(200, &fields).unwrap();
    let mut names: Vec<&str> = meta.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "x-end"]);
}

#[test]
fn variants_differ_in_the_fields_the_answer_varies_with_and_in_no_other() {
    let of = |vary: &[(&'static str, &str)], asked: &[(&'static str, &str)]| {
        variance(&response(200, vary).headers, &request(asked))
    };
    let varies = [("vary", "Accept-Encoding, X-Tier")];
    assert_eq!(of(&[], &[("accept-encoding", "gzip")]), None);
    let gzip = of(&varies, &[("accept-encoding", "gzip")]);
    assert_eq!(gzip, of(&varies, &[("accept-encoding", "gzip"), ("cookie", "a=b")]));
    assert_eq!(gzip, of(&[("vary", "x-tier"), ("vary", "accept-encoding")], &[("accept-encoding", "gzip")]));
    let others = [
        of(&varies, &[]),
        of(&varies, &[("accept-encoding", "")]),
        of(&varies, &[("accept-encoding", "br")]),
        of(&varies, &[("accept-encoding", "gzip"), ("x-tier", "gold")]),
        of(&varies, &[("x-tier", "gzip")]),
    ];
    for (at, one) in others.iter().enumerate() {
        assert!(one.is_some() && *one != gzip, "{at}");
        assert!(!others[..at].contains(one), "{at}");
    }
}
