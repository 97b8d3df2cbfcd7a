//! How long does it take to compile a set of 390,000 names in three cases, and what do they weigh?

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may stop at a surprise"
)]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod names;

use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use interdict::hostname::Hostname;
use interdict::policy::{Case, Pattern, PolicyFiles, Ruleset};

use names::{Names, case};

const NAMES_A_CASE: usize = 130_000;

fn compile(c: &mut Criterion) {
    let cases: Vec<Case> =
        (1..=3).map(|n| case(&format!("TS-{n}"), Names::new(n).take(NAMES_A_CASE))).collect();
    let files = PolicyFiles::default();
    let rules = Ruleset::compile(cases.clone(), &files).expect("the generated cases compile");
    let octets: usize = cases.iter().flat_map(|case| &case.hosts).map(|one| one.name.as_str().len()).sum();
    let count = rules.host_count() as f64;
    println!(
        "{} names of {:.1} octets on average: {:.1} bytes of index a name",
        rules.host_count(),
        octets as f64 / count,
        rules.index_bytes() as f64 / count,
    );

    let mut group = c.benchmark_group("compile");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    group.bench_function("390k", |b| {
        // Freeing the parsed names is in it, dropping the compiled set is not: that happens later, elsewhere.
        let parsed = || cases.iter().map(parsed_anew).collect();
        b.iter_batched(parsed, |cases| Ruleset::compile(cases, &files), BatchSize::PerIteration);
    });
    group.bench_function("drop_390k", |b| {
        b.iter_batched(|| Ruleset::compile(cases.clone(), &files), drop, BatchSize::PerIteration);
    });
    group.finish();
}

/// A clone would share the text of its names with the first, and freeing it would cost nothing.
fn parsed_anew(case: &Case) -> Case {
    let anew = |one: &Pattern| Pattern { form: one.form, name: Hostname::parse(one.name.as_str()).unwrap() };
    Case { hosts: case.hosts.iter().map(anew).collect(), ..case.clone() }
}

criterion_group!(benches, compile);
criterion_main!(benches);
