//! The (store, item) pairs: one flat record each, found by one hash look-up.
//!
//! A record is a run of 32-bit words: store index, item index, place in a pane, flags, then the
//! counts, one per slot, side by side. A count is wider than its word about never; then its upper
//! half is kept aside and the record is flagged.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{index::Index, prefetch};

const STORE: usize = 0;
const PLACE: usize = 2;
const FLAGS: usize = 3;
/// Words of a record before its counts.
const HEAD: usize = 4;

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

/// The most slots a record has flags for.
pub(crate) const MAX_SLOTS: usize = 12;

const IN_VIEW: u32 = 1 << (2 * MAX_SLOTS);
const DIRTY_VIEW: u32 = IN_VIEW << 2;
const DIRTY_SAVE: u32 = IN_VIEW << 3;
const WIDE: u32 = IN_VIEW << 4;

/// A pair that has changed, with its sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dirty {
    pub(crate) pair: u32,
    pub(crate) sides: [u32; 2],
}

/// All pairs ever seen in the partition. A pair is named by its place, in order of appearance.
#[derive(Debug)]
pub(crate) struct Pairs {
    words: Vec<u32>,
    slots: usize,
    /// For each side, the pair of the same entity that came before, plus one; 0 if none.
    chains: [Vec<u32>; 2],
    index: Index,
    hasher: RandomState,
    upper: HashMap<(u32, u8), u32, RandomState>,
    /// Pairs changed since the last flush (with their sides), and since the last snapshot; each once.
    dirty_view: Vec<Dirty>,
    dirty_save: Vec<u32>,
}

impl Pairs {
    pub(crate) fn new(slots: usize) -> Self {
        debug_assert!(slots <= MAX_SLOTS, "more slots than flags");
        Self {
            words: Vec::new(),
            slots,
            chains: [Vec::new(), Vec::new()],
            index: Index::new(),
            hasher: RandomState::default(),
            upper: HashMap::default(),
            dirty_view: Vec::new(),
            dirty_save: Vec::new(),
        }
    }

    /// Makes room for so many pairs, if there are none yet.
    pub(crate) fn reserve(&mut self, pairs: usize) {
        if self.words.is_empty() {
            self.words.reserve(pairs * (HEAD + self.slots));
            self.chains.iter_mut().for_each(|chain| chain.reserve(pairs));
            self.index.reserve(pairs);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len() / (HEAD + self.slots)
    }

    /// Bytes of memory held for the pairs and their index, without spare capacity of the records.
    pub(crate) fn bytes(&self) -> usize {
        (self.words.len() + 2 * self.len()) * 4 + self.index.bytes() + self.upper.capacity() * 12
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
        self.words.extend_from_slice(&[sides[0], sides[1], 0, 0]);
        self.words.resize(self.words.len() + self.slots, 0);
        self.chains.iter_mut().for_each(|chain| chain.push(0));
        self.index.insert(hash, pair as u32);
        pair as u32
    }

    #[inline]
    fn base(&self, pair: u32) -> usize {
        pair as usize * (HEAD + self.slots)
    }

    /// Indexes of the store and of the item.
    #[inline]
    pub(crate) fn sides(&self, pair: u32) -> [u32; 2] {
        let base = self.base(pair) + STORE;
        [self.words[base], self.words[base + 1]]
    }

    #[inline]
    pub(crate) fn side(&self, pair: u32, side: Side) -> u32 {
        self.words[self.base(pair) + STORE + side as usize]
    }

    /// The pair of the same entity that came before.
    pub(crate) fn chained(&self, pair: u32, side: Side) -> Option<u32> {
        self.chains[side as usize][pair as usize].checked_sub(1)
    }

    pub(crate) fn set_chained(&mut self, pair: u32, side: Side, before: Option<u32>) {
        self.chains[side as usize][pair as usize] = before.map_or(0, |before| before + 1);
    }

    /// Starts to bring the record into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, pair: u32) {
        prefetch::read(&self.words, self.base(pair));
        prefetch::read(&self.words, self.base(pair) + HEAD + self.slots - 1);
    }

    /// Where in its newest pane the pair has its entry; a hint, to be checked there.
    #[inline]
    pub(crate) fn place(&self, pair: u32) -> u32 {
        self.words[self.base(pair) + PLACE]
    }

    #[inline]
    pub(crate) fn set_place(&mut self, pair: u32, place: u32) {
        let base = self.base(pair);
        self.words[base + PLACE] = place;
    }

    #[inline]
    fn flags(&self, pair: u32) -> u32 {
        self.words[self.base(pair) + FLAGS]
    }

    #[inline]
    fn flags_mut(&mut self, pair: u32) -> &mut u32 {
        let base = self.base(pair);
        &mut self.words[base + FLAGS]
    }

