//! Snapshots: the state as chunks of bytes, whole or only what has changed.
//!
//! A whole snapshot and the partial ones taken after it, chunk by chunk in order, restore the state.
//! Each chunk is self-contained: a tag byte, then (numbers as in [`model::varint`]):
//!
//! - `meta`, always the first of a snapshot: version, settings, progress, numbers of keys forgotten and of pairs,
//!   producers
//! - `entities`: side · first index · count · ids
//! - `pairs`: count · (place less that of the pair before · store · item · bits of the slots that are
//!   not 0 · those counts) each
//! - `pane`: number · count · (pair · quantity) each
//! - `bounds`: count · (side · index · slot · count and id of the bound) each
//! - `keys`: count · (append time · key) each
//! - `day`: date · store lists · item lists; those of further chunks of the day come after them
//!
//! What follows from these is not stored: totals, the pairs of an entity, candidates (the pairs
//! that reach the bound), the pairs sold on an open day.

mod chunks;
mod restore;

use std::{convert::Infallible, mem, sync::Arc};

use model::{
    IdempotencyKey, Offset, Timestamp,
    varint::{self, VarintError},
};

use self::chunks::{CHUNK_BYTES, CHUNK_ITEMS, Chunks};
pub use self::restore::Restore;
use crate::{
    Aggregator, FinalDay, FinalIndex, Progress, Settings, SettingsError,
    lists::{List, Lists},
    pairs::{Saved, Side},
    panes::{Entry, PaneNumber},
    rank::Rank,
};

/// Version of the chunks.
const VERSION: u8 = 2;

/// The oldest that is still restored: a day was one chunk, and until when days were dropped was not said.
const OLDEST: u8 = 1;

const META: u8 = 0;
const ENTITIES: u8 = 1;
const PAIRS: u8 = 2;
const PANE: u8 = 3;
const BOUNDS: u8 = 4;
const KEYS: u8 = 5;
const DAY: u8 = 6;

/// A snapshot: what is to be saved, copied out of the state as it is. Taking it is quick, so that
/// the state can go on changing; [`Snapshot::encode`] is the work, and can be done elsewhere.
#[derive(Debug)]
pub struct Snapshot {
    /// Whether it stands alone; otherwise it goes after the ones before.
    pub full: bool,
    /// The next offset of the state.
    pub next: Offset,
    meta: Vec<u8>,
    /// For each side, the first index and the ids.
    entities: [(usize, Vec<u64>); 2],
    pairs: Saved,
    panes: Vec<(PaneNumber, Vec<Entry>)>,
    bounds: Vec<(List, Rank)>,
    keys: Vec<(Timestamp, IdempotencyKey)>,
    days: Vec<Arc<FinalDay>>,
}

/// Why chunks could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Written by a newer or older build.
    #[error("the snapshot has format {0}, this build reads formats {OLDEST} to {VERSION}")]
    Version(u8),
    /// Taken with other settings.
    #[error("the snapshot was taken with other settings: {0}")]
    Settings(SettingsError),
    /// The bytes are not a snapshot.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
}

impl From<VarintError> for RestoreError {
    fn from(error: VarintError) -> Self {
        Self::Damaged(match error {
            VarintError::Truncated => "a chunk ends early",
            VarintError::Malformed => "a number is malformed",
        })
    }
}

impl Aggregator {
    /// Everything there is (`full`), or what has changed since the last snapshot.
    ///
    /// The first snapshot of a new state must be full.
    pub fn snapshot(&mut self, full: bool) -> Snapshot {
        let mut panes = Vec::new();
        self.panes.save(full, |number, entries| panes.push((number, entries.to_vec())));
        let moved = self.lists.take_moved(&self.sides);
        let closed = mem::take(&mut self.days.closed_unsaved);
        Snapshot {
            full,
            next: self.progress.next,
            meta: self.meta(),
            entities: self.sides.each_mut().map(|entities| {
                let (first, ids) = entities.save(full);
                (first, ids.collect())
            }),
            pairs: self.pairs.save(full),
            panes,
            bounds: if full { Lists::bounded(&self.sides) } else { moved },
            keys: self.keys.save(full).collect(),
            days: if full { self.days.kept.values().cloned().collect() } else { closed },
        }
    }

    fn meta(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        Settings::of(&self.config).encode(&mut bytes);
        let Progress { next, append_time, clock, watermark: _, newest_date, dropped_until } =
            self.progress;
        varint::put(&mut bytes, next.0);
        varint::put_optional(&mut bytes, append_time.map(Timestamp::millis));
        varint::put_optional(&mut bytes, clock.map(Timestamp::millis));
        for date in [newest_date, dropped_until] {
            varint::put_optional(&mut bytes, date.map(|date| i64::from(date.days())));
        }
        varint::put(&mut bytes, self.keys.forgotten());
        varint::put(&mut bytes, self.pairs.len() as u64);
        varint::put(&mut bytes, self.producers.iter().len() as u64);
        for (id, state) in self.producers.iter() {
            bytes.extend_from_slice(&id.0.to_le_bytes());
            varint::put(&mut bytes, state.next.0);
            varint::put_signed(&mut bytes, state.last_append.millis());
        }
        bytes
    }
}

