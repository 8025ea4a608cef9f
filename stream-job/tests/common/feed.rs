//! Jobs that write a feed, as `topline job` does.

use std::{sync::Arc, time::Duration};

use log::Log;
use stream_job::{Feed, Job, JobConfig, JobError, Restoring, Target};
use telemetry::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, metric};

/// A job that runs.
pub(crate) struct Running {
    pub(crate) metrics: Metrics,
    pub(crate) feed: Feed,
    stop: CancellationToken,
    job: JoinHandle<Result<(), JobError>>,
}

impl Running {
    pub(crate) async fn start(config: JobConfig, log: Arc<dyn Log>, views: Arc<dyn Log>) -> Self {
        let metrics = Metrics::new().expect("named once");
        let feed = Feed::new(views, Duration::from_millis(1), Duration::from_hours(1));
        let job = Job::open(
            config,
            Restoring::default(),
            log,
            Target::Feed(feed.clone()),
            metrics.job.clone(),
        )
        .await;
        let stop = CancellationToken::new();
        let job = tokio::spawn(job.expect("nothing to refuse").run(stop.clone()));
        Self { metrics, feed, stop, job }
    }

    /// Waits until a metric of the job has the right value.
    pub(crate) async fn until(&self, name: &str, right: impl Fn(f64) -> bool) {
        let looking = async {
            while !right(metric(&self.metrics, name)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let looked = tokio::time::timeout(PATIENCE, looking).await;
        looked.unwrap_or_else(|_| panic!("{name} stays at {}", metric(&self.metrics, name)));
    }

    /// Waits until it counts up to the end of the stream, or to where it stops.
    pub(crate) async fn ready(&self) {
        let ready = async {
            while self.feed.ready_partitions() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("ready in time");
    }

    /// Ends it in order, with last checkpoints.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.job.await.expect("no panic").expect("no error");
    }
}
