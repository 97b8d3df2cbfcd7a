//! Tests of the store through Pingora's eyes.

use std::net::SocketAddr;
use std::time::Duration;

use pingora::cache::trace::Span;
use pingora::http::ResponseHeader;

use super::*;
use crate::hostname::Hostname;
use crate::listen::cache::roll::Roll;
use crate::metrics::Metrics;

struct Bench {
    store: &'static Store,
    metrics: Arc<Metrics>,
    sites: Roll<Hostname>,
    sources: Roll<SocketAddr>,
}

impl Bench {
    fn new(bound: usize) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let store = Box::leak(Box::new(Store::new(bound, Arc::clone(&metrics))));
        Self { store, metrics, sites: Roll::new(), sources: Roll::new() }
    }

    fn site(&self, host: &str) -> Site {
        self.sites.enter(&Hostname::parse(host).unwrap(), || true).unwrap()
    }

    fn key(&self, host: &str, path: &str) -> CacheKey {
        let mut key = CacheKey::new(format!("http://{host}{path}"), "");
        key.extensions.insert(self.site(host));
        key
    }

    async fn fill(&self, key: &CacheKey, meta: &CacheMeta) -> MissHandler {
        self.store.get_miss_handler(key, meta, &Span::inactive().handle()).await.unwrap()
    }

    async fn put(&self, key: &CacheKey, body: &[u8]) -> Result<()> {
        let mut fill = self.fill(key, &meta()).await;
        for piece in body.chunks(1000) {
            fill.write_body(Bytes::copy_from_slice(piece), false).await?;
        }
        fill.finish().await.map(drop)
    }

    async fn get(&self, key: &CacheKey) -> Option<(CacheMeta, HitHandler)> {
        self.store.lookup(key, &Span::inactive().handle()).await.unwrap()
    }

    fn bytes(&self) -> i64 {
        self.metrics.cache.bytes.get()
    }

    fn objects(&self) -> i64 {
        self.metrics.cache.objects.get()
    }
}

fn meta() -> CacheMeta {
    let header = ResponseHeader::build(200, None).unwrap();
    let now = SystemTime::now();
    CacheMeta::new(now + Duration::from_secs(60), now, 0, 0, header)
}

async fn read(mut hit: HitHandler) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = hit.read_body().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    all
}

#[tokio::test]
async fn what_is_put_in_comes_out_whole_in_parts_and_with_its_length() {
    let bench = Bench::new(1 << 20);
    let key = bench.key("a.example", "/");
    let body: Vec<u8> = (0..150_000u32).map(|at| at as u8).collect();
    assert!(bench.get(&key).await.is_none());
    bench.put(&key, &body).await.unwrap();
    let (meta, hit) = bench.get(&key).await.unwrap();
    assert_eq!(meta.headers()["content-length"], "150000");
    assert_eq!(read(hit).await, body);
    let (_, mut hit) = bench.get(&key).await.unwrap();
    hit.seek(70_000, Some(140_001)).unwrap();
    assert_eq!(read(hit).await, &body[70_000..140_001]);
    let (_, mut hit) = bench.get(&key).await.unwrap();
    assert!(hit.seek(150_000, None).is_err());
    assert!(bench.get(&bench.key("b.example", "/")).await.is_none());
}

#[tokio::test]
async fn an_answer_that_is_not_whole_is_not_there() {
    let bench = Bench::new(1 << 20);
    let key = bench.key("a.example", "/");
    let mut said = meta();
    said.response_header_mut().insert_header("content-length", "10").unwrap();
    let mut fill = bench.fill(&key, &said).await;
    fill.write_body(Bytes::from_static(b"half"), true).await.unwrap();
    assert!(fill.finish().await.is_err());
    let mut broken = bench.fill(&key, &meta()).await;
    broken.write_body(Bytes::from_static(b"half"), false).await.unwrap();
    drop(broken);
    assert!(bench.get(&key).await.is_none());
    assert_eq!((bench.bytes(), bench.objects()), (0, 0));
}

#[tokio::test]
async fn the_bound_holds_whatever_is_put_in() {
    let bound = 1 << 20;
    let bench = Bench::new(bound);
    for number in 0..2000usize {
        let key = bench.key(&format!("host-{}.example", number % 7), &format!("/{number}"));
        bench.put(&key, &vec![7; number * 37 % 50_000]).await.unwrap();
        assert!(bench.bytes() <= bound as i64, "{number}: {}", bench.bytes());
    }
    assert!(bench.objects() > 10, "{}", bench.objects());
    assert!(bench.metrics.cache.evictions.get() > 1000);
    assert_eq!(bench.metrics.cache.stored.get(), 2000);
    for site in bench.sites.all() {
        bench.sites.strike(&site);
    }
    bench.store.bury();
    assert_eq!((bench.bytes(), bench.objects()), (0, 0));
}

