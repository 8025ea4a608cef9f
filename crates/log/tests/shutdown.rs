//! An orderly end: what was queued becomes durable, and nothing is taken any more.

use std::path::Path;

use bytes::Bytes;
use futures_util::{FutureExt, future::try_join_all};
use log::{AppendError, EmbeddedConfig, EmbeddedLog, Log, ReadError, Retention};
use model::{Offset, Partition, PartitionCount};

const P0: Partition = Partition(0);

fn config(directory: &Path) -> EmbeddedConfig {
    EmbeddedConfig::new(directory, PartitionCount::new(1).expect("valid"))
}

#[tokio::test]
async fn what_is_queued_becomes_durable() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = EmbeddedLog::open(config(directory.path())).expect("opened");
    let appends: Vec<_> = (0..200_u8).map(|n| log.append(P0, vec![n; 1000].into())).collect();
    let waiting = log.read(P0, Offset(200), 1);
    log.shutdown().await.expect("in order");

    let offsets = try_join_all(appends).await.expect("appended");
    assert!(offsets.into_iter().map(|offset| offset.0).eq(0..200));
    let stopped = "it was shut down".to_owned();
    assert_eq!(waiting.await, Err(ReadError::Stopped(stopped.clone())));
    let late = log.append(P0, Bytes::new()).await;
    assert_eq!(late, Err(AppendError::Stopped(stopped.clone())));
    let retention = Retention { not_past: Offset(0), older_than: None, max_bytes: None };
    assert_eq!(log.trim(P0, retention).await, Err(ReadError::Stopped(stopped)));
    assert!(log.failed().now_or_never().is_none(), "an orderly end is no failure");
    log.shutdown().await.expect("a second time does nothing");

    let log = EmbeddedLog::open(config(directory.path())).expect("opened again");
    assert_eq!(log.bounds(P0).next, Offset(200));
}

#[tokio::test]
async fn dropping_is_an_orderly_end_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = EmbeddedLog::open(config(directory.path())).expect("opened");
    let append = log.append(P0, Bytes::from_static(b"x"));
    drop(log);
    assert_eq!(append.await, Ok(Offset(0)));
    let log = EmbeddedLog::open(config(directory.path())).expect("opened again");
    assert_eq!(log.bounds(P0).next, Offset(1));
}
