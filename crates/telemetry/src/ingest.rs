//! Metrics of the way from a POST into the log.

use prometheus::{Error, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::{names, register};

/// What ingest took, refused, queued and appended.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    /// Purchases acknowledged.
    pub purchases: IntCounter,
    /// Their lines.
    pub lines: IntCounter,
    /// Purchases in a batch.
    pub batch_purchases: Histogram,
    /// Bytes of a batch.
    pub batch_bytes: Histogram,
    /// Seconds until a batch was durable.
    pub append_duration: Histogram,
    /// Appends repeated because the log had too much queued.
    pub append_retries: IntCounter,
    /// Purchases left out because nobody waited any more.
    pub abandoned: IntCounter,
    /// Empty batches appended.
    pub ticks: IntCounter,
    rejected: IntCounterVec,
    queue: IntGaugeVec,
}

impl IngestMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        use register::{counter, counters, gauges, histogram};
        Ok(Self {
            purchases: counter(registry, names::INGEST_PURCHASES)?,
            lines: counter(registry, names::INGEST_LINES)?,
            batch_purchases: histogram(registry, names::INGEST_BATCH_PURCHASES, register::COUNTS)?,
            batch_bytes: histogram(registry, names::INGEST_BATCH_BYTES, register::BYTES)?,
            append_duration: histogram(registry, names::INGEST_APPEND_DURATION, register::SECONDS)?,
            append_retries: counter(registry, names::INGEST_APPEND_RETRIES)?,
            abandoned: counter(registry, names::INGEST_ABANDONED)?,
            ticks: counter(registry, names::INGEST_TICKS)?,
            rejected: counters(registry, names::INGEST_REJECTED, &["reason"])?,
            queue: gauges(registry, names::INGEST_QUEUE_PURCHASES, &["partition"])?,
        })
    }

    /// Purchases not taken for `reason`, one of a fixed set. Resolve it once.
    pub fn rejected(&self, reason: &'static str) -> IntCounter {
        self.rejected.with_label_values(&[reason])
    }

    /// Purchases queued or being appended in one partition. Resolve it once.
    pub fn queue(&self, partition: u32) -> IntGauge {
        self.queue.with_label_values(&[partition.to_string()])
    }
}
