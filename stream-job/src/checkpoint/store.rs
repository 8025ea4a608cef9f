//! One partition's checkpoint file.

use std::{
    fmt,
    fs::{self, File},
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use log::Record;
use model::{Offset, Partition, PartitionCount};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use window::{Aggregator, Config, Restore, Snapshot};
use xxhash_rust::xxh3::xxh3_64;

use super::CheckpointError;
use crate::side::{Keep, SideBatch, SideOutput};

const FORMAT: u64 = 1;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const CHUNKS: TableDefinition<u64, &[u8]> = TableDefinition::new("chunks");

/// Pages the database keeps in memory; a checkpoint is written and read once, in order.
const CACHE_BYTES: usize = 8 << 20;

/// Partial snapshots may outgrow the full one by this much before it is replaced, so that a small
/// state is not written in full all the time.
const PARTIAL_SLACK: u64 = 16 << 20;

/// What a checkpoint is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) partition: Partition,
    pub(crate) partitions: PartitionCount,
}

/// The last record that was counted: by it a stream is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastRecord {
    pub(crate) offset: Offset,
    /// xxh3-64 of its bytes.
    checksum: u64,
}

impl LastRecord {
    pub(crate) fn of(record: &Record) -> Self {
        Self { offset: record.offset, checksum: xxh3_64(&record.payload) }
    }
}

/// What is in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) next: Offset,
    /// The record before `next`. `None` if nothing has been counted, or if a release wrote it that did not note this.
    pub(crate) last: Option<LastRecord>,
    /// Number of the next chunk; 0 if there is no snapshot.
    chunks: u64,
    full_bytes: u64,
    partial_bytes: u64,
}

impl Saved {
    /// Whether there is a snapshot.
    pub(crate) fn exists(&self) -> bool {
        self.chunks > 0
    }

    /// Whether the next snapshot must be a full one, or had better be.
    pub(crate) fn wants_full(&self) -> bool {
        !self.exists() || self.partial_bytes > self.full_bytes + PARTIAL_SLACK
    }

    /// Bytes of all chunks.
    pub(crate) fn bytes(&self) -> u64 {
        self.full_bytes + self.partial_bytes
    }

    /// Reads it, with `field`, which gives what the file has under a name.
    fn read<E>(field: impl Fn(&'static str) -> Result<Option<u64>, E>) -> Result<Self, E> {
        let number = |name| Ok(field(name)?.unwrap_or(0));
        let next = Offset(number("next")?);
        let last = field("last-offset")?.zip(field("last-checksum")?);
        let last = last.map(|(offset, checksum)| LastRecord { offset: Offset(offset), checksum });
        Ok(Self {
            next,
            // A release that does not note it may have counted on.
            last: last.filter(|last| last.offset.next() == next),
            chunks: number("chunks")?,
            full_bytes: number("full-bytes")?,
            partial_bytes: number("partial-bytes")?,
        })
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let last = self
            .last
            .map(|last| [("last-offset", last.offset.0), ("last-checksum", last.checksum)]);
        let fields = [
            ("next", self.next.0),
            ("chunks", self.chunks),
            ("full-bytes", self.full_bytes),
            ("partial-bytes", self.partial_bytes),
        ];
        fields.into_iter().chain(last.into_iter().flatten())
    }

    /// Before the chunks of a snapshot.
    fn beginning(self, snapshot: &Snapshot, last: Option<LastRecord>) -> Self {
        let next = snapshot.next;
        if snapshot.full {
            Self { next, last, full_bytes: 0, partial_bytes: 0, ..self }
        } else {
            Self { next, last, ..self }
        }
    }

    /// Counts a chunk; gives its number.
    fn add(&mut self, snapshot: &Snapshot, chunk: &[u8]) -> u64 {
        let bytes = if snapshot.full { &mut self.full_bytes } else { &mut self.partial_bytes };
        *bytes += chunk.len() as u64;
        self.chunks += 1;
        self.chunks - 1
    }
}

/// The checkpoint file of one partition, open.
#[derive(Debug)]
pub struct CheckpointStore {
    file: PathBuf,
    database: Guarded,
}

/// A database. One that has panicked on a damaged file may panic again when it is closed, which must
/// not hide the error that says so.
#[derive(Debug)]
struct Guarded(Option<Database>);

impl Deref for Guarded {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("taken only when dropped")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let database = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::debug!("a damaged checkpoint was not closed in order");
        }
    }
}

impl CheckpointStore {
    /// The file of a partition in `directory`.
    pub(crate) fn path(directory: &Path, partition: Partition) -> PathBuf {
        directory.join(format!("partition-{partition}.redb"))
    }

