//! The state of a running edge, as `/status` and `interdict status` show it.

mod due;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::forward::Origins;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::reload::{Held, ReloadResult, SharedReport};

/// Gathers the state of one edge when it is asked for.
#[derive(Debug)]
pub struct Status {
    edge: String,
    gate: Arc<Gate>,
    report: SharedReport,
    started: Instant,
    /// Those in use; `server` puts others in their place.
    origins: Arc<ArcSwap<Origins>>,
}

impl Status {
    /// The state of the edge named `edge`, which starts now.
    #[must_use]
    pub fn new(edge: String, gate: Arc<Gate>, report: SharedReport, origins: Arc<ArcSwap<Origins>>) -> Self {
        Self { edge, gate, report, started: Instant::now(), origins }
    }

    /// All of it as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = self.value().to_string().into_bytes();
        text.push(b'\n');
        text
    }

    /// The policy set that is held back, if one is.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.report.latest().held
    }

    fn value(&self) -> Value {
        let now = self.gate.clock().now();
        let ruleset = self.gate.ruleset();
        let report = self.report.latest();
        let audit = self.gate.audit().counters();
        let in_force = ruleset.cases().iter().filter(|case| case.in_force(now)).count();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "edge": self.edge,
            "pid": std::process::id(),
            "ready": true,
            "uptime_seconds": self.started.elapsed().as_secs_f64(),
            "revision": ruleset.revision().0,
            "digest": ruleset.digest().to_string(),
            "cases": ruleset.cases().len(),
            "cases_in_force": in_force,
            "hosts": ruleset.host_count(),
            "index": {
                "bytes": ruleset.index_bytes(),
                "lists_read": self.gate.metrics().lists_read_so_far(),
            },
            "reviews_overdue": due::overdue(&ruleset, now),
            "expiring": due::expiring(&ruleset, now),
            "connections": self.gate.metrics().connections(),
            "cache": self.cache(),
            "upstream_connections": self.gate.metrics().upstream_connections(),
            "origins": self.origins_value(),
            "last_reload": {
                "result": report.result.as_str(),
                "at": report.at,
                "age_seconds": age_seconds(report.at, now),
                "seconds": report.seconds,
                "errors": report.errors,
                "warnings": report.warnings,
                "waiting": report.waiting,
            },
            "held": report.held,
            "audit": {
                "decided": audit.decided,
                "durable": audit.durable,
                "gap": audit.gap,
                "gap_pending": audit.gap_pending,
                "writing": audit.writing_ok,
                "sealing": audit.sealing_ok,
                "seq": audit.seq,
                "unsynced": audit.unsynced,
                "disturbed": audit.disturbed,
                "last_error": audit.last_error.map(|(at, error)| json!({ "at": at, "error": error })),
            },
        })
    }

    /// The counts of the cache; null where there is none.
    fn cache(&self) -> Value {
        let cache = &self.gate.metrics().cache;
        if cache.limit.get() == 0 {
            return Value::Null;
        }
        json!({
            "objects": cache.objects.get(),
            "bytes": cache.bytes.get(),
            "limit_bytes": cache.limit.get(),
            "hits": cache.hits.get(),
            "misses": cache.misses.get(),
            "bypasses": cache.bypasses.get(),
            "stored": cache.stored.get(),
            "evictions": cache.evictions.get(),
            "purged": cache.purged.get(),
        })
    }

    /// Every origin of every route, in the order of the file.
    fn origins_value(&self) -> Value {
        let origins = self.origins.load();
        let members = origins.pools().iter().enumerate().flat_map(|(route, pool)| {
            pool.members().iter().map(move |member| {
                json!({
                    "route": route + 1,
                    "address": member.origin().to_string(),
                    "up": member.is_up(),
                    "active": member.active(),
                })
            })
        });
        members.take(crate::limits::REPORTED_ORIGINS).collect()
    }

    /// Brings the gauges of `metrics` up to date.
    pub fn refresh(&self, metrics: &Metrics) {
        let ruleset = self.gate.ruleset();
        let report = self.report.latest();
        let audit = self.gate.audit().counters();
        let gauges = &metrics.gauges;
        gauges.revision.set(count(ruleset.revision().0));
        gauges.cases.set(count(ruleset.cases().len() as u64));
        gauges.hosts.set(count(ruleset.host_count() as u64));
        gauges.index_bytes.set(count(ruleset.index_bytes() as u64));
        let due = due::figures(&ruleset, self.gate.clock().now());
        gauges.due.next_expiry.set(due.next_expiry_seconds);
        gauges.due.expiring.set(count(due.expiring as u64));
        gauges.due.reviews_overdue.set(count(due.overdue as u64));
        let ok = matches!(report.result, ReloadResult::Applied | ReloadResult::Unchanged);
        gauges.held.set(i64::from(report.held.is_some()));
        gauges.reload_ok.set(i64::from(ok));
        gauges.reload_age.set(age_seconds(report.at, self.gate.clock().now()));
        gauges.reload_seconds.set(report.seconds);
        let origins = self.origins.load();
        let members = origins.pools().iter().flat_map(|pool| pool.members());
        gauges.origins_down.set(count(members.filter(|member| !member.is_up()).count() as u64));
        gauges.audit_decided.set(count(audit.decided));
        gauges.audit_durable.set(count(audit.durable));
        gauges.audit_gap.set(count(audit.gap));
        gauges.audit_writing.set(i64::from(audit.writing_ok));
        gauges.audit_sealing.set(i64::from(audit.sealing_ok));
        gauges.audit_unsynced.set(count(audit.unsynced));
    }
}

fn age_seconds(at: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(at).as_secs_f64().max(0.0)
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
