//! What the gauges say while the feed is out of reach.

mod common;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use common::{append, config, metric, partitions, sale};
use futures_util::{FutureExt, future::BoxFuture};
use log::{AppendError, Bounds, Log, MemoryLog, ReadError, Record, Retention, TrimError};
use model::{Offset, Partition, PartitionCount};
use stream_job::{Feed, Job, JobConfig, JobError, Target};
use telemetry::Metrics;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_mins(1);

/// A job that writes a feed.
struct Running {
    metrics: Metrics,
    stop: CancellationToken,
    job: JoinHandle<Result<(), JobError>>,
}

impl Running {
    fn start(config: JobConfig, log: Arc<dyn Log>, views: Arc<dyn Log>) -> Self {
        let metrics = Metrics::new().expect("named once");
        let feed = Feed::new(views, Duration::from_millis(1), Duration::from_hours(1));
        let job = Job::open(config, log, Target::Feed(feed), metrics.job.clone());
        let stop = CancellationToken::new();
        let job = tokio::spawn(job.expect("nothing to refuse").run(stop.clone()));
        Self { metrics, stop, job }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.job.await.expect("no panic").expect("no error");
    }
}

/// A topic that takes nothing, and does not answer, while it is out of reach.
#[derive(Debug)]
struct Topic {
    log: Arc<MemoryLog>,
    in_reach: watch::Sender<bool>,
}

impl Log for Topic {
    fn partitions(&self) -> PartitionCount {
        self.log.partitions()
    }

    fn append(
        &self,
        partition: Partition,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        let (log, mut in_reach) = (self.log.clone(), self.in_reach.subscribe());
        async move {
            in_reach.wait_for(|in_reach| *in_reach).await.expect("the topic is there");
            log.append(partition, payload).await
        }
        .boxed()
    }

    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        self.log.read(partition, from, max_bytes)
    }

    fn bounds(&self, partition: Partition) -> Bounds {
        self.log.bounds(partition)
    }

    fn trim(
        &self,
        partition: Partition,
        retention: Retention,
    ) -> BoxFuture<'static, Result<Bounds, TrimError>> {
        self.log.trim(partition, retention)
    }
}

/// Waits until a gauge has this value.
async fn until(metrics: &Metrics, name: &str, right: impl Fn(f64) -> bool) {
    let looking = async {
        while !right(metric(metrics, name)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let looked = tokio::time::timeout(PATIENCE, looking).await;
    looked.unwrap_or_else(|_| panic!("{name} stays at {}", metric(metrics, name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_grows_while_the_feed_is_out_of_reach() {
    let home = tempfile::tempdir().expect("a directory");
    let log: Arc<dyn Log> = MemoryLog::new(partitions(1));
    let in_reach = watch::Sender::new(true);
    let views = Arc::new(Topic { log: MemoryLog::new(partitions(1)), in_reach });
    let running = Running::start(config(home.path()), log.clone(), views.clone());
    append(&*log, 0, sale(0, 1, 1, 1)).await;
    until(&running.metrics, "topline_job_applied_offset", |applied| applied as u64 == 1).await;
    views.in_reach.send_replace(false);
    for sold in 1..6 {
        append(&*log, 0, sale(sold, 1, 1, 1)).await;
    }
    until(&running.metrics, "topline_job_lag_batches", |lag| lag as u64 == 5).await;
    let before = metric(&running.metrics, "topline_job_lag_seconds");
    until(&running.metrics, "topline_job_lag_seconds", |lag| lag > before).await;
    views.in_reach.send_replace(true);
    until(&running.metrics, "topline_job_lag_batches", |lag| lag == 0.0).await;
    running.stop().await;
}
