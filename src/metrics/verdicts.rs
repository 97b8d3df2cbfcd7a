//! Recorded verdicts, counted by case and kind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use prometheus::proto::{LabelPair, Metric, MetricType};

use super::per_thread::Counter;
use super::shown::Count;

/// The counters of all cases that ever had a verdict.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// Tells these counters from those of another edge in the same process.
    id: u64,
    counters: RwLock<BTreeMap<(String, &'static str), Arc<Counter>>>,
}

/// Where the counters of one case are: they are looked for once.
#[derive(Debug, Default)]
pub struct CaseTally {
    found: [OnceLock<Found>; KINDS],
}

/// As many kinds of verdict as a case has of its own.
const KINDS: usize = 6;

#[derive(Debug)]
struct Found {
    of: u64,
    kind: &'static str,
    counter: Arc<Counter>,
}

impl Verdicts {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), counters: RwLock::default() }
    }

    /// Counts one.
    pub(super) fn note(&self, kind: &'static str, case: &str, tally: &CaseTally) {
        for place in &tally.found {
            let find = || Found { of: self.id, kind, counter: self.counter(kind, case) };
            let found = place.get_or_init(find);
            if found.of == self.id && found.kind == kind {
                return found.counter.inc();
            }
        }
        // All places are taken by another edge with the same cases.
        self.counter(kind, case).inc();
    }

    fn counter(&self, kind: &'static str, case: &str) -> Arc<Counter> {
        let key = (case.to_owned(), kind);
        let known = |counters: &BTreeMap<_, _>| counters.get(&key).map(Arc::clone);
        if let Some(counter) = known(&self.counters.read().unwrap_or_else(PoisonError::into_inner)) {
            return counter;
        }
        let mut counters = self.counters.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counters.entry(key).or_insert_with(|| Arc::new(Counter::new())))
    }
}

impl Count for Verdicts {
    const KIND: MetricType = MetricType::COUNTER;

    fn metrics(&self) -> Vec<Metric> {
        let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
        let labelled = |((case, kind), counter): (&(String, &'static str), &Arc<Counter>)| {
            let mut metric = counter.metric();
            metric.set_label(vec![label("case", case), label("kind", kind)]);
            metric
        };
        counters.iter().map(labelled).collect()
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(verdicts: &Verdicts) -> Vec<(String, f64)> {
        let shown = |metric: Metric| {
            let labels: Vec<_> = metric.get_label().iter().map(LabelPair::value).collect();
            (labels.join(" "), metric.get_counter().get_value())
        };
        verdicts.metrics().into_iter().map(shown).collect()
    }

    #[test]
    fn each_kind_of_each_case_has_a_count_of_its_own_in_each_edge() {
        let (one, other) = (Verdicts::new(), Verdicts::new());
        let (a, b) = (CaseTally::default(), CaseTally::default());
        for kind in ["1", "2", "3", "4", "5", "6", "7", "1"] {
            one.note(kind, "a", &a);
            one.note("1", "b", &b);
            other.note(kind, "a", &a);
        }
        // The case was compiled anew.
        one.note("1", "a", &CaseTally::default());
        let of_a = |first: f64| {
            let kinds = ["a 1", "a 2", "a 3", "a 4", "a 5", "a 6", "a 7"];
            kinds.map(|kind| (kind.to_owned(), if kind == "a 1" { first } else { 1.0 })).to_vec()
        };
        assert_eq!(counts(&one), [of_a(3.0), vec![("b 1".to_owned(), 8.0)]].concat());
        assert_eq!(counts(&other), of_a(2.0));
    }
}
