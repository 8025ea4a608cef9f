//! The partitioned durable stream: a narrow trait, [`Log`], and its backends.
//!
//! The contract is on the trait. Every backend runs the same suite against it: the module
//! `conformance`, behind the feature of that name.
//!
//! * [`MemoryLog`]: for tests. Nothing survives the process.
//! * [`EmbeddedLog`]: one file on one machine, with group commit and fsync.

mod budget;
#[cfg(feature = "conformance")]
pub mod conformance;
mod contract;
mod embedded;
mod error;
mod memory;

pub use budget::ReadBudget;
pub use contract::{Bounds, Log, Record, Retention};
pub use embedded::{CommitObserver, EmbeddedConfig, EmbeddedLog, Failure, OpenError};
pub use error::{AppendError, ReadError, TrimError};
pub use memory::MemoryLog;
pub use model::MAX_RECORD_BYTES;
