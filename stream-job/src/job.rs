//! Starting the workers, and ending with them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::AtomicU64},
    thread::{self, available_parallelism},
    time::Duration,
};

use log::{AppendError, Log, ReadError};
use model::Partition;
use telemetry::JobMetrics;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    JobConfig, Restoring, Saturated, SideOutputs, SideTopics, Target,
    checkpoint::{CheckpointError, CheckpointStore, Identity},
    continuity::{self, blocking},
    lag::Lag,
    restoring::Restorer,
    retention,
    saturation::Saturation,
    side::{Outboxes, Publisher},
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
    /// A side output cannot be published.
    #[error(
        "the topic of side output '{output}', partition {partition}, cannot be written: {error}"
    )]
    SideOutput {
        /// Which.
        output: &'static str,
        /// Where.
        partition: Partition,
        /// What the topic says.
        error: AppendError,
    },
    /// A mistake in the job itself.
    #[error("the worker of partition {0} has panicked; the log above says where")]
    Panicked(Partition),
    /// A mistake in what trims the stream.
    #[error("the task that trims the stream has panicked; the log above says where")]
    TrimmingPanicked,
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// How long the others may take to stop after one has failed.
const GRACE: Duration = Duration::from_secs(5);

/// The job, with its checkpoints open and checked against the stream.
pub struct Job {
    config: Arc<JobConfig>,
    log: Arc<dyn Log>,
    target: Target,
    metrics: JobMetrics,
    assigned: Vec<Assigned>,
    side_topics: Option<SideTopics>,
    saturation: Saturation,
    /// Turns to write a checkpoint.
    turns: Arc<Semaphore>,
}

/// A partition, with its checkpoint.
struct Assigned {
    partition: Partition,
    store: Arc<CheckpointStore>,
    saved_next: Arc<AtomicU64>,
    /// The thread that has begun to restore the state, if there is one.
    restorer: Option<Restorer>,
    /// What waits for its topic, if there are topics.
    outboxes: Option<Arc<Outboxes>>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Job {
    /// Opens the checkpoints of the partitions assigned to it, and checks that the stream continues each.
    /// `restoring` has begun with some of them, or not; it is of the same `config`.
    ///
    /// # Errors
    /// [`JobError::Checkpoint`] if one cannot be used; the message says what to do.
    pub async fn open(
        config: JobConfig,
        mut restoring: Restoring,
        log: Arc<dyn Log>,
        target: Target,
        metrics: JobMetrics,
    ) -> Result<Self, JobError> {
        let partitions = log.partitions();
        continuity::discard_if_asked(&config, &*log).await?;
        let mut assigned = Vec::new();
        for partition in config.assignment.of(partitions) {
            let (store, restorer) = if let Some(begun) = restoring.take(partition) {
                (begun.store, Some(begun.restorer))
            } else {
                let identity = Identity { partition, partitions };
                let directory = config.directory.clone();
                let store = blocking(move || CheckpointStore::open(&directory, identity)).await?;
                (Arc::new(store), None)
            };
            let saved = store.saved()?;
            continuity::check(store.file(), &saved, partition, &*log, config.rebuild).await?;
            let saved_next = Arc::new(AtomicU64::new(saved.next.0));
            assigned.push(Assigned { partition, store, saved_next, restorer, outboxes: None });
        }
        // Half of the cores go on with what somebody waits for.
        let turns = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        Ok(Self {
            config: Arc::new(config),
            log,
            target,
            metrics,
            assigned,
            side_topics: None,
            saturation: Saturation::new(),
            turns: Arc::new(Semaphore::new(turns)),
        })
    }

    /// Has it publish the side outputs to `topics`, from the first that its checkpoints say has not been.
    ///
    /// # Errors
    /// If a checkpoint cannot be read.
    ///
    /// # Panics
    /// If a topic has another number of partitions than the stream.
    pub async fn with_side_topics(mut self, topics: SideTopics) -> Result<Self, JobError> {
        for topic in [&topics.late, &topics.dead_letters] {
            assert_eq!(
                topic.partitions(),
                self.log.partitions(),
                "partition p goes to partition p"
            );
        }
        for Assigned { partition, store, outboxes, .. } in &mut self.assigned {
            let (store, partition) = (store.clone(), *partition);
            let (limit, metrics) = (self.config.max_side_bytes, self.metrics.clone());
            let new = move || Outboxes::new(&store, partition, limit, &metrics);
            *outboxes = Some(Arc::new(blocking(new).await?));
        }
        self.side_topics = Some(topics);
        Ok(self)
    }

    /// Which partitions are full, from now on.
    pub fn saturation(&self) -> watch::Receiver<Saturated> {
        self.saturation.subscribe()
    }

    /// What could not be counted as it should.
    pub fn side_outputs(&self) -> SideOutputs {
        SideOutputs::new(self.assigned.iter().map(|a| (a.partition, a.store.clone())).collect())
    }

    /// Runs until `shutdown`, then saves last checkpoints.
    ///
    /// # Errors
    /// [`JobError`] soon after a worker, or what trims the stream, fails. The others have been stopped then, but for
    /// those that wait for a part of the stream that does not answer.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), JobError> {
        let stop = shutdown.child_token();
        let assigned = std::mem::take(&mut self.assigned);
        let saved = assigned.iter().map(|a| (a.partition, a.saved_next.clone())).collect();
        let trimming =
            retention::trim(self.log.clone(), saved, self.config.retention, stop.clone());
        let trimming = tokio::spawn(trimming);
        let (done, mut ended) = mpsc::channel(2 * assigned.len() + 2);
        let (mut outcome, idle) = (Ok(()), assigned.is_empty());
        tokio::spawn(tell_failure(trimming, done.clone()));
        for assigned in assigned {
            if let Err(error) = self.start(assigned, &stop, &done) {
                stop.cancel();
                outcome = Err(error.into());
            }
        }
        drop(done);
        if idle {
            stop.cancelled().await;
        }
        while outcome.is_ok()
            && let Some(ended) = ended.recv().await
        {
            stop.cancel();
            outcome = ended;
        }
        stop.cancel();
        let others = async { while ended.recv().await.is_some() {} };
        if timeout(GRACE, others).await.is_err() {
            tracing::warn!("some workers wait for the stream, and are left behind");
        }
        outcome
    }

