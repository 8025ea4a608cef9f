//! What every backend promises.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{Offset, Partition, PartitionCount, Timestamp};

use crate::{AppendError, ReadError, TrimError};

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
    /// First offset still held; equal to `next` if none is.
    pub earliest: Offset,
    /// Offset the next durable record will get.
    pub next: Offset,
}

impl Bounds {
    /// Whether `from` can be read now; `false` if it is the next offset.
    ///
    /// # Errors
    /// [`ReadError::Trimmed`] below the earliest offset, [`ReadError::OutOfRange`] above the next.
    pub fn readable(self, partition: Partition, from: Offset) -> Result<bool, ReadError> {
        let Self { earliest, next } = self;
        if from < earliest {
            Err(ReadError::Trimmed { partition, from, earliest })
        } else if from > next {
            Err(ReadError::OutOfRange { partition, from, next })
        } else {
            Ok(from < next)
        }
    }
}

/// How much of a partition may go.
///
/// The oldest record goes while it is below `not_past` and at least one of the other two rules
/// says so; the first one that stays ends the trim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Never trim this offset or a later one: the job has not checkpointed past it.
    pub not_past: Offset,
    /// Trim records appended before this instant.
    pub older_than: Option<Timestamp>,
    /// Trim the oldest records until the payloads of the rest are at most this many bytes.
    pub max_bytes: Option<u64>,
}

impl Retention {
    /// Whether the oldest record of a partition goes, given its place, when it was appended, and
    /// the payload bytes the partition holds with it.
    pub(crate) fn trims(&self, oldest: Offset, appended: Timestamp, held_bytes: u64) -> bool {
        oldest < self.not_past
            && (self.older_than.is_some_and(|instant| appended < instant)
                || self.max_bytes.is_some_and(|max| held_bytes > max))
    }
}

/// A partitioned, durable, append-only sequence of records.
///
/// ```text
///   one partition:
///
///        trimmed            held, durable, readable          queued
///   ├ ─ ─ ─ ─ ─ ─ ─ ┼───┬───┬───┬───┬───┬───┬───┬───┬───┼ ─ ┬ ─ ┬ ─ ┤
///   0               │ 7 │ 8 │ 9 │10 │11 │12 │13 │14 │15 │  no offset │
///                   ▲                                   ▲   yet      ▲
///                earliest = 7                       next = 16     append()
///
///   read(from):  < 7 Trimmed     7..=15 records     16 waits     > 16 OutOfRange
/// ```
///
/// * **Partitions** are independent. Their number is fixed for the life of the data.
/// * **Append** queues the record in the call itself, so records of one caller keep the order of
///   its calls; the future only waits for the outcome, and dropping it does not withdraw the
///   record. It resolves once the record is durable in the sense of the backend, with the offset.
///   After [`AppendError::Overloaded`] and [`AppendError::TooLarge`] the record is certainly not
///   in the log; after [`AppendError::Stopped`] it may be.
/// * **Offsets** of a partition are dense: 0, 1, 2, … in the order in which records became
///   durable. No offset is given twice; one that was given never holds other bytes.
/// * **Durable before visible**: a record is readable, and counted in [`Bounds::next`], only once it
///   is durable, and by the time its append has resolved it is both.
/// * **Bounds** only grow, and `earliest <= next`. A restart may bring trimmed records back, but
///   never takes a record away that an append was acknowledged for.
/// * **Trim** removes a prefix, never at or past [`Retention::not_past`].
/// * **Damage** is an error that names the file. A log never gives less than, or other than, what was
///   acknowledged.
/// * **Bounded**: queued bytes have a limit, beyond which an append is refused, not delayed.
///
/// Futures must be polled in a tokio runtime.
///
/// # Panics
/// Every method panics if the partition is not below [`Log::partitions`].
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// How many partitions; fixed.
    fn partitions(&self) -> PartitionCount;

    /// Appends a record of at most [`MAX_RECORD_BYTES`](crate::MAX_RECORD_BYTES); resolves when it is durable.
    ///
    /// # Errors
    /// [`AppendError`] says whether the record was taken.
    fn append(
        &self,
        partition: Partition,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Offset, AppendError>>;

    /// Reads records in order from `from`: as many as fit in `max_bytes` of payload, but at least
    /// one. Waits for it if `from` is the next offset. Dropping the future is safe.
    ///
    /// # Errors
    /// [`ReadError::Trimmed`] below the earliest offset, [`ReadError::OutOfRange`] above the next.
    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>>;

    /// What the partition holds now; cheap.
    fn bounds(&self, partition: Partition) -> Bounds;

    /// How long ago the bounds were last known to be all that the partition holds. Zero, but for a log that is
    /// elsewhere and has not been heard of for more than a moment.
    fn unconfirmed(&self, partition: Partition) -> Duration {
        let _ = partition;
        Duration::ZERO
    }

    /// Trims; gives the bounds after it.
    ///
    /// # Errors
    /// [`ReadError::Stopped`] or [`ReadError::Corrupt`]; part of the trim may have happened.
    fn trim(
        &self,
        partition: Partition,
        retention: Retention,
    ) -> BoxFuture<'static, Result<Bounds, TrimError>>;

    /// Why appends to the partition wait for now, for longer than an append should; `None` if they do
    /// not. Only a log that is elsewhere can be out of reach.
    fn unavailable(&self, partition: Partition) -> Option<String> {
        let _ = partition;
        None
    }
}
