//! Why a cluster could not be used.

use std::{path::PathBuf, time::Duration};

/// Why something asked of the cluster did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A setting cannot be used.
    #[error("the settings of the cluster cannot be used: {0}")]
    Settings(String),
    /// A file of the TLS settings cannot be used.
    #[error("{}: {problem} ({flag})", file.display())]
    TlsFile {
        /// The file.
        file: PathBuf,
        /// The setting that names it.
        flag: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The controller does not answer.
    #[error("the Fluvio controller at {address} cannot be used: {problem}")]
    Controller {
        /// Where it should be.
        address: String,
        /// What went wrong.
        problem: String,
    },
    /// The topic does not exist.
    #[error("there is no topic '{0}'; `topline setup` makes it")]
    NoTopic(String),
    /// The topic is there, but not as asked for.
    #[error("the topic '{topic}' has {has}, not {wanted}; use another name, or these settings")]
    OtherTopic {
        /// Its name.
        topic: String,
        /// What it has.
        has: String,
        /// What was asked for.
        wanted: String,
    },
    /// A partition has no leader in service.
    #[error("{topic}-{partition} has no leader in service")]
    NoLeader {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: u32,
    },
    /// An SPU does not answer.
    #[error("the SPU at {address} cannot be used: {problem}")]
    Spu {
        /// Where it should be.
        address: String,
        /// What went wrong.
        problem: String,
    },
    /// An SPU refuses a request.
    #[error("{topic}-{partition}: {problem}")]
    Refused {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// What the SPU says.
        problem: String,
    },
    /// The cluster is not ready in time.
    #[error("the cluster was not ready after {} s: {problem}", waited.as_secs())]
    NotReady {
        /// How long it was waited for.
        waited: Duration,
        /// What was not ready.
        problem: String,
    },
}
