//! Handing on what has changed.

use crate::{
    Aggregator, EntityUpdate, Sink,
    pairs::{Pairs, Side},
};

/// Buffers that a flush fills, kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    dirty: Vec<u32>,
    by_entity: Vec<u64>,
    rows: Vec<(u64, u32)>,
    ids: Vec<u64>,
    counts: Vec<u64>,
    removed: Vec<u64>,
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
        for side in Side::BOTH {
            let key = |&pair: &u32| u64::from(self.pairs.side(pair, side)) << 32 | u64::from(pair);
            scratch.by_entity.clear();
            scratch.by_entity.extend(scratch.dirty.iter().map(key));
            scratch.by_entity.sort_unstable();
            let groups = std::mem::take(&mut scratch.by_entity);
            for group in groups.chunk_by(|a, b| a >> 32 == b >> 32) {
                let pairs = group.iter().map(|&key| key as u32);
                self.hand_on(&mut scratch, sink, side, (group[0] >> 32) as u32, pairs, false);
            }
            scratch.by_entity = groups;
        }
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
            for index in 0..self.sides[side as usize].len() as u32 {
                let pairs = std::mem::take(&mut self.sides[side as usize].get_mut(index).pairs);
                self.hand_on(&mut scratch, sink, side, index, pairs.iter().copied(), true);
                self.sides[side as usize].get_mut(index).pairs = pairs;
            }
        }
        self.scratch = scratch;
        sink.progress(&self.progress);
    }

    /// How many pairs have changed since the last flush.
    pub fn unflushed(&self) -> usize {
        self.pairs.dirty_view_len()
    }

    fn hand_on(
        &mut self,
        scratch: &mut Scratch,
        sink: &mut impl Sink,
        side: Side,
        index: u32,
        pairs: impl Iterator<Item = u32>,
        replace: bool,
    ) {
        let others = &self.sides[side.other() as usize];
        let entity = self.sides[side as usize].get(index);
        scratch.rows.clear();
        scratch
            .rows
            .extend(pairs.map(|pair| (others.id(self.pairs.side(pair, side.other())), pair)));
        scratch.rows.sort_unstable();
        scratch.ids.clear();
        scratch.counts.clear();
        scratch.removed.clear();
        let all_are_candidates = entity.tops.is_none();
        for &(id, pair) in &scratch.rows {
            if all_are_candidates || self.pairs.is_member_of_any(pair, side) {
                scratch.ids.push(id);
                scratch.counts.extend(self.pairs.counts(pair));
                self.pairs.set_in_view(pair, side, true);
            } else if Pairs::is_in_view(&self.pairs, pair, side) {
                scratch.removed.push(id);
                self.pairs.set_in_view(pair, side, false);
            }
        }
        sink.entity(EntityUpdate {
            entity: self.entity(side, index),
            stamp: self.sides[side as usize].get(index).stamp,
            progress: &self.progress,
            replace,
            totals: self.sides[side as usize].totals(index),
            ids: &scratch.ids,
            counts: &scratch.counts,
            removed: if replace { &[] } else { &scratch.removed },
        });
    }
}
