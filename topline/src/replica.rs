//! Follows the feed of the workers, into a view.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    thread,
};

use log::{Log, ReadError, Record};
use model::{Offset, Partition};
use telemetry::FeedMetrics;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use view::{
    View,
    feed::{Outcome, Replica},
};

/// Bytes of the feed read at a time.
const READ_BYTES: usize = 1 << 20;

/// Follows the feed of all partitions until `stop`, on a thread each. Gives the number of those that have come to
/// where the feed ended when they started, which goes on growing until it is that of all.
///
/// # Errors
/// If the system gives no thread.
pub(crate) fn follow(
    log: &Arc<dyn Log>,
    view: &Arc<View>,
    metrics: &FeedMetrics,
    stop: &CancellationToken,
) -> std::io::Result<Arc<AtomicU32>> {
    let caught_up = Arc::new(AtomicU32::new(0));
    for partition in log.partitions().iter() {
        let follower = Follower {
            partition,
            log: log.clone(),
            view: view.clone(),
            metrics: metrics.clone(),
            runtime: Handle::current(),
            stop: stop.clone(),
            caught_up: caught_up.clone(),
        };
        thread::Builder::new().name(format!("feed-{partition}")).spawn(move || follower.run())?;
    }
    Ok(caught_up)
}

struct Follower {
    partition: Partition,
    log: Arc<dyn Log>,
    view: Arc<View>,
    metrics: FeedMetrics,
    runtime: Handle,
    stop: CancellationToken,
    caught_up: Arc<AtomicU32>,
}

impl Follower {
    fn run(self) {
        let mut behind = Some(self.log.bounds(self.partition).next);
        while !self.stop.is_cancelled() {
            if let Some(error) = self.follow_one_stream(&mut behind) {
                tracing::warn!(partition = self.partition.0, %error, "the feed is followed anew");
            }
        }
    }

    /// Follows the feed as long as it is the same one. `behind` is where the feed ended at the start, until it has
    /// come there. Gives why it is not the same any more, unless that is the end.
    fn follow_one_stream(&self, behind: &mut Option<Offset>) -> Option<ReadError> {
        let mut replica = Replica::new(self.view.writer(self.partition));
        let mut at = match self.start() {
            Ok(at) => at?,
            Err(error) => return Some(error),
        };
        loop {
            match self.read(at)? {
                Ok(records) => {
                    for Record { offset, payload } in records {
                        at = offset.next();
                        self.apply(&mut replica, offset, &payload);
                    }
                }
                Err(ReadError::Trimmed { earliest, .. }) => {
                    tracing::warn!(
                        partition = self.partition.0,
                        from = at.0,
                        earliest = earliest.0,
                        "part of the feed is gone; the next keyframe makes up for it"
                    );
                    at = earliest;
                }
                Err(error) => return Some(error),
            }
            if replica.is_ready() && behind.take_if(|end| at >= *end).is_some() {
                self.caught_up.fetch_add(1, SeqCst);
                tracing::info!(partition = self.partition.0, next = at.0, "partition ready");
            }
        }
    }

    fn apply(&self, replica: &mut Replica, offset: Offset, payload: &[u8]) {
        match replica.apply(offset, payload) {
            Ok(Outcome::Gap) => self.metrics.gaps.inc(),
            Ok(_) => {}
            Err(error) => {
                self.metrics.damaged.inc();
                tracing::warn!(partition = self.partition.0, error = ?error.source, "{error}");
            }
        }
        self.metrics.records.inc();
    }

    /// Where the last keyframe is; `None` at shutdown.
    fn start(&self) -> Result<Option<Offset>, ReadError> {
        let bounds = self.log.bounds(self.partition);
        let last = bounds.next.0.saturating_sub(1);
        if last < bounds.earliest.0 || bounds.next == Offset(0) {
            return Ok(Some(bounds.earliest));
        }
        let Some(read) = self.read(Offset(last)) else { return Ok(None) };
        let named = read?.last().and_then(|record| {
            Replica::start(Some(&record.payload))
                .inspect_err(|error| {
                    tracing::warn!(partition = self.partition.0, %error, "the last record of the feed");
                })
                .ok()
                .flatten()
        });
        Ok(Some(named.unwrap_or(bounds.earliest).max(bounds.earliest)))
    }

    /// Reads; `None` at shutdown.
    fn read(&self, from: Offset) -> Option<Result<Vec<Record>, ReadError>> {
        let read = self.log.read(self.partition, from, READ_BYTES);
        self.runtime.block_on(self.stop.run_until_cancelled(read))
    }
}
