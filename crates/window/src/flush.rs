//! Handing on what has changed.

use crate::{Aggregator, EntityUpdate, Sink, lists::Lists, pairs::Side, prefetch::AHEAD, radix};

#[derive(Debug, Clone, Copy, Default)]
struct Dirty {
    pair: u32,
    sides: [u32; 2],
}

/// Buffers that a flush fills, kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    dirty: Vec<Dirty>,
    sorting: Vec<Dirty>,
    /// What may have to be handed on of the entity at hand.
    changed: Vec<Row>,
    /// What has: the id of the other side, the pair.
    rows: Vec<(u64, u32)>,
    ids: Vec<u64>,
    counts: Vec<u64>,
    removed: Vec<u64>,
    totals: Vec<u64>,
}

impl Scratch {
    /// Ready for the next entity.
    fn clear(&mut self) {
        self.changed.clear();
        self.rows.clear();
        self.ids.clear();
        self.counts.clear();
        self.removed.clear();
        self.totals.clear();
    }
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
        let mut all = std::mem::take(&mut scratch.dirty);
        all.clear();
        self.pairs.take_dirty_view(|pair, record| all.push(Dirty { pair, sides: record.sides }));
        scratch.dirty = all;
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
        self.pairs.take_dirty_view(|_, _| {});
        for side in Side::BOTH {
            let mut grouped = self.grouped(side);
            for index in 0..self.sides[side as usize].len() as u32 {
                let (rows, behind) = grouped.next(index);
                for &(_, ahead) in behind.iter().take(AHEAD) {
                    self.pairs.prefetch(ahead);
                }
                self.hand_on(&mut scratch, sink, side, index, rows.iter().copied(), true);
            }
        }
        self.scratch = scratch;
        sink.progress(&self.progress);
    }

    /// How many pairs have changed since the last flush.
    pub fn unflushed(&self) -> usize {
        self.pairs.dirty_view_len()
    }

    /// Hands on one entity, with the `rows` given.
    fn hand_on(
        &mut self,
        scratch: &mut Scratch,
        sink: &mut impl Sink,
        side: Side,
        index: u32,
        rows: impl Iterator<Item = Row>,
        replace: bool,
    ) {
        scratch.clear();
        scratch.changed.extend(rows);
        let (entities, others) = (&self.sides[side as usize], &self.sides[side.other() as usize]);
        let tops = entities.tops(index);
        for (place, &(other, pair)) in scratch.changed.iter().enumerate() {
            if let Some(&(_, ahead)) = scratch.changed.get(place + AHEAD) {
                self.pairs.prefetch(ahead);
            }
            if Lists::is_candidate(&self.pairs, tops, pair, side) {
                scratch.rows.push((others.id(other), pair));
                self.pairs.record_mut(pair).set_in_view(side, true);
            } else if self.pairs.record(pair).is_in_view(side) {
                scratch.removed.push(others.id(other));
                self.pairs.record_mut(pair).set_in_view(side, false);
            }
        }
        scratch.rows.sort_unstable();
        scratch.removed.sort_unstable();
        for &(id, pair) in &scratch.rows {
            scratch.ids.push(id);
            self.pairs.record_counts().extend(self.pairs.record(pair), &mut scratch.counts);
        }
        scratch.totals.extend(entities.totals(index));
        sink.entity(EntityUpdate {
            entity: self.entity(side, index),
            stamp: self.progress.next,
            progress: &self.progress,
            replace,
            complete: tops.is_none(),
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

/// A pair of the entity at hand: the index of the other side, and its own.
pub(crate) type Row = (u32, u32);

/// The pairs of all entities of one side, entity by entity.
pub(crate) struct Grouped {
    rows: Vec<Row>,
    ends: Vec<usize>,
    taken: usize,
}

impl Grouped {
    /// The rows of `index`, oldest pair first, and those behind; to be asked for one index after the
    /// other.
    pub(crate) fn next(&mut self, index: u32) -> (&[Row], &[Row]) {
        let from = std::mem::replace(&mut self.taken, self.ends[index as usize]);
        let (until, behind) = self.rows.split_at(self.taken);
        (&until[from..], behind)
    }
}
