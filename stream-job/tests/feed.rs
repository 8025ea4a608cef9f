//! What the gauges say while the feed is out of reach, or refuses records.

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{PATIENCE, append, config, feed::Running, log_of, metric, partitions, sale};
use futures_util::{FutureExt, future::BoxFuture};
use log::{AppendError, Bounds, Log, MemoryLog, ReadError, Record, Retention, TrimError};
use model::{Offset, Partition, PartitionCount};
use tokio::{sync::watch, time::timeout};

const APPLIED: &str = "topline_job_applied_offset";
const LAG: &str = "topline_job_lag_batches";
const LAG_SECONDS: &str = "topline_job_lag_seconds";

/// What a topic does with records.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Takes,
    /// Does not answer, as while it is out of reach.
    Silent,
    Refuses,
}

/// A topic that does not always take records.
#[derive(Debug)]
struct Topic {
    log: Arc<MemoryLog>,
    mood: watch::Sender<Mood>,
    /// When it refused a record.
    refused: watch::Sender<Vec<Instant>>,
}

impl Topic {
    fn new(mood: Mood) -> Arc<Self> {
        let (mood, refused) = (watch::Sender::new(mood), watch::Sender::default());
        Arc::new(Self { log: MemoryLog::new(partitions(1)), mood, refused })
    }

    /// When it refused records, as soon as there are so many.
    async fn refusals(&self, count: usize) -> Vec<Instant> {
        let mut refused = self.refused.subscribe();
        let waited = timeout(PATIENCE, refused.wait_for(|refused| refused.len() >= count)).await;
        waited.expect("in time").expect("the topic is there").to_vec()
    }
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
        let (log, mut mood) = (self.log.clone(), self.mood.subscribe());
        let refused = self.refused.clone();
        async move {
            let mood = *mood.wait_for(|&mood| mood != Mood::Silent).await.expect("it is there");
            if mood == Mood::Refuses {
                refused.send_modify(|refused| refused.push(Instant::now()));
                return Err(AppendError::Overloaded(partition));
            }
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

/// A stream of five sales.
async fn five_sales() -> Arc<dyn Log> {
    log_of(&[(0..5).map(|sold| sale(sold, 1, 1, 1)).collect()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_grows_while_the_feed_is_out_of_reach() {
    let home = tempfile::tempdir().expect("a directory");
    let log: Arc<dyn Log> = MemoryLog::new(partitions(1));
    let views = Topic::new(Mood::Takes);
    let running = Running::start(config(home.path()), log.clone(), views.clone()).await;
    append(&*log, 0, sale(0, 1, 1, 1)).await;
    running.until(APPLIED, |applied| applied as u64 == 1).await;
    views.mood.send_replace(Mood::Silent);
    for sold in 1..6 {
        append(&*log, 0, sale(sold, 1, 1, 1)).await;
    }
    running.until(LAG, |lag| lag as u64 == 5).await;
    let before = metric(&running.metrics, LAG_SECONDS);
    running.until(LAG_SECONDS, |lag| lag > before).await;
    views.mood.send_replace(Mood::Takes);
    running.until(LAG, |lag| lag == 0.0).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_checkpoint_the_lag_is_since_the_start() {
    let home = tempfile::tempdir().expect("a directory");
    let views = Topic::new(Mood::Silent);
    let running = Running::start(config(home.path()), five_sales().await, views.clone()).await;
    running.until(LAG, |lag| lag as u64 == 5).await;
    let an_hour = 3600.0;
    running.until(LAG_SECONDS, |lag| lag > 0.0 && lag < an_hour).await;
    views.mood.send_replace(Mood::Takes);
    running.until(LAG, |lag| lag == 0.0).await;
    running.until(LAG_SECONDS, |lag| lag == 0.0).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_feed_refuses_is_not_handed_on() {
    let home = tempfile::tempdir().expect("a directory");
    let (log, views) = (five_sales().await, Topic::new(Mood::Refuses));
    let running = Running::start(config(home.path()), log.clone(), views.clone()).await;
    let tries = views.refusals(3).await;
    assert!(tries[2] - tries[0] >= Duration::from_millis(300), "pauses, of 100 and 200 ms");
    assert_eq!(running.feed.ready_partitions(), 0);
    assert_eq!(metric(&running.metrics, APPLIED) as u64, 0);
    assert_eq!(metric(&running.metrics, LAG) as u64, 5);
    views.mood.send_replace(Mood::Takes);
    running.ready().await;
    running.until(APPLIED, |applied| applied as u64 == 5).await;

    // The same goes for a delta, and for the keyframes that are to make up for it.
    views.mood.send_replace(Mood::Refuses);
    let before = views.refusals(0).await.len();
    append(&*log, 0, sale(5, 1, 1, 1)).await;
    views.refusals(before + 3).await;
    assert_eq!(metric(&running.metrics, APPLIED) as u64, 5);
    assert_eq!(running.feed.ready_partitions(), 1);
    views.mood.send_replace(Mood::Takes);
    running.until(APPLIED, |applied| applied as u64 == 6).await;
    running.stop().await;
}
