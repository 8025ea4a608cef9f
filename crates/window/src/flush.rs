//! Handing on what has changed.

use crate::{
    Aggregator, EntityUpdate, Sink,
    lists::Lists,
    pairs::{Dirty, Side},
    radix,
};

/// How many changed pairs ahead are brought into the cache.
const AHEAD: usize = 16;

/// Buffers that a flush fills, kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    dirty: Vec<Dirty>,
    sorting: Vec<Dirty>,
    rows: Vec<(u64, u32)>,
    ids: Vec<u64>,
    counts: Vec<u64>,
    removed: Vec<u64>,
    totals: Vec<u64>,
}

impl Aggregator {
    /// Hands on everything that has changed since the last flush.
    pub fn flush(&mut self, sink: &mut impl Sink) {
        for day in self.days.closed_unflushed.drain(..) {
            sink.day_closed(&day);
        }
        for date in self.days.dropped_unflushed.drain(..) {
            sink.day_dropped(date);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.pairs.take_dirty_view(&mut scratch.dirty);
        let mut dirty = std::mem::take(&mut scratch.dirty);
        for side in Side::BOTH {
            let (own, other) = (side as usize, side.other() as usize);
            let entities = self.sides[own].len();
            radix::sort(&mut dirty, &mut scratch.sorting, entities, |dirty| dirty.sides[own]);
            let mut rest = dirty.as_slice();
            while let Some(first) = rest.first() {
                let index = first.sides[own];
                let length = rest.iter().take_while(|dirty| dirty.sides[own] == index).count();
                let (group, behind) = rest.split_at(length);
                for ahead in behind.iter().take(AHEAD).skip(AHEAD.saturating_sub(length)) {
                    self.pairs.prefetch(ahead.pair);
                    self.sides[own].prefetch(ahead.sides[own]);
                }
                let rows = group.iter().map(|dirty| (dirty.sides[other], dirty.pair));
                self.hand_on(&mut scratch, sink, side, index, rows, false);
                rest = behind;
            }
        }
        scratch.dirty = dirty;
        self.scratch = scratch;
        sink.progress(&self.progress);
    }

    /// Hands on everything there is, as after a restart: every update replaces what was known.
    pub fn flush_all(&mut self, sink: &mut impl Sink) {
        self.days.closed_unflushed.clear();
        self.days.dropped_unflushed.clear();
        for day in self.days.kept.values() {
            sink.day_closed(day);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.pairs.take_dirty_view(&mut scratch.dirty);
        for side in Side::BOTH {
            let mut grouped = self.grouped(side);
            for index in 0..self.sides[side as usize].len() as u32 {
                let rows = grouped.next(index).iter().copied();
                self.hand_on(&mut scratch, sink, side, index, rows, true);
            }
        }
        self.scratch = scratch;
        sink.progress(&self.progress);
    }

    /// How many pairs have changed since the last flush.
    pub fn unflushed(&self) -> usize {
        self.pairs.dirty_view_len()
    }

    /// Hands on one entity, with the `rows` given as the index of the other side and the pair.
    fn hand_on(
        &mut self,
        scratch: &mut Scratch,
        sink: &mut impl Sink,
        side: Side,
        index: u32,
        rows: impl Iterator<Item = (u32, u32)>,
        replace: bool,
    ) {
        let others = &self.sides[side.other() as usize];
        scratch.rows.clear();
        for (other, pair) in rows {
            self.pairs.prefetch(pair);
            scratch.rows.push((others.id(other), pair));
        }
        scratch.rows.sort_unstable();
        scratch.ids.clear();
        scratch.counts.clear();
        scratch.removed.clear();
        scratch.totals.clear();
        scratch.totals.extend(self.sides[side as usize].totals(index));
        let tops = self.sides[side as usize].tops(index);
        for &(id, pair) in &scratch.rows {
            if Lists::is_candidate(&self.pairs, tops, pair, side) {
                scratch.ids.push(id);
                self.pairs.extend_counts(pair, &mut scratch.counts);
                self.pairs.set_in_view(pair, side, true);
            } else if self.pairs.is_in_view(pair, side) {
                scratch.removed.push(id);
                self.pairs.set_in_view(pair, side, false);
            }
        }
        sink.entity(EntityUpdate {
            entity: self.entity(side, index),
            stamp: self.progress.next,
            progress: &self.progress,
            replace,
            totals: &scratch.totals,
            ids: &scratch.ids,
            counts: &scratch.counts,
            removed: if replace { &[] } else { &scratch.removed },
        });
    }

    /// All pairs, by the entity they belong to.
    pub(crate) fn grouped(&self, side: Side) -> Grouped {
        let entities = &self.sides[side as usize];
        let mut next = Vec::with_capacity(entities.len());
        let mut sum = 0;
        for index in 0..entities.len() as u32 {
            next.push(sum);
            sum += entities.pair_count(index);
        }
        let mut rows = vec![(0, 0); sum];
        for pair in 0..self.pairs.len() as u32 {
            let sides = self.pairs.sides(pair);
            let place = &mut next[sides[side as usize] as usize];
            rows[*place] = (sides[side.other() as usize], pair);
            *place += 1;
        }
        Grouped { rows, ends: next, taken: 0 }
    }
}

/// The pairs of all entities of one side, entity by entity.
pub(crate) struct Grouped {
    /// The index of the other side, and the pair.
    rows: Vec<(u32, u32)>,
    ends: Vec<usize>,
    taken: usize,
}

impl Grouped {
    /// The rows of `index`, oldest pair first; to be asked for one index after the other.
    pub(crate) fn next(&mut self, index: u32) -> &[(u32, u32)] {
        let from = std::mem::replace(&mut self.taken, self.ends[index as usize]);
        &self.rows[from..self.taken]
    }
}
