//! Metrics of the log.

use prometheus::{Error, Histogram, IntGauge, IntGaugeVec, Registry};

use crate::{names, register};

/// Commits and sizes of the log.
#[derive(Debug, Clone)]
pub struct LogMetrics {
    /// Seconds of one commit.
    pub commit_duration: Histogram,
    /// Batches of one commit.
    pub commit_batches: Histogram,
    /// Size of the files.
    pub storage_bytes: IntGauge,
    end_offset: IntGaugeVec,
    earliest_offset: IntGaugeVec,
    held_bytes: IntGaugeVec,
    available: IntGaugeVec,
}

impl LogMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        use register::{gauge, gauges, histogram};
        let partition = ["partition"];
        Ok(Self {
            commit_duration: histogram(registry, names::LOG_COMMIT_DURATION, register::SECONDS)?,
            commit_batches: histogram(registry, names::LOG_COMMIT_BATCHES, register::COUNTS)?,
            storage_bytes: gauge(registry, names::LOG_STORAGE_BYTES)?,
            end_offset: gauges(registry, names::LOG_END_OFFSET, &partition)?,
            earliest_offset: gauges(registry, names::LOG_EARLIEST_OFFSET, &partition)?,
            held_bytes: gauges(registry, names::LOG_HELD_BYTES, &partition)?,
            available: gauges(registry, names::LOG_AVAILABLE, &partition)?,
        })
    }

    /// The metrics of one partition. Resolve them once.
    pub fn partition(&self, partition: u32) -> LogPartitionMetrics {
        let label = [partition.to_string()];
        LogPartitionMetrics {
            end_offset: self.end_offset.with_label_values(&label),
            earliest_offset: self.earliest_offset.with_label_values(&label),
            held_bytes: self.held_bytes.with_label_values(&label),
            available: self.available.with_label_values(&label),
        }
    }
}

/// Bounds and size of one partition of the log.
#[derive(Debug, Clone)]
pub struct LogPartitionMetrics {
    /// Next offset.
    pub end_offset: IntGauge,
    /// Earliest offset held.
    pub earliest_offset: IntGauge,
    /// Bytes held.
    pub held_bytes: IntGauge,
    /// Whether appends are acknowledged: 1 or 0.
    pub available: IntGauge,
}
