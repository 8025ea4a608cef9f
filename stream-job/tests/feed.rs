//! What the gauges say while the feed is out of reach.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{append, config, feed::Running, metric, partitions, sale};
use futures_util::{FutureExt, future::BoxFuture};
use log::{AppendError, Bounds, Log, MemoryLog, ReadError, Record, Retention, TrimError};
use model::{Offset, Partition, PartitionCount};
use tokio::sync::watch;

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

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_grows_while_the_feed_is_out_of_reach() {
    let home = tempfile::tempdir().expect("a directory");
    let log: Arc<dyn Log> = MemoryLog::new(partitions(1));
    let in_reach = watch::Sender::new(true);
    let views = Arc::new(Topic { log: MemoryLog::new(partitions(1)), in_reach });
    let running = Running::start(config(home.path()), log.clone(), views.clone());
    append(&*log, 0, sale(0, 1, 1, 1)).await;
    running.until("topline_job_applied_offset", |applied| applied as u64 == 1).await;
    views.in_reach.send_replace(false);
    for sold in 1..6 {
        append(&*log, 0, sale(sold, 1, 1, 1)).await;
    }
    running.until("topline_job_lag_batches", |lag| lag as u64 == 5).await;
    let before = metric(&running.metrics, "topline_job_lag_seconds");
    running.until("topline_job_lag_seconds", |lag| lag > before).await;
    views.in_reach.send_replace(true);
    running.until("topline_job_lag_batches", |lag| lag == 0.0).await;
    running.stop().await;
}
