//! The hash index of the pairs.
//!
//! Open addressing with linear probing (Knuth, "The Art of Computer Programming", volume 3, 1973,
//! algorithm 6.4 L). A slot is one word: the number of a pair, and the upper half of its hash, which
//! says both where the slot should be and, nearly always, whether it is the pair looked for. So a look-up
//! touches one cache line before the pair itself, that line can be fetched ahead, and growing
//! needs no hashing. The index is split, so that it grows a small part at a time.

use crate::prefetch;

const SHARDS: usize = 256;
const FIRST_SLOTS: usize = 16;

/// Pairs by the hash of their sides.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Vec<Shard>,
}

/// A power of two of slots, at most seven eighths of them in use.
#[derive(Debug, Default)]
struct Shard {
    /// Upper half of the hash, then the number of the pair plus one; 0 if free.
    slots: Vec<u64>,
    used: usize,
}

fn tag(hash: u64) -> u64 {
    hash >> 32
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Shard {
        &self.shards[hash as usize % SHARDS]
    }

    /// Starts to bring the slot for `hash` into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        let shard = self.shard(hash);
        prefetch::read(&shard.slots, shard.home(tag(hash)));
    }

    /// The first pair with `hash` that `is_it` recognises.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let shard = self.shard(hash);
        let mut place = shard.home(tag(hash));
        loop {
            let slot = *shard.slots.get(place)?;
            if slot == 0 {
                return None;
            }
            let pair = (slot as u32).wrapping_sub(1);
            if tag(slot) == tag(hash) && is_it(pair) {
                return Some(pair);
            }
            place = (place + 1) & (shard.slots.len() - 1);
        }
    }

    /// Adds a pair that is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, pair: u32) {
        let shard = &mut self.shards[hash as usize % SHARDS];
        if (shard.used + 1) * 8 > shard.slots.len() * 7 {
            shard.grow();
        }
        shard.put(tag(hash) << 32 | (u64::from(pair) + 1));
        shard.used += 1;
    }

    /// Makes room for so many pairs, in an index that is empty.
    pub(crate) fn reserve(&mut self, pairs: usize) {
        // A shard may get somewhat more than its share.
        let share = pairs / SHARDS + pairs / SHARDS / 8;
        let length = (share * 8 / 7).next_power_of_two().max(FIRST_SLOTS);
        for shard in self.shards.iter_mut().filter(|shard| shard.used == 0) {
            shard.slots = vec![0; length];
        }
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| 8 * shard.slots.len()).sum()
    }
}

impl Shard {
    #[inline]
    fn home(&self, tag: u64) -> usize {
        tag as usize & self.slots.len().wrapping_sub(1)
    }

    fn put(&mut self, slot: u64) {
        let mut place = self.home(tag(slot));
        while self.slots[place] != 0 {
            place = (place + 1) & (self.slots.len() - 1);
        }
        self.slots[place] = slot;
    }

    fn grow(&mut self) {
        let length = (2 * self.slots.len()).max(FIRST_SLOTS);
        let before = std::mem::replace(&mut self.slots, vec![0; length]);
        before.into_iter().filter(|&slot| slot != 0).for_each(|slot| self.put(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_found_and_no_other() {
        let hash = |pair: u32| u64::from(pair).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = Index::new();
        for pair in 0..100_000 {
            assert_eq!(index.find(hash(pair), |found| found == pair), None);
            index.insert(hash(pair), pair);
        }
        for pair in 0..100_000 {
            assert_eq!(index.find(hash(pair), |found| found == pair), Some(pair));
        }
    }

    #[test]
    fn pairs_of_one_hash_are_told_apart() {
        let mut index = Index::new();
        (0..1000).for_each(|pair| index.insert(42, pair));
        assert_eq!(index.find(42, |found| found == 999), Some(999));
        assert_eq!(index.find(42, |_| false), None);
        index.insert(0, u32::MAX - 1);
        assert_eq!(index.find(0, |_| true), Some(u32::MAX - 1));
    }
}
