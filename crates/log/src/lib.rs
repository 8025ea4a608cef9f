//! The partitioned durable stream: a narrow trait and its backends.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{Offset, Partition, PartitionCount, Timestamp};

/// One record of a partition: an encoded batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub offset: Offset,
    /// Its bytes, as they were appended.
    pub payload: Bytes,
}

/// What a partition holds: offsets from `earliest` up to, not including, `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// First offset still held.
    pub earliest: Offset,
    /// Offset the next durable record will get.
    pub next: Offset,
}

/// How much of a partition may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Never trim this offset or a later one: the job has not checkpointed past it.
    pub not_past: Offset,
    /// Trim records appended before this instant.
    pub older_than: Option<Timestamp>,
    /// Trim the oldest records until the rest is at most this many bytes.
    pub max_bytes: Option<u64>,
}

/// The stream.
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// How many partitions; fixed.
    fn partitions(&self) -> PartitionCount;
    /// Appends a record; resolves when it is durable.
    fn append(
        &self,
        partition: Partition,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Offset, AppendError>>;
    /// Reads records in order from `from`, about `max_bytes` of them but at least one; waits for it if
    /// `from` is the next offset.
    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>>;
    /// What the partition holds now; cheap.
    fn bounds(&self, partition: Partition) -> Bounds;
    /// Trims; gives the new bounds.
    fn trim(
        &self,
        partition: Partition,
        retention: Retention,
    ) -> BoxFuture<'static, Result<Bounds, TrimError>>;
}

/// Why an append did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Too much is queued; the record was not taken. Retry later.
    #[error("partition {0} has too much queued")]
    Overloaded(Partition),
    /// The log has stopped, or failed; whether the record is durable is unknown.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

/// Why a read did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The offset is before the earliest one held.
    #[error("offset {from} of partition {partition} is no longer held: the earliest is {earliest}")]
    Trimmed {
        /// Where.
        partition: Partition,
        /// What was asked for.
        from: Offset,
        /// What is held.
        earliest: Offset,
    },
    /// The log has stopped, or failed.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

/// Why a trim did not succeed.
pub type TrimError = ReadError;
