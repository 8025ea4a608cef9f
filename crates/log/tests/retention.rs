//! Trimming gives the space back to new records, and does not hold up appends.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::Gate;
use futures_util::{FutureExt, future::try_join_all};
use log::{CommitObserver, EmbeddedConfig, EmbeddedLog, Log, Retention};
use model::{Offset, Partition, PartitionCount};

const P0: Partition = Partition(0);
const P1: Partition = Partition(1);

fn config(directory: &tempfile::TempDir) -> EmbeddedConfig {
    EmbeddedConfig::new(directory.path(), PartitionCount::new(2).expect("valid"))
}

fn down_to(max_bytes: u64) -> Retention {
    Retention { not_past: Offset(u64::MAX), older_than: None, max_bytes: Some(max_bytes) }
}

async fn fill(log: &EmbeddedLog, partition: Partition, records: u64, len: usize) {
    let payload = Bytes::from(vec![7; len]);
    let appends = (0..records).map(|_| log.append(partition, payload.clone()));
    try_join_all(appends).await.expect("appended");
}

#[tokio::test]
async fn space_is_used_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = EmbeddedLog::open(config(&directory)).expect("opened");
    for _ in 0..12 {
        // Of 40 KB each, in pages of 64 KB.
        fill(&log, P0, 100, 40_000).await;
        log.trim(P0, down_to(1_000_000)).await.expect("trimmed");
        assert_eq!(log.held_bytes(P0), 1_000_000);
        let size = log.storage_bytes().expect("known");
        assert!(size < 24_000_000, "at most 5 MB are held, in a file of {size} bytes");
    }
}

#[tokio::test]
async fn what_is_held_is_known() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = EmbeddedLog::open(config(&directory)).expect("opened");
    fill(&log, P0, 10, 100).await;
    fill(&log, P1, 3, 7).await;
    assert_eq!((log.held_bytes(P0), log.held_bytes(P1)), (1000, 21));
    log.trim(P0, down_to(450)).await.expect("trimmed");
    log.shutdown().await.expect("shut down in order");
    drop(log);
    let log = EmbeddedLog::open(config(&directory)).expect("opened");
    assert_eq!((log.held_bytes(P0), log.held_bytes(P1)), (400, 21));
}

#[tokio::test]
async fn a_long_trim_lets_appends_through() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = EmbeddedLog::open(config(&directory)).expect("opened");
    fill(&log, P0, 2000, 10).await;
    log.shutdown().await.expect("shut down in order");
    drop(log);

    let (gate, keeper) = Gate::new();
    let observer: Option<Arc<dyn CommitObserver>> = Some(Arc::new(gate));
    let log = EmbeddedLog::open(EmbeddedConfig { observer, ..config(&directory) }).expect("opened");
    let before = log.append(P1, Bytes::from_static(b"before"));
    keeper.wait();
    let mut trim = log.trim(P0, down_to(0));
    let during = log.append(P1, Bytes::from_static(b"during"));
    keeper.pass();
    keeper.wait();
    assert_eq!(log.bounds(P1).next, Offset(2), "the record is durable");
    assert_eq!(log.bounds(P0).earliest, Offset(256), "with the first slice of the trim");
    assert!((&mut trim).now_or_never().is_none());
    drop(keeper);
    assert_eq!(trim.await.expect("trimmed").earliest, Offset(2000));
    assert_eq!((before.await, during.await), (Ok(Offset(0)), Ok(Offset(1))));
}
