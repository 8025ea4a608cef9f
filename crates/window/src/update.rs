//! What the aggregation hands on: absolute values, never increments.

use std::sync::Arc;

use model::{BusinessDate, ItemId, Offset, Purchase, StoreId, Timestamp};

use crate::FinalDay;

/// Something that has top lists: a store (of items) or an item (of stores).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// Its lists rank items.
    Store(StoreId),
    /// Its lists rank stores.
    Item(ItemId),
}

/// How far a partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Everything before this offset has been applied.
    pub next: Offset,
    /// Append time of the last batch applied; `None` before the first.
    pub append_time: Option<Timestamp>,
    /// Where event time stands; `None` before the first purchase. The sliding windows end here
    /// (see [`crate::WindowKind::bounds`]).
    pub clock: Option<Timestamp>,
    /// No event older than this is expected; `None` before the first purchase.
    pub watermark: Option<Timestamp>,
    /// The newest business date seen; with the lateness it says which dates are open.
    pub newest_date: Option<BusinessDate>,
    /// Closed days up to this one are not kept any more, and do not come back when days are kept for longer; `None`
    /// before the first purchase.
    pub dropped_until: Option<BusinessDate>,
}

/// New absolute values of one entity in one partition.
///
/// *Rows* are the parts of an entity's lists: the items of a store, the stores of an item. A row
/// has the counts of one (store, item) pair in all windows, by [`crate::Layout`]. For each window,
/// the rows handed on so far contain the true top k (ties broken by smaller id); a row may also be
/// there for the sake of another window, or because it is near the top. So whoever holds the rows
/// ranks them by the count of the window asked for and cuts at k; counts of 0 are not listed.
#[derive(Debug, Clone, Copy)]
pub struct EntityUpdate<'a> {
    /// Whose values these are.
    pub entity: Entity,
    /// Next offset after the last batch that these values take account of.
    pub stamp: Offset,
    /// How far the partition had come: says what the slots mean.
    pub progress: &'a Progress,
    /// Whether all rows known before are to be forgotten first.
    pub replace: bool,
    /// Whether all pairs of the entity are rows, those handed on before included: then each total is the sum of
    /// their counts.
    pub complete: bool,
    /// Sum over all pairs of the entity (not only the rows), per slot.
    pub totals: &'a [u64],
    /// Ids of rows that are new or have new values; ascending.
    pub ids: &'a [u64],
    /// The values of those rows, [`crate::Layout::slots`] for each id.
    pub counts: &'a [u64],
    /// Ids of rows to forget; ascending, none of them in `ids`. They may be unknown: see [`Sink`].
    pub removed: &'a [u64],
}

/// Where the aggregation hands on what has changed.
///
/// One flush calls `day_closed` and `day_dropped` for each such day, then `entity` for each entity that
/// has changed, then `progress` once. All of it belongs to the same prefix of the stream; what a
/// reader sees before `progress` arrives may be newer than the progress it knows of, never older.
///
/// A flush brings up to date not only who has what the flush before handed on, but also who has, from
/// another run on the same stream, what any flush at an offset in between would have: rows that
/// were worth handing on at any time since are handed on or removed. This holds for each entity by
/// itself.
pub trait Sink {
    /// A day is final; its rows, still in some slot, no longer count for it.
    fn day_closed(&mut self, day: &Arc<FinalDay>);
    /// A final day has passed its retention.
    fn day_dropped(&mut self, date: BusinessDate);
    /// An entity has changed.
    fn entity(&mut self, update: EntityUpdate<'_>);
    /// Everything before `progress.next` has been handed on.
    fn progress(&mut self, progress: &Progress);
}

/// What applying a batch came upon, besides counting.
pub trait SideOutput {
    /// A purchase for a business day that is closed: counted for the other windows, but not for
    /// its day. It is the one at `place`, from 0, of the batch at `offset`.
    fn late(&mut self, offset: Offset, place: u32, purchase: &Purchase);
}
