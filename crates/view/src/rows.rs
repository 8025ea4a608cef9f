//! The rows of one part, and ranking them.

use std::{cmp::Reverse, ops::Range};

use window::Entry;

/// The rows of a part: for each id, ascending, a count in each of `stride` slots.
///
/// Rows are most of what a view holds. Nearly all ids fit 32 bits and most counts 16: only a part that has a
/// larger one takes more for each. A part that has grown wide stays so.
#[derive(Debug)]
pub(crate) enum Rows {
    Small(Table<u32, u16>),
    Narrow(Table<u32, u32>),
    Wide(Table<u64, u64>),
}

/// Rows as parallel arrays of ids and of `stride` counts for each.
#[derive(Debug, Default)]
pub(crate) struct Table<I, C> {
    ids: Vec<I>,
    counts: Vec<C>,
}

/// An id or a count as it is stored.
pub(crate) trait Word: Copy + Default + Into<u64> {
    const MAX: u64;

    /// `value`, which must fit.
    fn of(value: u64) -> Self;
}

macro_rules! words {
    ($($word:ty)+) => {
        $(impl Word for $word {
            const MAX: u64 = Self::MAX as u64;

            fn of(value: u64) -> Self {
                value as Self
            }
        })+
    };
}

words! { u16 u32 u64 }

/// What is the same for every width.
macro_rules! with_table {
    ($rows:expr, $table:ident => $what:expr) => {
        match $rows {
            Self::Small($table) => $what,
            Self::Narrow($table) => $what,
            Self::Wide($table) => $what,
        }
    };
}

impl Default for Rows {
    fn default() -> Self {
        Self::Small(Table::default())
    }
}

impl Rows {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        with_table!(self, table => table.ids.len())
    }

    /// Bytes of memory held, spare capacity included.
    pub(crate) fn bytes(&self) -> usize {
        with_table!(self, table => table.bytes())
    }

    /// Forgets all rows and takes these.
    pub(crate) fn replace(&mut self, ids: &[u64], counts: &[u64]) {
        if !self.fits(ids, counts) {
            with_table!(self, table => table.clear());
            self.widen_for(ids, counts);
        }
        with_table!(self, table => table.replace(ids, counts));
    }

    /// Overwrites the rows that are there and inserts the others. `ids` must ascend. `sums`, one for each slot, get
    /// what has been added less what has been taken away.
    pub(crate) fn merge(&mut self, ids: &[u64], counts: &[u64], sums: &mut [u64]) {
        self.widen_for(ids, counts);
        with_table!(self, table => table.merge(ids, counts, sums));
    }

    /// Whether ids and counts are wide enough for these.
    fn fits(&self, ids: &[u64], counts: &[u64]) -> bool {
        match self {
            Self::Small(_) => fit::<u32>(ids) && fit::<u16>(counts),
            Self::Narrow(_) => fit::<u32>(ids) && fit::<u32>(counts),
            Self::Wide(_) => true,
        }
    }

    /// Makes ids and counts wide enough for these.
    fn widen_for(&mut self, ids: &[u64], counts: &[u64]) {
        while !self.fits(ids, counts) {
            *self = match self {
                Self::Small(table) => Self::Narrow(table.widen()),
                Self::Narrow(table) => Self::Wide(table.widen()),
                Self::Wide(_) => unreachable!("it has room for any value"),
            };
        }
    }

    /// Forgets these rows, as far as they are there. `ids` must ascend.
    pub(crate) fn remove(&mut self, ids: &[u64], stride: usize) {
        with_table!(self, table => table.remove(ids, stride));
    }

    /// Sets the counts of all rows in `slot` to 0.
    pub(crate) fn clear_slot(&mut self, slot: usize, stride: usize) {
        with_table!(self, table => table.clear_slot(slot, stride));
    }

    /// Appends the rows that have a count in `slot` to `entries`, ids ascending.
    pub(crate) fn collect_into(&self, slot: usize, stride: usize, entries: &mut Vec<Entry>) {
        with_table!(self, table => table.collect_into(slot, stride, entries));
    }
}

