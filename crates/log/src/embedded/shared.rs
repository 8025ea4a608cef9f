//! What the writer and the callers share.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use model::{Offset, Partition, PartitionCount};
use parking_lot::RwLock;
use tokio::{sync::watch, task::JoinError};

use super::{
    open::panic_message,
    queue::Queue,
    store::{Cut, Extent, Store, StoreError},
    tail::Tail,
};
use crate::{ReadError, Record};

/// Why a log has stopped that did not fail.
pub(super) const SHUT_DOWN: &str = "it was shut down";

/// What readers see of one partition.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) extent: Extent,
    tail: Tail,
    /// Nothing will be added any more.
    stopped: bool,
}

/// Where the records a reader asked for are.
enum Found {
    /// Here.
    Tail(Vec<Record>),
    /// In the file, up to this offset at least.
    File(Offset),
    /// Nowhere yet.
    Later,
    /// Nowhere, for good.
    Never,
}

/// What the writer and the callers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) partitions: PartitionCount,
    pub(super) file: PathBuf,
    pub(super) queue: Queue,
    /// `None` once the log is shut down.
    pub(super) store: RwLock<Option<Arc<Store>>>,
    live: Vec<watch::Sender<Live>>,
    /// Why the writer ended, if it failed.
    pub(super) failure: watch::Sender<Option<String>>,
}

impl Live {
    pub(super) fn new(extent: Extent, tail_bytes: usize) -> Self {
        Self { extent, tail: Tail::new(extent.bounds.next, tail_bytes), stopped: false }
    }

    /// Adds a record that is durable.
    pub(super) fn push(&mut self, payload: Bytes) {
        self.extent.push(payload.len());
        self.tail.push(payload);
    }

    /// Forgets the records that `cut` takes out.
    pub(super) fn trim(&mut self, cut: &Cut) {
        self.extent.trim(cut);
        self.tail.trim(cut.below);
    }

    fn find(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Found, ReadError> {
        if !self.extent.bounds.readable(partition, from)? {
            return Ok(if self.stopped { Found::Never } else { Found::Later });
        }
        let tail = self.tail.read(from, max_bytes);
        Ok(tail.map_or(Found::File(self.extent.bounds.next), Found::Tail))
    }
}

impl Shared {
    pub(super) fn new(
        partitions: PartitionCount,
        file: PathBuf,
        queue: Queue,
        store: Arc<Store>,
        live: impl Iterator<Item = Live>,
    ) -> Self {
        Self {
            partitions,
            file,
            queue,
            store: RwLock::new(Some(store)),
            live: live.map(watch::Sender::new).collect(),
            failure: watch::Sender::new(None),
        }
    }

    pub(super) fn live(&self, partition: Partition) -> &watch::Sender<Live> {
        &self.live[partition.0 as usize]
    }

    /// # Panics
    /// If there is no such partition.
    pub(super) fn assert_exists(&self, partition: Partition) {
        let partitions = self.partitions.get();
        assert!(partition.0 < partitions, "there is no partition {partition} of {partitions}");
    }

    /// The log has failed: it takes nothing more. The first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        self.queue.close(reason);
        let first = self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| reason.to_owned());
            first
        });
        if first {
            tracing::error!(reason, "the log has failed");
        }
    }

    /// Why nothing is taken any more.
    pub(super) fn stop_reason(&self) -> String {
        self.failure.borrow().clone().unwrap_or_else(|| SHUT_DOWN.to_owned())
    }

    /// The writer has ended: nothing is added any more.
    pub(super) fn wake_readers(&self) {
        for live in &self.live {
            live.send_modify(|live| live.stopped = true);
        }
    }

    fn stopped(&self) -> ReadError {
        ReadError::Stopped(self.stop_reason())
    }

    /// A read on a blocking thread that panicked, or that the end of the runtime cut short.
    fn unfinished(&self, error: JoinError) -> ReadError {
        match error.try_into_panic() {
            // The database may be in any state after a failure: that is no damage.
            Ok(_) if self.failure.borrow().is_some() => self.stopped(),
            Ok(panic) => {
                let detail = panic_message(&*panic);
                ReadError::Corrupt { file: self.file.clone(), detail }
            }
            Err(_) => ReadError::Stopped("the runtime has ended".to_owned()),
        }
    }

    /// See [`Log::read`](crate::Log::read).
    pub(super) async fn read(
        self: Arc<Self>,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let mut changes = self.live(partition).subscribe();
        loop {
            let found = changes.borrow_and_update().find(partition, from, max_bytes)?;
            match found {
                Found::Tail(records) => return Ok(records),
                Found::File(next) => {
                    let shared = Arc::clone(&self);
                    let read = move || shared.read_file(partition, from, next, max_bytes);
                    let outcome = tokio::task::spawn_blocking(read).await;
                    return outcome.unwrap_or_else(|error| Err(self.unfinished(error)));
                }
                Found::Never => return Err(self.stopped()),
                Found::Later => changes.changed().await.map_err(|_| self.stopped())?,
            }
        }
    }

    fn read_file(
        &self,
        partition: Partition,
        from: Offset,
        next: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let store = self.store.read();
        let Some(store) = store.as_ref() else {
            return Err(self.stopped());
        };
        store.read(partition, from, next, max_bytes).map_err(|error| {
            // What is missing may have been trimmed since.
            let bounds = self.live(partition).borrow().extent.bounds;
            let trimmed = bounds.readable(partition, from).err();
            trimmed.unwrap_or_else(|| self.unreadable(error))
        })
    }

    /// What a caller learns of a read that the database did not do.
    pub(super) fn unreadable(&self, error: StoreError) -> ReadError {
        match error.damage() {
            Ok(detail) => ReadError::Corrupt { file: self.file.clone(), detail },
            Err(error) => {
                ReadError::Stopped(format!("cannot read {}: {error}", self.file.display()))
            }
        }
    }
}
