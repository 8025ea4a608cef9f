//! The designs before Topline, with the same HTTP contract, for comparison.
//!
//! - [`direct_database`]: a purchase is in PostgreSQL before its POST is answered, and a GET is a query
//!
//! Both stand behind the [`contract`], the three calls of the existing clients, on the listener that
//! Topline itself uses. What differs is the design, not the way HTTP is spoken.

pub mod cli;
pub mod contract;
pub mod database;
pub mod direct_database;
mod pending;