/// Overwrites a row, and adds to `sums` by how much it has grown.
fn store<W: Word>(to: &mut [W], from: &[u64], sums: &mut [u64]) {
    for ((to, &from), sum) in to.iter_mut().zip(from).zip(sums) {
        *sum = sum.wrapping_add(from).wrapping_sub((*to).into());
        *to = W::of(from);
    }
}

/// Whether each of `values` can be a `W`.
fn fit<W: Word>(values: &[u64]) -> bool {
    values.iter().all(|&value| value <= W::MAX)
}

/// The same values in another form, in which they must fit.
fn converted<W: Word, V: Word>(words: &[W]) -> Vec<V> {
    words.iter().map(|&word| V::of(word.into())).collect()
}

impl<I: Word, C: Word> Table<I, C> {
    fn bytes(&self) -> usize {
        size_of::<I>() * self.ids.capacity() + size_of::<C>() * self.counts.capacity()
    }

    fn widen<J: Word, D: Word>(&self) -> Table<J, D> {
        Table { ids: converted(&self.ids), counts: converted(&self.counts) }
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.counts.clear();
    }

    fn find(ids: &[I], id: u64) -> Result<usize, usize> {
        ids.binary_search_by_key(&id, |&id| id.into())
    }

    fn replace(&mut self, ids: &[u64], counts: &[u64]) {
        self.clear();
        self.ids.reserve_exact(ids.len());
        self.counts.reserve_exact(counts.len());
        self.ids.extend(ids.iter().map(|&id| I::of(id)));
        self.counts.extend(counts.iter().map(|&count| C::of(count)));
    }

    fn merge(&mut self, ids: &[u64], counts: &[u64], sums: &mut [u64]) {
        let (stride, mut from, mut missing) = (sums.len(), 0, 0);
        for (&id, row) in ids.iter().zip(counts.chunks_exact(stride)) {
            let found = Self::find(&self.ids[from..], id);
            from += found.unwrap_or_else(|at| at);
            match found {
                Ok(_) => store(&mut self.counts[from * stride..][..stride], row, sums),
                Err(_) => missing += 1,
            }
        }
        if missing > 0 {
            self.insert_missing(ids, counts, sums, missing);
        }
    }

    /// Inserts, from the greatest down, those of `ids` that are not there: each block of old rows
    /// moves once, straight to its place.
    fn insert_missing(
        &mut self,
        ids: &[u64],
        counts: &[u64],
        sums: &mut [u64],
        mut missing: usize,
    ) {
        let (stride, mut old_end) = (sums.len(), self.ids.len());
        self.ids.resize(old_end + missing, I::default());
        self.counts.resize((old_end + missing) * stride, C::default());
        for (&id, row) in ids.iter().zip(counts.chunks_exact(stride)).rev() {
            let Err(at) = Self::find(&self.ids[..old_end], id) else { continue };
            self.ids.copy_within(at..old_end, at + missing);
            self.counts.copy_within(at * stride..old_end * stride, (at + missing) * stride);
            missing -= 1;
            self.ids[at + missing] = I::of(id);
            let place = &mut self.counts[(at + missing) * stride..][..stride];
            place.fill(C::default());
            store(place, row, sums);
            old_end = at;
            if missing == 0 {
                return;
            }
        }
    }

    fn remove(&mut self, ids: &[u64], stride: usize) {
        let (mut kept, mut from) = (0, 0);
        for &id in ids {
            let Ok(at) = Self::find(&self.ids[from..], id).map(|at| from + at) else { continue };
            kept = self.move_block(from..at, kept, stride);
            from = at + 1;
        }
        if from > 0 {
            kept = self.move_block(from..self.ids.len(), kept, stride);
            self.ids.truncate(kept);
            self.counts.truncate(kept * stride);
        }
    }

    fn move_block(&mut self, block: Range<usize>, to: usize, stride: usize) -> usize {
        let end = to + block.len();
        self.counts.copy_within(block.start * stride..block.end * stride, to * stride);
        self.ids.copy_within(block, to);
        end
    }

