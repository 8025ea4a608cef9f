//! Looking at what is kept.

use std::sync::Arc;

use bytes::Bytes;
use model::{Batch, DecodeError, Offset, Partition, Purchase};
use redb::{ReadTransaction, ReadableTable};

use super::{Key, SideOutput};
use crate::checkpoint::{CheckpointError, CheckpointStore};

/// A purchase for a business day that was closed. It counts in the other windows.
///
/// Serialised, it is a record of the topic of late purchases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatePurchase {
    /// Where it came.
    pub partition: Partition,
    /// The batch it came in.
    pub offset: Offset,
    /// Its place in the batch, from 0.
    pub place: u32,
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
        self.newest(SideOutput::Late, limit, |partition, (offset, place), entry| {
            let batch = Batch::decode(&entry).ok()?;
            let purchase = batch.purchases.into_iter().next()?;
            Some(LatePurchase { partition, offset: Offset(offset), place, purchase })
        })
    }

    /// The newest dead letters of each partition, at most `limit` of each, oldest first.
    ///
    /// # Errors
    /// If a checkpoint file cannot be read.
    pub fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, CheckpointError> {
        self.newest(SideOutput::DeadLetters, limit, |partition, (offset, _), record| {
            let error = Batch::decode(&record).err()?;
            Some(DeadLetter { partition, offset: Offset(offset), error, record })
        })
    }

    fn newest<T>(
        &self,
        output: SideOutput,
        limit: usize,
        show: impl Fn(Partition, Key, Bytes) -> Option<T>,
    ) -> Result<Vec<T>, CheckpointError> {
        let mut all = Vec::new();
        for (partition, store) in &self.stores {
            let mut newest = store.read(|read| newest(read, output, limit))?;
            newest.reverse();
            all.extend(newest.into_iter().filter_map(|(key, entry)| show(*partition, key, entry)));
        }
        Ok(all)
    }
}

/// The newest entries of an output, newest first.
fn newest(
    read: &ReadTransaction,
    output: SideOutput,
    limit: usize,
) -> Result<Vec<(Key, Bytes)>, redb::Error> {
    let table = read.open_table(output.table())?;
    let mut found = Vec::new();
    for entry in table.iter()?.rev().take(limit) {
        let (key, entry) = entry?;
        found.push((key.value(), Bytes::copy_from_slice(entry.value())));
    }
    Ok(found)
}
