//! Where a worker hands on what has changed: a view in this process, or the feed of replicas elsewhere.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use log::{AppendError, Log};
use model::{Offset, Partition};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use view::{
    PartitionWriter, View,
    feed::{FeedLimits, FeedWriter, Replica, WriterId},
};
use window::{Aggregator, Config};

/// Records of a feed that may wait for their acknowledgement at once.
const MAX_UNACKNOWLEDGED: usize = 8;
/// A keyframe is also due when the deltas since the last have become larger than it is, and by so much more:
/// a new replica has to read them.
const MIN_DELTA_BYTES: usize = 4 << 20;
/// Bytes of the records of a feed. What a pair has is said once for both its sides within a record, so records are
/// as large as the flush of a busy partition; packed, they take about half.
const FEED_LIMITS: FeedLimits =
    FeedLimits { target_bytes: 512 * 1024, max_bytes: log::MAX_RECORD_BYTES };

/// Where the workers of a job hand on what has changed.
#[derive(Debug, Clone)]
pub enum Target {
    /// A view in this process.
    View(Arc<View>),
    /// A feed for views elsewhere.
    Feed(Feed),
}

/// A feed: a log with as many partitions as the stream.
#[derive(Debug, Clone)]
pub struct Feed {
    log: Arc<dyn Log>,
    flush_interval: Duration,
    keyframe_interval: Duration,
    /// Partitions whose first keyframe has been written.
    ready: Arc<AtomicU32>,
}

impl Feed {
    /// What changes is written to `log` every `flush_interval`, and everything every `keyframe_interval`.
    pub fn new(log: Arc<dyn Log>, flush_interval: Duration, keyframe_interval: Duration) -> Self {
        Self { log, flush_interval, keyframe_interval, ready: Arc::default() }
    }

    /// Partitions that have been recovered and have written their first keyframe.
    pub fn ready_partitions(&self) -> u32 {
        self.ready.load(SeqCst)
    }
}

impl Target {
    pub(crate) fn output(
        &self,
        partition: Partition,
        config: &Config,
        flush_interval: Duration,
        runtime: &Handle,
        shutdown: &CancellationToken,
    ) -> Output {
        match self {
            Self::View(view) => Output::View { writer: view.writer(partition), flush_interval },
            Self::Feed(feed) => {
                let id = WriterId(RandomState::new().hash_one(partition));
                let writer = FeedWriter::new(config, partition, id, FEED_LIMITS, None);
                Output::Feed(Box::new(FeedOutput {
                    feed: feed.clone(),
                    writer,
                    partition,
                    runtime: runtime.clone(),
                    shutdown: shutdown.clone(),
                    last_keyframe: Instant::now(),
                    keyframe_bytes: 0,
                    delta_bytes: 0,
                }))
            }
        }
    }
}

/// The output of one worker.
pub(crate) enum Output {
    View { writer: PartitionWriter, flush_interval: Duration },
    Feed(Box<FeedOutput>),
}

pub(crate) struct FeedOutput {
    feed: Feed,
    writer: FeedWriter,
    partition: Partition,
    runtime: Handle,
    shutdown: CancellationToken,
    last_keyframe: Instant,
    /// Of the last keyframe, and of the deltas since.
    keyframe_bytes: usize,
    delta_bytes: usize,
}

impl Output {
    /// The least time between two flushes.
    pub(crate) fn flush_interval(&self) -> Duration {
        match self {
            Self::View { flush_interval, .. } => *flush_interval,
            Self::Feed(output) => output.feed.flush_interval,
        }
    }

    /// Whether it goes to views elsewhere; then so do the purchases come from elsewhere.
    pub(crate) fn is_feed(&self) -> bool {
        matches!(self, Self::Feed(_))
    }

    /// The partition is being recovered.
    pub(crate) fn begin(&mut self, config: &Config) {
        match self {
            Self::View { writer, .. } => writer.not_ready(),
            Self::Feed(output) => output.begin(config),
        }
    }

    /// The partition has been recovered: hands on everything.
    pub(crate) fn recovered(&mut self, state: &mut Aggregator) {
        match self {
            Self::View { writer, .. } => {
                state.flush_all(writer);
                writer.ready();
            }
            Self::Feed(output) => {
                output.keyframe(state);
                output.feed.ready.fetch_add(1, SeqCst);
            }
        }
    }

    /// Hands on what has changed.
    pub(crate) fn flush(&mut self, state: &mut Aggregator) {
        match self {
            Self::View { writer, .. } => state.flush(writer),
            Self::Feed(output) => output.flush(state),
        }
    }
}

