//! Making metrics and registering them in one step.

use prometheus::{
    Error, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

use crate::names::Metric;

/// Times from 100 µs to 10 s: in-memory reads, commits, checkpoints.
pub(crate) const SECONDS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Counts of things handled together: 1 to 65,536.
pub(crate) const COUNTS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16_384.0, 65_536.0];
/// Sizes of records: 256 B to 1 MiB.
pub(crate) const BYTES: &[f64] =
    &[256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn opts(metric: Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

pub(crate) fn counter(registry: &Registry, metric: Metric) -> Result<IntCounter, Error> {
    register(registry, IntCounter::with_opts(opts(metric))?)
}

pub(crate) fn counters(
    registry: &Registry,
    metric: Metric,
    labels: &[&str],
) -> Result<IntCounterVec, Error> {
    register(registry, IntCounterVec::new(opts(metric), labels)?)
}

pub(crate) fn gauge(registry: &Registry, metric: Metric) -> Result<IntGauge, Error> {
    register(registry, IntGauge::with_opts(opts(metric))?)
}

pub(crate) fn gauges(
    registry: &Registry,
    metric: Metric,
    labels: &[&str],
) -> Result<IntGaugeVec, Error> {
    register(registry, IntGaugeVec::new(opts(metric), labels)?)
}

pub(crate) fn float_gauges(
    registry: &Registry,
    metric: Metric,
    labels: &[&str],
) -> Result<GaugeVec, Error> {
    register(registry, GaugeVec::new(opts(metric), labels)?)
}

pub(crate) fn histogram(
    registry: &Registry,
    metric: Metric,
    buckets: &[f64],
) -> Result<Histogram, Error> {
    let opts = HistogramOpts::from(opts(metric)).buckets(buckets.to_vec());
    register(registry, Histogram::with_opts(opts)?)
}

pub(crate) fn histograms(
    registry: &Registry,
    metric: Metric,
    labels: &[&str],
    buckets: &[f64],
) -> Result<HistogramVec, Error> {
    let opts = HistogramOpts::from(opts(metric)).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(opts, labels)?)
}
