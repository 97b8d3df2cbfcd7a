//! Counters and gauges in the Prometheus text format.

mod cache;
mod due;
mod per_thread;
mod shown;
mod verdicts;

use std::time::Duration;

use prometheus::{Encoder, Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

pub use cache::CacheMetrics;
pub use due::DueMetrics;
pub use verdicts::CaseTally;

use per_thread::{Counter, Times};
use shown::{Count, Shown};
use verdicts::Verdicts;

/// Why the metrics could not be set up or written.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// Everything the edge counts. Counters are written by request threads; gauges when somebody looks.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    verdicts: Shown<Verdicts>,
    allowed: Shown<Counter>,
    verdict_seconds: Shown<Times>,
    rejected: IntCounterVec,
    shortened: Shown<Counter>,
    fast: Shown<Counter>,
    connections: IntGauge,
    upstream_connections: IntGauge,
    upstream_cut: IntCounter,
    upstream_retries: IntCounter,
    lookups: IntCounterVec,
    reloads: IntCounterVec,
    lists_read: IntCounter,
    /// What the cache counts.
    pub cache: CacheMetrics,
    /// The gauges that are read off other parts of the edge when somebody looks.
    pub gauges: Gauges,
}

/// Values that somebody else keeps; set just before they are shown.
#[derive(Debug)]
pub struct Gauges {
    /// The revision in force.
    pub revision: IntGauge,
    /// Cases in the set in force.
    pub cases: IntGauge,
    /// Host patterns in the set in force.
    pub hosts: IntGauge,
    /// Memory of the index of their names, in bytes.
    pub index_bytes: IntGauge,
    /// What ends soon, and what is late.
    pub due: DueMetrics,
    /// Whether the last reload succeeded: 1 or 0.
    pub reload_ok: IntGauge,
    /// Whether a policy set is held back and waits for approval: 1 or 0.
    pub held: IntGauge,
    /// Seconds since the last reload.
    pub reload_age: Gauge,
    /// How long the last reload took, in seconds.
    pub reload_seconds: Gauge,
    /// Origins that their health checks have taken out.
    pub origins_down: IntGauge,
    /// Events decided since the edge started.
    pub audit_decided: IntGauge,
    /// Events written to the journal since the edge started.
    pub audit_durable: IntGauge,
    /// Events that could not be written since the edge started.
    pub audit_gap: IntGauge,
    /// Whether the journal can be written: 1 or 0.
    pub audit_writing: IntGauge,
    /// 1 when the last attempt to seal succeeded.
    pub audit_sealing: IntGauge,
    /// Events acknowledged although the disk had refused the sync.
    pub audit_unsynced: IntGauge,
}

impl Gauges {
    fn new(add: &Adder<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            revision: add.gauge("interdict_policy_revision", "Revision in force.")?,
            cases: add.gauge("interdict_policy_cases", "Cases in the set in force.")?,
            hosts: add.gauge("interdict_policy_hosts", "Host patterns in the set in force.")?,
            index_bytes: add.gauge("interdict_policy_index_bytes", "Memory of the index of their names.")?,
            due: DueMetrics::new(add)?,
            reload_ok: add.gauge("interdict_policy_reload_ok", "1 when the last reload succeeded.")?,
            held: add.gauge("interdict_policy_held", "1 when a policy set waits for approval.")?,
            reload_age: add.float("interdict_policy_reload_age_seconds", "Seconds since the last reload.")?,
            reload_seconds: add.float("interdict_policy_reload_seconds", "How long the last reload took.")?,
            origins_down: add.gauge("interdict_origins_down", "Origins taken out by their health checks.")?,
            audit_decided: add.gauge("interdict_audit_decided", "Events decided since the start.")?,
            audit_durable: add.gauge("interdict_audit_durable", "Events in the journal since the start.")?,
            audit_gap: add.gauge("interdict_audit_gap", "Events missed since the start.")?,
            audit_writing: add.gauge("interdict_audit_writing", "1 when the journal can be written.")?,
            audit_sealing: add
                .gauge("interdict_audit_sealing", "1 when the last attempt to seal succeeded.")?,
            audit_unsynced: add.gauge(
                "interdict_audit_unsynced",
                "Events acknowledged although the disk had refused the sync.",
            )?,
        })
    }
}