    /// Starts the worker of a partition, and its publisher if there are topics for it.
    fn start(
        &self,
        assigned: Assigned,
        stop: &CancellationToken,
        done: &mpsc::Sender<Result<(), JobError>>,
    ) -> std::io::Result<()> {
        let Assigned { partition, store, saved_next, restorer, outboxes } = assigned;
        let window = &self.config.window;
        let worker_ended = CancellationToken::new();
        if let (Some(topics), Some(outboxes)) = (&self.side_topics, &outboxes) {
            let publisher = Publisher {
                partition,
                store: store.clone(),
                topics: topics.clone(),
                outboxes: outboxes.clone(),
                worker_ended: worker_ended.clone(),
            };
            let run = task(partition, done, |runtime, ()| runtime.block_on(publisher.run()));
            thread::Builder::new().name(format!("side-{partition}")).spawn(|| run(()))?;
        }
        let metrics = WorkerMetrics::new(&self.metrics, partition, &window.kinds);
        let lag = Lag::new(partition, self.log.clone(), metrics.of_partition().clone());
        tokio::spawn(lag.clone().keep_reporting(stop.clone()));
        let flush = self.config.flush_interval;
        let restorer = if let Some(begun) = restorer {
            begun
        } else {
            let start = self.log.bounds(partition).earliest;
            Restorer::spawn(store.clone(), partition, window.clone(), start)?
        };
        let worker = Worker {
            partition,
            config: self.config.clone(),
            log: self.log.clone(),
            output: self.target.output(partition, window, flush, &Handle::current(), stop),
            store,
            saved_next,
            outboxes,
            metrics,
            lag,
            saturation: self.saturation.clone(),
            turns: self.turns.clone(),
            shutdown: stop.clone(),
            _ended: worker_ended.drop_guard(),
        };
        restorer.then(task(partition, done, |runtime, state| worker.run(state?, runtime)));
        Ok(())
    }
}

/// Says so if trimming has failed.
async fn tell_failure(
    trimming: JoinHandle<Result<(), JobError>>,
    done: mpsc::Sender<Result<(), JobError>>,
) {
    let outcome = trimming.await.unwrap_or(Err(JobError::TrimmingPanicked));
    if outcome.is_err() && done.send(outcome).await.is_err() {
        tracing::debug!("nobody waits for the trimming");
    }
}

/// What a thread of a partition does with what it is given: it runs `run`, whose outcome goes to `done`.
fn task<T>(
    partition: Partition,
    done: &mpsc::Sender<Result<(), JobError>>,
    run: impl FnOnce(&Handle, T) -> Result<(), JobError> + Send + 'static,
) -> impl FnOnce(T) + Send + 'static {
    let (runtime, done) = (Handle::current(), done.clone());
    move |given| {
        let run = AssertUnwindSafe(|| run(&runtime, given));
        let outcome = catch_unwind(run).unwrap_or(Err(JobError::Panicked(partition)));
        if done.blocking_send(outcome).is_err() {
            tracing::debug!(partition = partition.0, "nobody waits for the thread");
        }
    }
}
