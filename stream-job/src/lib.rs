//! The stream job: batches of the stream, through the windows, into the view; with checkpoints.
//!
//! Each partition has a worker, a thread of its own: it restores the last checkpoint, replays the
//! stream from there, and follows its end. What it does with a batch is decided by the pure
//! aggregation core ([`window::Aggregator`]); a worker only reads, flushes, and saves. A storage
//! error of any worker ends the job. Beside it, where there are topics for what could not be counted as it
//! should, a publisher hands that on ([`SideTopics`]).

mod args;
mod checkpoint;
mod continuity;
mod job;
mod lag;
mod output;
mod restoring;
mod retention;
mod saturation;
mod side;
mod worker;

pub use args::{Args, Assignment, JobConfig, Rebuild, RetentionConfig, WindowArgs};
pub use checkpoint::{CheckpointError, CheckpointStore};
pub use job::{Job, JobError};
pub use output::{Feed, Target};
pub use restoring::Restoring;
pub use saturation::Saturated;
pub use side::{DeadLetter, LatePurchase, SideOutputs, SideTopics};
