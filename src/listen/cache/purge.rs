//! Passes: what a block leaves of the cache, and what an operator takes out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::watch;

use super::{Cache, Removed};
use crate::decide::{may_block, may_close};
use crate::gate::Gate;
use crate::policy::{Pattern, Ruleset};

/// What a pass was made for.
#[derive(Debug)]
pub(super) struct Checked {
    revision: u64,
    at: Timestamp,
    /// When those rules would have called for the next pass.
    next: Option<Timestamp>,
}

impl Checked {
    /// Nothing is stored yet, so there is nothing to look for.
    pub(super) fn now(gate: &Gate) -> Self {
        Self::of(&gate.ruleset(), gate.clock().now())
    }

    fn of(rules: &Ruleset, at: Timestamp) -> Self {
        Self { revision: rules.revision().0, at, next: rules.next_transition(at) }
    }

    /// Whether a pass for these rules at this time is still to come.
    pub(super) fn is_behind(&self, rules: &Ruleset, now: Timestamp) -> bool {
        rules.revision().0 > self.revision || rules.next_transition(self.at).is_some_and(|turn| turn <= now)
    }

    /// Whether there was, or may have been, a verdict in between that these rules do not tell of: another ruleset,
    /// or a turn of a case in the one before.
    fn has_missed(&self, rules: &Ruleset, now: Timestamp) -> bool {
        let revision = rules.revision().0;
        let turned = || self.next.is_some_and(|turn| turn <= now);
        revision != self.revision && (revision != self.revision + 1 || turned())
    }
}

impl Cache {
    /// Takes out what the rules in force block or close for anybody, or have since the last pass, and whatever is on
    /// its way in from there.
    pub(super) fn pass(&self) {
        let began = Instant::now();
        // In this order: whoever sees the new count is judged by these rules, or later ones.
        let (rules, now) = (self.gate.ruleset(), self.gate.clock().now());
        self.passes.fetch_add(1, Ordering::AcqRel);
        let last = self.checked.load_full();
        let all = last.has_missed(&rules, now);
        let mut struck = false;
        for site in self.sites.all() {
            if all || may_block(&rules, &site.name, last.at, now) {
                self.sites.strike(&site);
                struck = true;
            }
        }
        for source in self.sources.all() {
            if all || may_close(&rules, source.name.ip(), last.at, now) {
                self.sources.strike(&source);
                struck = true;
            }
        }
        self.checked.store(Arc::new(Checked::of(&rules, now)));
        if struck {
            let Removed { objects, bytes } = self.bury();
            let (revision, seconds) = (rules.revision(), began.elapsed().as_secs_f64());
            tracing::info!(%revision, objects, bytes, all, seconds, "the cache was purged of what is blocked");
        }
    }

    /// Takes out everything of the hosts a pattern covers, and whatever of it is on its way in.
    pub fn purge(&self, pattern: &Pattern) -> Removed {
        for site in self.sites.all() {
            if pattern.covers(&site.name) {
                self.sites.strike(&site);
            }
        }
        let removed = self.bury();
        tracing::info!(%pattern, objects = removed.objects, bytes = removed.bytes, "the cache was purged");
        removed
    }

    fn bury(&self) -> Removed {
        let removed = self.store.bury();
        self.gate.metrics().cache.purged.inc_by(removed.objects as u64);
        removed
    }
}

/// Makes a pass whenever a verdict may have changed, on a thread of its own.
#[derive(Debug)]
pub struct Purger {
    cache: &'static Cache,
    /// Subscribed to before the first request: no change goes unheard.
    changes: watch::Receiver<u64>,
}

impl Purger {
    /// The purger of a cache.
    #[must_use]
    pub fn new(cache: &'static Cache) -> Self {
        Self { cache, changes: cache.gate.changes() }
    }
}

#[async_trait]
impl BackgroundService for Purger {
    /// Until the edge stops: from then on, what is in the cache is given only as long as no rule changes.
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut changes = self.changes.clone();
        loop {
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => self.cache.pass(),
                    Err(_) => return,
                },
                _ = shutdown.wait_for(|stopping| *stopping) => return,
            }
        }
    }
}