impl Snapshot {
    /// Gives the chunks to `each`, in the order to restore them; none is longer than 256 KiB, unless ten thousand
    /// producers are remembered. Only one is in memory at a time.
    ///
    /// # Errors
    /// The first error of `each`, which gets no chunk after it.
    pub fn encode<E>(&self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut out = Chunks::new(&mut each);
        out.begin(META).extend_from_slice(&self.meta);
        self.encode_entities(&mut out);
        self.encode_pairs(&mut out);
        self.encode_panes(&mut out);
        for &((side, index, slot), bound) in &self.bounds {
            let (bytes, _) = out.item(BOUNDS);
            bytes.push(side as u8);
            varint::put(bytes, u64::from(index));
            bytes.push(slot as u8);
            varint::put(bytes, bound.count);
            varint::put(bytes, bound.id);
        }
        for (appended, key) in &self.keys {
            let (bytes, _) = out.item(KEYS);
            varint::put_signed(bytes, appended.millis());
            bytes.extend_from_slice(&key.0);
        }
        self.encode_days(&mut out);
        out.finish()
    }

    /// All chunks at once, where there is memory for them.
    pub fn to_chunks(&self) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let Ok(()) = self.encode(|chunk| {
            chunks.push(chunk.to_vec());
            Ok::<_, Infallible>(())
        });
        chunks
    }

    fn encode_entities<E>(&self, out: &mut Chunks<'_, E>) {
        for side in Side::BOTH {
            let (first, ids) = &self.entities[side as usize];
            for (place, ids) in ids.chunks(CHUNK_ITEMS).enumerate() {
                let bytes = out.begin(ENTITIES);
                bytes.push(side as u8);
                varint::put(bytes, (first + place * CHUNK_ITEMS) as u64);
                varint::put(bytes, ids.len() as u64);
                for &id in ids {
                    varint::put(bytes, id);
                }
            }
        }
    }

    fn encode_pairs<E>(&self, out: &mut Chunks<'_, E>) {
        let (mut before, mut counts) = (0, Vec::new());
        for (pair, record) in self.pairs.iter() {
            let (bytes, first) = out.item(PAIRS);
            let step = if first { pair } else { pair - before };
            before = pair;
            varint::put(bytes, u64::from(step));
            for index in record.sides {
                varint::put(bytes, u64::from(index));
            }
            counts.clear();
            self.pairs.counts.extend(record, &mut counts);
            let slots = counts.iter().enumerate();
            let bits = slots.fold(0, |bits, (slot, &count)| bits | u64::from(count > 0) << slot);
            varint::put(bytes, bits);
            for &count in counts.iter().filter(|&&count| count > 0) {
                varint::put(bytes, count);
            }
        }
    }

    fn encode_panes<E>(&self, out: &mut Chunks<'_, E>) {
        for (number, entries) in &self.panes {
            for entries in entries.chunks(CHUNK_ITEMS) {
                let bytes = out.begin(PANE);
                varint::put_signed(bytes, number.raw());
                varint::put(bytes, entries.len() as u64);
                for entry in entries {
                    varint::put(bytes, u64::from(entry.pair));
                    varint::put(bytes, u64::from(entry.quantity));
                }
            }
        }
    }

    fn encode_days<E>(&self, out: &mut Chunks<'_, E>) {
        let nothing = FinalIndex::default();
        for day in &self.days {
            let stores = day.stores.pieces(CHUNK_BYTES).map(|piece| [piece, nothing.clone()]);
            let items = day.items.pieces(CHUNK_BYTES).map(|piece| [nothing.clone(), piece]);
            for lists in stores.chain(items) {
                let bytes = out.begin(DAY);
                varint::put_signed(bytes, i64::from(day.date.days()));
                for lists in lists {
                    lists.encode(bytes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{
        Batch, BusinessDate, CustomerId, ItemId, Line, ProducerId, Purchase, Sequence, StoreId,
    };

    use super::*;
    use crate::Config;

    struct Nowhere;

    impl crate::SideOutput for Nowhere {
        fn late(&mut self, _: Offset, _: u32, _: &Purchase) {}
    }

    /// A purchase whose numbers take as many bytes as they may, so many days after a first one.
    fn purchase(days: i32, items: u64) -> Purchase {
        let now = Timestamp::from_millis(1_609_459_200_000).expect("in range");
        Purchase {
            store: StoreId(u32::MAX),
            customer: CustomerId(0),
            date: now.date().plus_days(days),
            event_time: now,
            key: None,
            lines: (0..items)
                .map(|n| Line { item: ItemId(u64::MAX - n), quantity: u32::MAX })
                .collect(),
        }
    }

    fn batch<const N: usize>(first_sequence: u64, purchases: [Purchase; N]) -> Batch {
        Batch {
            producer: ProducerId(1),
            first_sequence: Sequence(first_sequence),
            append_time: purchases[0].event_time,
            purchases: purchases.into(),
        }
    }

    /// A state with a day of so many items, which is closed.
    fn state(items: u64) -> Aggregator {
        let mut state = Aggregator::new(Config::default());
        let batch = batch(0, [purchase(0, items), purchase(10, 1)]);
        state.apply(Offset(0), &batch, &mut Nowhere);
        state
    }

    fn restored(config: Config, chunks: &[Vec<u8>]) -> Aggregator {
        let mut restore = Restore::new(config);
        for chunk in chunks {
            restore.chunk(chunk).expect("a chunk");
        }
        restore.finish().expect("a state")
    }

    #[test]
    fn chunks_fit_their_pages_however_large_the_numbers_are() {
        let mut state = state(2 * CHUNK_ITEMS as u64 + 1);
        let chunks = state.snapshot(true).to_chunks();
        for tag in [ENTITIES, PAIRS, PANE, DAY] {
            assert!(chunks.iter().filter(|chunk| chunk[0] == tag).count() > 1, "chunks of {tag}");
        }
        let longest = chunks.iter().map(Vec::len).max();
        assert!(longest < Some((256 << 10) - (2 << 10)), "{longest:?}");

        assert_eq!(restored(Config::default(), &chunks).days.kept, state.days.kept);
    }

    #[test]
    fn no_chunk_is_made_after_an_error() {
        let (mut calls, snapshot) = (0, state(2 * CHUNK_ITEMS as u64).snapshot(true));
        let outcome = snapshot.encode(|_| {
            calls += 1;
            if calls == 3 { Err("full") } else { Ok(()) }
        });
        assert_eq!((outcome, calls), (Err("full"), 3));
    }

    #[test]
    fn other_formats_are_refused() {
        for version in [OLDEST - 1, VERSION + 1] {
            let outcome = Restore::new(Config::default()).chunk(&[META, version]);
            assert_eq!(outcome, Err(RestoreError::Version(version)));
        }
    }

    /// A state of the oldest format, with a day in one chunk.
    #[test]
    fn the_oldest_format_is_restored() {
        let (config, date) = (Config::default(), "20210101".parse().expect("a date"));
        let newest = BusinessDate::plus_days(date, 3);
        let mut meta = vec![META, OLDEST];
        Settings::of(&config).encode(&mut meta);
        varint::put(&mut meta, 7);
        for time in [None, None, Some(i64::from(newest.days()))] {
            varint::put_optional(&mut meta, time);
        }
        // No keys, no pairs, no producers.
        for number in [0; 3] {
            varint::put(&mut meta, number);
        }
        let mut lists = [FinalIndex::default(), FinalIndex::default()];
        for lists in &mut lists {
            lists.push(1, 5, &[(2, 5)]);
        }
        let mut day = vec![DAY];
        varint::put_signed(&mut day, i64::from(date.days()));
        for lists in &lists {
            lists.encode(&mut day);
        }

        let state = restored(config.clone(), &[meta, day]);
        let kept = &state.days.kept[&date];
        assert_eq!([&kept.stores, &kept.items], [&lists[0], &lists[1]]);
        let dropped = newest.plus_days(-(config.day_retention_days as i32));
        assert_eq!((state.progress.next, state.progress.dropped_until), (Offset(7), Some(dropped)));
    }

    /// Days that are gone do not come back when days are kept for longer, also those that are in a chunk still.
    #[test]
    fn what_has_been_dropped_is_known_after_a_restart() {
        let short = Config { day_retention_days: 20, ..Config::default() };
        let mut before = Aggregator::new(short);
        let (mut chunks, mut newest) = (Vec::new(), None);
        for (offset, days) in (0..).zip([0, 10, 40]) {
            let batch = batch(offset, [purchase(days, 1)]);
            newest = Some(batch.purchases[0].date);
            before.apply(Offset(offset), &batch, &mut Nowhere);
            let snapshot = before.snapshot(offset < 2);
            if snapshot.full {
                chunks.clear();
            }
            chunks.extend(snapshot.to_chunks());
        }
        assert!(chunks.iter().any(|chunk| chunk[0] == DAY), "the first day is in it");
        for (retention, dropped) in [(90, 20), (20, 20), (3, 3)] {
            let config = Config { day_retention_days: retention, ..Config::default() };
            let state = restored(config, &chunks);
            let dropped = newest.expect("a date").plus_days(-dropped);
            assert_eq!(state.progress.dropped_until, Some(dropped), "{retention}");
            assert!(state.days.kept.keys().all(|&date| date > dropped), "{retention}");
        }
    }
}
