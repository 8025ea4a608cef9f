//! Chain-wide lists: the best of all stores, and of all items, by their totals.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use model::{BusinessDate, Partition, Timestamp};
use parking_lot::Mutex;
use window::{Entry, FinalDay};

use crate::{
    candidates::Candidates,
    cell::Cell,
    finals::Finals,
    index::{Cells, IndexKind},
    query::Span,
    render::RenderCache,
    shape::Shape,
    view::PartitionState,
};

/// An entity whose totals have changed, and a bit for each slot in which that may matter.
pub(crate) type Dirty = (u64, u16);

/// The chain-wide lists of one index.
///
/// Writers do not tell totals, which could overtake one another between partitions, but only
/// *which* entity has changed; [`Chain::refresh`] then reads its totals anew. They keep silent about changes
/// below [`Chain::bounds`]. For this to be safe against a scan that lowers a bound, a scan first
/// sets the bound to 0 and then visits the cells, and a writer reads the bound while it holds the
/// lock of the cell: so either the scan sees the new total, or the writer sees the lowered bound.
///
/// Order of locks: the state, then a cell, then the closed days.
#[derive(Debug)]
pub(crate) struct Chain {
    kind: IndexKind,
    /// Per slot, the least total of an entity, before or after a change, that makes it dirty.
    bounds: Box<[AtomicU64]>,
    /// Raised whenever a list may have changed, or is not kept up to date any more.
    version: AtomicU64,
    /// The latest event time of any flush taken in, in milliseconds.
    clock: AtomicI64,
    state: Mutex<State>,
    /// Answers rendered; valid for one version each.
    pub(crate) rendered: Mutex<RenderCache>,
}

#[derive(Debug)]
struct State {
    /// By slot; those of days are not used.
    slots: Vec<Candidates>,
    /// By date, only those asked for.
    days: BTreeMap<BusinessDate, Candidates>,
}

/// What is known of days besides the cells.
pub(crate) struct Days<'a> {
    pub(crate) finals: &'a Finals,
    pub(crate) shape: &'a Shape,
    /// Their progress, as published, says which dates are open in them.
    pub(crate) partitions: &'a [PartitionState],
}

/// A chain-wide list, as read.
pub(crate) struct ChainList {
    pub(crate) entries: Vec<Entry>,
    pub(crate) version: u64,
}

impl Chain {
    pub(crate) fn new(kind: IndexKind, shape: &Shape) -> Self {
        let slots = (0..shape.slots).map(|_| Candidates::new(shape.max_k)).collect();
        Self {
            kind,
            bounds: (0..shape.slots).map(|_| AtomicU64::new(u64::MAX)).collect(),
            version: AtomicU64::new(0),
            clock: AtomicI64::new(i64::MIN),
            state: Mutex::new(State { slots, days: BTreeMap::new() }),
            rendered: Mutex::default(),
        }
    }

    /// See [`Chain`].
    pub(crate) fn bounds(&self) -> &[AtomicU64] {
        &self.bounds
    }

    /// Raised whenever a list may have changed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// The latest event time of any flush taken in.
    pub(crate) fn clock(&self) -> Option<Timestamp> {
        Timestamp::from_millis(self.clock.load(Ordering::SeqCst))
    }

