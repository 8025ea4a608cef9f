//! Starting the workers, and ending with them.

use std::{
    sync::{Arc, atomic::AtomicU64},
    thread,
};

use log::{Bounds, Log, ReadError};
use model::{Offset, Partition};
use telemetry::JobMetrics;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    JobConfig, Rebuild, Saturated, SideOutputs, Target,
    checkpoint::{CheckpointError, CheckpointStore, Identity},
    retention,
    saturation::Saturation,
    worker::{Worker, WorkerMetrics},
};

/// Why the job ended.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The stream cannot be read or trimmed.
    #[error("partition {partition} cannot be followed: {error}")]
    Read {
        /// Where.
        partition: Partition,
        /// What the stream says.
        error: ReadError,
    },
    /// A mistake in the job itself.
    #[error("the worker of partition {0} has panicked; the log above says where")]
    Panicked(Partition),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The job, with its checkpoints open and checked against the stream.
pub struct Job {
    config: Arc<JobConfig>,
    log: Arc<dyn Log>,
    target: Target,
    metrics: JobMetrics,
    stores: Vec<(Partition, Arc<CheckpointStore>, Arc<AtomicU64>)>,
    saturation: Saturation,
}

/// Discards the checkpoints if they are to be made anew, and the stream allows it.
fn prepare(config: &JobConfig, log: &dyn Log) -> Result<(), CheckpointError> {
    if config.rebuild == Rebuild::Complete {
        for partition in config.assignment.of(log.partitions()) {
            let Bounds { earliest, next: end } = log.bounds(partition);
            if earliest > Offset(0) {
                return Err(CheckpointError::CannotRebuild { partition, earliest });
            }
            if let Some((file, next)) = CheckpointStore::peek(&config.directory, partition)
                && next > end
            {
                return Err(CheckpointError::Ahead { file, partition, end, next });
            }
        }
    }
    if config.rebuild != Rebuild::No {
        for partition in config.assignment.of(log.partitions()) {
            CheckpointStore::discard(&config.directory, partition)?;
        }
    }
    Ok(())
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Job {
    /// Opens the checkpoints of the partitions assigned to it, and checks that the stream continues each.
    ///
    /// # Errors
    /// [`JobError::Checkpoint`] if one cannot be used; the message says what to do.
    pub fn open(
        config: JobConfig,
        log: Arc<dyn Log>,
        target: Target,
        metrics: JobMetrics,
    ) -> Result<Self, JobError> {
        let partitions = log.partitions();
        prepare(&config, &*log)?;
        let mut stores = Vec::new();
        for partition in config.assignment.of(partitions) {
            let store =
                CheckpointStore::open(&config.directory, Identity { partition, partitions })?;
            let next = store.saved()?.next;
            check(&store, partition, next, log.bounds(partition), config.rebuild)?;
            stores.push((partition, Arc::new(store), Arc::new(AtomicU64::new(next.0))));
        }
        Ok(Self {
            config: Arc::new(config),
            log,
            target,
            metrics,
            stores,
            saturation: Saturation::new(),
        })
    }

    /// Which partitions are full, from now on.
    pub fn saturation(&self) -> watch::Receiver<Saturated> {
        self.saturation.subscribe()
    }

    /// What could not be counted as it should.
    pub fn side_outputs(&self) -> SideOutputs {
        SideOutputs::new(self.stores.iter().map(|(p, store, _)| (*p, store.clone())).collect())
    }

    /// Runs until `shutdown`, then saves last checkpoints.
    ///
    /// # Errors
    /// [`JobError`] as soon as a worker fails; the others have been stopped then.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), JobError> {
        let stop = shutdown.child_token();
        let saved = self.stores.iter().map(|(p, _, saved)| (*p, saved.clone())).collect();
        let trimming =
            retention::trim(self.log.clone(), saved, self.config.retention, stop.clone());
        let trimming = tokio::spawn(trimming);
        let (done, mut ended) = mpsc::channel(self.stores.len());
        let mut workers = 0;
        let mut outcome = Ok(());
        for (partition, store, saved) in self.stores {
            let worker = Worker {
                partition,
                config: self.config.clone(),
                log: self.log.clone(),
                output: self.target.output(
                    partition,
                    &self.config.window,
                    self.config.flush_interval,
                    &Handle::current(),
                    &stop,
                ),
                start: self.log.bounds(partition).earliest,
                store,
                saved_next: saved,
                metrics: WorkerMetrics::new(&self.metrics, partition, &self.config.window.kinds),
                saturation: self.saturation.clone(),
                shutdown: stop.clone(),
            };
            match start(worker, done.clone()) {
                Ok(()) => workers += 1,
                Err(error) => outcome = Err(error.into()),
            }
        }
        drop(done);
        for _ in 0..workers {
            let ended = ended.recv().await.unwrap_or(Ok(()));
            if ended.is_err() || !stop.is_cancelled() {
                stop.cancel();
            }
            outcome = outcome.and(ended);
        }
        stop.cancel();
        outcome.and(trimming.await.unwrap_or(Ok(())))
    }
}

/// Runs a worker on a thread of its own; its outcome goes to `done`.
fn start(worker: Worker, done: mpsc::Sender<Result<(), JobError>>) -> std::io::Result<()> {
    let partition = worker.partition;
    let runtime = Handle::current();
    thread::Builder::new().name(format!("job-{partition}")).spawn(move || {
        let run = std::panic::AssertUnwindSafe(|| worker.run(&runtime));
        let outcome = std::panic::catch_unwind(run).unwrap_or(Err(JobError::Panicked(partition)));
        if done.blocking_send(outcome).is_err() {
            tracing::debug!(partition = partition.0, "nobody waits for the worker");
        }
    })?;
    Ok(())
}

/// Whether the stream continues a checkpoint that ends before `next`.
fn check(
    store: &CheckpointStore,
    partition: Partition,
    next: Offset,
    stream: Bounds,
    rebuild: Rebuild,
) -> Result<(), CheckpointError> {
    let file = || store.file().display().to_string();
    let Bounds { earliest, next: end } = stream;
    if next > end {
        return Err(CheckpointError::Ahead { file: file(), partition, end, next });
    }
    if next >= earliest || rebuild == Rebuild::Remaining {
        return Ok(());
    }
    Err(if next == Offset(0) {
        CheckpointError::BeginningGone { file: file(), partition, earliest }
    } else {
        CheckpointError::Behind { file: file(), partition, earliest, next }
    })
}
