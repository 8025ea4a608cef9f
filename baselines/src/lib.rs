//! The designs before Topline, with the same HTTP contract, for comparison.
//!
//! - [`direct_database`]: a purchase is in PostgreSQL before its POST is answered, and a GET is a query
//! - [`queue_and_memory`]: a purchase is in RabbitMQ before its POST is answered; one consumer writes it to
//!   PostgreSQL, another counts it in memory, where a GET looks
//!
//! Both stand behind the [`contract`], the three calls of the existing clients, on the listener that
//! Topline itself uses. What differs is the design, not the way HTTP is spoken.

pub mod cli;
pub mod contract;
pub mod database;
pub mod direct_database;
mod pending;
pub mod queue_and_memory;
mod shards;