    /// Removes the checkpoint of a partition, if there is one.
    pub(crate) fn discard(directory: &Path, partition: Partition) -> Result<(), CheckpointError> {
        let file = Self::path(directory, partition);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(CheckpointError::from_database(&file, redb::Error::Io(error)))
            }
            _ => Ok(()),
        }
    }

    /// The path of a partition's file and what is in it, if there is one that can be read.
    pub(crate) fn peek(directory: &Path, partition: Partition) -> Option<(PathBuf, Saved)> {
        let file = Self::path(directory, partition);
        if !file.exists() {
            return None;
        }
        let database = guarded(&file, || {
            Database::open(&file).map_err(|error| CheckpointError::from_database(&file, error))
        });
        let database = Guarded(Some(database.ok()?));
        let store = Self { file, database };
        let saved = store.saved().ok()?;
        Some((store.file, saved))
    }

    /// Makes an empty file. It has another name until it is complete, so that a process killed on the
    /// way leaves no half of a database behind.
    fn create(directory: &Path, file: &Path) -> Result<(), CheckpointError> {
        let unfinished = file.with_extension("new");
        let io = |error| CheckpointError::from_database(&unfinished, redb::Error::Io(error));
        File::create(&unfinished).map_err(io)?;
        let database = Database::create(&unfinished)
            .map_err(|error| CheckpointError::from_database(&unfinished, error))?;
        drop(database);
        fs::rename(&unfinished, file).map_err(io)?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
    }

    /// Opens the file, or makes an empty one.
    pub(crate) fn open(directory: &Path, identity: Identity) -> Result<Self, CheckpointError> {
        let file = Self::path(directory, identity.partition);
        let io = |error| CheckpointError::from_database(&file, redb::Error::Io(error));
        fs::create_dir_all(directory).map_err(io)?;
        if !file.try_exists().map_err(io)? {
            Self::create(directory, &file)?;
        }
        let database = guarded(&file, || {
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create(&file)
                .map_err(|error| CheckpointError::from_database(&file, error))
        })?;
        let store = Self { file, database: Guarded(Some(database)) };
        guarded(&store.file, || store.check(identity))?;
        Ok(store)
    }

    /// The file's path.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The file is not what was written.
    pub(crate) fn damaged(&self, reason: impl fmt::Display) -> CheckpointError {
        CheckpointError::damaged(&self.file, reason)
    }

    fn error(&self, error: impl Into<redb::Error>) -> CheckpointError {
        CheckpointError::from_database(&self.file, error)
    }

    /// Compares what the file is of with what it should be of; an empty file becomes that.
    fn check(&self, identity: Identity) -> Result<(), CheckpointError> {
        let wanted = [
            ("format", FORMAT),
            ("partition", u64::from(identity.partition.0)),
            ("partitions", u64::from(identity.partitions.get())),
        ];
        let read = self.database.begin_read().map_err(|e| self.error(e))?;
        let meta = match read.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return self.initialise(wanted),
            meta => meta.map_err(|e| self.error(e))?,
        };
        for (name, value) in wanted {
            let found = meta.get(name).map_err(|e| self.error(e))?.map(|found| found.value());
            if found != Some(value) {
                let found = found.map_or("missing".to_owned(), |found| found.to_string());
                let reason = format!("its {name} is {found}, expected {value}");
                return Err(CheckpointError::mismatch(&self.file, reason));
            }
        }
        Ok(())
    }

    fn initialise(&self, identity: [(&str, u64); 3]) -> Result<(), CheckpointError> {
        let write = self.database.begin_write().map_err(|e| self.error(e))?;
        {
            let mut meta = write.open_table(META).map_err(|e| self.error(e))?;
            for (name, value) in identity {
                meta.insert(name, value).map_err(|e| self.error(e))?;
            }
            write.open_table(CHUNKS).map_err(|e| self.error(e))?;
            for output in SideOutput::ALL {
                output.create(&write).map_err(|e| self.error(e))?;
            }
        }
        write.commit().map_err(|e| self.error(e))
    }

    /// What is in the file.
    pub(crate) fn saved(&self) -> Result<Saved, CheckpointError> {
        guarded(&self.file, || {
            let read = self.database.begin_read().map_err(|e| self.error(e))?;
            let meta = read.open_table(META).map_err(|e| self.error(e))?;
            Saved::read(|name| {
                let value = meta.get(name).map_err(|e| self.error(e))?;
                Ok(value.map(|value| value.value()))
            })
        })
    }

    /// The state that was saved last; one that starts at `start` if none was. `None` if it is `cancelled` on the
    /// way.
    pub(crate) fn load(
        &self,
        config: &Config,
        start: Offset,
        cancelled: &AtomicBool,
    ) -> Result<Option<Aggregator>, CheckpointError> {
        guarded(&self.file, || {
            let saved = self.saved()?;
            if !saved.exists() {
                return Ok(Some(Aggregator::starting_at(config.clone(), start)));
            }
            let read = self.database.begin_read().map_err(|e| self.error(e))?;
            let chunks = read.open_table(CHUNKS).map_err(|e| self.error(e))?;
            let mut restore = Restore::new(config.clone());
            let mut expected = None;
            for chunk in chunks.iter().map_err(|e| self.error(e))? {
                if cancelled.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let (number, framed) = chunk.map_err(|e| self.error(e))?;
                let number = number.value();
                if expected.is_some_and(|expected| expected != number) {
                    return Err(CheckpointError::damaged(&self.file, "a chunk is missing"));
                }
                expected = Some(number + 1);
                let chunk = unframe(framed.value()).ok_or_else(|| {
                    CheckpointError::damaged(&self.file, "the checksum of a chunk is wrong")
                })?;
                restore.chunk(chunk).map_err(|e| CheckpointError::from_restore(&self.file, &e))?;
            }
            if expected != Some(saved.chunks) {
                return Err(CheckpointError::damaged(&self.file, "the last chunk is missing"));
            }
            let state =
                restore.finish().map_err(|e| CheckpointError::from_restore(&self.file, &e))?;
            if state.progress().next != saved.next {
                return Err(CheckpointError::damaged(&self.file, "state and offset differ"));
            }
            Ok(Some(state))
        })
    }

    /// Saves a snapshot, which record was the last, and what came out at the side, in one commit; gives what is in
    /// the file now.
    pub(crate) fn save(
        &self,
        snapshot: &Snapshot,
        last: Option<LastRecord>,
        side: &SideBatch,
        keep: Keep,
    ) -> Result<Saved, CheckpointError> {
        let mut saved = self.saved()?.beginning(snapshot, last);
        self.change(|write| {
            let mut chunks = write.open_table(CHUNKS)?;
            if snapshot.full {
                chunks.retain(|_, _| false)?;
            }
            snapshot.encode(|chunk| {
                let number = saved.add(snapshot, chunk);
                let mut place = chunks.insert_reserve(number, CHECKSUM_BYTES + chunk.len())?;
                frame(chunk, place.as_mut());
                // It is a long piece of work for which nobody waits.
                thread::yield_now();
                Ok::<_, redb::Error>(())
            })?;
            let mut meta = write.open_table(META)?;
            for (name, value) in saved.fields() {
                meta.insert(name, value)?;
            }
            side.write(write, keep)
        })?;
        Ok(saved)
    }

    /// Changes the file with `change`, in one commit.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), CheckpointError> {
        let commit = || -> Result<(), redb::Error> {
            let mut write = self.database.begin_write()?;
            // The file may be large: with this it need not be walked through after a crash.
            write.set_quick_repair(true);
            change(&write)?;
            Ok(write.commit()?)
        };
        guarded(&self.file, || commit().map_err(|e| self.error(e)))
    }

    /// Reads with `read`, in a transaction of its own.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, CheckpointError> {
        guarded(&self.file, || {
            let transaction = self.database.begin_read().map_err(|e| self.error(e))?;
            read(&transaction).map_err(|e| self.error(e))
        })
    }
}

