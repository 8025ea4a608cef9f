//! Side outputs: what could not be counted as it should, kept to be looked at.
//!
//! Both are stored with the checkpoint that passes them, by their offset: applying a batch again
//! after a crash stores the same entry again. The newest [`KEPT`] of a partition are kept.

use std::sync::Arc;

use bytes::Bytes;
use model::{Batch, DecodeError, Offset, Partition, Purchase};
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use crate::checkpoint::{CheckpointError, CheckpointStore};

/// Purchases for business days already closed: (offset, place) → a batch of one.
pub(crate) const LATE: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("late");
/// Records that are not batches: (offset, 0) → the record.
pub(crate) const DEAD_LETTERS: TableDefinition<(u64, u32), &[u8]> =
    TableDefinition::new("dead-letters");

/// The most entries of each kind kept in a partition; the oldest go first.
const KEPT: u64 = 10_000;

/// A purchase for a business day that was closed. It counts in the other windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatePurchase {
    /// Where it came.
    pub partition: Partition,
    /// The batch it came in.
    pub offset: Offset,
    /// What was bought.
    pub purchase: Purchase,
}

/// A record of the stream that is not a batch. It counts nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it came.
    pub partition: Partition,
    /// Its place.
    pub offset: Offset,
    /// What is wrong with it.
    pub error: DecodeError,
    /// The record.
    pub record: Bytes,
}

/// Side outputs since the last checkpoint.
#[derive(Debug, Default)]
pub(crate) struct SideBatch {
    late: Vec<((u64, u32), Vec<u8>)>,
    dead_letters: Vec<((u64, u32), Bytes)>,
    bytes: usize,
}

impl SideBatch {
    /// About how many bytes are waiting for the next checkpoint.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn dead_letter(&mut self, offset: Offset, record: Bytes) {
        self.bytes += record.len();
        self.dead_letters.push(((offset.0, 0), record));
    }

    /// Takes note of a late purchase that came in `batch`.
    fn late(&mut self, offset: Offset, purchase: &Purchase) {
        let place = match self.late.last() {
            Some(&((last, place), _)) if last == offset.0 => place + 1,
            _ => 0,
        };
        let alone = Batch {
            producer: model::ProducerId(0),
            first_sequence: model::Sequence(0),
            append_time: purchase.event_time,
            purchases: vec![purchase.clone()],
        };
        let bytes = alone.encode();
        self.bytes += bytes.len();
        self.late.push(((offset.0, place), bytes));
    }

    pub(crate) fn write(&self, write: &WriteTransaction) -> Result<(), redb::Error> {
        let late = self.late.iter().map(|(key, bytes)| (*key, bytes.as_slice()));
        insert(write, LATE, late)?;
        let dead_letters = self.dead_letters.iter().map(|(key, bytes)| (*key, &**bytes));
        insert(write, DEAD_LETTERS, dead_letters)
    }
}

impl window::SideOutput for SideBatch {
    fn late(&mut self, offset: Offset, purchase: &Purchase) {
        Self::late(self, offset, purchase);
    }
}

fn insert<'a>(
    write: &WriteTransaction,
    table: TableDefinition<(u64, u32), &[u8]>,
    entries: impl Iterator<Item = ((u64, u32), &'a [u8])>,
) -> Result<(), redb::Error> {
    let mut table = write.open_table(table)?;
    for (key, bytes) in entries {
        table.insert(key, bytes)?;
    }
    while table.len()? > KEPT {
        table.pop_first()?;
    }
    Ok(())
}

/// The side outputs of all partitions, as of their last checkpoints.
#[derive(Debug, Clone)]
pub struct SideOutputs {
    stores: Vec<(Partition, Arc<CheckpointStore>)>,
}

impl SideOutputs {
    pub(crate) fn new(stores: Vec<(Partition, Arc<CheckpointStore>)>) -> Self {
        Self { stores }
    }

    /// The newest late purchases of each partition, at most `limit` of each, oldest first.
    ///
    /// # Errors
    /// If a checkpoint file cannot be read.
    pub fn late(&self, limit: usize) -> Result<Vec<LatePurchase>, CheckpointError> {
        self.newest(LATE, limit, |partition, offset, record| {
            let batch = Batch::decode(&record).ok()?;
            let purchase = batch.purchases.into_iter().next()?;
            Some(LatePurchase { partition, offset, purchase })
        })
    }

    /// The newest dead letters of each partition, at most `limit` of each, oldest first.
    ///
    /// # Errors
    /// If a checkpoint file cannot be read.
    pub fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, CheckpointError> {
        self.newest(DEAD_LETTERS, limit, |partition, offset, record| {
            let error = Batch::decode(&record).err()?;
            Some(DeadLetter { partition, offset, error, record })
        })
    }

    fn newest<T>(
        &self,
        table: TableDefinition<(u64, u32), &[u8]>,
        limit: usize,
        show: impl Fn(Partition, Offset, Bytes) -> Option<T>,
    ) -> Result<Vec<T>, CheckpointError> {
        let mut all = Vec::new();
        for (partition, store) in &self.stores {
            let mut newest = store.read(|read| entries(read, table, limit))?;
            newest.reverse();
            all.extend(
                newest.into_iter().filter_map(|(offset, record)| show(*partition, offset, record)),
            );
        }
        Ok(all)
    }
}

/// The newest entries of a table, newest first.
fn entries(
    read: &ReadTransaction,
    table: TableDefinition<(u64, u32), &[u8]>,
    limit: usize,
) -> Result<Vec<(Offset, Bytes)>, redb::Error> {
    let table = read.open_table(table)?;
    let mut found = Vec::new();
    for entry in table.iter()?.rev().take(limit) {
        let (key, bytes) = entry?;
        found.push((Offset(key.value().0), Bytes::copy_from_slice(bytes.value())));
    }
    Ok(found)
}
