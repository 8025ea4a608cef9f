//! Writing one partition.

use std::sync::{Arc, atomic::Ordering};

use model::{BusinessDate, Partition};
use window::{Entity, EntityUpdate, FinalDay, Progress, Sink};

use crate::{
    cell::{Applied, Cell, Change},
    chain::Dirty,
    index::IndexKind,
    shape::Shape,
    view::View,
};

/// Takes over what the aggregation of one partition hands on.
///
/// Updates may be repeated: one that is older than what the view has is skipped. A *run* of the core
/// starts while the partition is not ready, by handing on everything with `replace`; its further
/// updates build on that. So until [`PartitionWriter::ready`], an update with `replace` is taken even if
/// it is older, and progress may go back.
#[derive(Debug)]
pub struct PartitionWriter {
    view: Arc<View>,
    partition: Partition,
    ready: bool,
    /// Whether an update that replaces is taken even if it is older.
    rewind: bool,
    /// What the flush under way has changed in the totals.
    dirty_stores: Vec<Dirty>,
    dirty_items: Vec<Dirty>,
    /// Days to be dropped once the progress that drops them is known.
    dropped: Vec<BusinessDate>,
    rows: isize,
    bytes: isize,
}

impl PartitionWriter {
    pub(crate) fn new(view: Arc<View>, partition: Partition) -> Self {
        let state = view.partitions.get(partition.0 as usize).expect("the partition exists");
        let taken = state.taken.swap(true, Ordering::SeqCst);
        assert!(!taken, "partition {partition} has a writer already");
        let ready = state.ready.load(Ordering::SeqCst);
        Self {
            view,
            partition,
            ready,
            rewind: !ready,
            dirty_stores: Vec::new(),
            dirty_items: Vec::new(),
            dropped: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Which partition.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.view.shape
    }

    /// The partition has been recovered; reads are answered once all are ready.
    pub fn ready(&mut self) {
        self.ready = true;
        self.rewind = false;
        self.view.set_ready(self.partition, true);
    }

    /// The partition is being recovered; reads are refused until it is ready again. Its closed days
    /// are forgotten: the new run hands them on again.
    pub fn not_ready(&mut self) {
        self.ready = false;
        self.rewind = true;
        self.view.set_ready(self.partition, false);
        self.view.finals.clear(self.partition);
        self.forget_days(|| {});
    }

    /// Forgets the chain-wide lists of days, and runs `change` before anybody makes one anew.
    fn forget_days(&self, change: impl FnOnce()) {
        let stores = &self.view.index(IndexKind::Stores).chain;
        let items = &self.view.index(IndexKind::Items).chain;
        stores.forget_days(|| items.forget_days(change));
    }

    /// Starts with nothing: forgets all entities and closed days of the partition, which is not ready
    /// afterwards. From then on, no update is taken that is older than what came before it.
    ///
    /// Visits all entities of the view if the partition has any.
    pub fn forget(&mut self) {
        self.not_ready();
        self.rewind = false;
        self.dropped.clear();
        let state = &self.view.partitions[self.partition.0 as usize];
        if state.filled.swap(false, Ordering::SeqCst) {
            for kind in [IndexKind::Stores, IndexKind::Items] {
                let index = self.view.index(kind);
                for mut cell in index.cells.iter_mut() {
                    let gone = cell.forget(self.partition);
                    self.rows += gone.rows;
                    self.bytes += gone.bytes;
                }
                // After the cells: a scan that met some of them is not believed.
                index.chain.forget_all();
            }
        }
        state.progress.send_replace(Progress::default());
        self.view.forget_newest_date(self.partition);
        self.report_size();
    }

    fn report_size(&mut self) {
        self.view.add_size(std::mem::take(&mut self.rows), std::mem::take(&mut self.bytes));
    }

    fn apply(&mut self, kind: IndexKind, id: u64, change: &Change<'_>) -> Option<Applied> {
        let shape = &self.view.shape;
        let index = self.view.index(kind);
        let bounds = index.chain.bounds();
        // Who is handed on has sold something, be it in no window any more.
        let mut cell = index.cells.entry(id).or_insert_with(|| Cell::new(shape.slots));
        cell.apply(self.partition, change, shape, bounds, self.rewind)
    }

    /// Takes over new values of an entity.
    pub(crate) fn change(&mut self, entity: Entity, change: &Change<'_>) {
        let (kind, id) = IndexKind::place(entity);
        self.fill();
        let Some(applied) = self.apply(kind, id, change) else { return };
        self.rows += applied.rows;
        self.bytes += applied.bytes;
        if applied.dirty != 0 {
            match kind {
                IndexKind::Stores => self.dirty_stores.push((id, applied.dirty)),
                IndexKind::Items => self.dirty_items.push((id, applied.dirty)),
            }
        }
    }

    /// Notes that the view has something of the partition.
    fn fill(&self) {
        let filled = &self.view.partitions[self.partition.0 as usize].filled;
        if !filled.load(Ordering::Relaxed) {
            filled.store(true, Ordering::SeqCst);
        }
    }

    fn refresh_chains(&mut self, progress: &Progress) {
        let view = &*self.view;
        for (kind, dirty) in
            [(IndexKind::Stores, &mut self.dirty_stores), (IndexKind::Items, &mut self.dirty_items)]
        {
            if !dirty.is_empty() {
                let index = view.index(kind);
                let clock = progress.clock;
                index.chain.refresh(dirty, self.partition, clock, &view.days(), &index.cells);
                dirty.clear();
            }
        }
    }

    fn publish(&self, progress: &Progress) {
        if let Some(date) = progress.newest_date {
            self.view.raise_newest_date(self.partition, date);
        }
        let state = &self.view.partitions[self.partition.0 as usize];
        state.progress.send_if_modified(|known| {
            let forward = !self.ready || progress.next >= known.next;
            let changed = forward && *known != *progress;
            if changed {
                *known = *progress;
            }
            changed
        });
    }
}

impl Sink for PartitionWriter {
    fn day_closed(&mut self, day: &Arc<FinalDay>) {
        let view = &*self.view;
        let newest = view.progress(self.partition).newest_date;
        if newest.is_some_and(|newest| day.date < view.shape.dates_kept(newest).0) {
            return;
        }
        let insert = || view.finals.insert(self.partition, day.clone());
        let stores = &view.index(IndexKind::Stores).chain;
        let items = &view.index(IndexKind::Items).chain;
        stores.close_day(day.date, || items.close_day(day.date, insert));
    }

    fn day_dropped(&mut self, date: BusinessDate) {
        self.dropped.push(date);
    }

    fn entity(&mut self, update: EntityUpdate<'_>) {
        self.change(update.entity, &Change::of(&update));
    }

    /// Publishes the flush: first the chain-wide lists, then the position, then the end of what has
    /// passed its retention. So whoever sees the position finds everything before it, and whoever
    /// does not find a day any more sees that it is not kept.
    fn progress(&mut self, progress: &Progress) {
        self.refresh_chains(progress);
        if progress.newest_date == self.view.progress(self.partition).newest_date {
            self.publish(progress);
        } else {
            self.forget_days(|| self.publish(progress));
        }
        for date in self.dropped.drain(..) {
            self.view.finals.remove(self.partition, date);
        }
        self.report_size();
    }
}

impl Drop for PartitionWriter {
    fn drop(&mut self) {
        // A flush may have been interrupted.
        self.report_size();
        let state = &self.view.partitions[self.partition.0 as usize];
        state.taken.store(false, Ordering::SeqCst);
    }
}
