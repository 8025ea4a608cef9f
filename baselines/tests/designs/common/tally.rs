//! What was sold, counted in the plainest way.

use std::{cmp::Reverse, collections::BTreeMap};

/// A purchase to send.
#[derive(Debug, Clone)]
pub(crate) struct Sale {
    pub(crate) store: u64,
    pub(crate) lines: Vec<(u64, u64)>,
}

impl Sale {
    pub(crate) fn path(&self) -> String {
        format!("/purchase/{}/customer/1000/date/20210101", self.store)
    }

    pub(crate) fn body(&self) -> String {
        let line = |(item, quantity): &(u64, u64)| {
            format!(r#"{{"ItemID":"{item}","numberOfItems:":{quantity}}}"#)
        };
        let lines: Vec<String> = self.lines.iter().map(line).collect();
        format!(r#"{{"items":[{}]}}"#, lines.join(","))
    }
}

/// Pieces by (store, item).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) purchases: u64,
    pub(crate) sold: BTreeMap<(u64, u64), u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, sale: &Sale) {
        self.purchases += 1;
        for &(item, quantity) in &sale.lines {
            *self.sold.entry((sale.store, item)).or_default() += quantity;
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.purchases += other.purchases;
        for (pair, quantity) in other.sold {
            *self.sold.entry(pair).or_default() += quantity;
        }
    }

    /// Paths of all lists, and what they are to say.
    pub(crate) fn lists(&self) -> Vec<(String, String)> {
        let mut lists: BTreeMap<String, (&str, Entries)> = BTreeMap::new();
        for (&(store, item), &quantity) in &self.sold {
            let (of_store, of_item) =
                (format!("/items/store/{store}"), format!("/items/top10/{item}"));
            lists.entry(of_store).or_insert(("itemID", Vec::new())).1.push((item, quantity));
            lists.entry(of_item).or_insert(("storeID", Vec::new())).1.push((store, quantity));
        }
        lists.into_iter().map(|(path, (name, entries))| (path, render(name, entries))).collect()
    }
}

/// Ids and pieces.
type Entries = Vec<(u64, u64)>;

fn render(name: &str, mut entries: Entries) -> String {
    entries.sort_by_key(|&(id, quantity)| (Reverse(quantity), id));
    let entry =
        |(id, quantity): &(u64, u64)| format!(r#"{{"{name}":{id},"numberOfItems":{quantity}}}"#);
    let entries: Vec<String> = entries.iter().take(10).map(entry).collect();
    format!(r#"{{"stores":[{}]}}"#, entries.join(","))
}