    #[inline]
    pub(crate) fn count(&self, pair: u32, slot: usize) -> u64 {
        let low = u64::from(self.words[self.base(pair) + HEAD + slot]);
        if self.flags(pair) & WIDE == 0 { low } else { low | self.upper(pair, slot) << 32 }
    }

    #[cold]
    fn upper(&self, pair: u32, slot: usize) -> u64 {
        self.upper.get(&(pair, slot as u8)).copied().unwrap_or(0).into()
    }

    pub(crate) fn counts(&self, pair: u32) -> impl Iterator<Item = u64> + '_ {
        (0..self.slots).map(move |slot| self.count(pair, slot))
    }

    /// Appends all counts of a pair.
    #[inline]
    pub(crate) fn extend_counts(&self, pair: u32, out: &mut Vec<u64>) {
        if self.flags(pair) & WIDE != 0 {
            out.extend(self.counts(pair));
        } else {
            let low = &self.words[self.base(pair) + HEAD..][..self.slots];
            out.extend(low.iter().map(|&low| u64::from(low)));
        }
    }

    /// Adds to a count; gives the new one.
    #[inline]
    pub(crate) fn add(&mut self, pair: u32, slot: usize, quantity: u32) -> u64 {
        let base = self.base(pair);
        let word = &mut self.words[base + HEAD + slot];
        let (low, carry) = word.overflowing_add(quantity);
        *word = low;
        if carry {
            self.carry(pair, slot, 1);
        }
        self.count(pair, slot)
    }

    /// Takes from a count what was added before; gives the new one.
    #[inline]
    pub(crate) fn subtract(&mut self, pair: u32, slot: usize, quantity: u32) -> u64 {
        let base = self.base(pair);
        let word = &mut self.words[base + HEAD + slot];
        let (low, borrow) = word.overflowing_sub(quantity);
        *word = low;
        if borrow {
            self.carry(pair, slot, u32::MAX);
        }
        self.count(pair, slot)
    }

    #[cold]
    fn carry(&mut self, pair: u32, slot: usize, by: u32) {
        *self.flags_mut(pair) |= WIDE;
        let upper = self.upper.entry((pair, slot as u8)).or_default();
        *upper = upper.wrapping_add(by);
    }

    pub(crate) fn set_count(&mut self, pair: u32, slot: usize, count: u64) {
        let base = self.base(pair);
        self.words[base + HEAD + slot] = count as u32;
        if count >> 32 != 0 {
            *self.flags_mut(pair) |= WIDE;
            self.upper.insert((pair, slot as u8), (count >> 32) as u32);
        } else if self.flags(pair) & WIDE != 0 {
            self.upper.remove(&(pair, slot as u8));
        }
    }

    #[inline]
    fn member_bit(side: Side, slot: usize) -> u32 {
        1 << (side as usize * MAX_SLOTS + slot)
    }

    /// Whether the pair is a candidate for the list of its `side` in `slot`.
    #[inline]
    pub(crate) fn is_member(&self, pair: u32, side: Side, slot: usize) -> bool {
        self.flags(pair) & Self::member_bit(side, slot) != 0
    }

    /// Makes the pair a candidate for the list of its `side` in `slot`, or no longer one.
    #[inline]
    pub(crate) fn set_member(&mut self, pair: u32, side: Side, slot: usize, member: bool) {
        let bit = Self::member_bit(side, slot);
        let flags = self.flags_mut(pair);
        *flags = if member { *flags | bit | IN_VIEW << side as usize } else { *flags & !bit };
    }

    /// Whether a row of the pair may be in the lists of its `side`: it was a candidate at the last flush
    /// or at any time since. (At any time, for another run on the same stream flushes at other offsets:
    /// who follows that one may have the row.)
    pub(crate) fn is_in_view(&self, pair: u32, side: Side) -> bool {
        self.flags(pair) & IN_VIEW << side as usize != 0
    }

    pub(crate) fn set_in_view(&mut self, pair: u32, side: Side, in_view: bool) {
        let bit = IN_VIEW << side as usize;
        let flags = self.flags_mut(pair);
        *flags = if in_view { *flags | bit } else { *flags & !bit };
    }

    /// Notes that the pair has changed.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, pair: u32) {
        let flags = self.flags_mut(pair);
        let before = *flags;
        *flags |= DIRTY_VIEW | DIRTY_SAVE;
        if before & DIRTY_VIEW == 0 {
            self.dirty_view.push(Dirty { pair, sides: self.sides(pair) });
        }
        if before & DIRTY_SAVE == 0 {
            self.dirty_save.push(pair);
        }
    }

    /// The pairs changed since the last call, each once.
    pub(crate) fn take_dirty_view(&mut self, taken: &mut Vec<Dirty>) {
        taken.clear();
        std::mem::swap(&mut self.dirty_view, taken);
        for (place, &Dirty { pair, .. }) in taken.iter().enumerate() {
            if let Some(ahead) = taken.get(place + prefetch::AHEAD) {
                self.prefetch(ahead.pair);
            }
            *self.flags_mut(pair) &= !DIRTY_VIEW;
        }
    }

    /// How many pairs have changed since the last flush.
    pub(crate) fn dirty_view_len(&self) -> usize {
        self.dirty_view.len()
    }

    /// Nothing has changed since the last snapshot.
    pub(crate) fn clear_dirty_save(&mut self) {
        self.take_dirty_save();
    }

    /// The pairs changed since the last call, ascending.
    fn take_dirty_save(&mut self) -> Vec<u32> {
        let mut taken = std::mem::take(&mut self.dirty_save);
        taken.sort_unstable();
        for &pair in &taken {
            *self.flags_mut(pair) &= !DIRTY_SAVE;
        }
        taken
    }

    /// Copies the pairs changed since the last call, or all.
    pub(crate) fn save(&mut self, full: bool) -> Records {
        let dirty = self.take_dirty_save();
        let (slots, upper) = (self.slots, self.upper.clone());
        if full {
            return Records { slots, upper, pairs: None, words: self.words.clone() };
        }
        let mut words = Vec::with_capacity(dirty.len() * (HEAD + slots));
        for (place, &pair) in dirty.iter().enumerate() {
            if let Some(&ahead) = dirty.get(place + prefetch::AHEAD) {
                self.prefetch(ahead);
            }
            words.extend_from_slice(&self.words[self.base(pair)..][..HEAD + slots]);
        }
        Records { slots, upper, pairs: Some(dirty), words }
    }
}

