//! The tables of the database, and the only place that knows them.
//!
//! * `meta`: `format` → [`FORMAT`], `partitions` → their number
//! * `partitions`: partition → (earliest offset, next offset, payload bytes held)
//! * `records`: (partition, offset) → [frame]
//!
//! A commit writes the records and the state of their partitions together, so at any commit the
//! keys of a partition are exactly its offsets from earliest to next.

use std::path::Path;

use bytes::Bytes;
use model::{Offset, Partition, PartitionCount, Timestamp};
use redb::{
    Builder, Database, ReadableDatabase, ReadableTableMetadata, StorageBackend, TableDefinition,
    TableHandle,
};

use super::{OpenError, frame};
use crate::{Bounds, Record, Retention, budget::ReadBudget};

const FORMAT: u64 = 1;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const PARTITIONS: TableDefinition<u32, (u64, u64, u64)> = TableDefinition::new("partitions");
const RECORDS: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("records");

/// The most one trim takes out in one commit, so that appends do not wait for long.
const CUT_RECORDS: u64 = 256;
const CUT_BYTES: u64 = 4 << 20;

/// What is recorded of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) bounds: Bounds,
    /// Payload bytes from `earliest` to `next`.
    pub(super) bytes: u64,
}

impl Extent {
    /// With one more record, of `len` bytes.
    pub(super) fn push(&mut self, len: usize) {
        self.bounds.next = self.bounds.next.next();
        self.bytes += len as u64;
    }

    /// Without what `cut` takes out.
    pub(super) fn trim(&mut self, cut: &Cut) {
        self.bounds.earliest = cut.below;
        self.bytes = self.bytes.saturating_sub(cut.bytes);
    }
}

/// A prefix of a partition that a trim takes out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) partition: Partition,
    pub(super) from: Offset,
    /// The first offset that stays.
    pub(super) below: Offset,
    pub(super) bytes: u64,
    /// Whether the trim is complete with this cut.
    pub(super) complete: bool,
}

/// A record on its way into the database.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewRecord<'a> {
    pub(super) partition: Partition,
    pub(super) offset: Offset,
    pub(super) payload: &'a [u8],
}

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// It could not.
    #[error(transparent)]
    Database(#[from] redb::Error),
    /// What it holds is not what was written.
    #[error("{0}")]
    Damaged(String),
}

impl StoreError {
    /// What is wrong with the file, unless the machine could not read or write it.
    pub(super) fn damage(self) -> Result<String, std::io::Error> {
        use std::io::{Error, ErrorKind};
        match self {
            Self::Damaged(detail) => Ok(detail),
            Self::Database(redb::Error::Io(error))
                if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                Err(error)
            }
            Self::Database(error @ (redb::Error::PreviousIo | redb::Error::Backend(_))) => {
                Err(Error::other(error.to_string()))
            }
            Self::Database(error) => Ok(error.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}
from_redb!(CommitError, StorageError, TableError, TransactionError);

fn damaged<T>(detail: String) -> Result<T, StoreError> {
    Err(StoreError::Damaged(detail))
}

/// The database.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
}

impl Store {
    /// Opens or creates the database that is `backend`, which is `file`, and verifies the checksum
    /// of every page.
    pub(super) fn open(
        file: &Path,
        backend: impl StorageBackend,
        cache_bytes: usize,
    ) -> Result<Self, OpenError> {
        let database = Builder::new()
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(|error| match error {
                redb::DatabaseError::DatabaseAlreadyOpen
                | redb::DatabaseError::LockProtocolMismatch => {
                    OpenError::Locked { file: file.to_owned() }
                }
                error => OpenError::of(file, StoreError::Database(error.into())),
            })?;
        Ok(Self { database })
    }

    /// Closes it in order, and gives up the lock on the file.
    pub(super) fn close(self) -> Result<(), redb::DatabaseError> {
        self.database.close()
    }

    /// Writes down the format and the number of partitions, unless that was done before.
    pub(super) fn initialise(&self, partitions: PartitionCount) -> Result<(), StoreError> {
        if self.database.begin_read()?.list_tables()?.next().is_some() {
            return Ok(());
        }
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("partitions", u64::from(partitions.get()))?;
            let mut extents = transaction.open_table(PARTITIONS)?;
            for partition in partitions.iter() {
                extents.insert(partition.0, (0, 0, 0))?;
            }
            transaction.open_table(RECORDS)?;
        }
        Ok(transaction.commit()?)
    }

    /// The recorded format, if this release cannot read it.
    pub(super) fn newer_format(&self) -> Result<Option<u64>, StoreError> {
        let format = self.meta("format")?;
        Ok((format > FORMAT).then_some(format))
    }

    /// The recorded number of partitions.
    pub(super) fn partitions(&self) -> Result<u64, StoreError> {
        self.meta("partitions")
    }

    fn meta(&self, key: &str) -> Result<u64, StoreError> {
        let meta = self.database.begin_read()?.open_table(META)?;
        match meta.get(key)? {
            Some(value) => Ok(value.value()),
            None => damaged(format!("'{key}' is missing in table {}", META.name())),
        }
    }

