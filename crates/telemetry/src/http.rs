//! Metrics of requests and connections.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::{names, register};

/// The status codes the services answer with; any other is counted as `other`.
const STATUSES: [u16; 20] = [
    200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 408, 413, 415, 429, 431, 500, 503, 504,
    501,
];

/// Requests of all services and connections of all listeners.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    connections: prometheus::IntGaugeVec,
    accepted: IntCounterVec,
    expired: IntCounterVec,
    accept_errors: IntCounterVec,
}

impl HttpMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let route = ["service", "route"];
        Ok(Self {
            requests: register::counters(
                registry,
                names::HTTP_REQUESTS,
                &["service", "route", "status"],
            )?,
            durations: register::histograms(
                registry,
                names::HTTP_REQUEST_DURATION,
                &route,
                register::SECONDS,
            )?,
            connections: register::gauges(registry, names::HTTP_CONNECTIONS, &["listener"])?,
            accepted: register::counters(
                registry,
                names::HTTP_CONNECTIONS_ACCEPTED,
                &["listener"],
            )?,
            expired: register::counters(
                registry,
                names::HTTP_CONNECTIONS_EXPIRED,
                &["listener", "limit"],
            )?,
            accept_errors: register::counters(registry, names::HTTP_ACCEPT_ERRORS, &["listener"])?,
        })
    }

    /// The metrics of one route of one service. Both must come from a fixed set.
    pub fn route(&self, service: &'static str, route: &'static str) -> RouteMetrics {
        RouteMetrics {
            inner: Arc::new(RouteInner {
                requests: self.requests.clone(),
                labels: [service, route],
                duration: self.durations.with_label_values(&[service, route]),
                statuses: [const { OnceLock::new() }; STATUSES.len()],
            }),
        }
    }

    /// The metrics of one listener, such as `public` or `admin`.
    pub fn listener(&self, listener: &'static str) -> ListenerMetrics {
        let label = [listener];
        let expired = |limit| self.expired.with_label_values(&[listener, limit]);
        ListenerMetrics {
            name: listener,
            connections: self.connections.with_label_values(&label),
            accepted: self.accepted.with_label_values(&label),
            accept_errors: self.accept_errors.with_label_values(&label),
            header_expired: expired("header"),
            idle_expired: expired("idle"),
            write_expired: expired("write"),
        }
    }
}

/// Requests of one route. Recording one is two atomic additions, without a look-up by label.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    inner: Arc<RouteInner>,
}

#[derive(Debug)]
struct RouteInner {
    requests: IntCounterVec,
    labels: [&'static str; 2],
    duration: Histogram,
    /// Resolved when a status is first seen, so that only those that occur are shown.
    statuses: [OnceLock<IntCounter>; STATUSES.len()],
}

impl RouteMetrics {
    /// Counts one answer.
    pub fn observe(&self, status: u16, duration: Duration) {
        self.inner.duration.observe(duration.as_secs_f64());
        match STATUSES.iter().position(|&known| known == status) {
            Some(place) => self.inner.statuses[place]
                .get_or_init(|| self.inner.counter(&status.to_string()))
                .inc(),
            None => self.inner.counter("other").inc(),
        }
    }
}

impl RouteInner {
    fn counter(&self, status: &str) -> IntCounter {
        self.requests.with_label_values(&[self.labels[0], self.labels[1], status])
    }
}

/// Connections of one listener.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    /// Which listener.
    pub name: &'static str,
    /// Open now.
    pub connections: IntGauge,
    /// Accepted since the start.
    pub accepted: IntCounter,
    /// Could not be accepted.
    pub accept_errors: IntCounter,
    /// Closed because the head of a request took too long to arrive.
    pub header_expired: IntCounter,
    /// Closed because no request came for too long.
    pub idle_expired: IntCounter,
    /// Closed because the client did not take its answer.
    pub write_expired: IntCounter,
}