/// Copies of the records of some pairs.
#[derive(Debug)]
pub(crate) struct Records {
    slots: usize,
    upper: HashMap<(u32, u8), u32, RandomState>,
    /// Which pairs, ascending; all if `None`.
    pairs: Option<Vec<u32>>,
    words: Vec<u32>,
}

/// A copy of the record of one pair.
pub(crate) struct Record<'a> {
    pub(crate) pair: u32,
    pub(crate) sides: [u32; 2],
    low: &'a [u32],
    /// The upper halves of all wide counts, if this pair has some.
    upper: Option<&'a HashMap<(u32, u8), u32, RandomState>>,
}

impl Records {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.words.chunks_exact(HEAD + self.slots).enumerate().map(|(place, words)| Record {
            pair: self.pairs.as_ref().map_or(place as u32, |pairs| pairs[place]),
            sides: [words[STORE], words[STORE + 1]],
            low: &words[HEAD..],
            upper: (words[FLAGS] & WIDE != 0).then_some(&self.upper),
        })
    }
}

impl Record<'_> {
    pub(crate) fn counts(&self) -> impl Iterator<Item = u64> + '_ {
        self.low.iter().enumerate().map(|(slot, &low)| {
            let upper = self.upper.and_then(|upper| upper.get(&(self.pair, slot as u8)));
            u64::from(low) | u64::from(upper.copied().unwrap_or(0)) << 32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_outgrows_its_word_and_comes_back() {
        let mut pairs = Pairs::new(3);
        let pair = pairs.insert(7, [0, 0]);
        assert_eq!(pairs.add(pair, 1, u32::MAX), u64::from(u32::MAX));
        assert_eq!(pairs.add(pair, 1, 2), (1 << 32) + 1);
        assert_eq!(pairs.add(pair, 0, 5), 5);
        assert_eq!(pairs.counts(pair).collect::<Vec<_>>(), [5, (1 << 32) + 1, 0]);
        assert_eq!(pairs.subtract(pair, 1, 2), u64::from(u32::MAX));
        assert_eq!(pairs.subtract(pair, 1, u32::MAX), 0);
        pairs.set_count(pair, 2, 3 << 32);
        assert_eq!(pairs.count(pair, 2), 3 << 32);
        pairs.set_count(pair, 2, 1);
        assert_eq!(pairs.count(pair, 2), 1);
    }

    #[test]
    fn a_pair_is_dirty_once() {
        let mut pairs = Pairs::new(1);
        let pair = pairs.insert(1, [0, 0]);
        pairs.mark_dirty(pair);
        pairs.mark_dirty(pair);
        let mut dirty = Vec::new();
        pairs.take_dirty_view(&mut dirty);
        assert_eq!(dirty, [Dirty { pair, sides: [0, 0] }]);
        pairs.mark_dirty(pair);
        assert_eq!(pairs.take_dirty_save(), [pair]);
        assert_eq!(pairs.take_dirty_save(), []);
    }
}