    /// Takes in the entities that a flush of `partition` has changed, all at once. `clock` is its event time.
    pub(crate) fn refresh(
        &self,
        dirty: &[Dirty],
        partition: Partition,
        clock: Option<Timestamp>,
        days: &Days<'_>,
        cells: &Cells,
    ) {
        let mut state = self.state.lock();
        let clock = clock.map_or(i64::MIN, Timestamp::millis);
        let mut changed = self.clock.fetch_max(clock, Ordering::SeqCst) < clock;
        let mut closed = ClosedDays::new();
        for &(id, mask) in dirty {
            let Some(cell) = cells.get(&id) else { continue };
            for slot in (0..days.shape.slots).filter(|slot| mask & (1 << slot) != 0) {
                changed |= if days.shape.is_day(slot) {
                    let date = days.shape.date_in(slot, cell.part(partition));
                    date.is_some_and(|date| {
                        state.set_day(id, date, &cell, &mut closed, self.kind, days)
                    })
                } else {
                    state.slots[slot].set(id, cell.sums[slot])
                };
            }
        }
        self.publish(&state, days);
        if changed {
            self.version.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Runs `close`, which makes `date` final in some partition; its list has to be scanned anew.
    pub(crate) fn close_day(&self, date: BusinessDate, close: impl FnOnce()) {
        let mut state = self.state.lock();
        close();
        state.days.remove(&date);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Forgets the lists of all dates, and runs `change`, by which other dates are open in some partition than before:
    /// writers may have kept silent about them, and what was answered is no answer any more. Done with each new
    /// business date of a partition, this also bounds how many lists there are, and for how long one that nobody
    /// reads any more is kept up to date.
    pub(crate) fn forget_days(&self, change: impl FnOnce()) {
        let mut state = self.state.lock();
        change();
        state.days.clear();
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Forgets all lists and the time: the next reader has to scan, and goes by the progress of the
    /// partitions until a flush is taken in.
    pub(crate) fn forget_all(&self) {
        let mut state = self.state.lock();
        self.clock.store(i64::MIN, Ordering::SeqCst);
        state.slots.iter_mut().for_each(Candidates::invalidate);
        state.days.clear();
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The best `k`. Scans all entities if the candidates are stale.
    pub(crate) fn list(&self, span: Span, k: usize, days: &Days<'_>, cells: &Cells) -> ChainList {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let candidates = match span {
            Span::Slot(slot) => &mut state.slots[slot],
            Span::Day(date) => {
                state.days.entry(date).or_insert_with(|| Candidates::new(days.shape.max_k))
            }
        };
        if !candidates.is_live() {
            match span {
                Span::Slot(slot) => self.scan_slot(candidates, slot, cells),
                Span::Day(date) => self.scan_day(candidates, date, days, cells),
            }
        }
        let entries = candidates.top(k);
        self.publish(state, days);
        ChainList { entries, version: self.version() }
    }

    fn scan_slot(&self, candidates: &mut Candidates, slot: usize, cells: &Cells) {
        self.bounds[slot].store(0, Ordering::SeqCst);
        candidates.rebuild(cells.iter().map(|cell| (*cell.key(), cell.sums[slot])));
    }

    fn scan_day(
        &self,
        candidates: &mut Candidates,
        date: BusinessDate,
        days: &Days<'_>,
        cells: &Cells,
    ) {
        if let Some(slot) = days.shape.layout.day_slot(date) {
            self.bounds[slot].store(0, Ordering::SeqCst);
        }
        let closed = days.finals.of_date(date);
        let mut totals: HashMap<u64, u64, RandomState> = HashMap::default();
        for (_, day) in &closed {
            for (id, total) in self.kind.of(day).totals() {
                *totals.entry(id).or_default() += total;
            }
        }
        let is_open = |partition| closed.iter().all(|&(p, _)| p != partition);
        for cell in cells {
            let open = cell.open_total(date, days.shape, is_open);
            if open > 0 {
                *totals.entry(*cell.key()).or_default() += open;
            }
        }
        candidates.rebuild(totals.into_iter());
    }

    /// Tells the writers which changes matter from now on.
    fn publish(&self, state: &State, days: &Days<'_>) {
        let least_of_days = state.least_wanted_of_days(days);
        for (slot, bound) in self.bounds.iter().enumerate() {
            let least = if days.shape.is_day(slot) {
                least_of_days[slot]
            } else {
                state.slots[slot].least_wanted()
            };
            bound.store(least, Ordering::SeqCst);
        }
    }
}

/// What is closed of some dates, as far as it has been asked for.
type ClosedDays = BTreeMap<BusinessDate, Vec<(Partition, Arc<FinalDay>)>>;

impl State {
    /// Sets the total of an entity on a date that is open in some partition, if anybody has asked for that date.
    fn set_day(
        &mut self,
        id: u64,
        date: BusinessDate,
        cell: &Cell,
        closed: &mut ClosedDays,
        kind: IndexKind,
        days: &Days<'_>,
    ) -> bool {
        let Some(candidates) = self.days.get_mut(&date).filter(|candidates| candidates.is_live())
        else {
            return false;
        };
        let closed = closed.entry(date).or_insert_with(|| days.finals.of_date(date));
        let is_open = |partition| closed.iter().all(|&(p, _)| p != partition);
        let open = cell.open_total(date, days.shape, is_open);
        let done: u64 = closed.iter().filter_map(|(_, day)| kind.of(day).total(id)).sum();
        candidates.set(id, open + done)
    }

    /// By slot, the least total that can change the list of a date that the slot may mean. A date closed in some
    /// partitions has totals that do not show in the slots: there, every change matters. One that is open in none
    /// cannot change.
    fn least_wanted_of_days(&self, days: &Days<'_>) -> Vec<u64> {
        let mut least = vec![u64::MAX; days.shape.slots];
        if self.days.is_empty() {
            return least;
        }
        let newest = days.partitions.iter().map(|state| state.progress.borrow().newest_date);
        let newest: Vec<_> = newest.collect();
        for (&date, candidates) in &self.days {
            let Some(slot) = newest.iter().find_map(|&newest| days.shape.open_slot(date, newest))
            else {
                continue;
            };
            let in_part = candidates.is_live() && days.finals.closed_somewhere(date);
            least[slot] = least[slot].min(if in_part { 0 } else { candidates.least_wanted() });
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{
        Batch, CustomerId, ItemId, Line, Offset, PartitionCount, ProducerId, Purchase, Sequence,
        StoreId,
    };
    use window::{Aggregator, Config, SideOutput, WindowKind};

    use super::*;
    use crate::{Format, Query, StreamEnd, Subject, View, ViewConfig};

    #[derive(Debug)]
    struct End;

    impl StreamEnd for End {
        fn next_offset(&self, _: Partition) -> Offset {
            Offset(0)
        }
    }

    impl SideOutput for End {
        fn late(&mut self, _: Offset, _: u32, purchase: &Purchase) {
            panic!("{purchase:?} is not late");
        }
    }

    fn sale(day: u64) -> Batch {
        let event_time = Timestamp::default().plus(Duration::from_hours(24 * day));
        let purchase = Purchase {
            store: StoreId(1),
            customer: CustomerId(1),
            date: event_time.date(),
            event_time,
            key: None,
            lines: vec![Line { item: ItemId(day), quantity: 1 }],
        };
        Batch {
            producer: ProducerId(1),
            first_sequence: Sequence(day),
            append_time: event_time,
            purchases: vec![purchase],
        }
    }

    /// Whoever looks up the past does not make what is sold now dearer, also where a partition that has never sold
    /// anything keeps all dates from being final.
    #[test]
    fn nobody_is_to_tell_of_a_date_that_is_open_nowhere() {
        let window = Config { kinds: vec![WindowKind::Day], ..Config::default() };
        let partitions = PartitionCount::new(2).unwrap();
        let config = ViewConfig { partitions, window: window.clone(), max_rendered_bytes: 1 << 20 };
        let view = View::new(&config, Arc::new(End));
        let mut writers = [view.writer(Partition(0)), view.writer(Partition(1))];
        let mut state = Aggregator::new(window);
        for day in 0..10 {
            state.apply(Offset(day), &sale(day), &mut End);
        }
        state.flush(&mut writers[0]);
        for writer in &mut writers {
            writer.ready();
        }
        let chain = &view.index(IndexKind::Items).chain;
        let wanted = |days: std::ops::Range<u64>| {
            for day in days {
                let date = Some(sale(day).purchases[0].date);
                let (subject, kind) = (Subject::TopItems, WindowKind::Day);
                let query = Query { subject, kind, date, k: 10, format: Format::V1 };
                let list = view.list(&query, Timestamp::default()).unwrap();
                assert!(!list.window.is_final && list.entries == [(day, 1)], "{list:?}");
            }
            let wants = |bound: &AtomicU64| bound.load(Ordering::SeqCst) != u64::MAX;
            chain.bounds().iter().filter(|bound| wants(bound)).count()
        };
        assert_eq!(wanted(0..8), 0);
        // The last two are open.
        assert_eq!((wanted(8..9), wanted(9..10)), (1, 2));
    }
}
