//! What can be asked, and why there may be no answer.

use model::{BusinessDate, ItemId, Offset, Partition, StoreId, Timestamp};
use window::WindowKind;

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The top items of a store.
    Store(StoreId),
    /// The top stores of an item.
    Item(ItemId),
    /// The top items of all stores together.
    TopItems,
    /// The top stores by all items together.
    TopStores,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `{"stores":[{"itemID":5,"numberOfItems":42}]}`: only the list, whose name is always `stores`.
    Legacy,
    /// `{"window":{…},"items":[{"itemID":5,"quantity":42}],"asOf":{…}}`.
    V1,
}

/// A question to the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Query {
    /// Which list.
    pub subject: Subject,
    /// Of which kind of window.
    pub kind: WindowKind,
    /// Of which business date; `None`: the newest one seen. Only looked at for [`WindowKind::Day`].
    pub date: Option<BusinessDate>,
    /// The length of the list, 1 to `k` of [`window::Config`].
    pub k: u32,
    /// How the answer is written.
    pub format: Format,
}

/// The window an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its kind.
    pub kind: WindowKind,
    /// The business date of a `day`.
    pub date: Option<BusinessDate>,
    /// First instant, and first instant after it.
    ///
    /// Of a day, those of its date in UTC. Of a sliding window of several partitions, those of the
    /// partition whose event time is furthest; the others count the window that ends at their own. None
    /// for `all`, and for a sliding window before the first purchase.
    pub bounds: Option<(Timestamp, Timestamp)>,
    /// Whether the list will never change again: of a day, once it is closed in every partition
    /// concerned. A partition without purchases closes no day.
    pub is_final: bool,
}

/// Where the counts asked for stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// In one slot of every row.
    Slot(usize),
    /// In the slot of a date while it is open, then among the closed days.
    Day(BusinessDate),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Some partition is still recovering. Ask again soon.
    #[error(
        "the lists are still being recovered: {missing} of {partitions} partitions are missing"
    )]
    NotReady {
        /// Partitions not yet recovered.
        missing: u32,
        /// All partitions.
        partitions: u32,
    },
    /// Nothing was ever sold in this store.
    #[error("nothing has been sold in store {0}")]
    UnknownStore(StoreId),
    /// This item was never sold.
    #[error("nothing has been sold of item {0}")]
    UnknownItem(ItemId),
    /// Windows of this kind are not kept.
    #[error("the window '{kind}' is not kept here, only {}", names(kept))]
    WindowNotKept {
        /// Asked for.
        kind: WindowKind,
        /// Those kept.
        kept: Vec<WindowKind>,
    },
    /// The date is too old, or still to come.
    #[error("the date {date} is not kept: the dates kept are {first} to {last}")]
    DateNotKept {
        /// Asked for.
        date: BusinessDate,
        /// The oldest date kept.
        first: BusinessDate,
        /// The newest date seen.
        last: BusinessDate,
    },
    /// No business date is known yet.
    #[error("no business date has been seen yet")]
    NoDate,
    /// The list asked for is empty by definition, or longer than the lists kept.
    #[error("k is {k}, it must be between 1 and {max}")]
    LengthOutOfRange {
        /// Asked for.
        k: u32,
        /// The longest list kept.
        max: u32,
    },
}

fn names(kinds: &[WindowKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

/// Why a wait for a position was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The time is over.
    #[error("partition {partition} has been applied up to offset {have}, not yet to {wanted}")]
    NotYet {
        /// The first partition that lags.
        partition: Partition,
        /// Next offset of the view.
        have: Offset,
        /// Next offset asked for.
        wanted: Offset,
    },
    /// The position names a partition that does not exist.
    #[error("there is no partition {partition}: the partitions are 0 to {last}")]
    UnknownPartition {
        /// Asked for.
        partition: Partition,
        /// The last one there is.
        last: Partition,
    },
}