    fn clear_slot(&mut self, slot: usize, stride: usize) {
        self.counts.iter_mut().skip(slot).step_by(stride).for_each(|count| *count = C::default());
    }

    fn collect_into(&self, slot: usize, stride: usize, entries: &mut Vec<Entry>) {
        let counts = self.counts.iter().skip(slot).step_by(stride);
        let rows = self.ids.iter().zip(counts).map(|(&id, &count)| (id.into(), count.into()));
        entries.extend(rows.filter(|&(_, count)| count > 0));
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

    fn stored(rows: &Rows) -> (Vec<u64>, Vec<u64>) {
        let table: Table<u64, u64> = match rows {
            Rows::Small(table) => table.widen(),
            Rows::Narrow(table) => table.widen(),
            Rows::Wide(table) => table.widen(),
        };
        (table.ids, table.counts)
    }

    fn flat(rows: &BTreeMap<u64, u64>) -> (Vec<u64>, Vec<u64>) {
        (rows.keys().copied().collect(), rows.values().flat_map(|&seed| row(seed)).collect())
    }

    /// Mostly small.
    fn id() -> impl Strategy<Value = u64> {
        prop_oneof![40 => 0_u64..40, 1 => u64::from(u32::MAX) - 1..u64::from(u32::MAX) + 3]
    }

    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![
            80 => 0_u64..1000,
            1 => u64::from(u16::MAX) / 7 - 3..u64::from(u16::MAX) + 3,
            1 => u64::from(u32::MAX) / 7 - 3..u64::from(u32::MAX),
        ]
    }

    /// Of the counts of all rows, by slot.
    fn sums(rows: &Rows) -> Vec<u64> {
        let mut sums = vec![0_u64; STRIDE];
        for row in stored(rows).1.chunks_exact(STRIDE) {
            sums.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    proptest! {
        #[test]
        fn rows_behave_like_a_map(
            steps in collection::vec(
                (0_u8..4, collection::btree_map(id(), value(), 0..12)),
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
                        let mut totals = sums(&rows);
                        rows.merge(&ids, &counts, &mut totals);
                        model.extend(values);
                        prop_assert_eq!(totals, sums(&rows));
                    }
                }
                prop_assert_eq!(stored(&rows), flat(&model));
            }
        }
    }

    #[test]
    fn a_part_is_as_wide_as_its_greatest_value_was() {
        const NARROW: u64 = u16::MAX as u64 + 1;
        const WIDE: u64 = u32::MAX as u64 + 1;
        let width = |rows: &Rows| match rows {
            Rows::Small(_) => 16,
            Rows::Narrow(_) => 32,
            Rows::Wide(_) => 64,
        };
        for (id, count, expected) in [
            (WIDE - 1, NARROW - 1, 16),
            (7, NARROW, 32),
            (7, WIDE - 1, 32),
            (7, WIDE, 64),
            (WIDE, 1, 64),
        ] {
            let (mut merged, mut replaced) = (Rows::default(), Rows::default());
            for rows in [&mut merged, &mut replaced] {
                rows.merge(&[1, 2], &[3, 4], &mut [0]);
            }
            merged.merge(&[id], &[count], &mut [0]);
            replaced.replace(&[id], &[count]);
            assert_eq!((width(&merged), width(&replaced)), (expected, expected), "{id}: {count}");
            assert_eq!(stored(&merged), (vec![1, 2, id], vec![3, 4, count]));
            assert_eq!(stored(&replaced), (vec![id], vec![count]));
            merged.replace(&[1], &[1]);
            assert_eq!((width(&merged), stored(&merged)), (expected, (vec![1], vec![1])));
        }
    }

    #[test]
    fn ties_go_to_the_smaller_id() {
        let entries = vec![(9, 1), (4, 5), (3, 5), (8, 7), (1, 5)];
        assert_eq!(top(entries.clone(), 3), [(8, 7), (1, 5), (3, 5)]);
        assert_eq!(top(entries, 100).len(), 5);
    }
}