/// Bytes that go before a chunk.
const CHECKSUM_BYTES: usize = 8;

fn frame(chunk: &[u8], framed: &mut [u8]) {
    let (checksum, body) = framed.split_at_mut(CHECKSUM_BYTES);
    checksum.copy_from_slice(&xxh3_64(chunk).to_le_bytes());
    body.copy_from_slice(chunk);
}

fn unframe(framed: &[u8]) -> Option<&[u8]> {
    let (checksum, chunk) = framed.split_first_chunk()?;
    (u64::from_le_bytes(*checksum) == xxh3_64(chunk)).then_some(chunk)
}

/// The database may panic on a damaged file; that is damage like any other.
fn guarded<T>(
    file: &Path,
    run: impl FnOnce() -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(CheckpointError::damaged(file, "the database cannot read it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, convert::Infallible};

    #[test]
    fn what_was_read_last_is_known_if_it_is_of_this_checkpoint() {
        let payload = bytes::Bytes::from_static(b"a record");
        let last = LastRecord::of(&Record { offset: Offset(6), payload });
        let saved = Saved {
            next: Offset(7),
            last: Some(last),
            chunks: 3,
            full_bytes: 100,
            partial_bytes: 20,
        };
        let mut file: BTreeMap<_, _> = saved.fields().collect();
        let read = |file: &BTreeMap<_, _>| {
            Saved::read(|name| Ok::<_, Infallible>(file.get(name).copied())).expect("no error")
        };
        assert_eq!(read(&file), saved);
        // A release that does not note it has counted on.
        file.insert("next", 8);
        assert_eq!(read(&file), Saved { next: Offset(8), last: None, ..saved });
        assert_eq!(read(&BTreeMap::new()), Saved::default());
    }
}
