//! What one record costs on the request path, beside writing the same bytes with less ado.

#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::{
    fs::File,
    io::{BufWriter, Write},
    net::IpAddr,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::Instant,
};

use criterion::{Criterion, criterion_group, criterion_main};
use interdict::{
    audit::{
        Audit, ClientPrivacy, Enforcement, Event, Kind, Options, Period, Pseudonyms, RequestFacts, line_of,
    },
    clock::SystemClock,
};

const EVENT: Event<'_> = Event {
    kind: Kind::RequestBlocked,
    revision: 7,
    enforcement: Some(Enforcement {
        case: "TS-2026-0147",
        customer: "cust-20931",
        basis: "imminent-threat",
        action: "page",
        status: Some(403),
        matched: ".forum.example",
        also: &[],
    }),
    request: Some(RequestFacts {
        host: "www.forum.example",
        names: &[b"WWW.forum.example:8080"],
        method: "GET",
        path: b"/threads/2026/11/a-title-of-common-length?page=2",
        client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 17)),
        listener: "127.0.0.1:8080",
        protocol: "HTTP/1.1",
        tls: None,
        user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        upstream: None,
    }),
    detail: None,
};

fn pseudonyms(directory: &Path) -> Pseudonyms {
    Pseudonyms { keys: directory.join("keys"), period: Period::Month }
}

fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("audit");
    let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
    let line = line_of(&EVENT, "ams-1", id, 1_000_000, "2026-11-20T22:30:00Z".parse().unwrap());
    println!("one line: {} bytes", line.len());

    for (name, client) in [
        ("record", ClientPrivacy::Full),
        ("record_pseudonym", ClientPrivacy::Pseudonym(pseudonyms(Path::new("")))),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                // A log of its own for each sample, so that the disk does not fill up.
                let directory = tempfile::tempdir().unwrap();
                let client = match &client {
                    ClientPrivacy::Pseudonym(_) => ClientPrivacy::Pseudonym(pseudonyms(directory.path())),
                    other => other.clone(),
                };
                let options = Options { client, ..Options::new(directory.path(), "ams-1") };
                let (audit, _) = Audit::open(options, Arc::new(SystemClock)).unwrap();
                let start = Instant::now();
                for _ in 0..iterations {
                    assert!(audit.record(&EVENT).is_recorded());
                }
                start.elapsed()
            });
        });
    }
    group.bench_function("format_only", |bencher| {
        let now = "2026-11-20T22:30:00Z".parse().unwrap();
        bencher.iter(|| line_of(&EVENT, "ams-1", id, 1_000_000, now));
    });
    group.bench_function("plain_write", |bencher| {
        bencher.iter_custom(|iterations| {
            let file = tempfile::tempfile().unwrap();
            let start = Instant::now();
            for number in 0..iterations {
                assert_eq!(file.write_at(&line, number * line.len() as u64).unwrap(), line.len());
            }
            start.elapsed()
        });
    });
    group.bench_function("buffered_write", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut file: BufWriter<File> =
                BufWriter::with_capacity(64 * 1024, tempfile::tempfile().unwrap());
            let start = Instant::now();
            for _ in 0..iterations {
                file.write_all(&line).unwrap();
            }
            file.flush().unwrap();
            start.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, record);
criterion_main!(benches);
