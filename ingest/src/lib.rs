//! POST → validated purchases → durable batches.
//!
//! [`start`] runs one batcher per partition and gives the [`IngestHandle`]; [`routes`] are the HTTP
//! side of it. A POST is answered once the log has acknowledged the batch its purchase is in, and
//! not before. If the log has too much queued, or a partition's queue is full, the answer is 503
//! with nothing taken; if the log stops while a purchase is on its way, the answer says that it may
//! or may not have been taken, which is what idempotency keys are for.

mod args;
mod batcher;
mod bulk;
mod clock;
mod failure;
mod handle;
mod headers;
mod key;
pub mod parse;
mod queue;
mod routes;
mod status;

pub use args::{IngestArgs, InvalidToken, WriteToken};
pub use batcher::Downstream;
pub use handle::{IngestHandle, SubmitError, start};
pub use routes::{POSITION_HEADER, routes};
