//! Counts and top lists in memory.

use std::{cmp::Reverse, collections::HashMap};

use dashmap::DashMap;
use model::{ItemId, Purchase, StoreId};

use crate::contract::{Entry, TOP};

/// What has been sold.
///
/// Counts only grow, so a list is kept exact with a look at its last entry: who is not in it and does not
/// pass the last entry now has not passed it before.
#[derive(Debug, Default)]
pub(super) struct Sales {
    stores: DashMap<StoreId, StoreSales>,
    items: DashMap<ItemId, Top<StoreId>>,
}

#[derive(Debug, Default)]
struct StoreSales {
    counts: HashMap<ItemId, u64>,
    top: Top<ItemId>,
}

/// The best entries, best first, ties by smaller id.
#[derive(Debug)]
struct Top<Id>(Vec<Entry<Id>>);

impl Sales {
    /// Counts a purchase. Purchases of one store must come from one thread at a time.
    pub(super) fn add(&self, purchase: &Purchase) {
        for line in &purchase.lines {
            self.add_pieces(purchase.store, line.item, line.quantity.into());
        }
    }

    /// Counts pieces of an item that a store has sold.
    pub(super) fn add_pieces(&self, store: StoreId, item: ItemId, pieces: u64) {
        let count = {
            let mut sales = self.stores.entry(store).or_default();
            let count = sales.counts.entry(item).or_default();
            *count += pieces;
            let count = *count;
            sales.top.raise(item, count);
            count
        };
        self.items.entry(item).or_default().raise(store, count);
    }

    pub(super) fn top_items(&self, store: StoreId) -> Vec<Entry<ItemId>> {
        self.stores.get(&store).map(|sales| sales.top.0.clone()).unwrap_or_default()
    }

    pub(super) fn top_stores(&self, item: ItemId) -> Vec<Entry<StoreId>> {
        self.items.get(&item).map(|top| top.0.clone()).unwrap_or_default()
    }
}

impl<Id> Default for Top<Id> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<Id: Copy + Ord> Top<Id> {
    /// Takes note that the count of `id` has grown to `count`.
    fn raise(&mut self, id: Id, count: u64) {
        let rank = |entry: &Entry<Id>| (Reverse(entry.count), entry.id);
        let raised = Entry { id, count };
        match self.0.iter().position(|entry| entry.id == id) {
            Some(at) => {
                self.0.remove(at);
            }
            None if self.0.len() < TOP => {}
            None if self.0.last().is_some_and(|last| rank(last) < rank(&raised)) => return,
            None => {
                self.0.pop();
            }
        }
        let at = self.0.partition_point(|entry| rank(entry) < rank(&raised));
        self.0.insert(at, raised);
    }
}

#[cfg(test)]
mod tests {
    use random::Random;

    use super::*;

    /// Against sorting all counts.
    #[test]
    fn lists_are_those_of_all_counts() {
        let (sales, mut random) = (Sales::default(), Random::new(5));
        let mut counts: HashMap<(u32, u64), u64> = HashMap::new();
        for _ in 0..5000 {
            let (store, item) = (random.below(14) as u32, random.below(25));
            let pieces = 1 + random.below(2);
            sales.add_pieces(StoreId(store), ItemId(item), pieces);
            *counts.entry((store, item)).or_default() += pieces;
            let mut of_store: Vec<_> = counts
                .iter()
                .filter(|((other, _), _)| *other == store)
                .map(|(&(_, item), &count)| Entry { id: ItemId(item), count })
                .collect();
            of_store.sort_by_key(|entry| (Reverse(entry.count), entry.id));
            of_store.truncate(TOP);
            assert_eq!(sales.top_items(StoreId(store)), of_store);
            let mut of_item: Vec<_> = counts
                .iter()
                .filter(|((_, other), _)| *other == item)
                .map(|(&(store, _), &count)| Entry { id: StoreId(store), count })
                .collect();
            of_item.sort_by_key(|entry| (Reverse(entry.count), entry.id));
            of_item.truncate(TOP);
            assert_eq!(sales.top_stores(ItemId(item)), of_item);
        }
    }
}
