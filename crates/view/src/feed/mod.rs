//! The feed: what a worker writes of one partition for replicas of the view, and how they read it.
//!
//! The feed of a partition is a topic partition of its own: records in order, each at an offset (a *views
//! offset*, not to be taken for the offsets of the purchases). A [`FeedWriter`] makes the records, a
//! [`Replica`] applies them to a [`crate::PartitionWriter`]. Nothing here does I/O.
//!
//! # Flushes
//!
//! Each flush of the core becomes one or more records, its *parts*:
//!
//! - a *delta* covers the purchases from one offset to another: what has changed, as absolute values;
//! - a *keyframe* says everything as of one offset.
//!
//! The last part carries the progress. Until it is there, the flush has not happened as far as the
//! position of a replica is concerned, though its values show: newer than the replica says, never older.
//!
//! # Several writers
//!
//! Workers on the same partition do not know of each other. They compute the same values, but
//! flush at different offsets, so their flushes overlap. A replica tells them apart by the id of their run, and
//! takes from each what brings it on. That rests on three things, entity by entity:
//!
//! 1. What a replica has of an entity is exactly what is true at some offset, its own position or a
//!    later one.
//! 2. A delta that starts at or before the position brings an entity to its end from *any* offset it
//!    covers (see [`window::Sink`]); a keyframe does from any offset before it.
//! 3. Values older than what is there are not taken: the `stamp` of a part of a cell.
//!
//! So parts are applied as they come, nothing of a flush is held back, and one that is interrupted has
//! only brought some entities further than others. Two things wait for their end: a closed day, which
//! may be cut into several parts, is handed on when it is whole; and days are dropped with the last part.
//!
//! # Replicas
//!
//! A replica starts with nothing ([`crate::PartitionWriter::forget`]), at the keyframe that the
//! last record of the feed names, and passes over deltas until a keyframe is complete. From then
//! on a keyframe of an offset it already has is passed over. A worker that flushes a delta just before
//! each keyframe makes keyframes free for all replicas that follow.
//!
//! A *gap* is a delta that starts after the position: something in between was lost. It is not
//! applied. The replica goes on with whatever reaches back to its position: another writer, or the next keyframe.
//!
//! The first keyframe of a replica gives exactly its state. A later one, which closes a gap, replaces
//! all entities and closed days it names; those it does not name stay, but for days past their retention. In one stream
//! there are no such entities, for they never vanish. A stream that was made anew, or is counted anew from where it
//! begins now, needs new replicas.

mod body;
mod codec;
mod contents;
mod packing;
mod replica;
mod writer;

pub use codec::{FeedError, FlushKind, WriterId};
pub use replica::{DamagedRecord, Outcome, Replica};
pub use writer::{FeedLimits, FeedWriter, Flush};
