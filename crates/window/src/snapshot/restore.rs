//! Putting the state together from the chunks of its snapshots.

use std::{
    collections::{BTreeMap, HashMap, btree_map},
    mem,
    sync::Arc,
};

use model::{BusinessDate, IdempotencyKey, Offset, ProducerId, Sequence, Timestamp, varint};

use super::{BOUNDS, DAY, ENTITIES, KEYS, META, OLDEST, PAIRS, PANE, RestoreError, VERSION};
use crate::{
    Aggregator, Config, FinalDay, FinalIndex, Progress, Settings,
    dedup::{ProducerState, Producers},
    lists::Lists,
    pairs::Side,
    panes::{Entry, PaneNumber},
    prefetch::AHEAD,
    rank::Rank,
    records::MAX_SLOTS,
};

/// The most pairs for which room is made at once.
const MAX_RESERVED: u32 = 50_000_000;

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
    days: BTreeMap<BusinessDate, FinalDay>,
    started: bool,
}

impl Restore {
    /// Starts with nothing. Kinds, `k` and lateness of `config` must be those of the snapshots.
    ///
    /// # Panics
    /// If the configuration is not valid.
    pub fn new(config: Config) -> Self {
        let state = Aggregator::new(config);
        Self { state, bounds: HashMap::new(), days: BTreeMap::new(), started: false }
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
        if !(OLDEST..=VERSION).contains(&version) {
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
        let dropped_until = match version {
            // It is told from how long days are kept now, as it was by that build.
            OLDEST => None,
            _ => varint::take_optional(rest)?.map(take_date).transpose()?,
        };
        self.state.progress =
            Progress { next, append_time, clock, watermark, newest_date, dropped_until };
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
        match self.days.entry(date) {
            btree_map::Entry::Vacant(day) => drop(day.insert(FinalDay { date, stores, items })),
            btree_map::Entry::Occupied(day) => {
                let day = day.into_mut();
                day.stores.append(&stores)?;
                day.items.append(&items)?;
            }
        }
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
        let Self { mut state, bounds, days, .. } = self;
        state.restore_bounds(&bounds);
        state.derive();
        state.pairs.clear_dirty_save();
        state.keys.restored();
        state.days.kept = days.into_iter().map(|(date, day)| (date, Arc::new(day))).collect();
        state.drop_passed();
        // None of them has been handed on.
        state.days.dropped_unflushed.clear();
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
        let (slots, mut counts) = (self.layout.slots(), [0; MAX_SLOTS]);
        for pair in 0..self.pairs.len() as u32 {
            let ahead = pair + AHEAD as u32;
            if (ahead as usize) < self.pairs.len() {
                self.sides[1].prefetch(self.pairs.side(ahead, Side::Item));
            }
            let record = self.pairs.record(pair);
            self.pairs.record_counts().write(record, &mut counts);
            for (entities, index) in self.sides.iter_mut().zip(record.sides) {
                entities.add_counts(index, &counts[..slots]);
            }
            for &slot in &open {
                if counts[slot] > 0 {
                    self.sold[slot].push(pair);
                }
            }
            Lists::restore(&mut self.pairs, &mut self.sides, pair);
        }
        for entities in &mut self.sides {
            entities.restored();
        }
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

fn take_side(rest: &mut &[u8]) -> Result<Side, RestoreError> {
    match varint::take_array(rest)? {
        [0] => Ok(Side::Store),
        [1] => Ok(Side::Item),
        _ => Err(RestoreError::Damaged("a side is neither 0 nor 1")),
    }
}
