//! Metrics of the view.

use prometheus::{Error, Gauge, GaugeVec, IntCounter, IntGauge, Registry};

use crate::{names, register};

/// Size and use of the view.
#[derive(Debug, Clone)]
pub struct ViewMetrics {
    /// Entities with lists.
    pub lists: IntGauge,
    /// Rows of all lists.
    pub rows: IntGauge,
    /// Answers taken ready-made.
    pub render_hits: IntCounter,
    /// Answers rendered anew.
    pub render_misses: IntCounter,
    /// Requests waiting for a position.
    pub waiters: IntGauge,
    /// Clients that follow a list.
    pub event_streams: IntGauge,
    lag_seconds: GaugeVec,
}

impl ViewMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        use register::{counter, float_gauges, gauge};
        Ok(Self {
            lists: gauge(registry, names::VIEW_LISTS)?,
            rows: gauge(registry, names::VIEW_ROWS)?,
            render_hits: counter(registry, names::VIEW_RENDER_HITS)?,
            render_misses: counter(registry, names::VIEW_RENDER_MISSES)?,
            waiters: gauge(registry, names::VIEW_WAITERS)?,
            event_streams: gauge(registry, names::VIEW_EVENT_STREAMS)?,
            lag_seconds: float_gauges(registry, names::VIEW_LAG_SECONDS, &["partition"])?,
        })
    }

    /// How old answers about a partition may be, in seconds.
    pub fn lag_seconds(&self, partition: u32) -> Gauge {
        self.lag_seconds.with_label_values(&[partition.to_string()])
    }
}
