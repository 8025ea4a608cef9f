//! Whether the stream is the one that the checkpoints were made from, and goes on where they end.

use std::{panic::resume_unwind, path::Path};

use log::{Bounds, Log, ReadError};
use model::{Offset, Partition};
use tokio::task::spawn_blocking;

use crate::{
    JobConfig, JobError, Rebuild,
    checkpoint::{CheckpointError, CheckpointStore, LastRecord, Saved},
};

/// Discards the checkpoints if they are to be made anew, and the stream allows it: what only they have is not
/// thrown away, unless only what remains in the stream is to be counted.
pub(crate) async fn discard_if_asked(config: &JobConfig, log: &dyn Log) -> Result<(), JobError> {
    if config.rebuild == Rebuild::No {
        return Ok(());
    }
    if config.rebuild == Rebuild::Complete {
        for partition in config.assignment.of(log.partitions()) {
            let earliest = log.bounds(partition).earliest;
            if earliest > Offset(0) {
                return Err(CheckpointError::CannotRebuild { partition, earliest }.into());
            }
            let directory = config.directory.clone();
            let saved = blocking(move || CheckpointStore::peek(&directory, partition)).await;
            if let Some((file, saved)) = saved {
                check_same_stream(&file, &saved, partition, log).await?;
            }
        }
    }
    let (directory, assigned) = (config.directory.clone(), config.assignment.of(log.partitions()));
    let assigned: Vec<_> = assigned.collect();
    blocking(move || assigned.iter().try_for_each(|p| CheckpointStore::discard(&directory, *p)))
        .await?;
    Ok(())
}

/// Whether the stream goes on where the checkpoint in `file` ends.
pub(crate) async fn check(
    file: &Path,
    saved: &Saved,
    partition: Partition,
    log: &dyn Log,
    rebuild: Rebuild,
) -> Result<(), JobError> {
    check_same_stream(file, saved, partition, log).await?;
    let (next, Bounds { earliest, .. }) = (saved.next, log.bounds(partition));
    if next >= earliest || rebuild == Rebuild::Remaining {
        return Ok(());
    }
    let file = file.display().to_string();
    Err(if next == Offset(0) {
        CheckpointError::BeginningGone { file, partition, earliest }.into()
    } else {
        CheckpointError::Behind { file, partition, earliest, next }.into()
    })
}

/// Whether the stream is the one that the checkpoint was made from, as far as that can be told: it has not less
/// than the checkpoint has counted, and the last record counted is the one at its offset, unless that is gone.
async fn check_same_stream(
    file: &Path,
    saved: &Saved,
    partition: Partition,
    log: &dyn Log,
) -> Result<(), JobError> {
    let (next, Bounds { earliest, next: end }) = (saved.next, log.bounds(partition));
    let file = || file.display().to_string();
    if next > end {
        return Err(CheckpointError::Ahead { file: file(), partition, end, next }.into());
    }
    let Some(counted) = saved.last.filter(|counted| counted.offset >= earliest) else {
        return Ok(());
    };
    let records = match log.read(partition, counted.offset, 1).await {
        // It has gone since.
        Err(ReadError::Trimmed { .. }) => return Ok(()),
        read => read.map_err(|error| JobError::Read { partition, error })?,
    };
    if records.first().map(LastRecord::of) == Some(counted) {
        return Ok(());
    }
    let offset = counted.offset;
    Err(CheckpointError::OtherStream { file: file(), partition, offset }.into())
}

/// Runs what reads or writes files on a thread where that may take its time.
///
/// # Panics
/// If it does.
pub(crate) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(run).await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
