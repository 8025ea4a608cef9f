//! The GET API: top lists of stores, of items and of the whole chain, over a [`view::View`].
//!
//! [`routes`] gives the paths with their filters; `openapi.json` describes every call of the public
//! listener, those of ingest too.

mod args;
mod conditional;
mod events;
mod handler;
mod metrics;
mod openapi;
mod page;
mod params;
mod routes;
mod status;

pub use args::Args;
pub use metrics::record;
pub use openapi::OPENAPI;
pub use routes::routes;
