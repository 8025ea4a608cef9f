//! Handing on what has changed.

use crate::{
    Aggregator, EntityUpdate, Sink, lists::Lists, pairs::Side, prefetch, radix, records::Record,
};

/// Buffers that a flush fills, kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Copies of the records that have changed: both sides read them, and they lie close together.
    changed: Vec<Changed>,
    /// For each, the entity and its place in `changed`.
    order: Vec<(u32, u32)>,
    sorting: Vec<(u32, u32)>,
    /// What may have to be handed on of the entity at hand.
    group: Vec<Changed>,
    /// What has: the id of the other side, and the place in the group.
    rows: Vec<(u64, u32)>,
    ids: Vec<u64>,
    counts: Vec<u64>,
    removed: Vec<u64>,
    totals: Vec<u64>,
}

/// A copy of the record of a pair. Its `place` names the pair, for what it says otherwise is of no use here.
type Changed = Record;

fn changed(pair: u32, record: &Record) -> Changed {
    let mut changed = *record;
    changed.place = pair;
    changed
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
        scratch.changed.clear();
        self.pairs.take_dirty_view(|pair, record| scratch.changed.push(changed(pair, record)));
        for side in Side::BOTH {
            let own = side as usize;
            scratch.order.clear();
            let sides = scratch.changed.iter().map(|changed| changed.sides[own]);
            scratch.order.extend(sides.zip(0..));
            let entities = self.sides[own].len();
            radix::sort(&mut scratch.order, &mut scratch.sorting, entities, |&(index, _)| index);
            let order = std::mem::take(&mut scratch.order);
            let mut from = 0;
            while let Some(&(index, _)) = order.get(from) {
                from = self.gather(&mut scratch, &order, from, side);
                self.hand_on(&mut scratch, sink, side, index, false);
            }
            scratch.order = order;
        }
        self.scratch = scratch;
        sink.progress(&self.progress);
    }

    /// Copies together what has changed of the entity at `from` in `order`; gives where the next one begins.
    fn gather(
        &self,
        scratch: &mut Scratch,
        order: &[(u32, u32)],
        from: usize,
        side: Side,
    ) -> usize {
        let (own, others) = (&self.sides[side as usize], &self.sides[side.other() as usize]);
        let index = order[from].0;
        let mut at = from;
        scratch.group.clear();
        while let Some(&(next, place)) = order.get(at)
            && next == index
        {
            if let Some(&(index, ahead)) = order.get(at + 2 * prefetch::AHEAD) {
                prefetch::read(&scratch.changed, ahead as usize);
                own.prefetch(index);
            }
            if let Some(&(_, ahead)) = order.get(at + prefetch::AHEAD) {
                others.prefetch_id(scratch.changed[ahead as usize].sides[side.other() as usize]);
            }
            scratch.group.push(scratch.changed[place as usize]);
            at += 1;
        }
        at
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
                scratch.group.clear();
                for (place, &(_, pair)) in rows.iter().enumerate() {
                    let ahead = place + prefetch::AHEAD;
                    let ahead = rows.get(ahead).or_else(|| behind.get(ahead - rows.len()));
                    if let Some(&(_, ahead)) = ahead {
                        self.pairs.prefetch(ahead);
                    }
                    scratch.group.push(changed(pair, self.pairs.record(pair)));
                }
                self.hand_on(&mut scratch, sink, side, index, true);
            }
        }
        self.scratch = scratch;
        sink.progress(&self.progress);
    }

    /// How many pairs have changed since the last flush.
    pub fn unflushed(&self) -> usize {
        self.pairs.dirty_view_len()
    }

    /// Hands on one entity, with what is in the group.
    fn hand_on(
        &mut self,
        scratch: &mut Scratch,
        sink: &mut impl Sink,
        side: Side,
        index: u32,
        replace: bool,
    ) {
        self.select(scratch, side, index);
        let Scratch { group, rows, ids, counts, removed, totals, .. } = scratch;
        rows.sort_unstable_by_key(|&(id, _)| id);
        removed.sort_unstable();
        ids.clear();
        counts.clear();
        for &(id, place) in &*rows {
            ids.push(id);
            self.pairs.record_counts().extend(&group[place as usize], counts);
        }
        totals.clear();
        totals.extend(self.sides[side as usize].totals(index));
        sink.entity(EntityUpdate {
            entity: self.entity(side, index),
            stamp: self.progress.next,
            progress: &self.progress,
            replace,
            complete: !self.sides[side as usize].has_tops(index),
            totals,
            ids,
            counts,
            removed: if replace { &[] } else { removed },
        });
    }

    /// Finds out which pairs of the group have rows in the view, and which no longer.
    fn select(&mut self, scratch: &mut Scratch, side: Side, index: u32) {
        let (entities, others) = (&self.sides[side as usize], &self.sides[side.other() as usize]);
        let open = entities.tops(index).map(|tops| Lists::open(entities.all_candidates(tops)));
        scratch.rows.clear();
        scratch.removed.clear();
        for (place, record) in scratch.group.iter().enumerate() {
            let id = others.id(record.sides[side.other() as usize]);
            let counts = self.pairs.record_counts();
            let inside =
                open.is_none_or(|open| record.is_member_of_any(side) || counts.any(record, open));
            if inside {
                scratch.rows.push((id, place as u32));
            } else if record.is_in_view(side) {
                scratch.removed.push(id);
            }
            if inside != record.is_in_view(side) {
                self.pairs.record_mut(record.place).set_in_view(side, inside);
            }
        }
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
