//! What does it cost to judge a request, listed or not, by the number of names in the set?
//!
//! Through [`decide`], not the index alone. The subjects are taken in turn from 16,384 names, so that
//! caches hold what they would hold on an edge with many sites, not one hot entry.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may stop at a surprise"
)]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod names;

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use interdict::decide::{Subject, Verdict, decide};
use interdict::hostname::Hostname;
use interdict::policy::{PolicyFiles, Ruleset};
use jiff::Timestamp;

use names::{Names, case};

const SUBJECTS: usize = 16_384;

fn lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookup");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    for size in [1_000, 100_000, 1_000_000] {
        let rules = Ruleset::compile(vec![case("TS-1", Names::new(1).take(size))], &PolicyFiles::default());
        let rules = rules.expect("the generated cases compile");
        let strangers: Vec<Hostname> = Names::new(2).take(SUBJECTS).collect();
        let step = (size / SUBJECTS).max(1);
        let listed: Vec<Hostname> = Names::new(1).take(size).step_by(step).take(SUBJECTS).collect();
        let below = listed.iter().map(|name| Hostname::parse(&format!("www.{name}")).unwrap()).collect();
        for (question, subjects, blocked) in
            [("miss", strangers, false), ("hit", listed, true), ("hit_below", below, true)]
        {
            assert!(subjects.iter().all(|name| matches!(judge(&rules, name), Verdict::Block(_)) == blocked));
            let mut turn = subjects.iter().cycle();
            group.bench_function(BenchmarkId::new(question, size), |b| {
                b.iter(|| turn.next().map(|name| black_box(judge(&rules, name))));
            });
        }
    }
    group.finish();
}

fn judge<'r>(rules: &'r Ruleset, name: &'r Hostname) -> Verdict<'r> {
    let subject = Subject { names: std::slice::from_ref(name), client: IpAddr::from([192, 0, 2, 1]) };
    decide(rules, black_box(&subject), Timestamp::UNIX_EPOCH)
}

criterion_group!(benches, lookup);
criterion_main!(benches);
