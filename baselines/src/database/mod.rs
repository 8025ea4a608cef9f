//! PostgreSQL: the tables, and what is done with them.

mod connect;
mod ids;
mod reader;
mod writer;

pub use connect::{Connected, connect, create_schema};
pub use reader::{Reader, Readers};
pub use writer::Writer;