    /// What is recorded of every partition, checked against the records themselves.
    pub(super) fn extents(&self, partitions: PartitionCount) -> Result<Vec<Extent>, StoreError> {
        let snapshot = self.database.begin_read()?;
        let table = snapshot.open_table(PARTITIONS)?;
        let records = snapshot.open_table(RECORDS)?;
        let mut extents = Vec::with_capacity(partitions.get() as usize);
        let mut expected = 0;
        for partition in partitions.iter() {
            let Some(row) = table.get(partition.0)? else {
                return damaged(format!("nothing is recorded of partition {partition}"));
            };
            let (earliest, next, bytes) = row.value();
            let mut keys = records.range((partition.0, 0)..=(partition.0, u64::MAX))?;
            let first = keys.next().transpose()?.map(|(key, _)| key.value().1);
            let last = keys.next_back().transpose()?.map(|(key, _)| key.value().1).or(first);
            let held = earliest < next;
            let ends = held.then(|| (earliest, next - 1));
            if earliest > next || first.zip(last) != ends {
                return damaged(format!(
                    "partition {partition} should hold {earliest} up to {next}, its ends are \
                     {first:?} and {last:?}"
                ));
            }
            expected += next - earliest;
            let bounds = Bounds { earliest: Offset(earliest), next: Offset(next) };
            extents.push(Extent { bounds, bytes });
        }
        let count = records.len()?;
        if count != expected {
            return damaged(format!("it holds {count} records, there should be {expected}"));
        }
        Ok(extents)
    }

    /// What `retention` takes out of a partition next, as much as one commit may.
    pub(super) fn plan(
        &self,
        partition: Partition,
        extent: Extent,
        retention: &Retention,
    ) -> Result<Cut, StoreError> {
        let Bounds { earliest, next } = extent.bounds;
        let records = self.database.begin_read()?.open_table(RECORDS)?;
        let mut cut = Cut { partition, from: earliest, below: earliest, bytes: 0, complete: true };
        for entry in records.range((partition.0, earliest.0)..(partition.0, next.0))? {
            let (key, value) = entry?;
            let (appended, payload) = intact(partition, cut.below, key.value().1, value.value())?;
            if !retention.trims(cut.below, appended, extent.bytes.saturating_sub(cut.bytes)) {
                break;
            }
            if cut.below.0 - earliest.0 >= CUT_RECORDS || cut.bytes >= CUT_BYTES {
                cut.complete = false;
                break;
            }
            cut.bytes += payload.len() as u64;
            cut.below = cut.below.next();
        }
        Ok(cut)
    }

    /// Makes durable, in one commit: new records, a cut, and the state of the partitions after it.
    pub(super) fn commit<'a>(
        &self,
        appended: Timestamp,
        new: impl Iterator<Item = NewRecord<'a>>,
        cut: Option<Cut>,
        changed: impl Iterator<Item = (Partition, Extent)>,
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for NewRecord { partition, offset, payload } in new {
                let place = (partition.0, offset.0);
                let mut value = records.insert_reserve(place, frame::len(payload))?;
                frame::write(value.as_mut(), partition, offset, appended, payload);
            }
            if let Some(Cut { partition, from, below, .. }) = cut {
                records.retain_in((partition.0, from.0)..(partition.0, below.0), |_, _| false)?;
            }
            let mut extents = transaction.open_table(PARTITIONS)?;
            for (partition, Extent { bounds: Bounds { earliest, next }, bytes }) in changed {
                extents.insert(partition.0, (earliest.0, next.0, bytes))?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// The records from `from`, up to `max_bytes` of payload but at least one, all below `next`,
    /// which is above `from` and durable.
    pub(super) fn read(
        &self,
        partition: Partition,
        from: Offset,
        next: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        let mut budget = ReadBudget::new(max_bytes);
        let mut offset = from;
        let mut records = Vec::new();
        for entry in table.range((partition.0, from.0)..(partition.0, next.0))? {
            let (key, value) = entry?;
            let (_, payload) = intact(partition, offset, key.value().1, value.value())?;
            if !budget.admits(payload.len()) {
                return Ok(records);
            }
            records.push(Record { offset, payload: Bytes::copy_from_slice(payload) });
            offset = offset.next();
        }
        if offset < next {
            return damaged(format!("offset {offset} of partition {partition} is missing"));
        }
        Ok(records)
    }
}

/// What a record holds, if it is the one expected and as it was written.
fn intact(
    partition: Partition,
    expected: Offset,
    found: u64,
    value: &[u8],
) -> Result<(Timestamp, &[u8]), StoreError> {
    if found != expected.0 {
        return damaged(format!(
            "offset {expected} of partition {partition} is missing: {found} is in its place"
        ));
    }
    match frame::read(value, partition, expected) {
        Some(content) => Ok(content),
        None => damaged(format!(
            "offset {expected} of partition {partition} does not match its checksum"
        )),
    }
}
