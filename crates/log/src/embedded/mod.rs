//! A log in one file on one machine.
//!
//! ```text
//!   append ──► queue ──► writer thread ──► one commit (fsync) ──► witness ──► tail ──► acknowledged
//!              bounded    takes all         log.redb              log.witness   │
//!                                              │                               ▼
//!                                              └──────── older records ─────► read
//! ```
//!
//! * One writer thread commits what all partitions have queued: one fsync is shared by everyone
//!   who waits for it, so the more wait, the more a commit carries. Under load commits keep a distance.
//! * Records are acknowledged and shown to readers after the fsync, never before.
//! * A reader at the tail is served from memory; an older read is a snapshot of the database, taken
//!   on a blocking thread, and waits for nobody.
//! * Every record has a checksum of its own; `log.witness` remembers how far each partition got. See
//!   [`witness`] for why.
//! * Opening verifies the whole file, after a crash and after an orderly end alike.

mod config;
mod frame;
mod open;
mod queue;
mod shared;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod witness;
mod writer;

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use model::{Offset, Partition, PartitionCount};
use parking_lot::Mutex;
use redb::{StorageBackend, backends::FileBackend};
use tokio::sync::oneshot;

pub use self::{
    config::{CommitObserver, EmbeddedConfig},
    open::OpenError,
};
use self::{
    open::{Opened, panic_message},
    queue::{Append, Queue, Trim},
    shared::{Live, SHUT_DOWN, Shared},
    store::Store,
    writer::Writer,
};
use crate::{AppendError, Bounds, Log, MAX_RECORD_BYTES, ReadError, Record, Retention, TrimError};

/// Why the log failed: the process must end, and may start again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log has failed: {0}")]
pub struct Failure(pub String);

/// A log in one file on one machine, with group commit and fsync.
///
/// A record is durable when its commit is synced: it survives the death of the process and of the
/// machine, if the disk keeps what it has synced. After a storage error the log takes nothing more
/// ([`EmbeddedLog::failed`]); the process should end and be started again.
///
/// Dropping it shuts it down, and blocks until what is queued is durable.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log in the directory of `config`, or creates it.
    ///
    /// Blocks: it reads and verifies the whole file.
    ///
    /// # Errors
    /// [`OpenError`] names the file and what to do.
    pub fn open(config: EmbeddedConfig) -> Result<Arc<Self>, OpenError> {
        Self::open_with(config, |file| file)
    }

    fn open_with<B: StorageBackend>(
        config: EmbeddedConfig,
        wrap: impl FnOnce(FileBackend) -> B,
    ) -> Result<Arc<Self>, OpenError> {
        let Opened { store, witness, extents, file } = open::open(&config, wrap)?;
        let store = Arc::new(store);
        let live = extents.iter().map(|extent| Live::new(*extent, config.tail_bytes));
        let queue = Queue::new(config.max_queued_bytes);
        let shared = Shared::new(config.partitions, file, queue, Arc::clone(&store), live);
        let shared = Arc::new(shared);
        let EmbeddedConfig { observer, commit_interval, .. } = config;
        let writer =
            Writer::new(Arc::clone(&shared), store, witness, observer, commit_interval, extents);
        let thread = thread::Builder::new().name("log-writer".to_owned());
        let thread = thread
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io { file: shared.file.clone(), source })?;
        Ok(Arc::new(Self { shared, writer: Mutex::new(Some(thread)) }))
    }

    /// Makes what is queued durable, and closes the file. Later appends and waiting reads get
    /// `Stopped`. A second call does nothing more.
    ///
    /// # Errors
    /// The log failed, before or now. What was acknowledged is durable all the same.
    pub async fn shutdown(self: &Arc<Self>) -> Result<(), Failure> {
        let log = Arc::clone(self);
        let stopped = tokio::task::spawn_blocking(move || log.stop()).await;
        stopped.unwrap_or_else(|error| Err(Failure(error.to_string())))
    }

    /// Resolves when the log has failed; never, if it is shut down in order.
    pub fn failed(&self) -> BoxFuture<'static, Failure> {
        let shared = Arc::clone(&self.shared);
        async move {
            let mut failure = shared.failure.subscribe();
            let failed = failure.wait_for(Option::is_some).await.ok().and_then(|f| f.clone());
            match failed {
                Some(reason) => Failure(reason),
                None => std::future::pending().await,
            }
        }
        .boxed()
    }

    /// Size of the database file in bytes: what is held, and space that new records will fill.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn storage_bytes(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(&self.shared.file)?.len())
    }

    /// Payload bytes the partition holds.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn held_bytes(&self, partition: Partition) -> u64 {
        self.shared.live(partition).borrow().extent.bytes
    }

    fn stop(&self) -> Result<(), Failure> {
        self.shared.queue.close(SHUT_DOWN);
        let writer = self.writer.lock().take();
        if let Some(Err(panic)) = writer.map(thread::JoinHandle::join) {
            self.shared.fail(&panic_message(&*panic));
        }
        // The writer is gone and readers hold the lock while they read: this is the last owner.
        let store = self.shared.store.write().take().and_then(Arc::into_inner);
        let close = || store.map_or(Ok(()), Store::close);
        match catch_unwind(AssertUnwindSafe(close)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.shared.fail(&error.to_string()),
            Err(panic) => self.shared.fail(&panic_message(&*panic)),
        }
        let failure = self.shared.failure.borrow().clone();
        failure.map_or(Ok(()), |reason| Err(Failure(reason)))
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        if let Err(failure) = self.stop() {
            tracing::error!(%failure, "the log was not closed in order");
        }
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("file", &self.shared.file).finish_non_exhaustive()
    }
}

impl Log for EmbeddedLog {
    fn partitions(&self) -> PartitionCount {
        self.shared.partitions
    }

    fn append(
        &self,
        partition: Partition,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        self.shared.assert_exists(partition);
        let (done, outcome) = oneshot::channel();
        let bytes = payload.len();
        let queued = if bytes > MAX_RECORD_BYTES {
            Err(AppendError::TooLarge { bytes, limit: MAX_RECORD_BYTES })
        } else {
            self.shared.queue.append(Append { partition, payload, done })
        };
        let shared = Arc::clone(&self.shared);
        async move {
            queued?;
            outcome.await.unwrap_or_else(|_| Err(AppendError::Stopped(shared.stop_reason())))
        }
        .boxed()
    }

    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        self.shared.assert_exists(partition);
        Arc::clone(&self.shared).read(partition, from, max_bytes).boxed()
    }

    fn bounds(&self, partition: Partition) -> Bounds {
        self.shared.live(partition).borrow().extent.bounds
    }

    fn trim(
        &self,
        partition: Partition,
        retention: Retention,
    ) -> BoxFuture<'static, Result<Bounds, TrimError>> {
        self.shared.assert_exists(partition);
        let (done, outcome) = oneshot::channel();
        let queued = self.shared.queue.trim(Trim { partition, retention, done });
        let shared = Arc::clone(&self.shared);
        async move {
            queued?;
            outcome.await.unwrap_or_else(|_| Err(TrimError::Stopped(shared.stop_reason())))
        }
        .boxed()
    }
}
