//! Handing on what has changed.

use crate::{
    Aggregator, EntityUpdate, Sink,
    pairs::Side,
    prefetch, radix,
    records::{LANES, Record},
};

/// Buffers that a flush fills, kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Copies of the records that have changed: both sides read them, and they lie close together.
    changed: Vec<Record>,
    /// For each side, the entity and the place in `changed` of each that has a row to hand on, or had.
    orders: [Vec<(u32, u32)>; 2],
    sorting: Vec<(u32, u32)>,
    touched: Vec<u32>,
    update: Update,
}

/// Buffers for what is handed on of one entity.
#[derive(Debug, Default)]
struct Update {
    /// The id of the other side, and the place in `changed`.
    rows: Vec<(u64, u32)>,
    ids: Vec<u64>,
    removed: Vec<u64>,
    /// Both longer than what is used of them.
    counts: Vec<u64>,
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
        self.collect(&mut scratch);
        let Scratch { changed, orders, sorting, touched, update } = &mut scratch;
        for (side, order) in Side::BOTH.into_iter().zip(orders) {
            let entities = &mut self.sides[side as usize];
            radix::sort(order, sorting, entities.len(), |&(index, _)| index);
            touched.clear();
            entities.take_touched(touched);
            let mut order = Order { order, at: 0 };
            for (place, &index) in touched.iter().enumerate() {
                if let Some(&ahead) = touched.get(place + prefetch::AHEAD) {
                    self.sides[side as usize].prefetch(ahead);
                }
                update.rows.clear();
                update.removed.clear();
                while let Some(place) =
                    order.next_of(index, |ahead| self.approach(changed, side, ahead))
                {
                    self.select(update, side, place, &changed[place as usize]);
                }
                self.hand_on(update, changed, sink, (side, index), false);
            }
            debug_assert_eq!(order.at, order.order.len(), "who has rows that changed is touched");
        }
        self.scratch = scratch;
        sink.progress(&self.progress);
    }

    /// Copies the records that have changed, and finds out which of them have rows in the view, or had.
    fn collect(&mut self, scratch: &mut Scratch) {
        let Scratch { changed, orders, .. } = scratch;
        changed.clear();
        orders.iter_mut().for_each(Vec::clear);
        self.pairs.take_dirty_view(|record| {
            let place = changed.len() as u32;
            for (side, order) in Side::BOTH.into_iter().zip(&mut *orders) {
                if record.is_in_view(side) {
                    order.push((record.sides[side as usize], place));
                    record.set_in_view(side, record.members(side) != 0);
                }
            }
            changed.push(*record);
        });
    }

    /// Starts to bring what a row needs into the cache, one thing after the other.
    #[inline]
    fn approach(&self, changed: &[Record], side: Side, [far, near]: [Option<u32>; 2]) {
        if let Some(place) = far {
            prefetch::read(changed, place as usize);
        }
        if let Some(place) = near {
            let other = side.other() as usize;
            self.sides[other].prefetch_id(changed[place as usize].sides[other]);
        }
    }

    /// Hands on everything there is, as after a restart: every update replaces what was known.
    pub fn flush_all(&mut self, sink: &mut impl Sink) {
        self.days.closed_unflushed.clear();
        self.days.dropped_unflushed.clear();
        for day in self.days.kept.values() {
            sink.day_closed(day);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.pairs.take_dirty_view(|_| {});
        let Scratch { changed, touched, update, .. } = &mut scratch;
        for side in Side::BOTH {
            touched.clear();
            self.sides[side as usize].take_touched(touched);
            let mut grouped = self.grouped(side);
            for index in 0..self.sides[side as usize].len() as u32 {
                let (rows, behind) = grouped.next(index);
                changed.clear();
                update.rows.clear();
                update.removed.clear();
                for (place, &(_, pair)) in rows.iter().enumerate() {
                    let ahead = place + prefetch::AHEAD;
                    let ahead = rows.get(ahead).or_else(|| behind.get(ahead - rows.len()));
                    if let Some(&(_, ahead)) = ahead {
                        self.pairs.prefetch(ahead);
                    }
                    let record = *self.pairs.record(pair);
                    self.select(update, side, place as u32, &record);
                    changed.push(record);
                }
                self.hand_on(update, changed, sink, (side, index), true);
            }
        }
        self.scratch = scratch;
        sink.progress(&self.progress);
    }

    /// How many pairs have changed since the last flush, of those that the view may have a row of.
    pub fn unflushed(&self) -> usize {
        self.pairs.dirty_view_len()
    }

    /// Adds the row of the record at `place`, or its removal.
    #[inline]
    fn select(&self, update: &mut Update, side: Side, place: u32, record: &Record) {
        let other = side.other() as usize;
        let id = self.sides[other].id(record.sides[other]);
        if record.members(side) == 0 {
            update.removed.push(id);
        } else {
            update.rows.push((id, place));
        }
    }

    /// Hands on one entity; the rows are in `changed`.
    fn hand_on(
        &self,
        update: &mut Update,
        changed: &[Record],
        sink: &mut impl Sink,
        (side, index): (Side, u32),
        replace: bool,
    ) {
        let Update { rows, ids, counts, removed, totals } = update;
        rows.sort_unstable_by_key(|&(id, _)| id);
        removed.sort_unstable();
        ids.clear();
        ids.extend(rows.iter().map(|&(id, _)| id));
        let (slots, used) = (self.layout.slots(), self.layout.slots() * rows.len());
        // Each row is written with all its lanes: the next is written over those that are no slots.
        if counts.len() < used + LANES {
            counts.resize(used + LANES, 0);
        }
        for (row, &(_, place)) in rows.iter().enumerate() {
            let record = &changed[place as usize];
            self.pairs.record_counts().write(record, &mut counts[row * slots..]);
        }
        sink.entity(EntityUpdate {
            entity: self.entity(side, index),
            stamp: self.progress.next,
            progress: &self.progress,
            replace,
            complete: !self.sides[side as usize].has_tops(index),
            totals: self.sides[side as usize].totals(index, totals),
            ids,
            counts: &counts[..used],
            removed,
        });
    }

    /// The pairs that are to have rows in the view, by the entity they belong to; notes of each pair whether it
    /// is one. Both passes go through the records in the order in which they lie in memory.
    fn grouped(&mut self, side: Side) -> Grouped {
        let mut next = vec![0; self.sides[side as usize].len()];
        for pair in 0..self.pairs.len() as u32 {
            let record = self.pairs.record_mut(pair);
            let inside = record.members(side) != 0;
            next[record.sides[side as usize] as usize] += usize::from(inside);
            record.set_in_view(side, inside);
        }
        let mut sum = 0;
        for next in &mut next {
            sum += std::mem::replace(next, sum);
        }
        let mut rows = vec![(0, 0); sum];
        for pair in 0..self.pairs.len() as u32 {
            let record = self.pairs.record(pair);
            if record.is_in_view(side) {
                let place = &mut next[record.sides[side as usize] as usize];
                rows[*place] = (record.sides[side.other() as usize], pair);
                *place += 1;
            }
        }
        Grouped { rows, ends: next, taken: 0 }
    }
}

