//! Metrics of a replica that follows the feed.

use prometheus::{Error, IntCounter, Registry};

use crate::{names, register};

/// What came of the records of the feed.
#[derive(Debug, Clone)]
pub struct FeedMetrics {
    /// Records read.
    pub records: IntCounter,
    /// Deltas that could not be applied because something before them is missing.
    pub gaps: IntCounter,
    /// Records refused as damaged.
    pub damaged: IntCounter,
}

impl FeedMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        use register::counter;
        Ok(Self {
            records: counter(registry, names::FEED_RECORDS)?,
            gaps: counter(registry, names::FEED_GAPS)?,
            damaged: counter(registry, names::FEED_DAMAGED)?,
        })
    }
}
