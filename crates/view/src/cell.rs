//! The cell of an entity: what each partition has said of it.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{BusinessDate, Offset, Partition, Timestamp};
use parking_lot::Mutex;
use window::{EntityUpdate, Progress};

use crate::{render::RenderCache, rows::Rows, shape::Shape};

/// All values of one entity.
///
/// A store has one part, for it lives in one partition; an item has one for each partition that
/// sold it. The rows of two parts have no id in common.
#[derive(Debug)]
pub(crate) struct Cell {
    /// Raised by each update applied.
    pub(crate) version: u64,
    /// Sum of the totals of all parts, per slot. In the slot of a day, parts may mean different
    /// dates: there the sum is only an upper bound of what any date has.
    pub(crate) sums: Box<[u64]>,
    /// By partition, ascending.
    pub(crate) parts: Vec<Part>,
    /// Answers rendered; valid for one version each.
    pub(crate) rendered: Mutex<RenderCache>,
}

/// The values of one entity in one partition.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) partition: Partition,
    /// Next offset after the last batch that changed it.
    pub(crate) stamp: Offset,
    /// Where event time stood: what the slots of the sliding windows mean.
    pub(crate) clock: Option<Timestamp>,
    /// What the slots of the days mean.
    pub(crate) newest_date: Option<BusinessDate>,
    totals: Box<[u64]>,
    pub(crate) rows: Rows,
}

/// New values of an entity, as in [`EntityUpdate`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) stamp: Offset,
    pub(crate) progress: &'a Progress,
    pub(crate) replace: bool,
    pub(crate) totals: Totals<'a>,
    pub(crate) ids: &'a [u64],
    pub(crate) counts: &'a [u64],
    pub(crate) removed: &'a [u64],
}

/// Where the totals of an entity are known from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Totals<'a> {
    Given(&'a [u64]),
    /// All pairs of the entity are rows: they are the sums of their counts.
    Summed,
}

impl<'a> Change<'a> {
    pub(crate) fn of(update: &EntityUpdate<'a>) -> Self {
        let EntityUpdate { stamp, progress, replace, totals, ids, counts, removed, .. } = *update;
        Self { stamp, progress, replace, totals: Totals::Given(totals), ids, counts, removed }
    }
}

/// The most slots there are: a bit each in [`Applied::dirty`].
const MAX_SLOTS: usize = u16::BITS as usize;

/// What a change has brought about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Applied {
    /// Bit per slot: whether the total of the entity may enter, leave or move in a chain-wide list.
    pub(crate) dirty: u16,
    /// Rows added less rows removed.
    pub(crate) rows: isize,
    /// Bytes allocated less bytes freed.
    pub(crate) bytes: isize,
}

