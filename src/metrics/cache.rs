//! What the cache counts.

use prometheus::{IntCounter, IntGauge};

use super::{Adder, MetricsError};

/// Written by the cache as things happen; all at zero where there is none.
#[derive(Debug)]
pub struct CacheMetrics {
    /// Answers given from the cache without asking an origin.
    pub hits: IntCounter,
    /// Answers that an origin was asked for, although they might have been in the cache.
    pub misses: IntCounter,
    /// Answers that the cache had no part in.
    pub bypasses: IntCounter,
    /// Objects that were put in.
    pub stored: IntCounter,
    /// Objects that made room for others.
    pub evictions: IntCounter,
    /// Objects taken out because a case blocks their host or closes their origin, or an operator said so.
    pub purged: IntCounter,
    /// Objects that are in.
    pub objects: IntGauge,
    /// Bytes of memory taken.
    pub bytes: IntGauge,
    /// Bytes of memory that may be taken; 0 where there is no cache.
    pub limit: IntGauge,
}

impl CacheMetrics {
    pub(super) fn new(add: &Adder<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            hits: add.counter("interdict_cache_hits_total", "Answers given from the cache.")?,
            misses: add.counter("interdict_cache_misses_total", "Answers that an origin was asked for.")?,
            bypasses: add
                .counter("interdict_cache_bypasses_total", "Answers that the cache had no part in.")?,
            stored: add.counter("interdict_cache_stored_total", "Objects put into the cache.")?,
            evictions: add
                .counter("interdict_cache_evictions_total", "Objects that made room for others.")?,
            purged: add
                .counter("interdict_cache_purged_total", "Objects taken out for a case or by an operator.")?,
            objects: add.gauge("interdict_cache_objects", "Objects in the cache.")?,
            bytes: add.gauge("interdict_cache_bytes", "Bytes of memory the cache takes.")?,
            limit: add.gauge("interdict_cache_limit_bytes", "Bytes of memory the cache may take.")?,
        })
    }
}
