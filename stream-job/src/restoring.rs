//! Restoring states, also while the stream is being opened.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use model::{Offset, Partition, PartitionCount};
use window::{Aggregator, Config};

use crate::{
    JobConfig, JobError, Rebuild,
    checkpoint::{CheckpointStore, Identity},
};

/// States that are being restored from their checkpoints while the stream is being opened. None of them by
/// default: then they are restored when the job runs.
#[derive(Debug, Default)]
pub struct Restoring(HashMap<Partition, BeingRestored>);

/// A checkpoint, open, and the thread that restores the state from it.
#[derive(Debug)]
pub(crate) struct BeingRestored {
    pub(crate) store: Arc<CheckpointStore>,
    pub(crate) restorer: Restorer,
}

impl Restoring {
    /// Begins with the partitions of `config` that have a checkpoint of a stream of so many, unless checkpoints
    /// are to be discarded. If one cannot be opened, this leaves it alone: [`Job::open`](crate::Job::open)
    /// says why, after it is known whether the stream can be used.
    pub fn begin(config: &JobConfig, partitions: PartitionCount) -> Self {
        if config.rebuild != Rebuild::No {
            return Self::default();
        }
        let assigned = config.assignment.of(partitions);
        Self(assigned.filter_map(|p| Some((p, begin(config, p, partitions)?))).collect())
    }

    /// The one of a partition, if it is being restored.
    pub(crate) fn take(&mut self, partition: Partition) -> Option<BeingRestored> {
        self.0.remove(&partition)
    }
}

fn begin(
    config: &JobConfig,
    partition: Partition,
    partitions: PartitionCount,
) -> Option<BeingRestored> {
    if !CheckpointStore::path(&config.directory, partition).exists() {
        return None;
    }
    let identity = Identity { partition, partitions };
    let store = Arc::new(CheckpointStore::open(&config.directory, identity).ok()?);
    // Without a checkpoint, the state begins where the stream does.
    if !store.saved().ok()?.exists() {
        return None;
    }
    let restorer = Restorer::spawn(store.clone(), partition, config.window.clone(), Offset(0));
    Some(BeingRestored { store, restorer: restorer.ok()? })
}

/// What is done with a state.
type Task = Box<dyn FnOnce(Result<Aggregator, JobError>) + Send>;

/// A thread that restores the state of a partition, then goes on with what it is told. If this is dropped instead,
/// the thread is ended, and the file closed.
#[derive(Debug)]
pub(crate) struct Restorer {
    partition: Partition,
    cancelled: Arc<AtomicBool>,
    /// `None` once it has been told.
    task: Option<mpsc::Sender<Task>>,
    /// `None` once it goes on by itself.
    thread: Option<JoinHandle<()>>,
}

impl Restorer {
    /// Begins to restore what was saved last, or what starts at `start` if nothing was.
    pub(crate) fn spawn(
        store: Arc<CheckpointStore>,
        partition: Partition,
        window: Config,
        start: Offset,
    ) -> io::Result<Self> {
        let (sender, task) = mpsc::channel::<Task>();
        let cancelled = Arc::new(AtomicBool::new(false));
        let flag = cancelled.clone();
        let thread = thread::Builder::new().name(format!("job-{partition}")).spawn(move || {
            let restore = || restore(&store, partition, &window, start, &flag);
            let restored = catch_unwind(AssertUnwindSafe(restore));
            // When the task has ended, nobody is to have the file open any more.
            drop(store);
            // The thread that memory was taken by goes on to use it, and can give it back.
            let state = restored.unwrap_or(Err(JobError::Panicked(partition))).transpose();
            if let (Some(state), Ok(task)) = (state, task.recv()) {
                task(state);
            }
        })?;
        Ok(Self { partition, cancelled, task: Some(sender), thread: Some(thread) })
    }

    /// Has the thread go on with `task`, which gets the state, or why there is none.
    pub(crate) fn then(mut self, task: impl FnOnce(Result<Aggregator, JobError>) + Send + 'static) {
        self.thread = None;
        let sent = self.task.take().map(|sender| sender.send(Box::new(task)));
        debug_assert!(matches!(sent, Some(Ok(()))), "the thread waits for it");
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.cancelled.store(true, Ordering::Relaxed);
        self.task = None;
        if thread.join().is_err() {
            tracing::debug!(partition = self.partition.0, "the thread has panicked");
        }
    }
}

/// Restores the state; `None` if that is `cancelled` on the way.
fn restore(
    store: &CheckpointStore,
    partition: Partition,
    window: &Config,
    start: Offset,
    cancelled: &AtomicBool,
) -> Result<Option<Aggregator>, JobError> {
    let started = Instant::now();
    let Some(state) = store.load(window, start, cancelled)? else { return Ok(None) };
    tracing::info!(
        partition = partition.0,
        next = state.progress().next.0,
        pairs = state.pairs(),
        took_ms = started.elapsed().as_millis() as u64,
        "checkpoint restored"
    );
    Ok(Some(state))
}
