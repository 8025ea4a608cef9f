//! A [`log::Log`] on a topic of a Fluvio cluster.
//!
//! One record of the topic is one of our batches. What the cluster promises is its own: an
//! acknowledgement means that the leader has the record, or with [`Isolation::ReadCommitted`] that all
//! replicas have it; none of them has written it to the disk for certain.
//!
//! The client crate is used for what the controller knows: topics, partitions, leaders. The records
//! themselves go over connections of our own, in the cluster's protocol, for three reasons: its producer
//! spins when its queue is full, and tries one dead leader for ever; its consumer applies one offset to
//! all partitions when it reconnects; its metadata stops for good when the controller restarts. So here
//! every request has a time limit, every partition has its own connections (one to append, one to
//! read, one to ask for offsets), and where a leader is, is asked anew whenever one does not answer.
//!
//! - [`Cluster`]: who leads what; [`setup`](crate::setup()): registers SPUs, makes topics
//! - `appender.rs`: one request at a time for each partition, repeated until it is acknowledged
//! - `tail.rs`: follows the end of a partition; `reader.rs`: fetches what is before it

mod appender;
mod args;
mod back_off;
mod cluster;
mod error;
mod fluvio;
mod link;
mod partition;
mod prompt;
mod reader;
mod setup;
mod tail;
mod tls;

pub use self::fluvio::{FluvioLog, FluvioLogConfig};
pub use args::{ClusterArgs, Isolation};
pub use cluster::Cluster;
pub use error::ClusterError;
pub use setup::{Spu, Topic, setup};
pub use tls::Tls;
