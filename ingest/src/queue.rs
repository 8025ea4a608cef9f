//! The way of purchases from requests to the batcher of a partition, and the bound on it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use model::{Offset, Purchase};
use telemetry::IntGauge;
use tokio::sync::{mpsc, oneshot};

/// Purchases of one request for one partition, and who waits for them.
#[derive(Debug)]
pub(crate) struct Submission {
    /// At least one.
    pub(crate) purchases: Vec<Purchase>,
    /// Gets the offset of the batch with the last of them. Dropped without an answer if the log
    /// has stopped.
    pub(crate) done: oneshot::Sender<Offset>,
}

/// The sending side of a partition's queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<Submission>,
    depth: Depth,
    bound: u64,
}

/// Purchases queued or being appended. The channel itself has no bound: this is it.
#[derive(Debug, Clone)]
pub(crate) struct Depth {
    purchases: Arc<AtomicU64>,
    gauge: IntGauge,
}

/// The right to queue some purchases; given back when dropped unused.
#[derive(Debug)]
pub(crate) struct Reservation {
    depth: Depth,
    sender: mpsc::UnboundedSender<Submission>,
    purchases: u64,
}

impl Queue {
    /// A queue that takes purchases while fewer than `bound` wait, and its receiving side.
    pub(crate) fn new(
        bound: u64,
        gauge: IntGauge,
    ) -> (Self, mpsc::UnboundedReceiver<Submission>, Depth) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let depth = Depth { purchases: Arc::default(), gauge };
        (Self { sender, depth: depth.clone(), bound }, receiver, depth)
    }

    /// Whether nothing more is taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Reserves room for `purchases`; `None` if the queue is full.
    ///
    /// Room is there while fewer than the bound wait, whatever the number asked for, so that a
    /// large request is not refused for ever; so at most the bound and one request wait.
    pub(crate) fn reserve(&self, purchases: usize) -> Option<Reservation> {
        let purchases = purchases as u64;
        self.depth
            .purchases
            .fetch_update(Relaxed, Relaxed, |depth| {
                (depth < self.bound).then_some(depth + purchases)
            })
            .ok()?;
        self.depth.gauge.add(purchases as i64);
        Some(Reservation { depth: self.depth.clone(), sender: self.sender.clone(), purchases })
    }
}

impl Reservation {
    /// Queues the purchases the room was reserved for; the receiver gets the offset, or is closed
    /// if ingest has stopped.
    pub(crate) fn submit(mut self, purchases: Vec<Purchase>) -> oneshot::Receiver<Offset> {
        debug_assert_eq!(self.purchases, purchases.len() as u64);
        let (done, receiver) = oneshot::channel();
        // A closed channel drops the submission, which closes the receiver.
        if self.sender.send(Submission { purchases, done }).is_ok() {
            self.purchases = 0;
        }
        receiver
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.depth.release(self.purchases);
    }
}

impl Depth {
    /// Makes room: so many purchases no longer wait.
    pub(crate) fn release(&self, purchases: u64) {
        self.purchases.fetch_sub(purchases, Relaxed);
        self.gauge.sub(purchases as i64);
    }
}
