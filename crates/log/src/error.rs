//! Why an operation on a log did not succeed.

use std::path::PathBuf;

use model::{Offset, Partition};

/// Why an append did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much is queued; the record was not taken. Retry later.
    #[error("partition {0} has too much queued: retry later")]
    Overloaded(Partition),
    /// The record is larger than [`MAX_RECORD_BYTES`](crate::MAX_RECORD_BYTES); it was not taken.
    #[error("a record of {bytes} bytes is too large: at most {limit} are taken")]
    TooLarge {
        /// Size of the record.
        bytes: usize,
        /// The largest that is taken.
        limit: usize,
    },
    /// The log has stopped, or failed; whether the record is durable is unknown.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

/// Why a read did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// The offset is after the next one: the reader has seen what this log never held.
    #[error("offset {from} of partition {partition} does not exist yet: the next is {next}")]
    OutOfRange {
        /// Where.
        partition: Partition,
        /// What was asked for.
        from: Offset,
        /// What the next record will get.
        next: Offset,
    },
    /// The file does not hold what was written to it.
    #[error(
        "{file} is damaged: {detail}. Restore it from a copy, or move its directory away to start empty",
        file = file.display()
    )]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The log has stopped, or failed.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

/// Why a trim did not succeed.
pub type TrimError = ReadError;
