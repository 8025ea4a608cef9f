//! The rows of one part, and ranking them.

use std::cmp::Reverse;

use window::Entry;

/// Rows as parallel arrays: `ids` ascending, and `stride` counts for each id.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    ids: Vec<u64>,
    counts: Vec<u64>,
}

impl Rows {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of memory held, spare capacity included.
    pub(crate) fn bytes(&self) -> usize {
        8 * (self.ids.capacity() + self.counts.capacity())
    }

    /// Forgets all rows and takes these.
    pub(crate) fn replace(&mut self, ids: &[u64], counts: &[u64]) {
        self.ids.clear();
        self.counts.clear();
        self.ids.reserve_exact(ids.len());
        self.counts.reserve_exact(counts.len());
        self.ids.extend_from_slice(ids);
        self.counts.extend_from_slice(counts);
    }

    /// Overwrites the rows that are there and inserts the others. `ids` must ascend.
    pub(crate) fn merge(&mut self, ids: &[u64], counts: &[u64], stride: usize) {
        let mut missing = 0;
        for (id, row) in ids.iter().zip(counts.chunks_exact(stride)) {
            match self.ids.binary_search(id) {
                Ok(at) => self.counts[at * stride..][..stride].copy_from_slice(row),
                Err(_) => missing += 1,
            }
        }
        if missing > 0 {
            self.insert_missing(ids, counts, stride, missing);
        }
    }

    /// Inserts, from the greatest down, those of `ids` that are not there: each block of old rows
    /// moves once, straight to its place.
    fn insert_missing(&mut self, ids: &[u64], counts: &[u64], stride: usize, mut missing: usize) {
        let mut old_end = self.ids.len();
        self.ids.resize(old_end + missing, 0);
        self.counts.resize((old_end + missing) * stride, 0);
        for (id, row) in ids.iter().zip(counts.chunks_exact(stride)).rev() {
            let Err(at) = self.ids[..old_end].binary_search(id) else { continue };
            self.ids.copy_within(at..old_end, at + missing);
            self.counts.copy_within(at * stride..old_end * stride, (at + missing) * stride);
            missing -= 1;
            self.ids[at + missing] = *id;
            self.counts[(at + missing) * stride..][..stride].copy_from_slice(row);
            old_end = at;
            if missing == 0 {
                return;
            }
        }
    }

    /// Forgets these rows, as far as they are there. `ids` must ascend.
    pub(crate) fn remove(&mut self, ids: &[u64], stride: usize) {
        let (mut kept, mut from) = (0, 0);
        for id in ids {
            let Ok(at) = self.ids[from..].binary_search(id).map(|at| from + at) else { continue };
            kept = self.move_block(from..at, kept, stride);
            from = at + 1;
        }
        if from > 0 {
            kept = self.move_block(from..self.ids.len(), kept, stride);
            self.ids.truncate(kept);
            self.counts.truncate(kept * stride);
        }
    }

    /// Sets the counts of all rows in `slot` to 0.
    pub(crate) fn clear_slot(&mut self, slot: usize, stride: usize) {
        self.counts.iter_mut().skip(slot).step_by(stride).for_each(|count| *count = 0);
    }

    fn move_block(&mut self, block: std::ops::Range<usize>, to: usize, stride: usize) -> usize {
        let end = to + block.len();
        self.counts.copy_within(block.start * stride..block.end * stride, to * stride);
        self.ids.copy_within(block, to);
        end
    }

    /// The rows as (id, count in `slot`), ids ascending.
    pub(crate) fn entries(&self, slot: usize, stride: usize) -> impl Iterator<Item = Entry> + '_ {
        self.ids.iter().copied().zip(self.counts.iter().skip(slot).step_by(stride).copied())
    }
}

/// Order of a list: greater counts first, ties by smaller id.
pub(crate) fn rank(&(id, count): &Entry) -> impl Ord + use<> {
    (Reverse(count), id)
}

/// The first `k` entries in rank order.
pub(crate) fn top(mut entries: Vec<Entry>, k: usize) -> Vec<Entry> {
    if entries.len() > k {
        entries.select_nth_unstable_by_key(k, rank);
        entries.truncate(k);
    }
    entries.sort_unstable_by_key(rank);
    entries
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection, prelude::*};

    use super::*;

    const STRIDE: usize = 3;

    fn row(seed: u64) -> [u64; STRIDE] {
        [seed, seed * 7, seed ^ 5]
    }

    fn flat(rows: &BTreeMap<u64, u64>) -> (Vec<u64>, Vec<u64>) {
        (rows.keys().copied().collect(), rows.values().flat_map(|&seed| row(seed)).collect())
    }

    proptest! {
        #[test]
        fn rows_behave_like_a_map(
            steps in collection::vec(
                (0_u8..4, collection::btree_map(0_u64..40, 0_u64..1000, 0..12)),
                0..30,
            ),
        ) {
            let (mut rows, mut model) = (Rows::default(), BTreeMap::new());
            for (step, values) in steps {
                let (ids, counts) = flat(&values);
                match step {
                    0 => {
                        rows.replace(&ids, &counts);
                        model = values;
                    }
                    1 => {
                        rows.remove(&ids, STRIDE);
                        model.retain(|id, _| !values.contains_key(id));
                    }
                    _ => {
                        rows.merge(&ids, &counts, STRIDE);
                        model.extend(values);
                    }
                }
                prop_assert_eq!((rows.ids.clone(), rows.counts.clone()), flat(&model));
            }
        }
    }

    #[test]
    fn ties_go_to_the_smaller_id() {
        let entries = vec![(9, 1), (4, 5), (3, 5), (8, 7), (1, 5)];
        assert_eq!(top(entries.clone(), 3), [(8, 7), (1, 5), (3, 5)]);
        assert_eq!(top(entries, 100).len(), 5);
    }
}
