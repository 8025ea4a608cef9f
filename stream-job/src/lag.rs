//! How far what has been handed on is behind the stream; reported also while a worker waits to hand on more.

use std::{sync::Arc, time::Duration};

use log::Log;
use model::{Partition, Timestamp};
use telemetry::JobPartitionMetrics;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use window::Progress;

/// Between two reports, besides those at each flush.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reports the lag of one partition.
pub(crate) struct Lag {
    partition: Partition,
    log: Arc<dyn Log>,
    metrics: JobPartitionMetrics,
    /// Since when there may be a lag if nothing has ever been applied.
    created: Timestamp,
    /// `None` until it is known where the worker starts.
    handed_on: watch::Sender<Option<Progress>>,
}

impl Lag {
    pub(crate) fn new(
        partition: Partition,
        log: Arc<dyn Log>,
        metrics: JobPartitionMetrics,
    ) -> Arc<Self> {
        let (created, handed_on) = (Timestamp::now(), watch::Sender::new(None));
        Arc::new(Self { partition, log, metrics, created, handed_on })
    }

    /// Everything before `progress.next` has been handed on.
    pub(crate) fn handed_on(&self, progress: &Progress) {
        self.handed_on.send_replace(Some(*progress));
        self.report();
    }

    /// Reports at intervals, until shutdown.
    pub(crate) async fn keep_reporting(self: Arc<Self>, shutdown: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.report();
        }
    }

    fn report(&self) {
        let Some(progress) = *self.handed_on.borrow() else { return };
        let end = self.log.bounds(self.partition).next;
        let behind = end.0.saturating_sub(progress.next.0);
        let now = Timestamp::now();
        let since = |time| now.since(time).as_secs_f64();
        let applied = progress.append_time.unwrap_or(self.created);
        self.metrics.applied_offset.set(progress.next.0 as i64);
        self.metrics.lag_batches.set(behind as i64);
        self.metrics.lag_seconds.set(if behind == 0 { 0.0 } else { since(applied) });
        self.metrics.watermark_delay.set(progress.watermark.map_or(0.0, since));
    }
}
