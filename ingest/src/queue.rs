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

#[cfg(test)]
mod tests {
    use super::*;

    fn purchases(count: usize) -> Vec<Purchase> {
        let purchase = Purchase {
            store: model::StoreId(1),
            customer: model::CustomerId(1),
            date: model::BusinessDate::from_days(0).unwrap(),
            event_time: model::Timestamp::MIN,
            key: None,
            lines: Vec::new(),
        };
        vec![purchase; count]
    }

    fn queue(bound: u64) -> (Queue, mpsc::UnboundedReceiver<Submission>, Depth, IntGauge) {
        let gauge = IntGauge::new("queue", "Purchases waiting.").unwrap();
        let (queue, receiver, depth) = Queue::new(bound, gauge.clone());
        (queue, receiver, depth, gauge)
    }

    #[test]
    fn an_unused_reservation_gives_its_room_back() {
        let (queue, _receiver, _, gauge) = queue(3);
        let reservation = queue.reserve(3).unwrap();
        assert!(queue.reserve(1).is_none());
        assert_eq!(gauge.get(), 3);
        drop(reservation);
        assert_eq!(gauge.get(), 0);
        assert!(queue.reserve(1).is_some());
    }

    #[test]
    fn the_request_that_crosses_the_bound_is_taken_and_the_next_is_not() {
        let (queue, mut receiver, depth, gauge) = queue(3);
        let _first = queue.reserve(2).unwrap().submit(purchases(2));
        let _large = queue.reserve(100).unwrap().submit(purchases(100));
        assert!(queue.reserve(1).is_none());
        depth.release(99);
        assert!(queue.reserve(1).is_none());
        assert_eq!(gauge.get(), 3);
        depth.release(1);
        assert!(queue.reserve(1).is_some());
        assert_eq!(receiver.try_recv().unwrap().purchases.len(), 2);
        assert_eq!(receiver.try_recv().unwrap().purchases.len(), 100);
    }

    #[test]
    fn a_closed_queue_tells_at_once() {
        let (queue, receiver, _, gauge) = queue(3);
        let reservation = queue.reserve(1).unwrap();
        drop(receiver);
        assert!(queue.is_closed());
        assert!(reservation.submit(purchases(1)).try_recv().is_err());
        assert_eq!(gauge.get(), 0);
    }
}
