//! What the metrics say of cases that end, and of reviews.

use prometheus::{Gauge, IntGauge};

use super::{Adder, MetricsError};

/// Set just before they are shown.
#[derive(Debug)]
pub struct DueMetrics {
    /// Seconds to the next end of a case or exemption; infinite when there is none.
    pub next_expiry: Gauge,
    /// Cases and exemptions that end within seven days.
    pub expiring: IntGauge,
    /// Cases whose review is late.
    pub reviews_overdue: IntGauge,
}

impl DueMetrics {
    pub(super) fn new(add: &Adder<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            next_expiry: add.float(
                "interdict_policy_next_expiry_seconds",
                "Seconds to the next end of a case or exemption; infinite when there is none.",
            )?,
            expiring: add
                .gauge("interdict_policy_expiring", "Cases and exemptions that end within seven days.")?,
            reviews_overdue: add.gauge("interdict_policy_reviews_overdue", "Cases whose review is late.")?,
        })
    }
}
