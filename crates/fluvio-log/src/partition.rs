//! What is known of a partition, shared by those who append, read and watch.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use log::Bounds;
use model::{Offset, Partition};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{ClusterError, back_off::BackOff};

/// What of a partition can be out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Append = 0,
    Read = 1,
    Tail = 2,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) partition: Partition,
    bounds: watch::Sender<Bounds>,
    began: Instant,
    /// When the last question for the bounds was asked that was answered, in milliseconds since `began`.
    confirmed: AtomicU64,
    /// Why each part cannot do its work for now.
    problems: Mutex<[Option<String>; 3]>,
    /// How often the leader could be asked for the bounds again, after it could not.
    recoveries: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(partition: Partition) -> Self {
        let none = Bounds { earliest: Offset(0), next: Offset(0) };
        Self {
            partition,
            bounds: watch::Sender::new(none),
            began: Instant::now(),
            confirmed: AtomicU64::new(0),
            problems: Mutex::default(),
            recoveries: watch::Sender::new(0),
        }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        *self.bounds.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Bounds> {
        self.bounds.subscribe()
    }

    /// Takes note of bounds that an answer of the cluster told. Answers may come out of order: bounds
    /// only grow.
    pub(crate) fn grow(&self, told: Bounds) {
        self.bounds.send_if_modified(|known| {
            let grown = Bounds {
                earliest: known.earliest.max(told.earliest),
                next: known.next.max(told.next),
            };
            let news = grown != *known;
            *known = grown;
            news
        });
    }

    /// The bounds were so when they were asked for, at `asked` or after it.
    pub(crate) fn confirm(&self, asked: Instant, told: Bounds) {
        self.grow(told);
        let since = asked.saturating_duration_since(self.began).as_millis() as u64;
        self.confirmed.fetch_max(since, Relaxed);
    }

    /// How long ago the bounds were last known to be all there is.
    pub(crate) fn unconfirmed(&self) -> Duration {
        let confirmed = self.began + Duration::from_millis(self.confirmed.load(Relaxed));
        confirmed.elapsed()
    }

    /// Changes when the leader could be asked for the bounds again, after it could not: a connection from before may
    /// be one over which nothing will come any more.
    pub(crate) fn recoveries(&self) -> watch::Receiver<u64> {
        self.recoveries.subscribe()
    }

    /// A part works.
    pub(crate) fn works(&self, part: Part, back_off: &mut BackOff) {
        back_off.reset();
        if self.problems.lock()[part as usize].take().is_some() {
            if part == Part::Tail {
                self.recoveries.send_modify(|recoveries| *recoveries += 1);
            }
            tracing::info!(partition = self.partition.0, "{part:?}: works again");
        }
    }

    /// A part does not: says so once, and waits before the next attempt.
    pub(crate) async fn fails(&self, part: Part, error: &ClusterError, back_off: &mut BackOff) {
        let problem = error.to_string();
        let known = self.problems.lock()[part as usize].replace(problem.clone());
        if known.is_none() {
            tracing::warn!(partition = self.partition.0, "{part:?}: {problem}; trying again");
        }
        back_off.pause().await;
    }

    /// Why appends are not acknowledged for now.
    pub(crate) fn problem(&self, part: Part) -> Option<String> {
        self.problems.lock()[part as usize].clone()
    }
}
