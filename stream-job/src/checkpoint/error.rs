//! Why a checkpoint cannot be used.

use std::{fmt, io::ErrorKind, path::Path};

use model::{Offset, Partition};
use window::RestoreError;

/// Why a checkpoint cannot be read or written. Every message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another process has the file.
    #[error("{file} is in use by another process: stop that one, or choose another data directory")]
    Locked {
        /// The file.
        file: String,
    },
    /// It cannot be read or written.
    #[error("cannot read or write {file}: {reason}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// It is not what was written.
    #[error("{file} is damaged ({reason}). {REBUILD}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// It was written by another build, for another partition, or with other settings.
    #[error("{file} cannot be continued: {reason}. {REBUILD}")]
    Mismatch {
        /// The file.
        file: String,
        /// What differs.
        reason: String,
    },
    /// The stream no longer reaches back to the checkpoint.
    #[error(
        "partition {partition} of the stream begins at offset {earliest}, after offset {next} where \
         {file} ends: batches in between are gone. Restore the stream, or run once with \
         --rebuild=remaining to count only what it still holds"
    )]
    Behind {
        /// The file.
        file: String,
        /// Where.
        partition: Partition,
        /// The first offset of the stream.
        earliest: Offset,
        /// The first offset not in the checkpoint.
        next: Offset,
    },
    /// The checkpoint is of another stream, or the stream has lost its end.
    #[error(
        "{file} ends at offset {next}, but partition {partition} of the stream ends at {end}: the \
         stream is not the one it was made from, or has lost batches. Put the stream back, or run \
         once with --rebuild=remaining to discard the checkpoints and count only what it still holds"
    )]
    Ahead {
        /// The file.
        file: String,
        /// Where.
        partition: Partition,
        /// The first offset not in the stream.
        end: Offset,
        /// The first offset not in the checkpoint.
        next: Offset,
    },
    /// The checkpoint is of another stream.
    #[error(
        "{file} has counted another record at offset {offset} than partition {partition} of the stream \
         has there: the stream is not the one it was made from. Put the stream back, or run once with \
         --rebuild=remaining to discard the checkpoints and count only what it still holds"
    )]
    OtherStream {
        /// The file.
        file: String,
        /// Where.
        partition: Partition,
        /// The last offset in the checkpoint.
        offset: Offset,
    },
    /// The checkpoints cannot be made anew without loss.
    #[error(
        "partition {partition} of the stream begins at offset {earliest}: what came before is only in \
         the checkpoints, which have been left as they are. Run once with --rebuild=remaining to \
         discard them and count only what the stream still holds"
    )]
    CannotRebuild {
        /// Where.
        partition: Partition,
        /// The first offset of the stream.
        earliest: Offset,
    },
    /// There is no checkpoint, and the beginning of the stream is gone.
    #[error(
        "there is no checkpoint {file}, and partition {partition} of the stream begins at offset \
         {earliest}: what came before cannot be counted. Put the checkpoint back, or run once with \
         --rebuild=remaining to count only what the stream still holds"
    )]
    BeginningGone {
        /// The file.
        file: String,
        /// Where.
        partition: Partition,
        /// The first offset of the stream.
        earliest: Offset,
    },
}

const REBUILD: &str =
    "Run once with --rebuild to discard the checkpoints and count the stream again";

impl CheckpointError {
    /// The error that fits a database error on `file`.
    pub(super) fn from_database(file: &Path, error: impl Into<redb::Error>) -> Self {
        let file = file.display().to_string();
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::Locked { file },
            redb::Error::Io(error)
                if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                Self::Io { file, reason: error.to_string() }
            }
            error @ (redb::Error::PreviousIo | redb::Error::Backend(_)) => {
                Self::Io { file, reason: error.to_string() }
            }
            error => Self::Damaged { file, reason: error.to_string() },
        }
    }

    pub(super) fn damaged(file: &Path, reason: impl fmt::Display) -> Self {
        Self::Damaged { file: file.display().to_string(), reason: reason.to_string() }
    }

    pub(super) fn mismatch(file: &Path, reason: impl fmt::Display) -> Self {
        Self::Mismatch { file: file.display().to_string(), reason: reason.to_string() }
    }

    pub(super) fn from_restore(file: &Path, error: &RestoreError) -> Self {
        match error {
            RestoreError::Damaged(_) => Self::damaged(file, error),
            RestoreError::Version(_) | RestoreError::Settings(_) => Self::mismatch(file, error),
        }
    }
}