#[tokio::test]
async fn an_object_that_is_asked_for_stays_while_others_come_and_go() {
    let bench = Bench::new(1 << 20);
    let loved = bench.key("a.example", "/loved");
    bench.put(&loved, &[1; 10_000]).await.unwrap();
    for number in 0..1000 {
        assert!(bench.get(&loved).await.is_some(), "gone after {number}");
        bench.put(&bench.key("a.example", &format!("/{number}")), &[2; 10_000]).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_client_still_reads_counts_until_it_is_done() {
    let bound = 1 << 20;
    let bench = Bench::new(bound);
    let mut readers = Vec::new();
    for number in 0..8 {
        let key = bench.key("a.example", &format!("/{number}"));
        bench.put(&key, &vec![number; 120_000]).await.unwrap();
        let (_, mut hit) = bench.get(&key).await.unwrap();
        readers.push((hit.read_body().await.unwrap().unwrap(), hit));
    }
    // All of it is held by readers, and a fill gets nothing.
    let late = bench.key("b.example", "/");
    assert!(bench.put(&late, &[9; 120_000]).await.is_err());
    assert!(bench.bytes() <= bound as i64);
    // The piece alone keeps its object's memory.
    let pieces: Vec<Bytes> = readers.into_iter().map(|(piece, _)| piece).collect();
    assert!(bench.put(&late, &[9; 120_000]).await.is_err());
    drop(pieces);
    bench.put(&late, &[9; 120_000]).await.unwrap();
    assert!(bench.get(&late).await.is_some());
}

#[tokio::test]
async fn nothing_of_a_struck_host_is_served_or_stored_and_another_hosts_objects_stay() {
    let bench = Bench::new(1 << 20);
    let (blocked, free) = (bench.key("a.example", "/"), bench.key("b.example", "/"));
    bench.put(&blocked, b"a").await.unwrap();
    bench.put(&free, b"b").await.unwrap();
    let mut under_way = bench.fill(&bench.key("a.example", "/slow"), &meta()).await;
    under_way.write_body(Bytes::from_static(b"slow"), false).await.unwrap();
    let site = bench.site("a.example");
    bench.sites.strike(&site);
    assert!(bench.get(&blocked).await.is_none(), "at once, before it is buried");
    let removed = bench.store.bury();
    assert_eq!(removed.objects, 1);
    assert!(removed.bytes > limits::CACHE_OBJECT_OVERHEAD);
    under_way.finish().await.unwrap();
    assert!(bench.get(&bench.key("a.example", "/slow")).await.is_none());
    assert!(bench.get(&free).await.is_some());
    assert_eq!(bench.objects(), 1);
}

#[tokio::test]
async fn nothing_of_a_struck_origin_is_served_or_stored() {
    let bench = Bench::new(1 << 20);
    let key = bench.key("a.example", "/");
    let source = bench.sources.enter(&"203.0.113.7:80".parse().unwrap(), || true).unwrap();
    let mut from_there = meta();
    from_there.extensions_mut().insert(Arc::clone(&source));
    bench.fill(&key, &from_there).await.finish().await.unwrap();
    assert!(bench.get(&key).await.is_some());
    let under_way = bench.fill(&bench.key("a.example", "/slow"), &from_there).await;
    bench.sources.strike(&source);
    assert!(bench.get(&key).await.is_none());
    under_way.finish().await.unwrap();
    assert_eq!(bench.store.bury().objects, 1);
    assert_eq!(bench.objects(), 0);
}

#[tokio::test]
async fn a_revalidation_renews_the_object_it_was_about_and_no_other() {
    let bench = Bench::new(1 << 20);
    let span = Span::inactive();
    let key = bench.key("a.example", "/");
    bench.put(&key, b"one").await.unwrap();
    let (mut first, _) = bench.get(&key).await.unwrap();
    first.response_header_mut().insert_header("etag", "\"2\"").unwrap();
    assert!(bench.store.update_meta(&key, &first, &span.handle()).await.unwrap());
    let (renewed, hit) = bench.get(&key).await.unwrap();
    assert_eq!(renewed.headers()["etag"], "\"2\"");
    assert_eq!(read(hit).await, b"one");
    bench.put(&key, b"two").await.unwrap();
    assert!(!bench.store.update_meta(&key, &first, &span.handle()).await.unwrap());
    bench.store.remove(&key.primary_bin());
    assert!(!bench.store.update_meta(&key, &first, &span.handle()).await.unwrap());
    assert_eq!((bench.bytes(), bench.objects()), (0, 0));
}

#[tokio::test]
async fn the_variants_of_one_uri_are_bounded_and_go_together() {
    let bench = Bench::new(1 << 24);
    let mut key = bench.key("a.example", "/");
    bench.put(&key, b"first").await.unwrap();
    for number in 0..=u8::MAX {
        key.set_variance_key([number; 16]);
        bench.put(&key, &[number]).await.unwrap();
    }
    assert_eq!(bench.objects(), limits::CACHE_VARIANTS as i64);
    assert!(bench.get(&key).await.is_some());
    key.remove_variance_key();
    assert!(bench.get(&key).await.is_some(), "the first one leads to all others");
    assert_eq!(bench.store.remove(&key.primary_bin()).objects, limits::CACHE_VARIANTS);
    assert_eq!((bench.bytes(), bench.objects()), (0, 0));
}
