//! Appends what waits in a checkpoint file to its topics.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use log::{AppendError, Log};
use model::{Batch, Offset, Partition};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Key, LatePurchase, Outboxes, SideOutput, outbox::Chunk, record};
use crate::{
    JobError,
    checkpoint::{CheckpointError, CheckpointStore},
};

/// Bytes of entries taken from the file at a time, at least one entry.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of records appended and not acknowledged, at least one record: less than a log queues.
const UNACKNOWLEDGED_BYTES: usize = 2 << 20;
/// Before the next attempt if the log has too much queued.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the topics may take, when the worker has ended, for what its last checkpoint stored.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Logs for the side outputs, each with as many partitions as the stream.
#[derive(Debug, Clone)]
pub struct SideTopics {
    /// For purchases that came after their business day had closed.
    pub late: Arc<dyn Log>,
    /// For records of the stream that are not batches.
    pub dead_letters: Arc<dyn Log>,
}

impl SideTopics {
    fn log(&self, output: SideOutput) -> &dyn Log {
        match output {
            SideOutput::Late => &*self.late,
            SideOutput::DeadLetters => &*self.dead_letters,
        }
    }
}

/// Publishes the side outputs of one partition, on a thread of its own: it reads and writes the file.
pub(crate) struct Publisher {
    pub(crate) partition: Partition,
    pub(crate) store: Arc<CheckpointStore>,
    pub(crate) topics: SideTopics,
    pub(crate) outboxes: Arc<Outboxes>,
    /// The last checkpoint has been written.
    pub(crate) worker_ended: CancellationToken,
}

impl Publisher {
    /// Runs until the worker has ended and nothing waits, or not for much longer: what waits then is
    /// published after the next start.
    pub(crate) async fn run(self) -> Result<(), JobError> {
        let patience = async {
            self.worker_ended.cancelled().await;
            sleep(LAST_PATIENCE).await;
        };
        // Each for itself: one topic out of reach does not hold up the other.
        let published = async {
            tokio::try_join!(self.publish(SideOutput::Late), self.publish(SideOutput::DeadLetters))
        };
        tokio::select! {
            published = published => published.map(|((), ())| ()),
            () = patience => {
                tracing::warn!(
                    partition = self.partition.0,
                    "late purchases or dead letters wait in the checkpoint for the next start: \
                     their topic does not answer"
                );
                Ok(())
            }
        }
    }

    async fn publish(&self, output: SideOutput) -> Result<(), JobError> {
        let mut waiting = self.outboxes.watch(output);
        loop {
            // Looked at first: what is in the file then is all there will be.
            let ended = self.worker_ended.is_cancelled();
            while let Some(chunk) = self.store.waiting(output, CHUNK_BYTES)? {
                self.append(output, &chunk).await?;
                if let Some(&(last, _)) = chunk.entries.last() {
                    self.store.acknowledged(output, last)?;
                }
                self.outboxes.acknowledged(output, &chunk);
            }
            if ended {
                return Ok(());
            }
            tokio::select! {
                some = waiting.wait_for(|&bytes| bytes > 0) => {
                    some.expect("the sender is in the outboxes");
                }
                () = self.worker_ended.cancelled() => {}
            }
        }
    }

    /// Appends entries; returns when all are acknowledged.
    async fn append(&self, output: SideOutput, chunk: &Chunk) -> Result<(), JobError> {
        let partition = self.partition;
        let log = self.topics.log(output);
        let mut appending = Appending { log, partition, queue: Vec::new(), bytes: 0 };
        let failed = |error| JobError::SideOutput { output: output.name(), partition, error };
        for (key, entry) in &chunk.entries {
            match output {
                SideOutput::Late => {
                    let record = self.late(*key, entry)?.record();
                    appending.push(record).await.map_err(failed)?;
                }
                SideOutput::DeadLetters => {
                    let error = Batch::decode(entry).err();
                    for part in record::dead_letter(partition, Offset(key.0), entry, error) {
                        appending.push(part).await.map_err(failed)?;
                    }
                }
            }
        }
        appending.finish().await.map_err(failed)
    }

    fn late(&self, (offset, place): Key, entry: &[u8]) -> Result<LatePurchase, CheckpointError> {
        let decoded = Batch::decode(entry).map(|batch| batch.purchases.into_iter().next());
        match decoded {
            Ok(Some(purchase)) => Ok(LatePurchase {
                partition: self.partition,
                offset: Offset(offset),
                place,
                purchase,
            }),
            Ok(None) => Err(self.store.damaged("a late purchase is empty")),
            Err(error) => Err(self.store.damaged(error)),
        }
    }
}

/// Records on their way into a log.
struct Appending<'a> {
    log: &'a dyn Log,
    partition: Partition,
    queue: Vec<(Bytes, BoxFuture<'static, Result<Offset, AppendError>>)>,
    /// Of the records in the queue.
    bytes: usize,
}

impl Appending<'_> {
    async fn push(&mut self, record: Bytes) -> Result<(), AppendError> {
        if self.bytes + record.len() > UNACKNOWLEDGED_BYTES {
            self.finish().await?;
        }
        self.bytes += record.len();
        let append = self.log.append(self.partition, record.clone());
        self.queue.push((record, append));
        Ok(())
    }

    /// Waits until all are acknowledged. A log out of reach is waited for.
    async fn finish(&mut self) -> Result<(), AppendError> {
        for (record, mut append) in self.queue.drain(..) {
            loop {
                match append.await {
                    Ok(_) => break,
                    Err(AppendError::Overloaded(_)) => sleep(PAUSE).await,
                    Err(error) => return Err(error),
                }
                append = self.log.append(self.partition, record.clone());
            }
        }
        self.bytes = 0;
        Ok(())
    }
}
