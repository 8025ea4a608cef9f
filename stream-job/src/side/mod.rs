//! Side outputs: what could not be counted as it should, kept, and handed on to topics of its own.
//!
//! There are two: purchases that came after their business day had closed, and records of the stream that are
//! not batches. Their entries are stored with the checkpoint that passes them, under offset and place: applying
//! a batch again after a crash stores the same entry again. The newest [`KEPT`] of a partition can be
//! looked at ([`SideOutputs`]).
//!
//! With [`SideTopics`], the checkpoint file is also their outbox. A [`Publisher`] appends to the topic what the
//! file holds after the mark, and moves the mark when the topic has acknowledged it:
//!
//! ```text
//!   one output of one partition:
//!
//!      dropped        acknowledged, kept              waiting            next checkpoint
//!   ├ ─ ─ ─ ─ ─ ─ ┼────┬────┬────┬────┬────┼────┬────┬────┬────┬────┼ ─ ─ ┬ ─ ─ ┬ ─ ─ ┤
//!                 └──── at most KEPT ──────▲────────── file ────────┘       memory
//!                                        mark
//! ```
//!
//! - An entry is in the topic *at least once*. One that was appended and not marked when the process died is
//!   appended again; a standby appends everything once more. Both times the record says the same, partition,
//!   offset and place included, so that readers can tell.
//! - An entry that waits is not dropped. If more than a limit wait, the worker does not read on until there is
//!   room: see [`Outboxes`].
//! - Counting does not wait for the topic otherwise, and an entry does not show there before it is in a checkpoint.

mod kept;
mod outbox;
mod publisher;
mod record;

use bytes::Bytes;
use model::{Batch, Offset, Purchase};
use redb::{
    ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableError, WriteTransaction,
};

pub use kept::{DeadLetter, LatePurchase, SideOutputs};
pub(crate) use outbox::Outboxes;
pub(crate) use publisher::Publisher;
pub use publisher::SideTopics;

/// Offset and place of an entry.
type Key = (u64, u32);
type Entries = TableDefinition<'static, Key, &'static [u8]>;

/// Name of an output → key of the last entry that its topic has acknowledged.
const PUBLISHED: TableDefinition<&str, Key> = TableDefinition::new("published");

/// The most entries of an output kept in a partition, besides those that wait; the oldest go first.
const KEPT: u64 = 10_000;
/// What an entry takes at least, so that empty ones are bounded too.
const ENTRY_BYTES: usize = 64;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SideOutput {
    /// Purchases for business days already closed: each a batch of one.
    Late,
    /// Records that are not batches: as they are, place 0.
    DeadLetters,
}

impl SideOutput {
    pub(crate) const ALL: [Self; 2] = [Self::Late, Self::DeadLetters];

    /// In the file, and as a label of metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::DeadLetters => "dead-letters",
        }
    }

    const fn table(self) -> Entries {
        TableDefinition::new(self.name())
    }

    /// Makes the table in a new file.
    pub(crate) fn create(self, write: &WriteTransaction) -> Result<(), TableError> {
        write.open_table(self.table()).map(drop)
    }
}

/// Which entries a checkpoint keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The newest.
    Newest,
    /// The newest, and those that wait for their topic.
    Waiting,
}

/// Entries since the last checkpoint.
#[derive(Debug, Default)]
pub(crate) struct SideBatch {
    late: Vec<(Key, Bytes)>,
    dead_letters: Vec<(Key, Bytes)>,
    bytes: [usize; 2],
}

impl SideBatch {
    /// About how many bytes are waiting for the next checkpoint.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    fn bytes_of(&self, output: SideOutput) -> usize {
        self.bytes[output as usize]
    }

    pub(crate) fn dead_letter(&mut self, offset: Offset, record: &[u8]) {
        // A copy: the record is a part of all that was read with it.
        self.dead_letters.push(((offset.0, 0), Bytes::copy_from_slice(record)));
        self.bytes[SideOutput::DeadLetters as usize] += size(record);
    }

    /// Stores the entries, and drops the oldest.
    pub(crate) fn write(&self, write: &WriteTransaction, keep: Keep) -> Result<(), redb::Error> {
        let entries =
            [(SideOutput::Late, &self.late), (SideOutput::DeadLetters, &self.dead_letters)];
        for (output, entries) in entries {
            let mark = match keep {
                Keep::Newest => Some((u64::MAX, u32::MAX)),
                Keep::Waiting => mark(&write.open_table(PUBLISHED)?, output)?,
            };
            let mut table = write.open_table(output.table())?;
            for (key, bytes) in entries {
                table.insert(key, &**bytes)?;
            }
            drop_oldest(&mut table, mark)?;
        }
        Ok(())
    }
}

impl window::SideOutput for SideBatch {
    fn late(&mut self, offset: Offset, place: u32, purchase: &Purchase) {
        let alone = Batch {
            producer: model::ProducerId(0),
            first_sequence: model::Sequence(0),
            append_time: purchase.event_time,
            purchases: vec![purchase.clone()],
        };
        let bytes = alone.encode();
        self.bytes[SideOutput::Late as usize] += size(&bytes);
        self.late.push(((offset.0, place), bytes.into()));
    }
}

/// What an entry counts for against limits.
fn size(entry: &[u8]) -> usize {
    entry.len() + ENTRY_BYTES
}

/// How far the topic of `output` has acknowledged.
fn mark(
    published: &impl ReadableTable<&'static str, Key>,
    output: SideOutput,
) -> Result<Option<Key>, redb::StorageError> {
    Ok(published.get(output.name())?.map(|mark| mark.value()))
}

/// Drops the oldest entries up to `mark` until [`KEPT`] are left.
fn drop_oldest(
    table: &mut Table<'_, Key, &'static [u8]>,
    mark: Option<Key>,
) -> Result<(), redb::StorageError> {
    while table.len()? > KEPT && table.first()?.is_some_and(|(key, _)| Some(key.value()) <= mark) {
        table.pop_first()?;
    }
    Ok(())
}
