//! What the HTTP services share: the listener, its limits, and the form of errors.
//!
//! - [`serve`]: an accept loop for filters of warp, with time-outs, a cap and a drain
//! - [`Routes`], [`RouteTable`]: which filter answers what, 404, 405, and the metrics of every request
//! - [`HttpError`], [`recover`]: errors as `{"message":"..."}`
//! - [`Segment`], [`known_params`], [`single_header`], [`read_body`]: what is in paths, queries, headers and
//!   bodies, within limits
//! - [`admin_routes`], [`Readiness`]: the admin listener

mod admin;
mod body;
mod config;
mod connection;
mod driver;
mod error;
mod io;
mod params;
mod path;
mod readiness;
mod routes;
mod segment;
mod server;
mod service;
mod threads;
mod tls;
mod whole;

pub use admin::admin_routes;
pub use body::{BodyLimits, read_body};
pub use config::ListenerConfig;
pub use error::{APPLICATION_JSON, HttpError, error_of, recover};
pub use params::{known_params, single_header};
pub use readiness::{Condition, NotReady, Readiness};
pub use routes::{RouteTable, Routes};
pub use segment::{Segment, SegmentValue, parse_number};
pub use server::serve;
pub use service::UntilDrain;
pub use tls::{TlsError, TlsFiles};
