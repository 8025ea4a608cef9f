//! The log is trimmed behind the checkpoints, and never past them, nor the last record that they have; if it cannot
//! be, the job ends.

mod common;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::{answers_of, append, config, partitions, sale, start};
use futures_util::{FutureExt, future, future::BoxFuture};
use log::{AppendError, Bounds, Log, MemoryLog, ReadError, Record, Retention, TrimError};
use model::{Offset, Partition, PartitionCount};
use stream_job::{JobConfig, RetentionConfig};

/// A log that counts how often it was trimmed.
#[derive(Debug)]
struct Counting {
    inner: Arc<MemoryLog>,
    trims: AtomicU64,
    /// Whether it can be trimmed no more.
    broken: AtomicBool,
    /// A partition that gives nothing.
    silent: Option<Partition>,
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
        if self.silent == Some(partition) {
            return future::pending().boxed();
        }
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
        if self.broken.load(Ordering::SeqCst) {
            let detail = "its checksum is wrong".to_owned();
            return future::err(TrimError::Corrupt { file: "log".into(), detail }).boxed();
        }
        let trimmed = self.inner.trim(partition, retention);
        self.trims.fetch_add(1, Ordering::SeqCst);
        trimmed
    }
}

impl Counting {
    fn with(count: u32) -> Self {
        Self {
            inner: MemoryLog::new(partitions(count)),
            trims: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            silent: None,
        }
    }

    fn new() -> Arc<Self> {
        Arc::new(Self::with(1))
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
    let mut running = start(eager(config(home.path())), log.clone()).await.unwrap();
    running.caught_up().await.unwrap();
    assert_eq!(log.trimmed_to(Offset(0)).await, Offset(0));
    running.stop().await;

    // The checkpoint of the end has 20 batches: they go, but for the last; those that come now stay.
    let mut running = start(eager(config(home.path())), log.clone()).await.unwrap();
    log.sell(20..30).await;
    running.caught_up().await.unwrap();
    assert_eq!(log.trimmed_to(Offset(19)).await, Offset(19));
    running.stop().await;

    // With checkpoints all the time, the log follows; what was trimmed is still counted.
    let often = Duration::from_millis(1);
    let often = JobConfig { checkpoint_interval: often, ..eager(config(home.path())) };
    let mut running = start(often, log.clone()).await.unwrap();
    log.sell(30..40).await;
    running.caught_up().await.unwrap();
    assert_eq!(log.trimmed_to(Offset(39)).await, Offset(39));
    let answers = running.answers();
    running.stop().await;

    let whole = Counting::new();
    whole.sell(0..40).await;
    assert!(answers == answers_of(whole).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_trimmed_ends_the_job() {
    let home = tempfile::tempdir().unwrap();
    let log = Counting::new();
    log.sell(0..20).await;
    let mut running = start(eager(config(home.path())), log.clone()).await.unwrap();
    running.caught_up().await.unwrap();
    log.broken.store(true, Ordering::SeqCst);
    let error = running.failure().await.to_string();
    assert!(error.contains("its checksum is wrong"), "{error}");
}

/// Other workers may wait for what never comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_though_a_worker_waits_for_the_stream() {
    let home = tempfile::tempdir().unwrap();
    let log = Arc::new(Counting { silent: Some(Partition(1)), ..Counting::with(2) });
    log.sell(0..20).await;
    append(&*log, 1, sale(0, 1, 1, 1)).await;
    log.broken.store(true, Ordering::SeqCst);
    let error = start(eager(config(home.path())), log).await.unwrap().failure().await.to_string();
    assert!(error.contains("its checksum is wrong"), "{error}");
}