impl Cell {
    /// A cell without parts.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            version: 0,
            sums: vec![0; slots].into_boxed_slice(),
            parts: Vec::new(),
            rendered: Mutex::default(),
        }
    }

    /// Bytes of memory of a cell without parts, its place in the map included.
    pub(crate) fn base_bytes(slots: usize) -> usize {
        size_of::<Self>() + 8 * (slots + 1)
    }

    /// Takes over a change in `partition`; `None` if it is older than what is known.
    ///
    /// With `rewind`, a change that replaces everything is taken even if it is older: a new run of
    /// the core starts from there, and its further updates build on it.
    ///
    /// `bounds` says, per slot, from which total on the chain-wide lists want to hear of a change. It
    /// is read here, under the lock of the cell: see [`crate::chain::Chain`].
    pub(crate) fn apply(
        &mut self,
        partition: Partition,
        change: &Change<'_>,
        shape: &Shape,
        bounds: &[AtomicU64],
        rewind: bool,
    ) -> Option<Applied> {
        let mut applied = Applied::default();
        let at = match self.parts.binary_search_by_key(&partition, |part| part.partition) {
            Ok(at) => at,
            Err(at) => {
                self.parts.reserve_exact(1);
                self.parts.insert(at, Part::new(partition, shape.slots));
                applied.bytes += Part::base_bytes(shape.slots) as isize;
                at
            }
        };
        let part = &mut self.parts[at];
        if change.stamp < part.stamp && !(rewind && change.replace) {
            return None;
        }
        self.version += 1;
        let (rows, bytes) = (part.rows.len() as isize, part.rows.bytes() as isize);
        let mut totals = [0; MAX_SLOTS];
        let totals = &mut totals[..shape.slots];
        part.take_rows(change, shape, totals);
        if let Totals::Given(given) = change.totals {
            totals.copy_from_slice(given);
        }
        applied.rows += part.rows.len() as isize - rows;
        applied.bytes += part.rows.bytes() as isize - bytes;
        let turned = part.newest_date != change.progress.newest_date;
        part.stamp = change.stamp;
        part.clock = change.progress.clock;
        part.newest_date = change.progress.newest_date;
        for (slot, (total, &new)) in part.totals.iter_mut().zip(&*totals).enumerate() {
            if *total == new && !(turned && shape.is_day(slot)) {
                continue;
            }
            let before = self.sums[slot];
            let after = before - *total + new;
            (*total, self.sums[slot]) = (new, after);
            let wanted = before.max(after) >= bounds[slot].load(Ordering::SeqCst);
            applied.dirty |= u16::from(wanted) << slot;
        }
        Some(applied)
    }

    /// Forgets what `partition` has said.
    pub(crate) fn forget(&mut self, partition: Partition) -> Applied {
        let Ok(at) = self.parts.binary_search_by_key(&partition, |part| part.partition) else {
            return Applied::default();
        };
        let part = self.parts.remove(at);
        self.version += 1;
        for (sum, total) in self.sums.iter_mut().zip(&part.totals) {
            *sum -= total;
        }
        Applied {
            dirty: 0,
            rows: -(part.rows.len() as isize),
            bytes: -((part.rows.bytes() + Part::base_bytes(self.sums.len())) as isize),
        }
    }

    /// Total on an open `date` over the parts for which `counts` holds.
    pub(crate) fn open_total(
        &self,
        date: BusinessDate,
        shape: &Shape,
        counts: impl Fn(Partition) -> bool,
    ) -> u64 {
        self.parts
            .iter()
            .filter(|part| counts(part.partition))
            .filter_map(|part| Some(part.totals[shape.open_slot(date, part.newest_date)?]))
            .sum()
    }

    /// The part of `partition`.
    pub(crate) fn part(&self, partition: Partition) -> Option<&Part> {
        let at = self.parts.binary_search_by_key(&partition, |part| part.partition).ok()?;
        Some(&self.parts[at])
    }

    /// The latest event time any part was computed at.
    pub(crate) fn clock(&self) -> Option<Timestamp> {
        self.parts.iter().filter_map(|part| part.clock).max()
    }
}

impl Part {
    fn new(partition: Partition, slots: usize) -> Self {
        Self {
            partition,
            stamp: Offset::default(),
            clock: None,
            newest_date: None,
            totals: vec![0; slots].into_boxed_slice(),
            rows: Rows::default(),
        }
    }

    /// Bytes of memory of a part without rows.
    fn base_bytes(slots: usize) -> usize {
        size_of::<Self>() + 8 * slots
    }

    /// Takes over the rows, and says what the totals are if they are summed: all pairs are rows then.
    fn take_rows(&mut self, change: &Change<'_>, shape: &Shape, totals: &mut [u64]) {
        if change.replace {
            self.rows.replace(change.ids, change.counts);
            if let Totals::Summed = change.totals {
                for counts in change.counts.chunks_exact(shape.slots) {
                    add(totals, counts);
                }
            }
            return;
        }
        totals.copy_from_slice(&self.totals);
        if self.newest_date != change.progress.newest_date {
            self.clear_closed(change.progress.newest_date, shape, totals);
        }
        self.rows.merge(change.ids, change.counts, totals);
        self.rows.remove(change.removed, shape.slots);
    }

    /// Empties the slots of the dates that are not open at `newest`: a row without a sale since is
    /// not handed on again, and another date takes its slot.
    fn clear_closed(&mut self, newest: Option<BusinessDate>, shape: &Shape, totals: &mut [u64]) {
        let Some(before) = self.newest_date else { return };
        for date in shape.layout.open_dates(before) {
            if shape.open_slot(date, newest).is_none()
                && let Some(slot) = shape.layout.day_slot(date)
            {
                self.rows.clear_slot(slot, shape.slots);
                totals[slot] = 0;
            }
        }
    }
}

fn add(totals: &mut [u64], counts: &[u64]) {
    for (total, count) in totals.iter_mut().zip(counts) {
        *total = total.wrapping_add(*count);
    }
}
