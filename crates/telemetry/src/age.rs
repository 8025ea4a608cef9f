//! Ages: gauges whose value grows by itself until something happens again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use prometheus::{
    Error, GaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::names::Metric;

/// Seconds since something happened, by partition; right whenever it is read, even if the task
/// that should make it happen hangs.
#[derive(Debug, Clone)]
pub(crate) struct AgeVec {
    last: Arc<Mutex<BTreeMap<u32, Instant>>>,
    gauges: GaugeVec,
}

/// The age of one partition.
#[derive(Debug, Clone)]
pub struct Age {
    partition: u32,
    last: Arc<Mutex<BTreeMap<u32, Instant>>>,
}

impl AgeVec {
    pub(crate) fn register(registry: &Registry, metric: Metric) -> Result<Self, Error> {
        let gauges = GaugeVec::new(Opts::new(metric.name, metric.help), &["partition"])?;
        let ages = Self { last: Arc::default(), gauges };
        registry.register(Box::new(ages.clone()))?;
        Ok(ages)
    }

    pub(crate) fn partition(&self, partition: u32) -> Age {
        Age { partition, last: Arc::clone(&self.last) }
    }
}

impl Age {
    /// It has happened: the age is zero now.
    pub fn reset(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(self.partition, Instant::now());
    }
}

impl Collector for AgeVec {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (partition, at) in last {
            let labels = [partition.to_string()];
            self.gauges.with_label_values(&labels).set(at.elapsed().as_secs_f64());
        }
        self.gauges.collect()
    }
}
