//! Metrics of the aggregation.

use prometheus::{
    Error, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Registry,
};

use crate::{
    age::{Age, AgeVec},
    names, register,
};

/// What the job applied, skipped, holds and saved; all of it by partition.
#[derive(Debug, Clone)]
pub struct JobMetrics {
    applied_offset: IntGaugeVec,
    purchases: IntCounterVec,
    lines: IntCounterVec,
    lag_batches: IntGaugeVec,
    lag_seconds: GaugeVec,
    watermark_delay: GaugeVec,
    late: IntCounterVec,
    dead_lettered: IntCounterVec,
    side_waiting_bytes: IntGaugeVec,
    side_published: IntCounterVec,
    duplicate_batches: IntCounterVec,
    duplicate_purchases: IntCounterVec,
    duplicate_keys: IntCounterVec,
    live_pairs: IntGaugeVec,
    state_bytes: IntGaugeVec,
    flush_duration: HistogramVec,
    flush_dirty_pairs: HistogramVec,
    checkpoint_age: AgeVec,
    checkpoint_duration: HistogramVec,
    checkpoint_bytes: IntGaugeVec,
    checkpoint_failures: IntCounterVec,
}

impl JobMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let label = ["partition"];
        let side = ["partition", "output"];
        let counters = |metric| register::counters(registry, metric, &label);
        let gauges = |metric| register::gauges(registry, metric, &label);
        let float_gauges = |metric| register::float_gauges(registry, metric, &label);
        let seconds = |metric| register::histograms(registry, metric, &label, register::SECONDS);
        let counts = |metric| register::histograms(registry, metric, &label, register::COUNTS);
        Ok(Self {
            applied_offset: gauges(names::JOB_APPLIED_OFFSET)?,
            purchases: counters(names::JOB_PURCHASES)?,
            lines: counters(names::JOB_LINES)?,
            lag_batches: gauges(names::JOB_LAG_BATCHES)?,
            lag_seconds: float_gauges(names::JOB_LAG_SECONDS)?,
            watermark_delay: float_gauges(names::JOB_WATERMARK_DELAY)?,
            late: register::counters(registry, names::JOB_LATE, &["partition", "window"])?,
            dead_lettered: counters(names::JOB_DEAD_LETTERED)?,
            side_waiting_bytes: register::gauges(registry, names::JOB_SIDE_WAITING_BYTES, &side)?,
            side_published: register::counters(registry, names::JOB_SIDE_PUBLISHED, &side)?,
            duplicate_batches: counters(names::JOB_DUPLICATE_BATCHES)?,
            duplicate_purchases: counters(names::JOB_DUPLICATE_PURCHASES)?,
            duplicate_keys: counters(names::JOB_DUPLICATE_KEYS)?,
            live_pairs: gauges(names::JOB_LIVE_PAIRS)?,
            state_bytes: gauges(names::JOB_STATE_BYTES)?,
            flush_duration: seconds(names::JOB_FLUSH_DURATION)?,
            flush_dirty_pairs: counts(names::JOB_FLUSH_DIRTY_PAIRS)?,
            checkpoint_age: AgeVec::register(registry, names::JOB_CHECKPOINT_AGE)?,
            checkpoint_duration: seconds(names::JOB_CHECKPOINT_DURATION)?,
            checkpoint_bytes: gauges(names::JOB_CHECKPOINT_BYTES)?,
            checkpoint_failures: counters(names::JOB_CHECKPOINT_FAILURES)?,
        })
    }

    /// The metrics of one partition. Resolve them once: using them needs no look-up.
    pub fn partition(&self, partition: u32) -> JobPartitionMetrics {
        let label = [partition.to_string()];
        JobPartitionMetrics {
            applied_offset: self.applied_offset.with_label_values(&label),
            purchases: self.purchases.with_label_values(&label),
            lines: self.lines.with_label_values(&label),
            lag_batches: self.lag_batches.with_label_values(&label),
            lag_seconds: self.lag_seconds.with_label_values(&label),
            watermark_delay: self.watermark_delay.with_label_values(&label),
            dead_lettered: self.dead_lettered.with_label_values(&label),
            duplicate_batches: self.duplicate_batches.with_label_values(&label),
            duplicate_purchases: self.duplicate_purchases.with_label_values(&label),
            duplicate_keys: self.duplicate_keys.with_label_values(&label),
            live_pairs: self.live_pairs.with_label_values(&label),
            state_bytes: self.state_bytes.with_label_values(&label),
            flush_duration: self.flush_duration.with_label_values(&label),
            flush_dirty_pairs: self.flush_dirty_pairs.with_label_values(&label),
            checkpoint_age: self.checkpoint_age.partition(partition),
            checkpoint_duration: self.checkpoint_duration.with_label_values(&label),
            checkpoint_bytes: self.checkpoint_bytes.with_label_values(&label),
            checkpoint_failures: self.checkpoint_failures.with_label_values(&label),
        }
    }

    /// Purchases too late for `window`, the name of a window kind. Resolve it once.
    pub fn late(&self, partition: u32, window: &'static str) -> IntCounter {
        self.late.with_label_values(&[partition.to_string().as_str(), window])
    }

    /// The metrics of a side output that has a topic; `output` is its name. Resolve them once.
    pub fn side_output(&self, partition: u32, output: &'static str) -> SideOutputMetrics {
        let partition = partition.to_string();
        let label = [partition.as_str(), output];
        SideOutputMetrics {
            waiting_bytes: self.side_waiting_bytes.with_label_values(&label),
            published: self.side_published.with_label_values(&label),
        }
    }
}

/// The metrics of one side output of one partition.
#[derive(Debug, Clone)]
pub struct SideOutputMetrics {
    /// Bytes of what its topic has not acknowledged.
    pub waiting_bytes: IntGauge,
    /// What its topic has acknowledged.
    pub published: IntCounter,
}

/// The metrics of one partition of the job.
#[derive(Debug, Clone)]
pub struct JobPartitionMetrics {
    /// Everything before this offset is handed on.
    pub applied_offset: IntGauge,
    /// Purchases applied.
    pub purchases: IntCounter,
    /// Lines applied.
    pub lines: IntCounter,
    /// Batches in the log that are not handed on.
    pub lag_batches: IntGauge,
    /// Seconds behind, by append time.
    pub lag_seconds: Gauge,
    /// Seconds that the watermark is behind the clock.
    pub watermark_delay: Gauge,
    /// Records that could not be decoded.
    pub dead_lettered: IntCounter,
    /// Batches applied before.
    pub duplicate_batches: IntCounter,
    /// Purchases applied before, by sequence.
    pub duplicate_purchases: IntCounter,
    /// Purchases applied before, by idempotency key.
    pub duplicate_keys: IntCounter,
    /// All pairs ever seen.
    pub live_pairs: IntGauge,
    /// Bytes of state.
    pub state_bytes: IntGauge,
    /// Seconds of a flush.
    pub flush_duration: Histogram,
    /// Changed pairs that may have a row in the view, in one flush.
    pub flush_dirty_pairs: Histogram,
    /// Since the last checkpoint.
    pub checkpoint_age: Age,
    /// Seconds to write a checkpoint.
    pub checkpoint_duration: Histogram,
    /// Size of the checkpoint.
    pub checkpoint_bytes: IntGauge,
    /// Checkpoints that could not be written.
    pub checkpoint_failures: IntCounter,
}
