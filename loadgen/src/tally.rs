//! The independent oracle: what was acknowledged, counted as plainly as can be.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use model::{BusinessDate, ItemId, Position, StoreId};

use crate::Basket;

/// Pieces sold of each item in each store.
pub(crate) type Counts = HashMap<(StoreId, ItemId), u64>;

/// An id and how many pieces.
pub type Entry = (u64, u64);

/// Counts of everything acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    all: Counts,
    days: BTreeMap<BusinessDate, Counts>,
    position: Position,
    purchases: u64,
    lines: u64,
}

impl Tally {
    /// Counts a purchase acknowledged with `position`.
    pub fn acknowledged(&mut self, basket: &Basket, position: &Position) {
        let day = self.days.entry(basket.date).or_default();
        for line in &basket.lines {
            let pair = (basket.store, line.item);
            *self.all.entry(pair).or_default() += u64::from(line.quantity);
            *day.entry(pair).or_default() += u64::from(line.quantity);
        }
        self.purchases += 1;
        self.lines += basket.lines.len() as u64;
        self.advance(position);
    }

    /// Adds what another tally has counted.
    pub fn merge(&mut self, other: Self) {
        add(&mut self.all, other.all);
        for (date, counts) in other.days {
            add(self.days.entry(date).or_default(), counts);
        }
        self.purchases += other.purchases;
        self.lines += other.lines;
        self.advance(&other.position);
    }

    fn advance(&mut self, position: &Position) {
        for (partition, next) in position.iter() {
            self.position.advance(partition, next);
        }
    }

    /// The least position that has everything counted here.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Purchases counted.
    pub fn purchases(&self) -> u64 {
        self.purchases
    }

    /// Lines counted, those of quantity 0 too.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Stores that have sent something, ascending.
    pub fn stores(&self) -> BTreeSet<StoreId> {
        self.all.keys().map(|&(store, _)| store).collect()
    }

    /// Items that occurred, ascending; also those that occurred with quantity 0 only.
    pub fn items(&self) -> BTreeSet<ItemId> {
        self.all.keys().map(|&(_, item)| item).collect()
    }

    /// Business dates that occurred, oldest first.
    pub fn dates(&self) -> impl DoubleEndedIterator<Item = BusinessDate> + '_ {
        self.days.keys().copied()
    }

    /// All lists since the beginning.
    pub fn rankings(&self) -> Rankings {
        Rankings::new(&self.all)
    }

    /// All lists of one business date; empty if it did not occur.
    pub fn day_rankings(&self, date: BusinessDate) -> Rankings {
        self.days.get(&date).map(Rankings::new).unwrap_or_default()
    }
}

fn add(counts: &mut Counts, more: Counts) {
    for (pair, count) in more {
        *counts.entry(pair).or_default() += count;
    }
}

/// Complete lists, best first, ties broken by smaller id; what sold nothing is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rankings {
    /// The items of each store.
    pub stores: BTreeMap<StoreId, Vec<Entry>>,
    /// The stores of each item.
    pub items: BTreeMap<ItemId, Vec<Entry>>,
    /// The items of the whole chain.
    pub chain_items: Vec<Entry>,
    /// The stores of the whole chain.
    pub chain_stores: Vec<Entry>,
}

impl Rankings {
    fn new(counts: &Counts) -> Self {
        let mut rankings = Self::default();
        let mut item_totals: HashMap<u64, u64> = HashMap::new();
        let mut store_totals: HashMap<u64, u64> = HashMap::new();
        for (&(store, item), &count) in counts.iter().filter(|&(_, &count)| count > 0) {
            rankings.stores.entry(store).or_default().push((item.0, count));
            rankings.items.entry(item).or_default().push((u64::from(store.0), count));
            *item_totals.entry(item.0).or_default() += count;
            *store_totals.entry(u64::from(store.0)).or_default() += count;
        }
        rankings.stores.values_mut().chain(rankings.items.values_mut()).for_each(|list| rank(list));
        rankings.chain_items = item_totals.into_iter().collect();
        rankings.chain_stores = store_totals.into_iter().collect();
        rank(&mut rankings.chain_items);
        rank(&mut rankings.chain_stores);
        rankings
    }
}

fn rank(list: &mut [Entry]) {
    list.sort_unstable_by_key(|&(id, count)| (Reverse(count), id));
}

#[cfg(test)]
mod tests {
    use model::{CustomerId, Line};

    use super::*;

    fn basket(store: u32, date: &str, lines: &[(u64, u32)]) -> Basket {
        let line = |&(item, quantity): &(u64, u32)| Line { item: ItemId(item), quantity };
        Basket {
            store: StoreId(store),
            customer: CustomerId(0),
            date: date.parse().unwrap(),
            occurred_at: None,
            key: String::new(),
            lines: lines.iter().map(line).collect(),
        }
    }

    #[test]
    fn lists_are_ranked_with_ties_by_smaller_id() {
        let mut tally = Tally::default();
        let position: Position = "0:1".parse().unwrap();
        tally.acknowledged(
            &basket(1, "20210101", &[(9, 2), (5, 2), (7, 1), (7, 4), (8, 0)]),
            &position,
        );
        tally.acknowledged(&basket(2, "20210102", &[(9, 3)]), &position);

        let rankings = tally.rankings();
        assert_eq!(rankings.stores[&StoreId(1)], [(7, 5), (5, 2), (9, 2)]);
        assert_eq!(rankings.items[&ItemId(9)], [(2, 3), (1, 2)]);
        assert_eq!(rankings.chain_items, [(7, 5), (9, 5), (5, 2)]);
        assert_eq!(rankings.chain_stores, [(1, 9), (2, 3)]);
        assert_eq!(tally.day_rankings("20210102".parse().unwrap()).chain_items, [(9, 3)]);
        assert_eq!((tally.purchases(), tally.lines()), (2, 6));
        assert!(tally.items().contains(&ItemId(8)) && !rankings.items.contains_key(&ItemId(8)));
    }

    #[test]
    fn merging_adds_counts_and_keeps_the_furthest_position() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.acknowledged(&basket(1, "20210101", &[(5, 1)]), &"0:3,1:9".parse().unwrap());
        other.acknowledged(&basket(1, "20210101", &[(5, 2)]), &"0:7,2:1".parse().unwrap());
        one.merge(other);
        assert_eq!(one.rankings().chain_items, [(5, 3)]);
        assert_eq!(one.position().to_string(), "0:7,1:9,2:1");
    }
}
