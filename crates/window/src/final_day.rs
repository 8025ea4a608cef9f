//! Closed business days: only their lists and totals, packed.

use model::{BusinessDate, varint};

/// An entry of a list: an id and its count.
pub type Entry = (u64, u64);

/// A closed business day in one partition: for each store and each item sold that day, its total and
/// its top list. Immutable, and packed, for many days are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalDay {
    /// Which day.
    pub date: BusinessDate,
    /// The lists of the stores: their top items.
    pub stores: FinalIndex,
    /// The lists of the items: their top stores.
    pub items: FinalIndex,
}

/// The final lists of all stores, or of all items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FinalIndex {
    ids: Vec<u64>,
    totals: Vec<u64>,
    ends: Vec<u64>,
    packed: Vec<u8>,
}

impl FinalIndex {
    /// Adds the list of the next entity: ids of entities must ascend; `list` is in rank order.
    ///
    /// # Panics
    /// If `id` is not greater than the one before.
    pub fn push(&mut self, id: u64, total: u64, list: &[Entry]) {
        assert!(self.ids.last().is_none_or(|&last| last < id), "entities must ascend");
        for &(entry, count) in list {
            varint::put(&mut self.packed, entry);
            varint::put(&mut self.packed, count);
        }
        self.ids.push(id);
        self.totals.push(total);
        self.ends.push(self.packed.len() as u64);
    }

    /// Total and list (in rank order) of an entity; `None` if it sold nothing that day.
    pub fn get(&self, id: u64) -> Option<(u64, Vec<Entry>)> {
        let place = self.ids.binary_search(&id).ok()?;
        let start = if place == 0 { 0 } else { self.ends[place - 1] as usize };
        let mut rest = &self.packed[start..self.ends[place] as usize];
        let mut list = Vec::new();
        while let (Ok(entry), Ok(count)) = (varint::take(&mut rest), varint::take(&mut rest)) {
            list.push((entry, count));
        }
        Some((self.totals[place], list))
    }

    /// All entities with their totals, ids ascending.
    pub fn totals(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        self.ids.iter().copied().zip(self.totals.iter().copied())
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        24 * self.ids.len() + self.packed.len()
    }
}