/// What has changed, by entity, read from front to back.
struct Order<'a> {
    order: &'a [(u32, u32)],
    at: usize,
}

impl Order<'_> {
    /// The next place that is of `index`; `approach` gets the places that come up somewhat later, if any.
    #[inline]
    fn next_of(&mut self, index: u32, approach: impl FnOnce([Option<u32>; 2])) -> Option<u32> {
        let &(_, place) = self.order.get(self.at).filter(|&&(next, _)| next == index)?;
        let later = |by| self.order.get(self.at + by * prefetch::AHEAD).map(|&(_, place)| place);
        approach([later(2), later(1)]);
        self.at += 1;
        Some(place)
    }
}

/// A pair of the entity at hand: the index of the other side, and its own.
type Row = (u32, u32);

/// Pairs of all entities of one side, entity by entity.
struct Grouped {
    rows: Vec<Row>,
    ends: Vec<usize>,
    taken: usize,
}

impl Grouped {
    /// The rows of `index`, oldest pair first, and those behind; to be asked for one index after the
    /// other.
    fn next(&mut self, index: u32) -> (&[Row], &[Row]) {
        let from = std::mem::replace(&mut self.taken, self.ends[index as usize]);
        let (until, behind) = self.rows.split_at(self.taken);
        (&until[from..], behind)
    }
}
