//! A second opinion on where every partition ends.
//!
//! A database that commits in one phase cannot tell, after a crash, a commit that the crash cut
//! short from one that was complete and has rotted since: it goes back to the commit before. For a
//! log that would lose acknowledged records without a word. So every commit is followed by a
//! note, in a file of its own, of the next offset of each partition. At the next start the
//! database must reach at least that far.
//!
//! The note is not synced: it never claims more than is durable, and an older one only claims
//! less. After the death of the process it is always there; after the death of the machine an
//! older one may be. There are two slots, written in turn, so that a torn write leaves the other.
//!
//! * file: slot, slot; each padded to whole blocks of 4 KiB
//! * slot: magic and format version (8 bytes), sequence `u64` LE, count `u32` LE,
//!   count × next offset `u64` LE, xxh3-64 of all that `u64` LE

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use model::{Offset, PartitionCount};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 8] = *b"TLwitn\x00\x01";
const BLOCK: usize = 4096;
const SLOTS: u64 = 2;

/// The newest intact note of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Note {
    sequence: u64,
    pub(super) next: Vec<Offset>,
}

/// What a witness file says.
#[derive(Debug)]
pub(super) enum Testimony {
    /// There is no such file.
    Absent,
    /// No slot of it is intact, or it is about another number of partitions.
    Damaged,
    /// It says this.
    Note(Note),
}

/// The file, open for notes.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    sequence: u64,
    slot: Vec<u8>,
}

/// Reads the file at `path`.
pub(super) fn read(path: &Path, partitions: PartitionCount) -> io::Result<Testimony> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Testimony::Absent),
        Err(error) => return Err(error),
    };
    let notes = bytes.chunks(slot_len(partitions)).filter_map(|slot| decode(slot, partitions));
    let newest = notes.max_by_key(|note| note.sequence);
    Ok(newest.map_or(Testimony::Damaged, Testimony::Note))
}

impl Witness {
    /// Opens or creates the file and notes `next` in both slots, one after the other, synced.
    pub(super) fn open(path: &Path, next: &[Offset], after: Option<&Note>) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let sequence = after.map_or(0, |note| note.sequence);
        let mut witness = Self { file, sequence, slot: Vec::new() };
        for _ in 0..SLOTS {
            witness.note(next.iter().copied())?;
            witness.file.sync_all()?;
        }
        Ok(witness)
    }

    /// Notes that every partition is durable up to its next offset.
    pub(super) fn note(&mut self, next: impl ExactSizeIterator<Item = Offset>) -> io::Result<()> {
        self.sequence += 1;
        encode(&mut self.slot, self.sequence, next);
        let place = self.sequence % SLOTS * self.slot.len() as u64;
        self.file.write_all_at(&self.slot, place)
    }
}

fn content_len(count: usize) -> usize {
    MAGIC.len() + 8 + 4 + count * 8
}

fn slot_len(partitions: PartitionCount) -> usize {
    (content_len(partitions.get() as usize) + 8).next_multiple_of(BLOCK)
}

fn encode(slot: &mut Vec<u8>, sequence: u64, next: impl ExactSizeIterator<Item = Offset>) {
    slot.clear();
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&sequence.to_le_bytes());
    slot.extend_from_slice(&(next.len() as u32).to_le_bytes());
    next.for_each(|offset| slot.extend_from_slice(&offset.0.to_le_bytes()));
    let checksum = xxh3_64(slot);
    slot.extend_from_slice(&checksum.to_le_bytes());
    slot.resize(slot.len().next_multiple_of(BLOCK), 0);
}

fn decode(slot: &[u8], partitions: PartitionCount) -> Option<Note> {
    let (content, rest) = slot.split_at_checked(content_len(partitions.get() as usize))?;
    let checksum = rest.first_chunk()?;
    if u64::from_le_bytes(*checksum) != xxh3_64(content) {
        return None;
    }
    let rest = content.strip_prefix(&MAGIC)?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (count, rest) = rest.split_first_chunk()?;
    let (next, []) = rest.as_chunks() else { return None };
    let next: Vec<_> = next.iter().map(|offset| Offset(u64::from_le_bytes(*offset))).collect();
    (u32::from_le_bytes(*count) == partitions.get())
        .then_some(Note { sequence: u64::from_le_bytes(*sequence), next })
}
