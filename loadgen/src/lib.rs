//! What stands on the other side of Topline's sockets: clients that send purchases, and a tally that
//! checks the answers.
//!
//! - [`shopping_day`] plays a day of a chain, one closed-loop client per store, through the call of
//!   the existing clients;
//! - [`replay`] reads recorded purchases from Parquet and CSV, and [`bulk`] sends them as fast as they
//!   are taken;
//! - [`load`] runs many clients, measures what they see, and says whether to believe it; [`page`] puts that
//!   into pages for people;
//! - [`Tally`] counts what was acknowledged, in plain hash maps, and [`verify()`] compares every answer
//!   of a server with it.
//!
//! Nothing here shares code with the aggregation: that is what makes the comparison worth something.

mod basket;
pub mod bulk;
mod client;
mod list;
pub mod load;
pub mod page;
pub mod replay;
mod report;
mod server;
pub mod shopping_day;
mod tally;
mod verify;

pub use basket::Basket;
pub use client::{BulkAnswer, Client, Failure, RejectedLine};
pub use list::List;
pub use report::{Progress, Refusals, Report};
pub use server::{Server, ServerError};
pub use tally::{Entry, Rankings, Tally};
pub use verify::{Verification, VerifyOptions, verify};
