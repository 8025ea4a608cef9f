//! What happens when the storage fails: it is injected below the database, so the log meets it as
//! it would meet the real thing.

use std::{
    io::{Error, Result},
    ops::Bound,
    sync::atomic::{AtomicU8, Ordering},
};

use redb::BackendError;

use super::*;

const P0: Partition = Partition(0);

const HEALTHY: u8 = 0;
const FAILS_SYNC: u8 = 1;
const FAILS_WRITE: u8 = 2;
const PANICS: u8 = 3;
/// Pages as large as those of a record of 40 KB are read back with a flipped bit.
const ROTS: u8 = 4;

/// A file that does as told.
#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    health: Arc<AtomicU8>,
}

impl Faulty {
    fn unless(&self, fault: u8) -> Result<()> {
        match self.health.load(Ordering::SeqCst) {
            PANICS => panic!("the storage panics"),
            health if health == fault => Err(Error::other("the disk is on fire")),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.file.read(offset, out)?;
        if self.health.load(Ordering::SeqCst) == ROTS && out.len() > 32_768 {
            out[20_000] ^= 1;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<()> {
        self.unless(FAILS_SYNC)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.unless(FAILS_WRITE)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<()> {
        self.file.close()
    }

    fn try_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

/// Appends, lets the storage fail, and sees that the log stops for good and loses nothing.
async fn stops_on(fault: u8, reason: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = EmbeddedConfig::new(directory.path(), PartitionCount::new(1).expect("valid"));
    let health = Arc::new(AtomicU8::new(HEALTHY));
    let faulty = |file| Faulty { file, health: Arc::clone(&health) };
    let log = EmbeddedLog::open_with(config.clone(), faulty).expect("opened");
    for offset in 0..10 {
        assert_eq!(log.append(P0, vec![7; 100].into()).await, Ok(Offset(offset)));
    }

    let waiting = log.read(P0, Offset(10), 1);
    health.store(fault, Ordering::SeqCst);
    let error = log.append(P0, Bytes::from_static(b"lost")).await.expect_err("not durable");
    assert!(matches!(&error, AppendError::Stopped(text) if text.contains(reason)), "{error}");
    let failure = log.failed().await;
    assert!(failure.0.contains(reason) && failure.0.contains("log.redb"), "{failure}");

    health.store(HEALTHY, Ordering::SeqCst);
    let stopped = failure.0.clone();
    assert_eq!(log.append(P0, Bytes::new()).await, Err(AppendError::Stopped(stopped.clone())));
    assert_eq!(waiting.await, Err(ReadError::Stopped(stopped.clone())));
    let keep = Retention { not_past: Offset(0), older_than: None, max_bytes: None };
    assert_eq!(log.trim(P0, keep).await, Err(ReadError::Stopped(stopped)));
    assert_eq!(log.read(P0, Offset(0), usize::MAX).await.expect("in the tail").len(), 10);
    assert_eq!(log.shutdown().await, Err(failure));

    let log = EmbeddedLog::open(config).expect("opened again");
    assert_eq!(log.read(P0, Offset(0), 1000).await.expect("readable").len(), 10);
    let next = log.bounds(P0).next;
    assert!((10..=11).contains(&next.0), "{next}");
    assert_eq!(log.append(P0, Bytes::new()).await, Ok(next));
}

#[tokio::test]
async fn an_append_that_comes_alone_does_not_wait_for_company() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let partitions = PartitionCount::new(2).expect("valid");
    let day = std::time::Duration::from_hours(24);
    let config = EmbeddedConfig {
        commit_interval: day,
        ..EmbeddedConfig::new(directory.path(), partitions)
    };
    let log = EmbeddedLog::open(config).expect("opened");
    for offset in 0..5 {
        for partition in partitions.iter() {
            assert_eq!(log.append(partition, Bytes::from_static(b"one")).await, Ok(Offset(offset)));
        }
    }
    // Several at once may wait for a day; the end of the log is sooner.
    let appends: Vec<_> =
        (0..20).map(|n| log.append(Partition(n % 2), Bytes::from_static(b"more"))).collect();
    log.shutdown().await.expect("an orderly end");
    for append in appends {
        append.await.expect("durable");
    }
}

#[tokio::test]
async fn a_failed_sync_stops_the_log() {
    stops_on(FAILS_SYNC, "the disk is on fire").await;
}

#[tokio::test]
async fn a_failed_write_stops_the_log() {
    stops_on(FAILS_WRITE, "the disk is on fire").await;
}

#[tokio::test]
async fn a_panic_of_the_database_stops_the_log() {
    stops_on(PANICS, "the storage panics").await;
}

#[tokio::test]
async fn a_rotten_record_is_an_error_and_the_rest_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let partitions = PartitionCount::new(1).expect("valid");
    let config = EmbeddedConfig {
        tail_bytes: 0,
        cache_bytes: 0,
        ..EmbeddedConfig::new(directory.path(), partitions)
    };
    let health = Arc::new(AtomicU8::new(HEALTHY));
    let faulty = |file| Faulty { file, health: Arc::clone(&health) };
    let log = EmbeddedLog::open_with(config, faulty).expect("opened");
    log.append(P0, vec![7; 40_000].into()).await.expect("appended");
    log.append(P0, vec![7; 400].into()).await.expect("appended");

    health.store(ROTS, Ordering::SeqCst);
    let error = log.read(P0, Offset(0), 1).await.expect_err("damaged");
    assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("log.redb is damaged: offset 0 of partition 0"), "{text}");
    let all = Retention { not_past: Offset(2), older_than: None, max_bytes: Some(0) };
    assert_eq!(log.trim(P0, all).await, Err(error));
    assert_eq!(log.read(P0, Offset(1), 1).await.expect("readable").len(), 1);
    assert_eq!(log.append(P0, Bytes::new()).await, Ok(Offset(2)));
    assert_eq!(log.bounds(P0), Bounds { earliest: Offset(0), next: Offset(3) });

    health.store(HEALTHY, Ordering::SeqCst);
    assert_eq!(log.read(P0, Offset(0), 1).await.expect("readable").len(), 1);
}
