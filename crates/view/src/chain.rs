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

    /// Takes in the entities that a flush has changed, all at once.
    pub(crate) fn refresh(
        &self,
        dirty: &[Dirty],
        clock: Option<Timestamp>,
        cells: &Cells,
        finals: &Finals,
        shape: &Shape,
    ) {
        let mut state = self.state.lock();
        let clock = clock.map_or(i64::MIN, Timestamp::millis);
        let mut changed = self.clock.fetch_max(clock, Ordering::SeqCst) < clock;
        let closed = state.closed_days(finals);
        for &(id, mask) in dirty {
            let Some(cell) = cells.get(&id) else { continue };
            for slot in (0..shape.slots).filter(|slot| mask & (1 << slot) != 0) {
                changed |= if shape.is_day(slot) {
                    state.set_days(id, slot, &cell, &closed, self.kind, shape)
                } else {
                    state.slots[slot].set(id, cell.sums[slot])
                };
            }
        }
        self.publish(&state, finals, shape);
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

    /// Forgets the lists of all dates. Done with each new business date, this bounds how many there
    /// are, and for how long a list that nobody reads any more is kept up to date. Writers keep silent about a
    /// forgotten list, so what was answered of it is no answer any more.
    pub(crate) fn forget_days(&self) {
        let mut state = self.state.lock();
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

    /// The best `k`. Scans all entities if the candidates are stale. `is_final` tells that no total
    /// will change again.
    pub(crate) fn list(
        &self,
        span: Span,
        is_final: bool,
        k: usize,
        cells: &Cells,
        finals: &Finals,
        shape: &Shape,
    ) -> ChainList {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let candidates = match span {
            Span::Slot(slot) => &mut state.slots[slot],
            Span::Day(date) => {
                state.days.entry(date).or_insert_with(|| Candidates::new(shape.max_k))
            }
        };
        if !candidates.is_live() {
            match span {
                Span::Slot(slot) => self.scan_slot(candidates, slot, cells),
                Span::Day(date) => self.scan_day(candidates, date, cells, finals, shape),
            }
        }
        if is_final {
            candidates.freeze();
        }
        let entries = candidates.top(k);
        self.publish(state, finals, shape);
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
        cells: &Cells,
        finals: &Finals,
        shape: &Shape,
    ) {
        if let Some(slot) = shape.layout.day_slot(date) {
            self.bounds[slot].store(0, Ordering::SeqCst);
        }
        let closed = finals.of_date(date);
        let mut totals: HashMap<u64, u64, RandomState> = HashMap::default();
        for (_, day) in &closed {
            for (id, total) in self.kind.of(day).totals() {
                *totals.entry(id).or_default() += total;
            }
        }
        let is_open = |partition| closed.iter().all(|&(p, _)| p != partition);
        for cell in cells {
            let open = cell.open_total(date, shape, is_open);
            if open > 0 {
                *totals.entry(*cell.key()).or_default() += open;
            }
        }
        candidates.rebuild(totals.into_iter());
    }

    /// Tells the writers which changes matter from now on.
    fn publish(&self, state: &State, finals: &Finals, shape: &Shape) {
        for (slot, bound) in self.bounds.iter().enumerate() {
            let least = if shape.is_day(slot) {
                state.least_wanted_of_days(slot, finals, shape)
            } else {
                state.slots[slot].least_wanted()
            };
            bound.store(least, Ordering::SeqCst);
        }
    }
}

type ClosedDays = BTreeMap<BusinessDate, Vec<(Partition, Arc<FinalDay>)>>;

impl State {
    fn closed_days(&self, finals: &Finals) -> ClosedDays {
        let followed = self.days.iter().filter(|(_, candidates)| candidates.follows());
        followed.map(|(&date, _)| (date, finals.of_date(date))).collect()
    }

    /// Sets the total of an entity in the lists of all dates that share `slot`.
    fn set_days(
        &mut self,
        id: u64,
        slot: usize,
        cell: &Cell,
        closed: &ClosedDays,
        kind: IndexKind,
        shape: &Shape,
    ) -> bool {
        let mut changed = false;
        for (&date, candidates) in &mut self.days {
            if shape.layout.day_slot(date) != Some(slot) || !candidates.follows() {
                continue;
            }
            let closed = closed.get(&date).map_or(&[][..], Vec::as_slice);
            let is_open = |partition| closed.iter().all(|&(p, _)| p != partition);
            let open = cell.open_total(date, shape, is_open);
            let done: u64 =
                closed.iter().filter_map(|(_, day)| kind.of(day).get(id)).map(|(n, _)| n).sum();
            changed |= candidates.set(id, open + done);
        }
        changed
    }

    /// A date closed in some partitions has totals that do not show in the slots: there, every
    /// change matters.
    fn least_wanted_of_days(&self, slot: usize, finals: &Finals, shape: &Shape) -> u64 {
        let mut least = u64::MAX;
        for (&date, candidates) in &self.days {
            if shape.layout.day_slot(date) == Some(slot) && candidates.follows() {
                let in_part = finals.closed_somewhere(date);
                least = least.min(if in_part { 0 } else { candidates.least_wanted() });
            }
        }
        least
    }
}
