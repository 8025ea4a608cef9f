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
//! - `day`: date · store lists · item lists
//!
//! What follows from these is not stored: totals, the pairs of an entity, candidates (the pairs
//! that reach the bound), the pairs sold on an open day.

use std::{collections::HashMap, mem, sync::Arc};

use model::{
    BusinessDate, IdempotencyKey, Offset, ProducerId, Sequence, Timestamp,
    varint::{self, VarintError},
};

use crate::{
    Aggregator, Config, FinalDay, FinalIndex, Progress, Settings, SettingsError,
    dedup::{ProducerState, Producers},
    lists::{List, Lists},
    pairs::{Saved, Side},
    panes::{Entry, PaneNumber},
    prefetch::AHEAD,
    rank::Rank,
};

/// Version of the chunks; restoring refuses any other.
const VERSION: u8 = 1;

/// A chunk, but for that of a day, is ended when it is longer than this: with what a database puts around it, it
/// still fits a page of 256 KiB, and stays in the cache from being read to being restored.
const CHUNK_BYTES: usize = (256 << 10) - (4 << 10);

/// Ids or entries in a chunk that is written whole: each takes ten bytes at most.
const CHUNK_ITEMS: usize = CHUNK_BYTES / 10;

/// The most pairs for which room is made at once.
const MAX_RESERVED: u32 = 50_000_000;

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
    #[error("the snapshot has format {0}, this build reads format {VERSION}")]
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
        let mut bytes = vec![META, VERSION];
        Settings::of(&self.config).encode(&mut bytes);
        let Progress { next, append_time, clock, watermark: _, newest_date } = self.progress;
        varint::put(&mut bytes, next.0);
        varint::put_optional(&mut bytes, append_time.map(Timestamp::millis));
        varint::put_optional(&mut bytes, clock.map(Timestamp::millis));
        varint::put_optional(&mut bytes, newest_date.map(|date| i64::from(date.days())));
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
    /// The chunks, in the order to restore them; none but that of a closed day is longer than 256 KiB.
    pub fn encode(&self) -> Vec<Vec<u8>> {
        let mut out = Chunks::default();
        out.done.push(self.meta.clone());
        self.encode_entities(&mut out);
        self.encode_pairs(&mut out);
        self.encode_panes(&mut out);
        for &((side, index, slot), bound) in &self.bounds {
            out.item(BOUNDS);
            out.open.push(side as u8);
            varint::put(&mut out.open, u64::from(index));
            out.open.push(slot as u8);
            varint::put(&mut out.open, bound.count);
            varint::put(&mut out.open, bound.id);
        }
        for (appended, key) in &self.keys {
            out.item(KEYS);
            varint::put_signed(&mut out.open, appended.millis());
            out.open.extend_from_slice(&key.0);
        }
        for day in &self.days {
            out.begin(DAY);
            varint::put_signed(&mut out.open, i64::from(day.date.days()));
            day.stores.encode(&mut out.open);
            day.items.encode(&mut out.open);
        }
        out.finish()
    }

    fn encode_entities(&self, out: &mut Chunks) {
        for side in Side::BOTH {
            let (first, ids) = &self.entities[side as usize];
            for (place, ids) in ids.chunks(CHUNK_ITEMS).enumerate() {
                out.begin(ENTITIES);
                out.open.push(side as u8);
                varint::put(&mut out.open, (first + place * CHUNK_ITEMS) as u64);
                varint::put(&mut out.open, ids.len() as u64);
                for &id in ids {
                    varint::put(&mut out.open, id);
                }
            }
        }
    }

    fn encode_pairs(&self, out: &mut Chunks) {
        let mut counts = Vec::new();
        for (pair, record) in self.pairs.iter() {
            let fresh = out.item(PAIRS);
            let before = if fresh { 0 } else { out.last };
            out.last = pair;
            let bytes = &mut out.open;
            varint::put(bytes, u64::from(pair - before));
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

    fn encode_panes(&self, out: &mut Chunks) {
        for (number, entries) in &self.panes {
            for entries in entries.chunks(CHUNK_ITEMS) {
                out.begin(PANE);
                varint::put_signed(&mut out.open, number.raw());
                varint::put(&mut out.open, entries.len() as u64);
                for entry in entries {
                    varint::put(&mut out.open, u64::from(entry.pair));
                    varint::put(&mut out.open, u64::from(entry.quantity));
                }
            }
        }
    }
}

/// Chunks being written. A chunk of items starts with their count, which is known only at its end:
/// it is put in front then.
#[derive(Default)]
struct Chunks {
    done: Vec<Vec<u8>>,
    open: Vec<u8>,
    items: Option<(u8, u64)>,
    last: u32,
}

impl Chunks {
    /// Starts a chunk that is written whole.
    fn begin(&mut self, tag: u8) {
        self.end();
        self.open.push(tag);
    }

    /// Makes room for one item more; whether it is the first of its chunk.
    fn item(&mut self, tag: u8) -> bool {
        if self.items.is_none_or(|(open, _)| open != tag) || self.open.len() > CHUNK_BYTES {
            self.end();
            self.items = Some((tag, 0));
        }
        let Some((_, count)) = &mut self.items else { unreachable!("set above") };
        *count += 1;
        *count == 1
    }

    fn end(&mut self) {
        let body = mem::take(&mut self.open);
        match self.items.take() {
            None if body.is_empty() => {}
            None => self.done.push(body),
            Some((tag, count)) => {
                let mut chunk = Vec::with_capacity(body.len() + 11);
                chunk.push(tag);
                varint::put(&mut chunk, count);
                chunk.extend_from_slice(&body);
                self.done.push(chunk);
            }
        }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.end();
        self.done
    }
}

fn take_time(millis: i64) -> Result<Timestamp, RestoreError> {
    Timestamp::from_millis(millis).ok_or(RestoreError::Damaged("a time is out of range"))
}

fn take_date(days: i64) -> Result<BusinessDate, RestoreError> {
    i32::try_from(days)
        .ok()
        .and_then(BusinessDate::from_days)
        .ok_or(RestoreError::Damaged("a date is out of range"))
}

/// Pairs that have been read, but are not in place yet.
#[derive(Debug, Default)]
struct Decoded {
    /// Each with its sides, and its hash if it is not there.
    pairs: Vec<(u32, [u32; 2], u64)>,
    /// By pair and slot.
    counts: Vec<u64>,
}

/// A state being put together from the chunks of its snapshots.
#[derive(Debug)]
pub struct Restore {
    state: Aggregator,
    bounds: HashMap<(usize, u32, usize), Rank>,
    started: bool,
}

impl Restore {
    /// Starts with nothing. Kinds, `k` and lateness of `config` must be those of the snapshots.
    ///
    /// # Panics
    /// If the configuration is not valid.
    pub fn new(config: Config) -> Self {
        Self { state: Aggregator::new(config), bounds: HashMap::new(), started: false }
    }

    /// Adds the next chunk.
    ///
    /// # Errors
    /// [`RestoreError`] if it is not one, or not one of this build and these settings. The state is of
    /// no use then.
    pub fn chunk(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        let rest = &mut &*chunk;
        let [tag] = varint::take_array(rest)?;
        if !self.started && tag != META {
            return Err(RestoreError::Damaged("the first chunk is missing"));
        }
        match tag {
            META => self.meta(rest)?,
            ENTITIES => self.entities(rest)?,
            PAIRS => self.pairs(rest)?,
            PANE => self.pane(rest)?,
            BOUNDS => self.read_bounds(rest)?,
            KEYS => self.keys(rest)?,
            DAY => self.day(rest)?,
            _ => return Err(RestoreError::Damaged("a chunk is of an unknown kind")),
        }
        if rest.is_empty() { Ok(()) } else { Err(RestoreError::Damaged("a chunk is too long")) }
    }

    fn meta(&mut self, rest: &mut &[u8]) -> Result<(), RestoreError> {
        let [version] = varint::take_array(rest)?;
        if version != VERSION {
            return Err(RestoreError::Version(version));
        }
        Settings::decode(rest)?
            .check(&Settings::of(&self.state.config))
            .map_err(RestoreError::Settings)?;
        let next = Offset(varint::take(rest)?);
        let append_time = varint::take_optional(rest)?.map(take_time).transpose()?;
        let clock = varint::take_optional(rest)?.map(take_time).transpose()?;
        let newest_date = varint::take_optional(rest)?.map(take_date).transpose()?;
        let watermark = clock.map(|clock| clock.minus(self.state.config.disorder));
        self.state.progress = Progress { next, append_time, clock, watermark, newest_date };
        self.state.keys.restore_forgotten(varint::take(rest)?);
        // Only a hint, and not to be trusted with all of the memory.
        let pairs = varint::take_u32(rest)?.min(MAX_RESERVED);
        self.state.pairs.reserve(pairs as usize);
        self.state.panes.restore_current(clock.map(PaneNumber::of));
        self.state.producers = Producers::default();
        for _ in 0..varint::take(rest)? {
            let id = ProducerId(u64::from_le_bytes(varint::take_array(rest)?));
            let next = Sequence(varint::take(rest)?);
            let last_append = take_time(varint::take_signed(rest)?)?;
            self.state.producers.insert(id, ProducerState { next, last_append });
        }
        self.started = true;
        Ok(())
    }

    fn entities(&mut self, rest: &mut &[u8]) -> Result<(), RestoreError> {
        let side = take_side(rest)?;
        let entities = &mut self.state.sides[side as usize];
        if varint::take(rest)? != entities.len() as u64 {
            return Err(RestoreError::Damaged("stores or items are missing"));
        }
        for _ in 0..varint::take(rest)? {
            let (known, id) = (entities.len(), varint::take(rest)?);
            if side == Side::Store && u32::try_from(id).is_err() {
                return Err(RestoreError::Damaged("a store's id is too large"));
            }
            if entities.find_or_insert(id) as usize != known {
                return Err(RestoreError::Damaged("a store or an item is there twice"));
            }
        }
        Ok(())
    }

    /// Each pair is somewhere else in memory, and says only step by step where. So a few are decoded, what they
    /// need is started on its way to the cache, and those before them are put in place meanwhile.
    fn pairs(&mut self, rest: &mut &[u8]) -> Result<(), RestoreError> {
        let (mut pair, mut left) = (0, varint::take(rest)?);
        let [mut decoded, mut approached] = [Decoded::default(), Decoded::default()];
        while left > 0 {
            let now = left.min(AHEAD as u64);
            left -= now;
            for _ in 0..now {
                let step = varint::take_u32(rest)?;
                pair = u32::checked_add(pair, step)
                    .ok_or(RestoreError::Damaged("a pair is out of range"))?;
                let sides = [varint::take_u32(rest)?, varint::take_u32(rest)?];
                self.approach(pair, sides)?;
                decoded.pairs.push((pair, sides, 0));
                self.take_counts(rest, &mut decoded.counts)?;
            }
            self.approach_index(&mut decoded);
            self.put(&mut approached)?;
            mem::swap(&mut decoded, &mut approached);
        }
        self.put(&mut approached)
    }

    /// Puts pairs in place.
    fn put(&mut self, Decoded { pairs, counts }: &mut Decoded) -> Result<(), RestoreError> {
        for ((pair, sides, hash), counts) in
            pairs.drain(..).zip(counts.chunks_exact(self.state.layout.slots()))
        {
            self.pair(pair, sides, hash)?;
            self.state.pairs.set_counts(pair, counts);
        }
        counts.clear();
        Ok(())
    }

    /// Appends the count in each slot.
    fn take_counts(&self, rest: &mut &[u8], counts: &mut Vec<u64>) -> Result<(), RestoreError> {
        let slots = self.state.layout.slots();
        let bits = varint::take(rest)?;
        if bits >> slots != 0 {
            return Err(RestoreError::Damaged("a slot is out of range"));
        }
        for slot in 0..slots {
            counts.push(if bits >> slot & 1 == 1 { varint::take(rest)? } else { 0 });
        }
        Ok(())
    }

    /// Starts to bring into the cache what belongs to a pair, or to the item of one that is not there.
    fn approach(&self, pair: u32, [store, item]: [u32; 2]) -> Result<(), RestoreError> {
        let Aggregator { pairs, sides: [stores, items], .. } = &self.state;
        if (pair as usize) < pairs.len() {
            pairs.prefetch(pair);
        } else if (store as usize) < stores.len() && (item as usize) < items.len() {
            items.prefetch(item);
        } else {
            return Err(RestoreError::Damaged("stores or items are missing"));
        }
        Ok(())
    }

    /// Gives those of the pairs that are not there their hashes, and starts to bring their places in the index
    /// into the cache.
    fn approach_index(&self, decoded: &mut Decoded) {
        let Aggregator { pairs, sides: [stores, items], .. } = &self.state;
        for (pair, [store, item], hash) in &mut decoded.pairs {
            if *pair as usize >= pairs.len() {
                *hash = pairs.hash(stores.id(*store), items.id(*item));
                pairs.prefetch_index(*hash);
            }
        }
    }

    /// Makes sure that `pair` is there, and is the one of these sides.
    fn pair(&mut self, pair: u32, sides: [u32; 2], hash: u64) -> Result<(), RestoreError> {
        let known = self.state.pairs.len();
        if (pair as usize) < known {
            let same = self.state.pairs.sides(pair) == sides;
            return same.then_some(()).ok_or(RestoreError::Damaged("a pair has changed sides"));
        }
        if pair as usize != known {
            return Err(RestoreError::Damaged("pairs are missing"));
        }
        self.state.add_pair(hash, sides);
        Ok(())
    }

    fn pane(&mut self, rest: &mut &[u8]) -> Result<(), RestoreError> {
        let number = PaneNumber::from_raw(varint::take_signed(rest)?);
        let count = varint::take(rest)?;
        // Each takes two bytes or more: the number is not to be trusted with more memory than that.
        let mut entries = Vec::with_capacity(rest.len().min(count as usize));
        for _ in 0..count {
            let entry = Entry { pair: varint::take_u32(rest)?, quantity: varint::take_u32(rest)? };
            if entry.pair as usize >= self.state.pairs.len() {
                return Err(RestoreError::Damaged("a pane names a pair that is missing"));
            }
            entries.push(entry);
        }
        let covered = self.state.panes.restore(number, &entries);
        covered.then_some(()).ok_or(RestoreError::Damaged("a pane is outside all windows"))
    }

    fn read_bounds(&mut self, rest: &mut &[u8]) -> Result<(), RestoreError> {
        for _ in 0..varint::take(rest)? {
            let side = take_side(rest)?;
            let index = varint::take_u32(rest)?;
            let [slot] = varint::take_array(rest)?;
            let bound = Rank { count: varint::take(rest)?, id: varint::take(rest)? };
            self.bounds.insert((side as usize, index, usize::from(slot)), bound);
        }
        Ok(())
    }

    fn keys(&mut self, rest: &mut &[u8]) -> Result<(), RestoreError> {
        for _ in 0..varint::take(rest)? {
            let appended = take_time(varint::take_signed(rest)?)?;
            self.state.keys.insert(IdempotencyKey(varint::take_array(rest)?), appended);
        }
        Ok(())
    }

    fn day(&mut self, rest: &mut &[u8]) -> Result<(), RestoreError> {
        let date = take_date(varint::take_signed(rest)?)?;
        let (stores, items) = (FinalIndex::decode(rest)?, FinalIndex::decode(rest)?);
        self.state.days.kept.insert(date, Arc::new(FinalDay { date, stores, items }));
        Ok(())
    }

    /// Ends: the state as it was at the last snapshot.
    ///
    /// # Errors
    /// [`RestoreError::Damaged`] if there was no chunk at all.
    pub fn finish(self) -> Result<Aggregator, RestoreError> {
        if !self.started {
            return Err(RestoreError::Damaged("there is no chunk"));
        }
        let Self { mut state, bounds, .. } = self;
        state.restore_bounds(&bounds);
        state.derive();
        state.pairs.clear_dirty_save();
        state.keys.restored();
        if let Some(newest) = state.progress.newest_date {
            let oldest = newest.plus_days(-(state.config.day_retention_days as i32));
            state.days.kept.retain(|&date, _| date > oldest);
        }
        Ok(state)
    }
}

impl Aggregator {
    /// Gives the entities with many pairs their lists, still empty, under the bounds of the snapshots.
    fn restore_bounds(&mut self, bounds: &HashMap<(usize, u32, usize), Rank>) {
        for side in Side::BOTH {
            let entities = &mut self.sides[side as usize];
            for index in 0..entities.len() as u32 {
                let bound = |slot| {
                    bounds.get(&(side as usize, index, slot)).copied().unwrap_or(Rank::LOWEST)
                };
                self.lists.restore_bounds(entities, index, bound);
            }
        }
    }

    /// Totals, candidates, and the pairs sold on open days, from the counts. Goes through the records once, in
    /// the order in which they lie in memory.
    fn derive(&mut self) {
        let open: Vec<usize> = (self.progress.newest_date.into_iter())
            .flat_map(|newest| self.layout.open_dates(newest))
            .filter_map(|date| self.layout.day_slot(date))
            .collect();
        let mut counts = Vec::with_capacity(self.layout.slots());
        for pair in 0..self.pairs.len() as u32 {
            let ahead = pair + AHEAD as u32;
            if (ahead as usize) < self.pairs.len() {
                self.sides[1].prefetch(self.pairs.side(ahead, Side::Item));
            }
            let record = self.pairs.record(pair);
            let indexes = record.sides;
            counts.clear();
            self.pairs.record_counts().extend(record, &mut counts);
            for (entities, index) in self.sides.iter_mut().zip(indexes) {
                for (slot, &count) in counts.iter().enumerate() {
                    let total = entities.total_mut(index, slot);
                    *total = total.wrapping_add(count);
                }
            }
            for &slot in &open {
                if counts[slot] > 0 {
                    self.sold[slot].push(pair);
                }
            }
            Lists::restore(&mut self.pairs, &mut self.sides, pair, &counts);
        }
        for entities in &mut self.sides {
            entities.restored();
        }
    }
}

fn take_side(rest: &mut &[u8]) -> Result<Side, RestoreError> {
    match varint::take_array(rest)? {
        [0] => Ok(Side::Store),
        [1] => Ok(Side::Item),
        _ => Err(RestoreError::Damaged("a side is neither 0 nor 1")),
    }
}

#[cfg(test)]
mod tests {
    use model::{Batch, CustomerId, ItemId, Line, Purchase, StoreId};

    use super::*;

    struct Nowhere;

    impl crate::SideOutput for Nowhere {
        fn late(&mut self, _: Offset, _: u32, _: &Purchase) {}
    }

    #[test]
    fn chunks_fit_their_pages_however_large_the_numbers_are() {
        let now = Timestamp::from_millis(1_609_459_200_000).expect("in range");
        let items = 2 * CHUNK_ITEMS as u64 + 1;
        let line = |n| Line { item: ItemId(u64::MAX - n), quantity: u32::MAX };
        let purchase = Purchase {
            store: StoreId(u32::MAX),
            customer: CustomerId(0),
            date: now.date(),
            event_time: now,
            key: None,
            lines: (0..items).map(line).collect(),
        };
        let batch = Batch {
            producer: ProducerId(1),
            first_sequence: Sequence(0),
            append_time: now,
            purchases: vec![purchase],
        };
        let mut state = Aggregator::new(Config::default());
        state.apply(Offset(0), &batch, &mut Nowhere);
        let chunks = state.snapshot(true).encode();
        for tag in [ENTITIES, PAIRS, PANE] {
            assert!(chunks.iter().filter(|chunk| chunk[0] == tag).count() > 1, "chunks of {tag}");
        }
        let longest = chunks.iter().map(Vec::len).max();
        assert!(longest < Some((256 << 10) - (2 << 10)), "{longest:?}");
    }
}
