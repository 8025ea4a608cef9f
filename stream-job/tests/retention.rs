//! The log is trimmed behind the checkpoints, and never past them.

mod common;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::{answers_of, append, config, partitions, sale, start};
use futures_util::future::BoxFuture;
use log::{AppendError, Bounds, Log, MemoryLog, ReadError, Record, Retention, TrimError};
use model::{Offset, Partition, PartitionCount};
use stream_job::{JobConfig, RetentionConfig};

/// A log that counts how often it was trimmed.
#[derive(Debug)]
struct Counting {
    inner: Arc<MemoryLog>,
    trims: AtomicU64,
}

impl Log for Counting {
    fn partitions(&self) -> PartitionCount {
        self.inner.partitions()
    }

    fn append(
        &self,
        partition: Partition,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        self.inner.append(partition, payload)
    }

    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        self.inner.read(partition, from, max_bytes)
    }

    fn bounds(&self, partition: Partition) -> Bounds {
        self.inner.bounds(partition)
    }

    fn trim(
        &self,
        partition: Partition,
        retention: Retention,
    ) -> BoxFuture<'static, Result<Bounds, TrimError>> {
        let trimmed = self.inner.trim(partition, retention);
        self.trims.fetch_add(1, Ordering::SeqCst);
        trimmed
    }
}

impl Counting {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryLog::new(partitions(1)), trims: AtomicU64::new(0) })
    }

    async fn sell(&self, sequences: Range<u64>) {
        for sequence in sequences {
            append(self, 0, sale(sequence, 1, 1 + sequence, 1)).await;
        }
    }

    fn earliest(&self) -> Offset {
        self.bounds(Partition(0)).earliest
    }

    /// Waits for some more trims, then until the log begins at `earliest` or later.
    async fn trimmed_to(&self, earliest: Offset) -> Offset {
        let enough = self.trims.load(Ordering::SeqCst) + 5;
        let trimmed = async {
            while self.trims.load(Ordering::SeqCst) < enough || self.earliest() < earliest {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), trimmed).await.expect("trimmed in time");
        self.earliest()
    }
}

/// Everything may go at once.
fn eager(mut config: JobConfig) -> JobConfig {
    config.retention = RetentionConfig {
        age: Duration::from_nanos(1),
        max_bytes: Some(0),
        interval: Duration::from_millis(1),
    };
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_checkpoint_has_is_trimmed() {
    let home = tempfile::tempdir().unwrap();
    let log = Counting::new();
    log.sell(0..20).await;
    // No checkpoint comes while it runs, so nothing goes, however often retention looks.
    let mut running = start(eager(config(home.path())), log.clone()).unwrap();
    running.caught_up().await.unwrap();
    assert_eq!(log.trimmed_to(Offset(0)).await, Offset(0));
    running.stop().await;

    // The checkpoint of the end has 20 batches: they go, those that come now stay.
    let mut running = start(eager(config(home.path())), log.clone()).unwrap();
    log.sell(20..30).await;
    running.caught_up().await.unwrap();
    assert_eq!(log.trimmed_to(Offset(20)).await, Offset(20));
    running.stop().await;

    // With checkpoints all the time, the log follows; what was trimmed is still counted.
    let often = Duration::from_millis(1);
    let often = JobConfig { checkpoint_interval: often, ..eager(config(home.path())) };
    let mut running = start(often, log.clone()).unwrap();
    log.sell(30..40).await;
    running.caught_up().await.unwrap();
    assert_eq!(log.trimmed_to(Offset(40)).await, Offset(40));
    let answers = running.answers();
    running.stop().await;

    let whole = Counting::new();
    whole.sell(0..40).await;
    assert!(answers == answers_of(whole).await);
}
