//! What waits in a checkpoint file for its topics.

use std::ops::Bound::{Excluded, Unbounded};

use bytes::Bytes;
use model::Partition;
use redb::{ReadTransaction, TableError, WriteTransaction};
use telemetry::{JobMetrics, SideOutputMetrics};
use tokio::sync::watch;

use super::{Key, PUBLISHED, SideBatch, SideOutput, drop_oldest, mark, size};
use crate::checkpoint::{CheckpointError, CheckpointStore};

/// How much waits, of both outputs of a partition. The worker adds, the publisher takes away.
#[derive(Debug)]
pub(crate) struct Outboxes {
    outboxes: [Outbox; 2],
    /// Of one output; beyond it the worker does not read on.
    max_bytes: i64,
}

#[derive(Debug)]
struct Outbox {
    /// Negative for a moment if the publisher sees a checkpoint before the worker counts it.
    bytes: watch::Sender<i64>,
    metrics: SideOutputMetrics,
}

impl Outboxes {
    /// As the file has them.
    pub(crate) fn new(
        store: &CheckpointStore,
        partition: Partition,
        max_bytes: u64,
        metrics: &JobMetrics,
    ) -> Result<Self, CheckpointError> {
        let outbox = |output: SideOutput| {
            let metrics = metrics.side_output(partition.0, output.name());
            let outbox = Outbox { bytes: watch::Sender::new(0), metrics };
            outbox.add(store.read(|read| waiting_bytes(read, output))?);
            Ok(outbox)
        };
        let outboxes = [outbox(SideOutput::Late)?, outbox(SideOutput::DeadLetters)?];
        Ok(Self { outboxes, max_bytes: i64::try_from(max_bytes).unwrap_or(i64::MAX) })
    }

    /// A checkpoint has stored these entries.
    pub(crate) fn stored(&self, batch: &SideBatch) {
        for output in SideOutput::ALL {
            self.outboxes[output as usize].add(batch.bytes_of(output) as i64);
        }
    }

    /// The topic has acknowledged so many entries.
    pub(super) fn acknowledged(&self, output: SideOutput, chunk: &Chunk) {
        let outbox = &self.outboxes[output as usize];
        outbox.metrics.published.inc_by(chunk.entries.len() as u64);
        outbox.add(-chunk.bytes);
    }

    /// Bytes that wait, to be watched.
    pub(super) fn watch(&self, output: SideOutput) -> watch::Receiver<i64> {
        self.outboxes[output as usize].bytes.subscribe()
    }

    /// The output of which too much waits.
    pub(crate) fn full(&self) -> Option<SideOutput> {
        let bytes = |output| *self.outboxes[output as usize].bytes.borrow();
        SideOutput::ALL.into_iter().find(|&output| bytes(output) > self.max_bytes)
    }

    /// Resolves when too much waits of neither.
    pub(crate) async fn room(&self) {
        while let Some(output) = self.full() {
            let mut bytes = self.watch(output);
            let fits = bytes.wait_for(|&bytes| bytes <= self.max_bytes).await;
            fits.expect("the sender is ours");
        }
    }
}

impl Outbox {
    fn add(&self, more: i64) {
        self.bytes.send_modify(|bytes| *bytes += more);
        self.metrics.waiting_bytes.set(*self.bytes.borrow());
    }
}

/// Entries that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) entries: Vec<(Key, Bytes)>,
    bytes: i64,
}

impl CheckpointStore {
    /// The oldest entries that wait: as many as fit in `max_bytes`, but at least one; `None` if none does.
    pub(super) fn waiting(
        &self,
        output: SideOutput,
        max_bytes: usize,
    ) -> Result<Option<Chunk>, CheckpointError> {
        self.read(|read| {
            let mut chunk = Chunk::default();
            for entry in read.open_table(output.table())?.range(after_mark(read, output)?)? {
                let (key, entry) = entry?;
                let bytes = size(entry.value()) as i64;
                if !chunk.entries.is_empty() && chunk.bytes + bytes > max_bytes as i64 {
                    break;
                }
                chunk.bytes += bytes;
                chunk.entries.push((key.value(), Bytes::copy_from_slice(entry.value())));
            }
            Ok((!chunk.entries.is_empty()).then_some(chunk))
        })
    }

    /// Moves the mark: the topic has acknowledged the entries up to `last`.
    pub(super) fn acknowledged(
        &self,
        output: SideOutput,
        last: Key,
    ) -> Result<(), CheckpointError> {
        self.change(|write| move_mark(write, output, last))
    }
}

fn move_mark(write: &WriteTransaction, output: SideOutput, last: Key) -> Result<(), redb::Error> {
    write.open_table(PUBLISHED)?.insert(output.name(), last)?;
    drop_oldest(&mut write.open_table(output.table())?, Some(last))?;
    Ok(())
}

fn waiting_bytes(read: &ReadTransaction, output: SideOutput) -> Result<i64, redb::Error> {
    let mut bytes = 0;
    for entry in read.open_table(output.table())?.range(after_mark(read, output)?)? {
        bytes += size(entry?.1.value()) as i64;
    }
    Ok(bytes)
}

/// The keys of what waits.
fn after_mark(
    read: &ReadTransaction,
    output: SideOutput,
) -> Result<(std::ops::Bound<Key>, std::ops::Bound<Key>), redb::Error> {
    let mark = match read.open_table(PUBLISHED) {
        Ok(published) => mark(&published, output)?,
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok((mark.map_or(Unbounded, Excluded), Unbounded))
}
