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
/// After a keyframe that did not get into the feed as a whole, the time until the next try; twice as long after
/// each one more, up to the interval of keyframes.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
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
    /// Partitions whose first keyframe is in the feed.
    ready: Arc<AtomicU32>,
}

impl Feed {
    /// What changes is written to `log` every `flush_interval`, and everything every `keyframe_interval`.
    pub fn new(log: Arc<dyn Log>, flush_interval: Duration, keyframe_interval: Duration) -> Self {
        Self { log, flush_interval, keyframe_interval, ready: Arc::default() }
    }

    /// Partitions that have been recovered and whose first keyframe is in the feed.
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
                    retry: None,
                    ready: false,
                    fits: true,
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
    /// Set if a keyframe did not get into the feed as a whole. Until another has, one is wanted.
    retry: Option<Retry>,
    /// Whether its first keyframe is in the feed.
    ready: bool,
    /// Whether each entity fitted into a record when there was a keyframe last.
    fits: bool,
    /// Of the last keyframe, and of the deltas since.
    keyframe_bytes: usize,
    delta_bytes: usize,
}

/// A keyframe to be tried again.
#[derive(Debug, Clone, Copy)]
struct Retry {
    /// When the last try ended.
    since: Instant,
    /// How long to wait from then on.
    pause: Duration,
}

impl Output {
    /// The least time between two flushes.
    pub(crate) fn flush_interval(&self) -> Duration {
        match self {
            Self::View { flush_interval, .. } => *flush_interval,
            Self::Feed(output) => output.feed.flush_interval,
        }
    }

    /// Whether it goes to views elsewhere; then the purchases come through other processes, too.
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

    /// The partition has been recovered: hands on everything. Gives whether all of it is in the view, or known
    /// to be in the feed; otherwise the next flushes see to that.
    pub(crate) fn recovered(&mut self, state: &mut Aggregator) -> bool {
        match self {
            Self::View { writer, .. } => {
                state.flush_all(writer);
                writer.ready();
                true
            }
            Self::Feed(output) => output.keyframe(state),
        }
    }

    /// Hands on what has changed. Gives whether everything that has been applied is handed on now, as
    /// [`Output::recovered`] does.
    pub(crate) fn flush(&mut self, state: &mut Aggregator) -> bool {
        match self {
            Self::View { writer, .. } => {
                state.flush(writer);
                true
            }
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
    /// replicas that follow. Gives whether everything is in the feed.
    fn flush(&mut self, state: &mut Aggregator) -> bool {
        if self.writer.wants_keyframe() {
            let pauses = self.retry.is_some_and(|retry| retry.since.elapsed() < retry.pause);
            return !pauses && self.keyframe(state);
        }
        let complete = self.delta(state);
        let due = self.writer.wants_keyframe()
            || self.last_keyframe.elapsed() >= self.feed.keyframe_interval
            || self.delta_bytes > MIN_DELTA_BYTES + self.keyframe_bytes;
        (due && self.keyframe(state)) || complete
    }

    /// What has changed. Gives whether all of it is in the feed.
    fn delta(&mut self, state: &mut Aggregator) -> bool {
        let progress = *state.progress();
        let mut sending = Sending::new(self);
        state.flush(&mut sending.writer.delta(&progress, |record| sending.queue.send(record)));
        let (sent, bytes) = (sending.queue.finish(), sending.queue.bytes);
        self.delta_bytes += bytes;
        match sent {
            Sent::InFeed(_) => !self.writer.wants_keyframe(),
            Sent::Queued => false,
            Sent::Lost => {
                self.writer.lost();
                false
            }
        }
    }

    /// Everything. Gives whether all of it is in the feed.
    fn keyframe(&mut self, state: &mut Aggregator) -> bool {
        self.last_keyframe = Instant::now();
        let progress = *state.progress();
        let mut sending = Sending::new(self);
        state.flush_all(
            &mut sending.writer.keyframe(&progress, |record| sending.queue.send(record)),
        );
        let (sent, bytes) = (sending.queue.finish(), sending.queue.bytes);
        (self.keyframe_bytes, self.delta_bytes) = (bytes, 0);
        let complete = match sent {
            // Without a record there is no end either: the first one would have been too long.
            Sent::InFeed(first) => {
                let fits = first.is_some_and(|first| self.writer.keyframe_acknowledged(first));
                self.report_fit(fits);
                fits
            }
            Sent::Queued => return false,
            Sent::Lost => {
                self.writer.lost();
                false
            }
        };
        self.note_keyframe(complete);
        complete
    }

    /// Says so if an entity no longer fits into a record, or all do again.
    fn report_fit(&mut self, fits: bool) {
        let partition = self.partition.0;
        match (self.fits, fits) {
            (true, false) => tracing::error!(
                partition,
                "no keyframe: what is said of one store or item is longer than a record may be; a smaller \
                 --max-k makes it shorter. Replicas get nothing new until it fits"
            ),
            (false, true) => tracing::info!(partition, "keyframes are complete again"),
            _ => {}
        }
        self.fits = fits;
    }

    /// Takes note of a keyframe, and of whether it got into the feed as a whole.
    fn note_keyframe(&mut self, complete: bool) {
        if complete {
            self.retry = None;
            if !std::mem::replace(&mut self.ready, true) {
                self.feed.ready.fetch_add(1, SeqCst);
            }
            return;
        }
        let pause = self.retry.map_or(FIRST_PAUSE, |retry| retry.pause * 2);
        let pause = pause.min(self.feed.keyframe_interval);
        self.retry = Some(Retry { since: Instant::now(), pause });
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
            bytes: 0,
            sent: Sent::InFeed(None),
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
    /// Of all records.
    bytes: usize,
    sent: Sent,
}

/// What is known of the records of a flush.
#[derive(Debug, Clone, Copy)]
enum Sent {
    /// All are in the feed, the first of them here; `None` if there are none.
    InFeed(Option<Offset>),
    /// The job ends, and nobody waits for them. They are queued in their order, and so is what is sent after
    /// them; so this is no gap, and a keyframe would only be more to queue.
    Queued,
    /// One will not be in the feed.
    Lost,
}

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
                if let Sent::InFeed(first) = &mut self.sent {
                    first.get_or_insert(offset);
                }
            }
            Some(Err(error)) => {
                tracing::warn!(partition = self.partition.0, %error, "a record of the feed is lost");
                self.sent = Sent::Lost;
            }
            None if matches!(self.sent, Sent::InFeed(_)) => self.sent = Sent::Queued,
            None => {}
        }
    }

    /// Waits for all.
    fn finish(&mut self) -> Sent {
        while !self.unacknowledged.is_empty() {
            self.acknowledge();
        }
        self.sent
    }
}
