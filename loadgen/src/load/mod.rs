//! Load: many clients, and what they measure.
//!
//! ```text
//!            source ──► clients of thread 0 ─► recorder ─┐ intervals
//! pacer ──►  what       clients of thread 1 ─► recorder ─┼──────────► collector ─► totals, series,
//! open loop  comes      …                                │                         histogram log
//!            next                    lines ─► csv writer ┘
//! ```
//!
//! - A *closed* loop has clients that send their next request when they have their answer. An *open*
//!   loop has arrivals by a schedule: response times count from when a request was due, so that a server
//!   that stalls is not asked less, and is not measured less, than one that does not ("coordinated
//!   omission").
//! - Each client has a connection of its own. A thread has an event loop and some of the clients, and
//!   nothing on the way of a request is shared between threads but counters.
//! - A request is measured if it was due while requests are measured, however long it takes: what is under
//!   way at the end is waited for.
//! - Response times are those of successes and of time-outs; everything else is counted by its kind.
//! - Memory does not grow with the length of a run, but for what a comparison of the answers needs.

mod args;
mod check;
mod collector;
mod connection;
mod csv_log;
mod descriptors;
mod generator;
mod ledger;
mod link;
mod outcome;
mod pacer;
mod place;
mod recorder;
mod request;
mod run;
mod schedule;
mod seed;
mod source;
pub(crate) mod summary;
mod threshold;
pub(crate) mod verdict;
mod wire;
mod worker;
mod zipf;

pub use args::{LoadArgs, MixArgs, Profile, ReplayArgs, SettingsError};
pub use outcome::Outcome;
pub use request::Kind;
pub use run::{LoadError, Outputs, run};
pub use schedule::Arrivals;
pub use summary::{
    ArrivalSummary, Bucket, ErrorKind, FORMAT, KindSummary, KindTotals, Latency, NoSummary,
    OwnSummary, Point, PurchaseSummary, Severity, Summary, Verdict, VerificationSummary,
};
pub use threshold::{InvalidThreshold, Judged, Threshold};
pub use verdict::busiest;
pub use worker::{Live, Stage};

use csv_log::{CsvBuffer, CsvLog};
pub(crate) use recorder::ByKind as Totals;
