//! Checkpoints: the state of a partition and its next offset, in one atomic commit.
//!
//! One `redb` file per partition, `partition-P.redb`:
//!
//! - `meta`: format, partition, number of partitions, next offset, offset and checksum (xxh3-64) of the record
//!   before it, number of the next chunk, and how many bytes the last full snapshot and the partial ones since have
//! - `chunks`: number → checksum (xxh3-64) and chunk of a snapshot, in the order to restore them
//! - `late`, `dead-letters`: what could not be counted as it should, by offset and place
//! - `published`: up to which of these their topics have acknowledged them; there are none before it has begun
//!
//! A full snapshot replaces all chunks; a partial one is added behind them. The core says what is in
//! them ([`window::Snapshot`]).

mod error;
mod store;

pub use error::CheckpointError;
pub use store::CheckpointStore;
pub(crate) use store::{Identity, LastRecord, Saved};
