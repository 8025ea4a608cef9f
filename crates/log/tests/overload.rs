//! What waits for the disk is bounded: beyond it, appends are refused, not delayed.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::Gate;
use futures_util::future::try_join_all;
use log::{AppendError, EmbeddedConfig, EmbeddedLog, Log};
use model::{Offset, Partition, PartitionCount};

#[tokio::test]
async fn appends_beyond_the_limit_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (gate, keeper) = Gate::new();
    let log = EmbeddedLog::open(EmbeddedConfig {
        max_queued_bytes: 10 * (100 + 64),
        observer: Some(Arc::new(gate)),
        ..EmbeddedConfig::new(directory.path(), PartitionCount::new(2).expect("valid"))
    })
    .expect("opened");
    let payload = Bytes::from(vec![7; 100]);
    let append = |partition| log.append(Partition(partition), payload.clone());

    // The writer is held while it owns one record, so the queue has room for nine more.
    let mut taken = vec![append(0)];
    keeper.wait();
    taken.extend((0..9).map(|_| append(0)));
    let refused = append(1).await;
    assert_eq!(refused, Err(AppendError::Overloaded(Partition(1))));
    let empty = log.append(Partition(1), Bytes::new()).await;
    assert_eq!(empty, Err(AppendError::Overloaded(Partition(1))), "no record is for nothing");

    drop(keeper);
    let offsets = try_join_all(taken).await.expect("what was taken becomes durable");
    assert!(offsets.into_iter().map(|offset| offset.0).eq(0..10));
    assert_eq!(append(1).await, Ok(Offset(0)), "what was refused left no trace");
}

#[tokio::test]
async fn one_record_is_always_taken() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let partitions = PartitionCount::new(1).expect("valid");
    let config =
        EmbeddedConfig { max_queued_bytes: 0, ..EmbeddedConfig::new(directory.path(), partitions) };
    let log = EmbeddedLog::open(config).expect("opened");
    for offset in 0..3 {
        let appended = log.append(Partition(0), Bytes::from(vec![7; 1000])).await;
        assert_eq!(appended, Ok(Offset(offset)));
    }
}