impl FeedOutput {
    /// Looks where the last keyframe of the feed is, so that new replicas find it until there is another.
    fn begin(&mut self, config: &Config) {
        let bounds = self.feed.log.bounds(self.partition);
        let Some(last) = bounds.next.0.checked_sub(1).filter(|&last| last >= bounds.earliest.0)
        else {
            return;
        };
        let read = self.feed.log.read(self.partition, Offset(last), 1);
        let read = self.runtime.block_on(self.shutdown.run_until_cancelled(read));
        let Some(Ok(records)) = read else { return };
        let keyframe = records.last().and_then(|record| {
            Replica::start(Some(&record.payload)).inspect_err(|error| {
                tracing::warn!(partition = self.partition.0, %error, "the last record of the feed");
            }).ok().flatten()
        });
        let id = WriterId(RandomState::new().hash_one(self.partition));
        self.writer = FeedWriter::new(config, self.partition, id, FEED_LIMITS, keyframe);
    }

    /// A delta; and when it is time, everything. A delta just before makes the keyframe free for all
    /// replicas that follow.
    fn flush(&mut self, state: &mut Aggregator) {
        if !self.writer.wants_keyframe() {
            let progress = *state.progress();
            let mut sending = Sending::new(self);
            state.flush(&mut sending.writer.delta(&progress, |record| sending.queue.send(record)));
            let (outcome, bytes) = (sending.queue.finish(), sending.queue.bytes);
            self.delta_bytes += bytes;
            if outcome.is_err() {
                self.writer.lost();
            }
        }
        if self.writer.wants_keyframe()
            || self.last_keyframe.elapsed() >= self.feed.keyframe_interval
            || self.delta_bytes > MIN_DELTA_BYTES + self.keyframe_bytes
        {
            self.keyframe(state);
        }
    }

    fn keyframe(&mut self, state: &mut Aggregator) {
        self.last_keyframe = Instant::now();
        let progress = *state.progress();
        let mut sending = Sending::new(self);
        state.flush_all(
            &mut sending.writer.keyframe(&progress, |record| sending.queue.send(record)),
        );
        let (outcome, bytes) = (sending.queue.finish(), sending.queue.bytes);
        (self.keyframe_bytes, self.delta_bytes) = (bytes, 0);
        match outcome {
            Ok(_) if self.writer.wants_keyframe() => tracing::error!(
                partition = self.partition.0,
                "no keyframe: what is said of one store or item is longer than a record may be; a smaller \
                 --max-k makes it shorter"
            ),
            Ok(Some(begins_at)) => self.writer.keyframe_acknowledged(begins_at),
            Ok(None) | Err(Lost) => self.writer.lost(),
        }
    }
}

/// A flush on its way into the stream.
struct Sending<'a> {
    writer: &'a mut FeedWriter,
    queue: Queue<'a>,
}

impl<'a> Sending<'a> {
    fn new(output: &'a mut FeedOutput) -> Self {
        let FeedOutput { feed, writer, partition, runtime, shutdown, .. } = output;
        let queue = Queue {
            log: &*feed.log,
            partition: *partition,
            runtime,
            shutdown,
            unacknowledged: VecDeque::new(),
            first: None,
            bytes: 0,
            lost: false,
        };
        Self { writer, queue }
    }
}

/// Records in the order in which they are appended. While the stream is out of reach, the worker waits here:
/// what it does not hand on, it does not take in either.
struct Queue<'a> {
    log: &'a dyn Log,
    partition: Partition,
    runtime: &'a Handle,
    shutdown: &'a CancellationToken,
    unacknowledged: VecDeque<BoxFuture<'static, Result<Offset, AppendError>>>,
    first: Option<Offset>,
    /// Of all records.
    bytes: usize,
    lost: bool,
}

/// A record will not be in the feed.
struct Lost;

impl Queue<'_> {
    fn send(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.unacknowledged.push_back(self.log.append(self.partition, record));
        if self.unacknowledged.len() > MAX_UNACKNOWLEDGED {
            self.acknowledge();
        }
    }

    /// Waits for the oldest.
    fn acknowledge(&mut self) {
        let Some(append) = self.unacknowledged.pop_front() else { return };
        match self.runtime.block_on(self.shutdown.run_until_cancelled(append)) {
            Some(Ok(offset)) => {
                self.first.get_or_insert(offset);
            }
            Some(Err(error)) => {
                tracing::warn!(partition = self.partition.0, %error, "a record of the feed is lost");
                self.lost = true;
            }
            None => self.lost = true,
        }
    }

    /// Waits for all; gives the offset of the first.
    fn finish(&mut self) -> Result<Option<Offset>, Lost> {
        while !self.unacknowledged.is_empty() {
            self.acknowledge();
        }
        if self.lost { Err(Lost) } else { Ok(self.first) }
    }
}