impl Metrics {
    /// Sets everything up at zero.
    ///
    /// # Errors
    /// When two metrics have one name, which a test rules out.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let add = Adder { registry: &registry };
        Ok(Self {
            verdicts: add.shown(
                "interdict_verdicts_total",
                "Recorded verdicts by case and kind.",
                &["case", "kind"],
                Verdicts::new(),
            )?,
            allowed: add.shown(
                "interdict_requests_allowed_total",
                "Requests that no case concerns.",
                &[],
                Counter::new(),
            )?,
            verdict_seconds: add.shown(
                "interdict_verdict_seconds",
                "Time to decide on one request.",
                &[],
                Times::new(),
            )?,
            rejected: add.counters(
                "interdict_requests_rejected_total",
                "Requests refused before a verdict, by reason.",
                &["reason"],
            )?,
            shortened: add.shown(
                "interdict_answers_shortened_total",
                "Blocked requests of client networks that ask too often, answered without the page.",
                &[],
                Counter::new(),
            )?,
            fast: add.shown(
                "interdict_blocked_fast_total",
                "Blocked requests answered below the proxy.",
                &[],
                Counter::new(),
            )?,
            connections: add.gauge("interdict_connections", "Open client connections.")?,
            upstream_connections: add
                .gauge("interdict_upstream_connections", "Open connections to origins.")?,
            upstream_cut: add.counter(
                "interdict_upstream_cut_total",
                "Connections to origins ended because a case closes their network.",
            )?,
            upstream_retries: add.counter(
                "interdict_upstream_retries_total",
                "Attempts at an origin after one that failed.",
            )?,
            lookups: add.counters("interdict_dns_lookups_total", "Look-ups by result.", &["result"])?,
            reloads: add.counters("interdict_reloads_total", "Reloads by result.", &["result"])?,
            lists_read: add
                .counter("interdict_policy_lists_read_total", "Host lists whose lines were read.")?,
            cache: CacheMetrics::new(&add)?,
            gauges: Gauges::new(&add)?,
            registry,
        })
    }

    /// Counts a recorded verdict of a case, which has this tally.
    pub fn verdict(&self, kind: &'static str, case: &str, tally: &CaseTally) {
        self.verdicts.note(kind, case, tally);
    }

    /// Counts a request that no case concerns.
    pub fn allowed(&self) {
        self.allowed.inc();
    }

    /// Notes how long a verdict took.
    pub fn judged(&self, time: Duration) {
        self.verdict_seconds.note(time);
    }

    /// Counts a request that was refused before a verdict.
    pub fn rejected(&self, reason: &str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    /// Counts a blocked request that got a short answer.
    pub fn shortened(&self) {
        self.shortened.inc();
    }

    /// Counts a blocked request that took the fast path.
    pub fn fast(&self) {
        self.fast.inc();
    }

    /// Counts a reload.
    pub fn reloaded(&self, result: &str) {
        self.reloads.with_label_values(&[result]).inc();
    }

    /// Counts host lists whose lines were read; those that have not changed are not.
    pub fn lists_read(&self, count: usize) {
        self.lists_read.inc_by(u64::try_from(count).unwrap_or_default());
    }

    /// How many host lists were read since the edge started.
    #[must_use]
    pub fn lists_read_so_far(&self) -> u64 {
        self.lists_read.get()
    }

    /// A client connection was opened.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// A client connection was closed.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// How many client connections are open.
    #[must_use]
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }

    /// A connection to an origin was opened.
    pub fn upstream_opened(&self) {
        self.upstream_connections.inc();
    }

    /// A connection to an origin was closed.
    pub fn upstream_closed(&self) {
        self.upstream_connections.dec();
    }

    /// How many connections to origins are open.
    #[must_use]
    pub fn upstream_connections(&self) -> i64 {
        self.upstream_connections.get()
    }

    /// Connections to origins were ended because a case closes their network.
    pub fn upstream_cut(&self, count: usize) {
        self.upstream_cut.inc_by(count as u64);
    }

    /// A request is tried once more.
    pub fn upstream_retried(&self) {
        self.upstream_retries.inc();
    }

    /// An origin's name was looked up: with an address found, or in vain.
    pub fn looked_up(&self, found: bool) {
        self.lookups.with_label_values(&[if found { "ok" } else { "failed" }]).inc();
    }

    /// All of it in the Prometheus text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn text(&self) -> Result<Vec<u8>, MetricsError> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

struct Adder<'r> {
    registry: &'r Registry,
}

impl Adder<'_> {
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, MetricsError> {
        let metric = IntCounter::new(name, help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, MetricsError> {
        let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        let metric = IntGauge::new(name, help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn float(&self, name: &str, help: &str) -> Result<Gauge, MetricsError> {
        let metric = Gauge::new(name, help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn shown<C>(&self, name: &str, help: &str, labels: &[&str], count: C) -> Result<Shown<C>, MetricsError>
    where
        C: Count + 'static,
    {
        let shown = Shown::new(name, help, labels, count)?;
        self.registry.register(Box::new(shown.clone()))?;
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new().unwrap();
        metrics.verdict("request.blocked", "TS-1", &CaseTally::default());
        metrics.judged(Duration::from_nanos(300));
        metrics.gauges.revision.set(7);
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        assert!(text.contains(r#"interdict_verdicts_total{case="TS-1",kind="request.blocked"} 1"#), "{text}");
        assert!(text.contains("interdict_policy_revision 7"), "{text}");
        assert!(text.contains(r#"interdict_verdict_seconds_bucket{le="0.0000005"} 1"#), "{text}");
    }
}
