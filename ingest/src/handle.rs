//! The entrance to the stream: starts the batchers and hands purchases to them.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use log::{AppendError, Log};
use model::{Partition, PartitionCount, Position, ProducerId, Purchase};
use telemetry::IngestMetrics;
use tokio::time::{Instant, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    IngestArgs,
    batcher::{BatchLimits, Batcher, Downstream},
    failure::Failure,
    queue::{Queue, Reservation},
};

/// Where purchases enter the stream. Clones share it.
#[derive(Debug, Clone)]
pub struct IngestHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    partitions: PartitionCount,
    log: Arc<dyn Log>,
    append_timeout: Duration,
    queues: Vec<Queue>,
    batchers: TaskTracker,
    failure: Arc<Failure>,
    /// Why nothing is taken for now.
    refusal: RwLock<Option<String>>,
}

/// Why purchases were not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too much waits already; nothing of the request was taken.
    #[error("partition {0} has too many purchases waiting")]
    Full(Partition),
    /// What purchases lead to has no room for more; nothing of the request was taken.
    #[error("{0}")]
    Refused(String),
    /// The stream cannot be reached; nothing of the request was taken.
    #[error("partition {partition} is out of reach: {reason}")]
    Unavailable {
        /// Where.
        partition: Partition,
        /// Why.
        reason: String,
    },
    /// Not durable in time; some of the purchases may have been taken, or all of them.
    #[error("partition {0} was not durable in time")]
    Late(Partition),
    /// Ingest is shutting down, or the log has stopped; nothing of the request was taken.
    #[error("{0}")]
    Closed(String),
    /// The log stopped on the way; some of the purchases may have been taken, or all of them.
    #[error("{0}")]
    Stopped(String),
}

/// Starts a batcher for every partition of `log`; entry to it is the handle.
///
/// On `shutdown` the batchers take nothing new, append what is queued, answer, and end; so shut down
/// the listener first. If the log stops, they end at once, see [`IngestHandle::failed`].
///
/// With a `downstream`, a partition waits for it while more than two full batches have not reached it.
///
/// Must be called in a tokio runtime.
pub fn start(
    args: &IngestArgs,
    log: &Arc<dyn Log>,
    downstream: Option<&Arc<dyn Downstream>>,
    metrics: &IngestMetrics,
    shutdown: &CancellationToken,
) -> IngestHandle {
    let producer = random_producer();
    let partitions = log.partitions();
    let failure = Arc::new(Failure::default());
    let limits = BatchLimits {
        purchases: args.max_batch_purchases as usize,
        bytes: args.max_batch_bytes as usize,
        tick_interval: args.tick_interval,
    };
    let (queues, batchers): (Vec<_>, Vec<_>) = partitions
        .iter()
        .map(|partition| {
            let bound = u64::from(args.max_queued_purchases);
            let (sender, queue, depth) = Queue::new(bound, metrics.queue(partition.0));
            let batcher = Batcher {
                partition,
                producer,
                log: Arc::clone(log),
                downstream: downstream.cloned(),
                limits,
                metrics: metrics.clone(),
                queue,
                depth,
                shutdown: shutdown.clone(),
                failure: Arc::clone(&failure),
            };
            (sender, batcher)
        })
        .unzip();
    let inner = Arc::new(Inner {
        partitions,
        log: Arc::clone(log),
        append_timeout: args.append_timeout,
        queues,
        batchers: TaskTracker::new(),
        failure,
        refusal: RwLock::default(),
    });
    for batcher in batchers {
        inner.batchers.spawn(batcher.run());
    }
    inner.batchers.close();
    tracing::info!(%producer, partitions = partitions.get(), "ingest has started");
    IngestHandle { inner }
}

/// A producer id no other run has: 64 bits of the randomness of the operating system.
fn random_producer() -> ProducerId {
    ProducerId(RandomState::new().build_hasher().finish())
}

impl IngestHandle {
    /// Queues purchases, all or none, and waits until all of them are durable. Gives the next
    /// offsets of the partitions they went to; a view that has this position has them.
    ///
    /// Purchases of one partition keep their order.
    ///
    /// # Errors
    /// [`SubmitError`] says whether some may have been taken.
    pub async fn submit(&self, purchases: Vec<Purchase>) -> Result<Position, SubmitError> {
        let deadline = Instant::now() + self.inner.append_timeout;
        let mut waiting = Vec::new();
        for (partition, reservation, purchases) in self.reserve(purchases)? {
            waiting.push((partition, reservation.submit(purchases)));
        }
        let mut position = Position::default();
        for (partition, done) in waiting {
            let offset = timeout_at(deadline, done)
                .await
                .map_err(|_| SubmitError::Late(partition))?
                .map_err(|_| SubmitError::Stopped(self.reason()))?;
            position.advance(partition, offset.next());
        }
        Ok(position)
    }

    /// Refuses all purchases from now on, for `reason`; or takes them again.
    pub fn refuse(&self, reason: Option<String>) {
        *self.inner.refusal.write().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Room in all the partitions the purchases need, or in none.
    fn reserve(
        &self,
        purchases: Vec<Purchase>,
    ) -> Result<Vec<(Partition, Reservation, Vec<Purchase>)>, SubmitError> {
        let refusal = self.inner.refusal.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = &*refusal {
            return Err(SubmitError::Refused(reason.clone()));
        }
        drop(refusal);
        self.by_partition(purchases)
            .into_iter()
            .map(|(partition, purchases)| {
                let queue = &self.inner.queues[partition.0 as usize];
                if queue.is_closed() {
                    return Err(SubmitError::Closed(self.reason()));
                }
                if let Some(reason) = self.inner.log.unavailable(partition) {
                    return Err(SubmitError::Unavailable { partition, reason });
                }
                let reservation =
                    queue.reserve(purchases.len()).ok_or(SubmitError::Full(partition))?;
                Ok((partition, reservation, purchases))
            })
            .collect()
    }

    fn by_partition(&self, purchases: Vec<Purchase>) -> Vec<(Partition, Vec<Purchase>)> {
        if let [purchase] = purchases.as_slice() {
            return vec![(self.inner.partitions.of(purchase.store), purchases)];
        }
        let mut parts: BTreeMap<Partition, Vec<Purchase>> = BTreeMap::new();
        for purchase in purchases {
            parts.entry(self.inner.partitions.of(purchase.store)).or_default().push(purchase);
        }
        parts.into_iter().collect()
    }

    /// Why nothing more is taken.
    fn reason(&self) -> String {
        match self.inner.failure.get() {
            Some(error) => error.to_string(),
            None => "the server is shutting down".to_owned(),
        }
    }

    /// Resolves when the log has stopped taking batches: the process should end. The reason is
    /// in [`IngestHandle::failure`].
    pub async fn failed(&self) {
        self.inner.failure.told().await;
    }

    /// Why the log has stopped taking batches, if it has.
    pub fn failure(&self) -> Option<&AppendError> {
        self.inner.failure.get()
    }

    /// Resolves when all batchers have ended, after shutdown or a failure.
    pub async fn drained(&self) {
        self.inner.batchers.wait().await;
    }
}
