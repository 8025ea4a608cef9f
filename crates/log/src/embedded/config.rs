//! Settings of the embedded log.

use std::{path::PathBuf, sync::Arc, time::Duration};

use model::PartitionCount;

/// Is told about every commit that made records durable. Called on the writer's thread: it must
/// be quick and not panic.
pub trait CommitObserver: Send + Sync {
    /// One commit made `batches` records of `bytes` payload bytes durable and took `took`.
    fn committed(&self, batches: usize, bytes: usize, took: Duration);
}

/// Settings of an [`EmbeddedLog`](crate::EmbeddedLog).
#[derive(Clone)]
pub struct EmbeddedConfig {
    /// Where `log.redb` and `log.witness` are. Created if it does not exist.
    pub directory: PathBuf,
    /// How many partitions. Recorded with the data when it is created; refused if it differs later.
    pub partitions: PartitionCount,
    /// How many bytes of records may wait for the disk, over all partitions; appends beyond it are
    /// refused as overload. Every record counts 64 bytes more than its payload. One is always
    /// taken. 64 MiB by default.
    pub max_queued_bytes: usize,
    /// How many bytes of the newest records are kept in memory, per partition, for readers that
    /// follow the tail. Every record counts 64 bytes more than its payload. 4 MiB by default.
    pub tail_bytes: usize,
    /// How many bytes of the file are kept in memory. 64 MiB by default.
    pub cache_bytes: usize,
    /// The least time from the start of a commit that carries several records to that of the next, unless
    /// that has a mebibyte to carry: under load, commits are fewer and carry more, and an append takes up to so
    /// much longer. 1 ms by default; with zero, each commit carries what came during the one before.
    pub commit_interval: Duration,
    /// Is told about every commit.
    pub observer: Option<Arc<dyn CommitObserver>>,
}

impl EmbeddedConfig {
    /// The defaults.
    pub fn new(directory: impl Into<PathBuf>, partitions: PartitionCount) -> Self {
        Self {
            directory: directory.into(),
            partitions,
            max_queued_bytes: 64 << 20,
            tail_bytes: 4 << 20,
            cache_bytes: 64 << 20,
            commit_interval: Duration::from_millis(1),
            observer: None,
        }
    }
}
