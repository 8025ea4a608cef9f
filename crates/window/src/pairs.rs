//! The (store, item) pairs: one flat record each, found by one hash look-up.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::{
    bit_set::BitSet,
    chunks::Chunks,
    index::Index,
    prefetch,
    records::{Counts, Record},
};

/// The two sides of a pair: what has lists, and what is ranked in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Stores, ranking items.
    Store = 0,
    /// Items, ranking stores.
    Item = 1,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Store, Self::Item];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Store => Self::Item,
            Self::Item => Self::Store,
        }
    }
}

/// All pairs ever seen in the partition. A pair is named by its place, in order of appearance.
#[derive(Debug)]
pub(crate) struct Pairs {
    records: Chunks<Record>,
    counts: Counts,
    /// For each side, the pair of the same entity that came before, plus one; 0 if none.
    chains: Chunks<[u32; 2]>,
    index: Index,
    hasher: RandomState,
    /// Pairs whose rows in the view may have to change since the last flush; each once.
    dirty_view: Vec<u32>,
    /// Pairs whose counts have changed since the last snapshot.
    dirty_save: BitSet,
}

impl Pairs {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            records: Chunks::new(),
            counts: Counts::new(slots),
            chains: Chunks::new(),
            index: Index::new(),
            hasher: RandomState::default(),
            dirty_view: Vec::new(),
            dirty_save: BitSet::default(),
        }
    }

    /// Makes room in the index for so many pairs, if there are none yet.
    pub(crate) fn reserve(&mut self, pairs: usize) {
        if self.len() == 0 {
            self.index.reserve(pairs);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes of memory held for the pairs and their index, without spare capacity of the records.
    pub(crate) fn bytes(&self) -> usize {
        let each = size_of::<Record>() + size_of::<[u32; 2]>();
        each * self.len() + self.index.bytes() + self.counts.bytes() + self.dirty_save.bytes()
    }

    /// The hash of a pair, from the ids of its sides; seeded at random, for the ids come from outside.
    #[inline]
    pub(crate) fn hash(&self, store: u64, item: u64) -> u64 {
        self.hasher.hash_one((store, item))
    }

    /// Starts to bring the place of a pair in the index into the cache.
    #[inline]
    pub(crate) fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// A pair that very likely is the one with `hash`; to be checked with [`Self::is`].
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        self.index.find(hash, |_| true)
    }

    /// Whether a pair is the one of these sides.
    #[inline]
    pub(crate) fn is(&self, pair: u32, store: u32, is_item: impl Fn(u32) -> bool) -> bool {
        let [s, i] = self.sides(pair);
        s == store && is_item(i)
    }

    /// The pair of a store and the item that `is_item` recognises by its index.
    #[inline]
    pub(crate) fn find(&self, hash: u64, store: u32, is_item: impl Fn(u32) -> bool) -> Option<u32> {
        self.index.find(hash, |pair| self.is(pair, store, &is_item))
    }

    /// Adds a pair that is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, sides: [u32; 2]) -> u32 {
        let pair = self.len();
        assert!(pair < u32::MAX as usize, "more pairs than a partition can number");
        self.records.push(self.counts.record(sides));
        self.chains.push([0; 2]);
        self.index.insert(hash, pair as u32);
        self.dirty_save.grow(pair + 1);
        pair as u32
    }

    /// Indexes of the store and of the item.
    #[inline]
    pub(crate) fn sides(&self, pair: u32) -> [u32; 2] {
        self.records[pair].sides
    }

    #[inline]
    pub(crate) fn side(&self, pair: u32, side: Side) -> u32 {
        self.records[pair].sides[side as usize]
    }

    /// The pair of the same entity that came before.
    pub(crate) fn chained(&self, pair: u32, side: Side) -> Option<u32> {
        self.chains[pair][side as usize].checked_sub(1)
    }

    pub(crate) fn set_chained(&mut self, pair: u32, side: Side, before: Option<u32>) {
        self.chains[pair][side as usize] = before.map_or(0, |before| before + 1);
    }

    /// Starts to bring the record into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, pair: u32) {
        self.records.prefetch(pair);
    }

    /// The record as it is; its counts are had from [`Self::record_counts`].
    #[inline]
    pub(crate) fn record(&self, pair: u32) -> &Record {
        &self.records[pair]
    }

    /// The record, to change anything but the counts.
    #[inline]
    pub(crate) fn record_mut(&mut self, pair: u32) -> &mut Record {
        &mut self.records[pair]
    }

    /// What reads the counts of records, and of copies of them as they are now.
    #[inline]
    pub(crate) fn record_counts(&self) -> &Counts {
        &self.counts
    }

    #[inline]
    pub(crate) fn count(&self, pair: u32, slot: usize) -> u64 {
        self.counts.count(&self.records[pair], slot)
    }

    /// The record, and what changes its counts.
    #[inline]
    pub(crate) fn counted(&mut self, pair: u32) -> (&mut Record, &mut Counts) {
        (&mut self.records[pair], &mut self.counts)
    }

    pub(crate) fn set_count(&mut self, pair: u32, slot: usize, count: u64) {
        self.counts.set(&mut self.records[pair], slot, count);
    }

    /// Sets the counts of all slots.
    pub(crate) fn set_counts(&mut self, pair: u32, counts: &[u64]) {
        let record = &mut self.records[pair];
        for (slot, &count) in counts.iter().enumerate() {
            self.counts.set(record, slot, count);
        }
    }

    /// Notes that a count of the pair has changed, and that what the view has of the pair may have to.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, pair: u32) {
        let record = &mut self.records[pair];
        let (view, save) = (record.mark_dirty_view(), record.mark_dirty_save());
        if view {
            self.dirty_view.push(pair);
        }
        if save {
            self.dirty_save.insert(pair);
        }
    }

    /// Notes that what the view has of the pair may have to change, though no count has.
    pub(crate) fn mark_dirty_view(&mut self, pair: u32) {
        if self.records[pair].mark_dirty_view() {
            self.dirty_view.push(pair);
        }
    }

    /// The pairs whose rows in the view may have to change since the last call, each once: `each` gets their
    /// records.
    pub(crate) fn take_dirty_view(&mut self, mut each: impl FnMut(&mut Record)) {
        let mut taken = std::mem::take(&mut self.dirty_view);
        for (place, &pair) in taken.iter().enumerate() {
            if let Some(&ahead) = taken.get(place + prefetch::AHEAD) {
                self.prefetch(ahead);
            }
            let record = &mut self.records[pair];
            record.clear_dirty_view();
            each(record);
        }
        taken.clear();
        self.dirty_view = taken;
    }

    /// How many pairs the next flush looks at.
    pub(crate) fn dirty_view_len(&self) -> usize {
        self.dirty_view.len()
    }

    /// Nothing has changed since the last snapshot.
    pub(crate) fn clear_dirty_save(&mut self) {
        let Self { records, dirty_save, .. } = self;
        dirty_save.take(|pair| records[pair].clear_dirty_save());
    }

    /// Copies the pairs changed since the last call, or all.
    pub(crate) fn save(&mut self, full: bool) -> Saved {
        let counts = self.counts.clone();
        if full {
            self.clear_dirty_save();
            return Saved { counts, pairs: None, records: self.records.clone() };
        }
        let (mut dirty, mut records) = (Vec::new(), Chunks::new());
        self.dirty_save.take(|pair| dirty.push(pair));
        for (place, &pair) in dirty.iter().enumerate() {
            if let Some(&ahead) = dirty.get(place + prefetch::AHEAD) {
                self.prefetch(ahead);
            }
            let record = &mut self.records[pair];
            record.clear_dirty_save();
            records.push(*record);
        }
        Saved { counts, pairs: Some(dirty), records }
    }
}

/// Copies of the records of some pairs.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) counts: Counts,
    /// Which pairs, ascending; all if `None`.
    pairs: Option<Vec<u32>>,
    records: Chunks<Record>,
}

impl Saved {
    /// The pairs with their records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Record)> {
        self.records.iter().enumerate().map(|(place, record)| {
            (self.pairs.as_ref().map_or(place as u32, |pairs| pairs[place]), record)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_dirty_once() {
        let mut pairs = Pairs::new(1);
        let pair = pairs.insert(1, [0, 0]);
        pairs.record_mut(pair).set_member(Side::Item, 0, true);
        pairs.mark_dirty(pair);
        pairs.mark_dirty(pair);
        let mut dirty = Vec::new();
        pairs.take_dirty_view(|record| dirty.push(record.sides));
        assert_eq!(dirty, [[0, 0]]);
        pairs.mark_dirty(pair);
        let mut saved = || pairs.save(false).iter().map(|(pair, _)| pair).collect::<Vec<_>>();
        assert_eq!(saved(), [pair]);
        assert_eq!(saved(), []);
    }
}
