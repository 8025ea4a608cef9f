//! Every metric of Topline, and its logs.
//!
//! [`names`] holds the name of every metric. Each stage has a struct of typed handles
//! ([`IngestMetrics`], [`JobMetrics`], …) made on a [`Registry`] of its own; nothing is global.
//! [`Metrics`] holds all of them; [`render`] gives the text that Prometheus scrapes.

mod age;
mod feed;
mod http;
mod ingest;
mod job;
mod log;
mod logging;
pub mod names;
mod register;
mod view;

pub use prometheus::{Error, Gauge, Histogram, IntCounter, IntGauge, Registry};

pub use age::Age;
pub use feed::FeedMetrics;
pub use http::{HttpMetrics, ListenerMetrics, RouteMetrics};
pub use ingest::IngestMetrics;
pub use job::{JobMetrics, JobPartitionMetrics, SideOutputMetrics};
pub use log::{LogMetrics, LogPartitionMetrics};
pub use logging::{LOG_ENV, LogFormat, LoggingError, UnknownLogFormat, init_tracing, parse_filter};
pub use view::ViewMetrics;

use prometheus::{TextEncoder, process_collector::ProcessCollector};

/// The media type of what [`render`] gives.
pub const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;

/// The metrics of all stages, on one registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where they are registered.
    pub registry: Registry,
    /// Requests and connections.
    pub http: HttpMetrics,
    /// POST to log.
    pub ingest: IngestMetrics,
    /// The log.
    pub log: LogMetrics,
    /// The aggregation.
    pub job: JobMetrics,
    /// The view.
    pub view: ViewMetrics,
    /// Of a replica.
    pub feed: FeedMetrics,
}

impl Metrics {
    /// Makes a registry with the metrics of all stages and of the process (`process_*`).
    ///
    /// # Errors
    /// If two metrics have one name, which would be a mistake in this crate.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            http: HttpMetrics::new(&registry)?,
            ingest: IngestMetrics::new(&registry)?,
            log: LogMetrics::new(&registry)?,
            job: JobMetrics::new(&registry)?,
            view: ViewMetrics::new(&registry)?,
            feed: FeedMetrics::new(&registry)?,
            registry,
        })
    }
}

/// All metrics of `registry` in the text format of Prometheus.
///
/// # Errors
/// If a metric cannot be encoded, such as two of one name with different types.
pub fn render(registry: &Registry) -> Result<String, Error> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
