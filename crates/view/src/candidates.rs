//! The candidates for one chain-wide list.

use std::{cmp::Reverse, collections::HashMap};

use foldhash::fast::RandomState;
use window::Entry;

use crate::rows;

/// Place in a list: the greater, the better.
type Rank = (u64, Reverse<u64>);

/// The entities that may be in a chain-wide list, with their totals.
///
/// Invariant while *live*: the members are exactly the entities that have a total above 0 and stand at
/// `bound` or better, each with its exact total. So the true top k are the k best members as long as
/// there are k of them, or no bound. When too many stand above the bound it is raised; when
/// fewer than k are left, the candidates go *stale*, and the next reader scans all entities.
#[derive(Debug)]
pub(crate) struct Candidates {
    k: usize,
    live: bool,
    bound: Option<Rank>,
    members: HashMap<u64, u64, RandomState>,
}

impl Candidates {
    /// Stale candidates for lists of up to `k` entries.
    pub(crate) fn new(k: usize) -> Self {
        Self { k, live: false, bound: None, members: HashMap::default() }
    }

    /// Whether the members are complete.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// The least total that can change the members; `u64::MAX` if none can.
    pub(crate) fn least_wanted(&self) -> u64 {
        if self.live { self.bound.map_or(1, |(count, _)| count) } else { u64::MAX }
    }

    /// Forgets the members: the next reader has to scan.
    pub(crate) fn invalidate(&mut self) {
        self.live = false;
        self.members.clear();
    }

    /// Becomes live with the totals of all entities, each given once.
    pub(crate) fn rebuild(&mut self, totals: impl Iterator<Item = Entry>) {
        self.members.clear();
        self.bound = None;
        for (id, total) in totals {
            if self.admits(id, total) {
                self.members.insert(id, total);
                self.raise_bound();
            }
        }
        self.live = true;
    }

    /// The total of an entity has become `total`. Tells whether the members have changed.
    pub(crate) fn set(&mut self, id: u64, total: u64) -> bool {
        if !self.live {
            return false;
        }
        let changed = if self.admits(id, total) {
            self.members.insert(id, total) != Some(total)
        } else {
            self.members.remove(&id).is_some()
        };
        self.raise_bound();
        if self.members.len() < self.k && self.bound.is_some() {
            self.invalidate();
        }
        changed
    }

    /// The best `k` members, in rank order.
    pub(crate) fn top(&self, k: usize) -> Vec<Entry> {
        rows::top(self.members.iter().map(|(&id, &total)| (id, total)).collect(), k)
    }

    fn admits(&self, id: u64, total: u64) -> bool {
        total > 0 && self.bound.is_none_or(|bound| (total, Reverse(id)) >= bound)
    }

    /// With more than 4k members, keeps the best 2k.
    fn raise_bound(&mut self) {
        if self.members.len() <= 4 * self.k {
            return;
        }
        let mut ranks: Vec<Rank> = self.members.iter().map(|(&id, &n)| (n, Reverse(id))).collect();
        let (_, &mut bound, _) = ranks.select_nth_unstable_by(2 * self.k - 1, |a, b| b.cmp(a));
        self.members.retain(|&id, &mut total| (total, Reverse(id)) >= bound);
        self.bound = Some(bound);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn the_best_members_are_the_best_of_all(
            k in 1_usize..5,
            steps in collection::vec((0_u64..60, 0_u64..30), 0..400),
        ) {
            let mut candidates = Candidates::new(k);
            let mut totals = BTreeMap::new();
            for (id, total) in steps {
                totals.insert(id, total);
                candidates.set(id, total);
                if !candidates.is_live() {
                    candidates.rebuild(totals.iter().map(|(&id, &total)| (id, total)));
                }
                let all = totals.iter().map(|(&id, &n)| (id, n)).filter(|&(_, n)| n > 0).collect();
                prop_assert_eq!(candidates.top(k), rows::top(all, k));
                prop_assert!(candidates.members.len() <= 4 * k);
            }
        }
    }

    #[test]
    fn fewer_than_k_are_enough_without_a_bound() {
        let mut candidates = Candidates::new(10);
        candidates.rebuild([(1, 5), (2, 0)].into_iter());
        assert!(candidates.set(1, 0));
        assert!(candidates.is_live());
        assert_eq!(candidates.top(10), []);
    }
}
