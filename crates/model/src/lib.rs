//! The words of Topline: ids, time, purchases, partitioning and the batch codec.
//!
//! Everything else leans on this crate, so it does no I/O, knows no runtime, and holds no state.
//! [`Batch`] is the unit of append to the stream; [`Batch::encode`] and [`Batch::decode`] are its
//! only wire form. [`PartitionCount::of`] says where a store's purchases live.

mod batch;
mod ids;
mod partition;
mod position;
mod purchase;
mod time;
pub mod varint;

pub use batch::{Batch, DecodeError, MAX_BATCH_PURCHASES, MAX_RECORD_BYTES};
pub use ids::{CustomerId, ItemId, Offset, ProducerId, Sequence, StoreId};
pub use partition::{InvalidPartitionCount, Partition, PartitionCount};
pub use position::{Position, PositionParseError};
pub use purchase::{IdempotencyKey, Line, MAX_LINES, Purchase};
pub use time::{BusinessDate, DateError, Timestamp, TimestampError, parse_duration};
