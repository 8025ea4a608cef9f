//! All current top lists, in memory, readable while they change.
//!
//! The aggregation core writes each partition through a [`PartitionWriter`]; readers ask the
//! [`View`] for a [`List`] or an [`Answer`], which is the list as JSON. Every list is the exact top k:
//!
//! - a *store* lives in one partition, so its list is the best of the rows that partition handed on;
//! - an *item* has rows in several partitions, but no store in two of them, so its list is the best of all of
//!   these rows;
//! - a *chain-wide* list is the best of the totals of all entities, each summed over the partitions.
//!
//! A view in another process than the aggregation is filled through a [`feed`].
//!
//! What a reader is told of the age of a list is noted before the list is read, and a writer publishes its
//! progress after everything else of a flush: a list may be newer than its position says, never older.

mod as_of;
mod candidates;
mod cell;
mod chain;
pub mod feed;
mod finals;
mod index;
mod query;
mod reading;
mod render;
mod rows;
mod shape;
mod view;
mod writer;

pub use as_of::AsOf;
pub use query::{Format, Query, ReadError, Subject, WaitError, Window};
pub use view::{Answer, List, Stats, StreamEnd, View, ViewConfig};
pub use writer::PartitionWriter;
