//! Counts of our own in the registry of all metrics.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::MetricsError;

/// What can be read off as a metric.
pub(super) trait Count: Send + Sync {
    const KIND: MetricType;

    /// As of now.
    fn metrics(&self) -> Vec<Metric>;
}

/// A count under its name; clones are the same count.
#[derive(Debug)]
pub(super) struct Shown<C>(Arc<(Desc, C)>);

impl<C> Shown<C> {
    pub(super) fn new(name: &str, help: &str, labels: &[&str], count: C) -> Result<Self, MetricsError> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Ok(Self(Arc::new((Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?, count))))
    }
}

impl<C> Clone for Shown<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Deref for Shown<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0.1
    }
}

impl<C: Count> Collector for Shown<C> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.0]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (desc, count) = &*self.0;
        let mut family = MetricFamily::default();
        family.set_name(desc.fq_name.clone());
        family.set_help(desc.help.clone());
        family.set_field_type(C::KIND);
        family.set_metric(count.metrics());
        vec![family]
    }
}
