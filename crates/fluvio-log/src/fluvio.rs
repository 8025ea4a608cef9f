//! The log itself.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future, future::BoxFuture};
use log::{AppendError, Bounds, Log, MAX_RECORD_BYTES, ReadError, Record, Retention, TrimError};
use model::{Offset, Partition, PartitionCount};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Cluster, ClusterError, Isolation,
    appender::{Appender, Queued},
    back_off::BackOff,
    link::Link,
    partition::{Part, Shared},
    reader::{Follower, Reader},
    tail::{RECENT, Tail, ask_bounds},
};

/// Payload bytes queued in one partition beyond which an append is refused.
const MAX_QUEUED_BYTES: usize = 4 << 20;

/// Settings of a log on a cluster.
#[derive(Debug, Clone)]
pub struct FluvioLogConfig {
    /// The cluster.
    pub cluster: Cluster,
    /// The topic; its number of partitions is that of the log.
    pub topic: String,
    /// When an append is acknowledged.
    pub isolation: Isolation,
    /// How long to wait for the cluster when the log is opened.
    pub open_timeout: Duration,
}

/// A log on a topic of a Fluvio cluster.
///
/// The contract of [`Log`] holds with these differences, which are the cluster's:
/// - an acknowledged record survives the loss of a process, and of a machine if another replica has it;
///   see [`Isolation`];
/// - after an unclear failure an append is repeated, so records may be there twice;
/// - the topic keeps records as its own settings say: [`Log::trim`] trims nothing.
///
/// A cluster that does not answer is no error: reads and appends wait, and [`Log::unavailable`] says
/// why.
pub struct FluvioLog {
    topic: String,
    count: PartitionCount,
    partitions: Vec<Handle>,
    stop: CancellationToken,
}

/// One partition.
struct Handle {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
    queue: mpsc::UnboundedSender<Queued>,
    queued: Arc<AtomicUsize>,
}

impl fmt::Debug for FluvioLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FluvioLog").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl FluvioLog {
    /// Opens the log on a topic that exists, as soon as all of its partitions have a leader.
    ///
    /// # Errors
    /// [`ClusterError::NoTopic`], or [`ClusterError::NotReady`] after the time-out.
    pub async fn open(config: FluvioLogConfig) -> Result<Arc<Self>, ClusterError> {
        let FluvioLogConfig { cluster, topic, isolation, open_timeout } = config;
        let deadline = Instant::now() + open_timeout;
        let until = Ready { deadline, waited: open_timeout };
        let count = until.ready(async || cluster.partitions(&topic).await).await?;
        let count = PartitionCount::new(count)
            .map_err(|error| ClusterError::Settings(format!("topic '{topic}': {error}")))?;
        let mut log = Self { topic, count, partitions: Vec::new(), stop: CancellationToken::new() };
        for partition in count.iter() {
            let handle = log.start(&cluster, partition, isolation, &until).await?;
            log.partitions.push(handle);
        }
        Ok(Arc::new(log))
    }

    async fn start(
        &self,
        cluster: &Cluster,
        partition: Partition,
        isolation: Isolation,
        until: &Ready,
    ) -> Result<Handle, ClusterError> {
        let link = || Link::new(cluster.clone(), self.topic.clone(), partition.0);
        let shared = Arc::new(Shared::new(partition));
        let mut tail = link();
        shared.grow(until.ready(async || ask_bounds(&mut tail).await).await?);
        let tail = Tail { shared: shared.clone(), link: tail, back_off: BackOff::new() };
        tokio::spawn(tail.run(self.stop.clone()));

        let (queue, receiver) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&queued);
        let appender = Appender {
            shared: shared.clone(),
            link: link(),
            isolation,
            queue: receiver,
            held: None,
            back_off: BackOff::new(),
            abandon: self.stop.clone(),
            released: Arc::new(move |bytes| {
                counter.fetch_sub(bytes, Relaxed);
            }),
        };
        tokio::spawn(appender.run());
        let reader = Reader::new(shared.clone(), self.stop.clone());
        let follower = Follower { reader: reader.clone(), link: link(), back_off: BackOff::new() };
        tokio::spawn(follower.run());
        Ok(Handle { shared, reader, queue, queued })
    }

    fn handle(&self, partition: Partition) -> &Handle {
        &self.partitions[partition.0 as usize]
    }

    /// Closes it: appends that are not acknowledged, and reads, end with an error that says so. In order is
    /// to wait for them first, as long as the cluster answers.
    pub fn close(&self) {
        self.stop.cancel();
    }
}

impl Drop for FluvioLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for a cluster that is only just starting.
struct Ready {
    deadline: Instant,
    waited: Duration,
}

impl Ready {
    /// Asks until there is an answer. That there is no such topic is one.
    async fn ready<T>(
        &self,
        mut question: impl AsyncFnMut() -> Result<T, ClusterError>,
    ) -> Result<T, ClusterError> {
        let (mut back_off, mut told) = (BackOff::new(), String::new());
        loop {
            match question().await {
                Err(error) if !matches!(error, ClusterError::NoTopic(_)) => {
                    let problem = error.to_string();
                    if Instant::now() >= self.deadline {
                        return Err(ClusterError::NotReady { waited: self.waited, problem });
                    }
                    if told != problem {
                        tracing::warn!("waiting for the cluster: {problem}");
                        told = problem;
                    }
                    back_off.pause().await;
                }
                outcome => return outcome,
            }
        }
    }
}

impl Log for FluvioLog {
    fn partitions(&self) -> PartitionCount {
        self.count
    }

    fn append(
        &self,
        partition: Partition,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        let (handle, bytes) = (self.handle(partition), payload.len());
        if bytes > MAX_RECORD_BYTES {
            let error = AppendError::TooLarge { bytes, limit: MAX_RECORD_BYTES };
            return future::err(error).boxed();
        }
        if handle.queued.fetch_add(bytes, Relaxed) + bytes > MAX_QUEUED_BYTES {
            handle.queued.fetch_sub(bytes, Relaxed);
            return future::err(AppendError::Overloaded(partition)).boxed();
        }
        let (done, outcome) = oneshot::channel();
        let stopped = || AppendError::Stopped("it was closed".to_owned());
        if handle.queue.send(Queued { payload, done }).is_err() {
            return future::err(stopped()).boxed();
        }
        async move { outcome.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
    }

    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        Arc::clone(&self.handle(partition).reader).read(from, max_bytes).boxed()
    }

    fn bounds(&self, partition: Partition) -> Bounds {
        self.handle(partition).shared.bounds()
    }

    fn unconfirmed(&self, partition: Partition) -> Duration {
        let unconfirmed = self.handle(partition).shared.unconfirmed();
        if unconfirmed > RECENT { unconfirmed } else { Duration::ZERO }
    }

    fn trim(
        &self,
        partition: Partition,
        _: Retention,
    ) -> BoxFuture<'static, Result<Bounds, TrimError>> {
        future::ok(self.bounds(partition)).boxed()
    }

    fn unavailable(&self, partition: Partition) -> Option<String> {
        self.handle(partition).shared.problem(Part::Append)
    }
}
