//! PostgreSQL: the tables, and what is done with them.

mod applied;
mod connect;
mod ids;
mod reader;
mod snapshot;
mod writer;

pub use applied::{Admission, Applied};
pub use connect::{Connected, connect, create_schema};
pub use reader::{Reader, Readers};
pub use snapshot::{Snapshot, forget_old_producers, shards_applied};
pub use writer::Writer;
